/* JSON as the codecs write it, into Avro's binary form by the value's schema. Both stand in one buffer, the JSON before what is
 * made of it, so that a value needs no memory of its own; places are offsets, since the buffer moves as it grows. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "cdc/encode/avro.h"

enum { NUMBER_MAX = 40 };

struct converter {
    struct buf *out;
    size_t at; /* the JSON is out->data[at .. end) */
    size_t end;
};

static bool convert(struct converter *c, const struct connect_schema *schema);

static bool next_is(const struct converter *c, char what) {
    return c->at < c->end && c->out->data[c->at] == what;
}

static bool skip(struct converter *c, struct slice what) {
    if (c->end - c->at < what.len || memcmp(c->out->data + c->at, what.data, what.len) != 0)
        return false;
    c->at += what.len;
    return true;
}

/* ---- numbers ---- */

/* The characters of a number, as a string. */
static bool take_number(struct converter *c, char text[NUMBER_MAX]) {
    size_t n = 0;
    for (; c->at < c->end && n < NUMBER_MAX - 1; c->at++) {
        char digit = c->out->data[c->at];
        if (!(digit >= '0' && digit <= '9') && !strchr("+-.eE", digit)) break;
        text[n++] = digit;
    }
    text[n] = '\0';
    return n > 0 && n < NUMBER_MAX - 1;
}

static bool convert_integer(struct converter *c, int64_t limit) {
    char text[NUMBER_MAX];
    char *end;
    if (!take_number(c, text)) return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || value > limit || value < -limit - 1) return false;
    avro_append_long(c->out, value);
    return true;
}

/* What is no finite number stands in quotes, in Java's words. */
static bool take_double(struct converter *c, double *value) {
    char text[NUMBER_MAX];
    char *end;
    if (skip(c, SLICE("\"NaN\""))) {
        *value = NAN;
    } else if (skip(c, SLICE("\"Infinity\""))) {
        *value = INFINITY;
    } else if (skip(c, SLICE("\"-Infinity\""))) {
        *value = -INFINITY;
    } else {
        if (!take_number(c, text)) return false;
        *value = strtod(text, &end);
        return !*end;
    }
    return true;
}

/* Little-endian, as every machine is that this is built for. */
static bool convert_double(struct converter *c) {
    double value;
    if (!take_double(c, &value)) return false;
    buf_append(c->out, &value, sizeof value);
    return true;
}

/* The text is the shortest that names this float: by way of a double it is the same. */
static bool convert_float(struct converter *c) {
    double wide;
    if (!take_double(c, &wide)) return false;
    float value = (float)wide;
    buf_append(c->out, &value, sizeof value);
    return true;
}

static bool convert_boolean(struct converter *c) {
    bool is_true = skip(c, SLICE("true"));
    if (!is_true && !skip(c, SLICE("false"))) return false;
    buf_append_char(c->out, (char)is_true);
    return true;
}

/* ---- strings and bytes ---- */

/* Puts before what stands from `mark` on how long it is. */
static void insert_length(struct buf *out, size_t mark) {
    size_t len = out->len - mark;
    avro_append_long(out, (int64_t)len); /* behind it, to see how long it is itself */
    size_t width = out->len - mark - len;
    char head[10];
    memcpy(head, out->data + mark + len, width);
    memmove(out->data + mark + width, out->data + mark, len);
    memcpy(out->data + mark, head, width);
}

/* The place of the closing quote; c->end where there is none. *escaped: a backslash stands before it. */
static size_t find_quote(const struct converter *c, bool *escaped) {
    size_t at = c->at + 1;
    *escaped = false;
    while (at < c->end) {
        char byte = c->out->data[at];
        if (byte == '"') return at;
        if (byte == '\\') *escaped = true;
        at += byte == '\\' ? 2 : 1;
    }
    return c->end;
}

static bool take_unit(struct converter *c, uint32_t *unit) {
    if (c->end - c->at < 4) return false;
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        char digit = c->out->data[c->at++];
        int value = digit >= '0' && digit <= '9'   ? digit - '0'
                    : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                    : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                   : -1;
        if (value < 0) return false;
        *unit = *unit << 4 | (uint32_t)value;
    }
    return true;
}

static void append_utf8(struct buf *out, uint32_t point) {
    if (point < 0x80) {
        buf_append_char(out, (char)point);
        return;
    }
    if (point >= 0x10000) {
        buf_append_char(out, (char)(0xf0 | point >> 18));
        buf_append_char(out, (char)(0x80 | (point >> 12 & 0x3f)));
    } else if (point >= 0x800) {
        buf_append_char(out, (char)(0xe0 | point >> 12));
    }
    buf_append_char(out, (char)(point >= 0x800 ? 0x80 | (point >> 6 & 0x3f) : 0xc0 | point >> 6));
    buf_append_char(out, (char)(0x80 | (point & 0x3f)));
}

/* Behind \u. Half a pair alone is the replacement character. */
static bool append_unicode(struct converter *c) {
    uint32_t unit, low;
    if (!take_unit(c, &unit)) return false;
    if (unit >= 0xd800 && unit < 0xdc00) {
        size_t before = c->at;
        if (skip(c, SLICE("\\u")) && take_unit(c, &low) && low >= 0xdc00 && low < 0xe000) {
            append_utf8(c->out, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
            return true;
        }
        c->at = before;
    }
    append_utf8(c->out, unit >= 0xd800 && unit < 0xe000 ? 0xfffd : unit);
    return true;
}

/* Behind a backslash. */
static bool append_escape(struct converter *c) {
    static const char letters[] = "\"\\/bfnrt";
    static const char meant[] = "\"\\/\b\f\n\r\t";
    char letter = c->out->data[c->at++];
    if (letter == 'u') return append_unicode(c);
    const char *place = letter ? strchr(letters, letter) : NULL;
    if (place) buf_append_char(c->out, meant[place - letters]);
    return place != NULL;
}

static bool convert_string(struct converter *c) {
    if (!next_is(c, '"')) return false;
    bool escaped;
    size_t quote = find_quote(c, &escaped);
    if (quote >= c->end) return false;
    size_t mark = c->out->len;
    size_t from = c->at + 1;
    if (!escaped) {
        avro_append_long(c->out, (int64_t)(quote - from));
        char *to = buf_reserve(c->out, quote - from); /* moves what is copied, too */
        memcpy(to, c->out->data + from, quote - from);
        c->out->len += quote - from;
        c->at = quote + 1;
        return true;
    }
    for (c->at = from; c->at < quote;) {
        char byte = c->out->data[c->at++];
        if (byte != '\\')
            buf_append_char(c->out, byte);
        else if (!append_escape(c))
            return false;
    }
    c->at = quote + 1;
    insert_length(c->out, mark);
    return true;
}

static bool convert_bytes(struct converter *c) {
    if (!next_is(c, '"')) return false;
    bool escaped;
    size_t quote = find_quote(c, &escaped);
    if (quote >= c->end || escaped) return false;
    size_t len = quote - c->at - 1;
    size_t mark = c->out->len;
    buf_reserve(c->out, len + 10); /* so that the source stays where it is */
    if (!base64_decode(c->out, slice_make(c->out->data + c->at + 1, len))) return false;
    insert_length(c->out, mark);
    c->at = quote + 1;
    return true;
}

/* ---- what has parts ---- */

/* How many members the array or object has that begins here; it need not be well-formed, its members are looked at later. */
static size_t count_members(const struct converter *c) {
    size_t n = 0;
    int depth = 0;
    bool quoted = false;
    for (size_t at = c->at; at < c->end; at++) {
        char byte = c->out->data[at];
        if (byte == '\\' && quoted) {
            at++;
        } else if (byte == '"') {
            quoted = !quoted;
        } else if (quoted) {
            continue;
        } else if (byte == '[' || byte == '{') {
            depth++;
        } else if (byte == ']' || byte == '}') {
            if (--depth == 0) break;
        } else if (byte == ',' && depth == 1) {
            n++;
        }
    }
    return n + 1;
}

/* One block of all members, and the empty one that ends it. */
static bool convert_members(struct converter *c, const struct connect_schema *schema) {
    bool is_map = schema->kind == CONNECT_MAP;
    struct slice end = is_map ? SLICE("}") : SLICE("]");
    size_t n = count_members(c);
    if (!skip(c, is_map ? SLICE("{") : SLICE("["))) return false;
    if (skip(c, end)) n = 0;
    if (n) avro_append_long(c->out, (int64_t)n);
    for (size_t i = 0; i < n; i++) {
        if (i && !skip(c, SLICE(","))) return false;
        if (is_map && (!convert_string(c) || !skip(c, SLICE(":")))) return false;
        if (!convert(c, schema->items)) return false;
    }
    avro_append_long(c->out, 0);
    return n == 0 || skip(c, end);
}

static bool convert_struct(struct converter *c, const struct connect_schema *schema) {
    if (!skip(c, SLICE("{"))) return false;
    for (uint16_t i = 0; i < schema->n_fields; i++) {
        const struct connect_field *field = &schema->fields[i];
        bool named = (i == 0 || skip(c, SLICE(","))) && skip(c, SLICE("\"")) &&
                     skip(c, slice_from(field->name)) && skip(c, SLICE("\":"));
        if (!named || !convert(c, &field->schema)) return false;
    }
    return skip(c, SLICE("}"));
}

static bool convert(struct converter *c, const struct connect_schema *schema) {
    if (schema->optional) {
        bool null = skip(c, SLICE("null"));
        buf_append_char(c->out, avro_branch(schema, null));
        if (null) return true;
    }
    switch (schema->kind) {
    case CONNECT_INT16: return convert_integer(c, INT16_MAX);
    case CONNECT_INT32: return convert_integer(c, INT32_MAX);
    case CONNECT_INT64: return convert_integer(c, INT64_MAX);
    case CONNECT_FLOAT: return convert_float(c);
    case CONNECT_DOUBLE: return convert_double(c);
    case CONNECT_BOOLEAN: return convert_boolean(c);
    case CONNECT_STRING: return convert_string(c);
    case CONNECT_BYTES: return convert_bytes(c);
    case CONNECT_ARRAY:
    case CONNECT_MAP: return convert_members(c, schema);
    case CONNECT_STRUCT: return convert_struct(c, schema);
    }
    return false;
}

bool avro_replace_json(const struct connect_schema *schema, struct buf *out, size_t at) {
    struct converter c = {.out = out, .at = at, .end = out->len};
    bool fits = convert(&c, schema) && c.at == c.end;
    size_t made = fits ? out->len - c.end : 0;
    if (made) memmove(out->data + at, out->data + c.end, made);
    out->len = at + made;
    return fits;
}

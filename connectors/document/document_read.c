#include "connectors/document/document_read.h"

#include <string.h>

#include "base/json.h"

/* ---- what is told again ---- */

static bool is_plain_json(struct slice text) {
    static const char space[] = " \t\r\n";
    if (text.len == 0 || slice_equal(text, SLICE("null"))) return false;
    if (strchr(space, text.data[0]) || strchr(space, text.data[text.len - 1])) return false;
    return !memchr(text.data, '\n', text.len) && !memchr(text.data, '\r', text.len);
}

static bool is_hex_form(struct slice text) {
    if (text.len < 2 || text.len % 2 || text.data[0] != '\\' || text.data[1] != 'x') return false;
    for (size_t i = 2; i < text.len; i++) {
        if (!strchr("0123456789abcdef", text.data[i]) || !text.data[i]) return false;
    }
    return true;
}

bool document_exact(const struct shape_column *column, const struct value *value) {
    if (value->kind != VALUE_TEXT) return true;
    struct slice text = slice_make(value->data, value->len);
    if (column->array) return false;
    switch (column->class) {
    case CLASS_BOOL: return slice_equal(text, SLICE("t")) || slice_equal(text, SLICE("f"));
    case CLASS_JSON: return is_plain_json(text);
    case CLASS_BYTES: return is_hex_form(text);
    default: return true;
    }
}

/* ---- taking ---- */

static bool take(struct slice *in, const char *text) {
    size_t len = strlen(text);
    if (in->len < len || memcmp(in->data, text, len) != 0) return false;
    *in = slice_make(in->data + len, in->len - len);
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Behind a backslash; of \u only what stands for a control character. Returns the bytes taken, 0: none of ours. */
static size_t unescape(const char *at, size_t len, struct buf *out) {
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    if (len == 0 || !at[0]) return 0;
    const char *name = strchr(names, at[0]);
    if (name) {
        buf_append_char(out, values[name - names]);
        return 1;
    }
    if (at[0] != 'u' || len < 5 || at[1] != '0' || at[2] != '0') return 0;
    int high = hex_digit(at[3]);
    int low = hex_digit(at[4]);
    if (high < 0 || low < 0) return 0;
    buf_append_char(out, (char)(high << 4 | low));
    return 5;
}

bool document_take_string(struct slice *in, struct buf *out) {
    if (!take(in, "\"")) return false;
    for (size_t i = 0; i < in->len;) {
        char c = in->data[i++];
        if (c == '"') {
            *in = slice_make(in->data + i, in->len - i);
            return true;
        }
        if (c != '\\') {
            buf_append_char(out, c);
            continue;
        }
        size_t taken = unescape(in->data + i, in->len - i, out);
        if (!taken) return false;
        i += taken;
    }
    return false;
}

/* Behind the string that begins at `at`. */
static size_t skip_string(struct slice in, size_t at) {
    for (size_t i = at + 1; i < in.len; i++) {
        if (in.data[i] == '\\')
            i++;
        else if (in.data[i] == '"')
            return i + 1;
    }
    return in.len;
}

/* One value as it is written, up to the comma or the brace behind it. */
static bool take_span(struct slice *in, struct slice *span) {
    size_t depth = 0;
    size_t i = 0;
    while (i < in->len) {
        char c = in->data[i];
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
        if (c == '{' || c == '[') depth++;
        if (c == '}' || c == ']') depth--;
        i = c == '"' ? skip_string(*in, i) : i + 1;
    }
    *span = slice_make(in->data, i);
    *in = slice_make(in->data + i, in->len - i);
    return i > 0 && depth == 0;
}

/* "2026-11-21T07:41:07.5+00:00" -> "2026-11-21 07:41:07.5+00", in place. */
static void restore_timestamp(struct buf *text) {
    char *t = memchr(text->data, 'T', text->len);
    if (!t) return;
    *t = ' ';
    size_t end = (size_t)(t - text->data) + 1;
    size_t zone = 0;
    for (; end < text->len && text->data[end] != ' '; end++) {
        if (text->data[end] == '+' || text->data[end] == '-') zone = end;
    }
    if (!zone || end - zone != 6 || memcmp(text->data + end - 3, ":00", 3) != 0) return;
    memmove(text->data + end - 3, text->data + end, text->len - end);
    text->len -= 3;
}

static bool restore_bytes(struct buf *text) {
    static const char digits[] = "0123456789abcdef";
    struct buf raw = {0};
    bool ok = base64_decode(&raw, buf_slice(text));
    text->len = 0;
    buf_append_text(text, "\\x");
    for (size_t i = 0; ok && i < raw.len; i++) {
        buf_append_char(text, digits[(unsigned char)raw.data[i] >> 4]);
        buf_append_char(text, digits[raw.data[i] & 15]);
    }
    buf_deinit(&raw);
    return ok;
}

static bool take_quoted(struct slice *in, enum value_class class, struct arena *arena,
                        struct value *value) {
    struct buf text = {0};
    bool ok = document_take_string(in, &text);
    if (ok && (class == CLASS_TIMESTAMP || class == CLASS_TIMESTAMPTZ) && text.len)
        restore_timestamp(&text);
    /* Text that was not in the hex form is among the exact ones. */
    if (ok && class == CLASS_BYTES && !restore_bytes(&text)) text.len = 0;
    struct slice copy = arena_dup(arena, buf_slice(&text));
    buf_deinit(&text);
    *value = (struct value){.kind = VALUE_TEXT, .data = copy.data, .len = (uint32_t)copy.len};
    return ok;
}

static bool take_value(struct slice *in, const struct shape_column *column, struct arena *arena,
                       struct value *value) {
    bool quoted = in->len && in->data[0] == '"';
    if (quoted && !column->array && column->class != CLASS_JSON)
        return take_quoted(in, column->class, arena, value);
    struct slice span;
    if (!take_span(in, &span)) return false;
    *value = (struct value){.kind = VALUE_TEXT, .data = span.data, .len = (uint32_t)span.len};
    if (slice_equal(span, SLICE("null"))) {
        *value = (struct value){.kind = VALUE_NULL};
        return true;
    }
    if (column->array) {
        *value = (struct value){.kind = VALUE_UNCHANGED};
        return true;
    }
    switch (column->class) {
    case CLASS_BOOL:
        value->len = 1; /* true, false -> t, f */
        return slice_equal(span, SLICE("true")) || slice_equal(span, SLICE("false"));
    case CLASS_SHORT:
    case CLASS_INTEGER:
    case CLASS_LONG:
    case CLASS_FLOAT:
    case CLASS_DOUBLE:
    case CLASS_NUMERIC:
    case CLASS_JSON: return true;
    default: return false; /* these are in quotes */
    }
}

bool document_take(struct slice *in, const struct shape *shape, struct arena *arena,
                   struct value *row) {
    if (!take(in, "{")) return false;
    struct buf name = {0};
    bool ok = true;
    for (uint16_t i = 0; i < shape->n_columns && ok; i++) {
        const struct shape_column *column = &shape->columns[i];
        name.len = 0;
        ok = (i == 0 || take(in, ",")) && document_take_string(in, &name) &&
             slice_equal(buf_slice(&name), slice_from(column->name)) && take(in, ":") &&
             take_value(in, column, arena, &row[i]);
    }
    buf_deinit(&name);
    return ok && take(in, "}");
}

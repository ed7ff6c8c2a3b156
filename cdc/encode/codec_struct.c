/* Values with parts: arrays, hstore, points. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cdc/encode/codec_rules.h"
#include "cdc/encode/java_double.h"
#include "cdc/shape/java_hash.h"

enum { MAX_ARRAY_DEPTH = 6 /* MAXDIM of PostgreSQL */ };

/* ---- arrays: {1,NULL,"a \"b\"",{nested}} ---- */

struct array_reader {
    const struct codec *codec;
    const char *at;
    const char *end;
    struct buf *out;
    struct buf scratch; /* an element with its escapes taken out */
};

/* "[2:3][0:1]=" says where subscripts begin, which JSON cannot. */
static bool skip_bounds(struct array_reader *in) {
    if (in->at == in->end || *in->at != '[') return true;
    const char *equals = memchr(in->at, '=', (size_t)(in->end - in->at));
    if (!equals) return false;
    in->at = equals + 1;
    return true;
}

/* An element that its rule does not know stands as a string in the array. */
static enum codec_result element(struct array_reader *in, struct slice text) {
    enum codec_result result = codec_encode(in->codec->element, text, in->out);
    return result == CODEC_REFUSED ? CODEC_REFUSED : CODEC_DONE;
}

static enum codec_result quoted_element(struct array_reader *in) {
    in->scratch.len = 0;
    for (in->at++; in->at < in->end && *in->at != '"'; in->at++) {
        if (*in->at == '\\' && ++in->at == in->end) return CODEC_AS_TEXT;
        buf_append_char(&in->scratch, *in->at);
    }
    if (in->at == in->end) return CODEC_AS_TEXT;
    in->at++;
    return element(in, buf_slice(&in->scratch));
}

static enum codec_result bare_element(struct array_reader *in) {
    const char *start = in->at;
    bool escaped = false;
    while (in->at < in->end && *in->at != in->codec->delimiter && *in->at != '}') {
        if (*in->at == '"' || *in->at == '{') return CODEC_AS_TEXT;
        if (*in->at == '\\') escaped = true;
        in->at++;
    }
    struct slice text = slice_make(start, (size_t)(in->at - start));
    if (text.len == 0 || escaped) return CODEC_AS_TEXT;
    if (text.len == 4 && memcmp(text.data, "NULL", 4) == 0) {
        buf_append(in->out, "null", 4);
        return CODEC_DONE;
    }
    return element(in, text);
}

static enum codec_result nested(struct array_reader *in, int depth) {
    if (depth > MAX_ARRAY_DEPTH || in->at == in->end || *in->at != '{') return CODEC_AS_TEXT;
    in->at++;
    buf_append_char(in->out, '[');
    for (bool first = true; in->at < in->end && (*in->at != '}' || !first); first = false) {
        if (!first) buf_append_char(in->out, ',');
        enum codec_result result = in->at == in->end ? CODEC_AS_TEXT
                                   : *in->at == '{'  ? nested(in, depth + 1)
                                   : *in->at == '"'  ? quoted_element(in)
                                                     : bare_element(in);
        if (result != CODEC_DONE) return result;
        if (in->at == in->end) return CODEC_AS_TEXT;
        if (*in->at == '}') break;
        if (*in->at++ != in->codec->delimiter) return CODEC_AS_TEXT;
    }
    if (in->at == in->end) return CODEC_AS_TEXT;
    in->at++;
    buf_append_char(in->out, ']');
    return CODEC_DONE;
}

enum codec_result codec_array(const struct codec *codec, struct slice text, struct buf *out) {
    struct array_reader in = {
        .codec = codec, .at = text.data, .end = text.data + text.len, .out = out};
    enum codec_result result = CODEC_AS_TEXT;
    if (skip_bounds(&in)) result = nested(&in, 1);
    if (result == CODEC_DONE && in.at != in.end) result = CODEC_AS_TEXT;
    buf_deinit(&in.scratch);
    return result;
}

/* As Debezium fills arrays: one placeholder where elements are strings, its bytes where they are numbers. */
void codec_placeholder_array(const struct codec *codec, struct buf *out) {
    static const char *const numbers[] = {"int2", "int4", "int8",     "oid",
                                          "date", "time", "timestamp"};
    const struct codec_rule *rule = codec->element->rule;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(rule->type, numbers[i]) != 0) continue;
        for (size_t at = 0; at < sizeof CODEC_PLACEHOLDER - 1; at++) {
            buf_append_char(out, at ? ',' : '[');
            buf_append_u64(out, (unsigned char)CODEC_PLACEHOLDER[at]);
        }
        buf_append_char(out, ']');
        return;
    }
    buf_append_char(out, '[');
    size_t before = out->len;
    /* The name-based UUID of the placeholder's bytes. */
    if (strcmp(rule->type, "uuid") == 0)
        buf_append_text(out, "\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"");
    else if (rule->encode == codec_timestamptz || rule->encode == codec_timetz)
        buf_append_text(out, "\"" CODEC_PLACEHOLDER "\"");
    else
        rule->placeholder(codec->element, out);
    if (out->len - before == 4 && memcmp(out->data + before, "null", 4) == 0) {
        out->len = before - 1; /* floats and booleans have no form for it */
        buf_append_text(out, "null");
        return;
    }
    buf_append_char(out, ']');
}

/* ---- hstore: "a"=>"1", "b"=>NULL ---- */

struct pair {
    size_t key; /* places in the scratch buffer */
    size_t key_len;
    size_t value;
    size_t value_len;
    bool null;
    uint32_t hash;
    uint32_t bucket;
    uint32_t order;
};

struct pairs {
    struct buf text;
    struct pair *list;
    uint32_t n;
    uint32_t cap;
};

static bool hstore_string(const char **at, const char *end, struct buf *text, size_t *start,
                          size_t *len) {
    if (*at == end || **at != '"') return false;
    *start = text->len;
    for ((*at)++; *at < end && **at != '"'; (*at)++) {
        if (**at == '\\' && ++*at == end) return false;
        buf_append_char(text, **at);
    }
    if (*at == end) return false;
    (*at)++;
    *len = text->len - *start;
    return true;
}

static bool literal(const char **at, const char *end, const char *what) {
    size_t len = strlen(what);
    if ((size_t)(end - *at) < len || memcmp(*at, what, len) != 0) return false;
    *at += len;
    return true;
}

static int by_bucket(const void *a, const void *b) {
    const struct pair *left = a;
    const struct pair *right = b;
    if (left->bucket != right->bucket) return left->bucket < right->bucket ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

static struct pair *add_pair(struct pairs *pairs) {
    if (pairs->n == pairs->cap) {
        pairs->cap = pairs->cap ? pairs->cap * 2 : 16;
        pairs->list = mem_realloc(pairs->list, pairs->cap * sizeof *pairs->list);
    }
    struct pair *pair = &pairs->list[pairs->n];
    *pair = (struct pair){.order = pairs->n++};
    return pair;
}

static bool read_pairs(struct slice text, struct pairs *pairs) {
    const char *at = text.data;
    const char *end = at + text.len;
    buf_reserve(&pairs->text, text.len + 1); /* for all: strings only shrink */
    while (at < end) {
        if (pairs->n && !literal(&at, end, ", ")) return false;
        struct pair *pair = add_pair(pairs);
        if (!hstore_string(&at, end, &pairs->text, &pair->key, &pair->key_len)) return false;
        if (!literal(&at, end, "=>")) return false;
        pair->null = literal(&at, end, "NULL");
        if (!pair->null && !hstore_string(&at, end, &pairs->text, &pair->value, &pair->value_len))
            return false;
        pair->hash = java_hash(slice_make(pairs->text.data + pair->key, pair->key_len));
    }
    return true;
}

/* A java.util.HashMap's order: Debezium's consumers compare the text of the JSON. */
static void sort_pairs(struct pairs *pairs) {
    uint32_t buckets = java_map_buckets(JAVA_MAP_BUCKETS, pairs->n);
    for (uint32_t i = 0; i < pairs->n; i++)
        pairs->list[i].bucket = pairs->list[i].hash & (buckets - 1);
    if (pairs->n) qsort(pairs->list, pairs->n, sizeof *pairs->list, by_bucket);
}

/* `write` is the string writer: characters are escaped by the outer string where the object stands in one. */
static void append_object(const struct pairs *pairs, struct buf *out,
                          void (*write)(struct buf *out, struct slice text)) {
    buf_append_char(out, '{');
    for (uint32_t i = 0; i < pairs->n; i++) {
        const struct pair *pair = &pairs->list[i];
        if (i) buf_append_char(out, ',');
        write(out, slice_make(pairs->text.data + pair->key, pair->key_len));
        buf_append_char(out, ':');
        if (pair->null)
            buf_append_text(out, "null");
        else
            write(out, slice_make(pairs->text.data + pair->value, pair->value_len));
    }
    buf_append_char(out, '}');
}

enum codec_result codec_hstore(const struct codec *codec, struct slice text, struct buf *out) {
    struct pairs pairs = {0};
    bool read = read_pairs(text, &pairs);
    if (read) {
        sort_pairs(&pairs);
        if (codec->format->hstore == HSTORE_MAP) {
            append_object(&pairs, out, json_append_string_java);
        } else {
            struct buf object = {0};
            append_object(&pairs, &object, json_append_string);
            json_append_string_java(out, buf_slice(&object));
            buf_deinit(&object);
        }
    }
    buf_deinit(&pairs.text);
    mem_free(pairs.list);
    return read ? CODEC_DONE : CODEC_AS_TEXT;
}

void codec_zero_hstore(const struct codec *codec, struct buf *out) {
    buf_append_text(out, codec->format->hstore == HSTORE_MAP ? "{}" : "\"{}\"");
}

void codec_placeholder_hstore(const struct codec *codec, struct buf *out) {
    codec_hstore(codec, SLICE("\"" CODEC_PLACEHOLDER "\"=>\"" CODEC_PLACEHOLDER "\""), out);
}

/* ---- point: (x,y) ---- */

static bool read_coordinate(const char **at, char stop, struct slice *text, double *value) {
    const char *end = strchr(*at, stop);
    if (!end || end == *at || end - *at > 30) return false;
    *text = slice_make(*at, (size_t)(end - *at));
    char *parsed;
    *value = strtod(*at, &parsed);
    *at = end + 1;
    return parsed == end;
}

/* Well-known binary (OGC Simple Features): little-endian, geometry type 1, two doubles. */
static void append_wkb(double x, double y, struct buf *out) {
    unsigned char wkb[21] = {1, 1, 0, 0, 0};
    memcpy(wkb + 5, &x, 8);
    memcpy(wkb + 13, &y, 8);
    base64_append(out, wkb, sizeof wkb);
}

enum codec_result codec_point(const struct codec *codec, struct slice text, struct buf *out) {
    (void)codec;
    char copy[80];
    if (text.len < 5 || text.len >= sizeof copy || text.data[0] != '(') return CODEC_AS_TEXT;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    const char *at = copy + 1;
    struct slice x_text;
    struct slice y_text;
    double x;
    double y;
    if (!read_coordinate(&at, ',', &x_text, &x) || !read_coordinate(&at, ')', &y_text, &y) || *at)
        return CODEC_AS_TEXT;
    buf_append_text(out, "{\"x\":");
    if (!java_double_append(x_text, false, out)) return CODEC_AS_TEXT;
    buf_append_text(out, ",\"y\":");
    if (!java_double_append(y_text, false, out)) return CODEC_AS_TEXT;
    buf_append_text(out, ",\"wkb\":\"");
    append_wkb(x, y, out);
    buf_append_text(out, "\",\"srid\":null}");
    return CODEC_DONE;
}

void codec_zero_point(const struct codec *codec, struct buf *out) {
    codec_point(codec, SLICE("(0,0)"), out);
}

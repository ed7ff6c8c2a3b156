#include "connectors/document/document.h"

#include <string.h>

#include "base/assert.h"
#include "base/json.h"

/* PostgreSQL itself stops at 6 dimensions. Common JSON readers stop at numbers of 1000 characters. */
enum { ARRAY_MAX_DEPTH = 6, NUMBER_MAX_CHARS = 1000 };

typedef void value_writer(struct buf *out, struct slice text);

static void write_string(struct buf *out, struct slice text) { json_append_string(out, text); }

static void write_bool(struct buf *out, struct slice text) {
    buf_append_text(out, text.len && text.data[0] == 't' ? "true" : "false");
}

/* Integers, floats and numerics are printed as JSON writes numbers, but for NaN and the infinities. */
static void write_number(struct buf *out, struct slice text) {
    bool plain = text.len > 0 && text.len <= NUMBER_MAX_CHARS;
    for (size_t i = 0; plain && i < text.len; i++)
        plain = strchr("0123456789+-.eE", text.data[i]) != NULL;
    if (plain)
        buf_append_slice(out, text);
    else
        json_append_string(out, text);
}

/* A newline in JSON stands only between tokens. */
static void write_json(struct buf *out, struct slice text) {
    char *to = buf_reserve(out, text.len);
    for (size_t i = 0; i < text.len; i++)
        to[i] = text.data[i] == '\n' || text.data[i] == '\r' ? ' ' : text.data[i];
    out->len += text.len;
}

/* "2026-11-21 07:41:07.5+00" -> "2026-11-21T07:41:07.5+00:00"; " BC" and "infinity" stay. */
static void write_timestamp(struct buf *out, struct slice text) {
    const char *space = memchr(text.data, ' ', text.len);
    if (!space) {
        json_append_string(out, text);
        return;
    }
    size_t date = (size_t)(space - text.data);
    size_t end = date + 1;
    size_t zone = 0;
    for (; end < text.len && text.data[end] != ' '; end++) {
        if (text.data[end] == '+' || text.data[end] == '-') zone = end;
    }
    buf_append_char(out, '"');
    json_append_escaped(out, slice_make(text.data, date));
    buf_append_char(out, 'T');
    json_append_escaped(out, slice_make(space + 1, end - date - 1));
    if (zone && end - zone == 3) buf_append_text(out, ":00");
    json_append_escaped(out, slice_make(text.data + end, text.len - end));
    buf_append_char(out, '"');
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static void write_bytes(struct buf *out, struct slice text) {
    if (text.len < 2 || text.data[0] != '\\' || text.data[1] != 'x') {
        json_append_string(out, text); /* not the hex form: as it is, never guessed */
        return;
    }
    size_t len = (text.len - 2) / 2;
    struct buf raw = {0};
    unsigned char *bytes = (unsigned char *)buf_reserve(&raw, len + 1);
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text.data[2 + 2 * i]);
        int low = hex_digit(text.data[3 + 2 * i]);
        bytes[i] = (unsigned char)((high < 0 ? 0 : high) << 4 | (low < 0 ? 0 : low));
    }
    buf_append_char(out, '"');
    base64_append(out, bytes, len);
    buf_append_char(out, '"');
    buf_deinit(&raw);
}

static value_writer *const writers[N_CLASSES] = {
    [CLASS_KEYWORD] = write_string,      [CLASS_TEXT] = write_string,
    [CLASS_BOOL] = write_bool,           [CLASS_SHORT] = write_number,
    [CLASS_INTEGER] = write_number,      [CLASS_LONG] = write_number,
    [CLASS_FLOAT] = write_number,        [CLASS_DOUBLE] = write_number,
    [CLASS_NUMERIC] = write_number,      [CLASS_DATE] = write_string,
    [CLASS_TIMESTAMP] = write_timestamp, [CLASS_TIMESTAMPTZ] = write_timestamp,
    [CLASS_JSON] = write_json,           [CLASS_BYTES] = write_bytes,
};

/* An array's text: {1,NULL,"a \"b\""}, nested braces for more dimensions, [2:3]= before odd bounds. */
struct array_reader {
    const char *at;
    const char *end;
    struct buf element; /* unescaped */
    value_writer *write;
};

/* A quoted element, from behind its opening quote. */
static bool read_quoted(struct array_reader *in) {
    while (in->at < in->end && *in->at != '"') {
        if (*in->at == '\\' && ++in->at == in->end) return false;
        buf_append_char(&in->element, *in->at++);
    }
    if (in->at == in->end) return false;
    in->at++;
    return true;
}

static bool write_element(struct array_reader *in, struct buf *out) {
    in->element.len = 0;
    if (*in->at == '"') {
        in->at++;
        if (!read_quoted(in)) return false;
        in->write(out, slice_make(buf_text(&in->element), in->element.len));
        return true;
    }
    const char *start = in->at;
    while (in->at < in->end && *in->at != ',' && *in->at != '}')
        in->at++;
    struct slice text = slice_make(start, (size_t)(in->at - start));
    if (text.len == 0) return false;
    if (slice_equal(text, SLICE("NULL")))
        buf_append_text(out, "null");
    else
        in->write(out, text);
    return true;
}

static bool write_dimension(struct array_reader *in, struct buf *out, int depth) {
    if (depth == ARRAY_MAX_DEPTH || in->at == in->end || *in->at != '{') return false;
    in->at++;
    buf_append_char(out, '[');
    bool first = true;
    while (in->at < in->end && *in->at != '}') {
        if (!first) {
            if (*in->at++ != ',' || in->at == in->end) return false;
            buf_append_char(out, ',');
        }
        first = false;
        bool done = *in->at == '{' ? write_dimension(in, out, depth + 1) : write_element(in, out);
        if (!done) return false;
    }
    if (in->at == in->end) return false;
    in->at++;
    buf_append_char(out, ']');
    return true;
}

static void write_array(struct buf *out, struct slice text, value_writer *write) {
    struct array_reader in = {.at = text.data, .end = text.data + text.len, .write = write};
    if (text.len && text.data[0] == '[') {
        const char *equals = memchr(text.data, '=', text.len);
        if (equals) in.at = equals + 1;
    }
    size_t start = out->len;
    if (!write_dimension(&in, out, 0) || in.at != in.end) {
        out->len = start; /* not an array's text: as it is */
        json_append_string(out, text);
    }
    buf_deinit(&in.element);
}

static void write_value(struct buf *out, const struct shape_column *column,
                        const struct value *value) {
    if (value->kind == VALUE_NULL) {
        buf_append_text(out, "null");
        return;
    }
    ASSERT(value->kind == VALUE_TEXT);
    struct slice text = slice_make(value->data, value->len);
    if (column->array)
        write_array(out, text, writers[column->class]);
    else
        writers[column->class](out, text);
}

void document_append(struct buf *out, const struct shape *shape, const struct value *row) {
    if (shape->document != SHAPE_NONE) {
        write_value(out, &shape->columns[shape->document], &row[shape->document]);
        return;
    }
    buf_append_char(out, '{');
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (i) buf_append_char(out, ',');
        json_append_string(out, slice_from(shape->columns[i].name));
        buf_append_char(out, ':');
        write_value(out, &shape->columns[i], &row[i]);
    }
    buf_append_char(out, '}');
}

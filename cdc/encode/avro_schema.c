/* Connect schemas as Avro's JSON: names, unions, defaults and properties in the order in which the Java library prints them. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "cdc/encode/avro.h"

enum { NAMED_MAX = 16, PRECISION_UNKNOWN = 64 };

/* A record is described where it first stands, and named from then on. */
struct writer {
    struct buf *out;
    const char *described[NAMED_MAX];
    unsigned n_described;
};

static const char *const types[] = {
    [CONNECT_INT16] = "int",     [CONNECT_INT32] = "int",     [CONNECT_INT64] = "long",
    [CONNECT_FLOAT] = "float",   [CONNECT_DOUBLE] = "double", [CONNECT_BOOLEAN] = "boolean",
    [CONNECT_STRING] = "string", [CONNECT_BYTES] = "bytes",   [CONNECT_ARRAY] = "array",
    [CONNECT_MAP] = "map",       [CONNECT_STRUCT] = "record",
};

static void append_quoted(struct buf *out, const char *text) {
    json_append_string(out, slice_from(text));
}

static void append_property(struct buf *out, const char *name, const char *value) {
    buf_printf(out, ",\"%s\":", name);
    append_quoted(out, value);
}

/* ---- defaults ---- */

/* Bytes are a string of the characters U+0000 to U+00FF. */
static bool append_bytes_default(struct slice base64, struct buf *out) {
    struct buf bytes = {0};
    struct buf text = {0};
    bool ok = base64.len >= 2 && base64_decode(&bytes, slice_make(base64.data + 1, base64.len - 2));
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.data[i];
        if (c >= 0x80) buf_append_char(&text, (char)(0xc0 | c >> 6));
        buf_append_char(&text, (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c));
    }
    if (ok) json_append_string(out, buf_slice(&text));
    buf_deinit(&bytes);
    buf_deinit(&text);
    return ok;
}

/* False: there is none, or none that Avro can write (NaN). */
static bool append_default(const struct connect_schema *schema, struct buf *out) {
    struct slice json = schema->default_json;
    if (!json.data) return false;
    if (schema->kind == CONNECT_BYTES) return append_bytes_default(json, out);
    if ((schema->kind == CONNECT_FLOAT || schema->kind == CONNECT_DOUBLE) && *json.data == '"')
        return false;
    buf_append_slice(out, json);
    return true;
}

/* ---- properties ---- */

static bool is(const struct connect_schema *schema, const char *name) {
    return schema->name && strcmp(schema->name, name) == 0;
}

static int parameter(const struct connect_schema *schema, const char *name, int absent) {
    for (uint16_t i = 0; i < schema->n_parameters; i++) {
        if (strcmp(schema->parameters[i].name, name) == 0) return atoi(schema->parameters[i].value);
    }
    return absent;
}

/* A scale that is negative, or beyond the precision, is none of Avro's decimals: then the parameters alone tell it. */
static bool is_decimal(const struct connect_schema *schema, int *scale, int *precision) {
    *scale = parameter(schema, "scale", 0);
    *precision = parameter(schema, "connect.decimal.precision", PRECISION_UNKNOWN);
    return is(schema, "org.apache.kafka.connect.data.Decimal") && *scale >= 0 &&
           *scale <= *precision;
}

static const char *logical_type(const struct connect_schema *schema) {
    int scale, precision;
    if (is_decimal(schema, &scale, &precision)) return "decimal";
    if (is(schema, "org.apache.kafka.connect.data.Date")) return "date";
    if (is(schema, "org.apache.kafka.connect.data.Time")) return "time-millis";
    if (is(schema, "org.apache.kafka.connect.data.Timestamp")) return "timestamp-millis";
    return NULL;
}

static void append_properties(const struct connect_schema *schema, struct buf *out) {
    if (schema->doc) append_property(out, "connect.doc", schema->doc);
    if (schema->version) buf_printf(out, ",\"connect.version\":%d", schema->version);
    for (uint16_t i = 0; i < schema->n_parameters; i++) {
        buf_append_text(out, i ? "," : ",\"connect.parameters\":{");
        append_quoted(out, schema->parameters[i].name);
        buf_append_char(out, ':');
        append_quoted(out, schema->parameters[i].value);
    }
    if (schema->n_parameters) buf_append_char(out, '}');
    size_t before = out->len;
    buf_append_text(out, ",\"connect.default\":");
    if (!append_default(schema, out)) out->len = before;
    if (schema->name) append_property(out, "connect.name", schema->name);
    if (schema->kind == CONNECT_INT16) append_property(out, "connect.type", "int16");
    const char *logical = logical_type(schema);
    if (logical) append_property(out, "logicalType", logical);
}

static bool has_properties(const struct connect_schema *schema) {
    return schema->doc || schema->version || schema->n_parameters || schema->default_json.data ||
           schema->name || schema->kind == CONNECT_INT16;
}

/* ---- types ---- */

static void append_type(struct writer *w, const struct connect_schema *schema, struct slice space);

/* "a.b.C": its name and its namespace. */
static void split(const char *full, struct slice *space, const char **name) {
    const char *dot = strrchr(full, '.');
    *name = dot ? dot + 1 : full;
    *space = slice_make(full, dot ? (size_t)(dot - full) : 0);
}

static void append_field(struct writer *w, const struct connect_field *field, struct slice space) {
    buf_append_text(w->out, "{\"name\":");
    append_quoted(w->out, field->name);
    buf_append_text(w->out, ",\"type\":");
    append_type(w, &field->schema, space);
    size_t before = w->out->len;
    buf_append_text(w->out, ",\"default\":");
    if (!append_default(&field->schema, w->out)) {
        if (field->schema.optional && !field->schema.default_json.data)
            buf_append_text(w->out, "null");
        else
            w->out->len = before;
    }
    buf_append_char(w->out, '}');
}

static void append_record(struct writer *w, const struct connect_schema *schema,
                          struct slice around) {
    struct slice space;
    const char *name;
    split(schema->name, &space, &name);
    bool near = slice_equal(space, around);
    for (unsigned i = 0; i < w->n_described; i++) {
        if (strcmp(w->described[i], schema->name) != 0) continue;
        append_quoted(w->out, near ? name : schema->name);
        return;
    }
    ASSERT(w->n_described < NAMED_MAX);
    w->described[w->n_described++] = schema->name;
    buf_append_text(w->out, "{\"type\":\"record\"");
    append_property(w->out, "name", name);
    if (!near) {
        buf_append_text(w->out, ",\"namespace\":");
        json_append_string(w->out, space);
    }
    buf_append_text(w->out, ",\"fields\":[");
    for (uint16_t i = 0; i < schema->n_fields; i++) {
        if (i) buf_append_char(w->out, ',');
        append_field(w, &schema->fields[i], space);
    }
    buf_append_char(w->out, ']');
    append_properties(schema, w->out);
    buf_append_char(w->out, '}');
}

static void append_base(struct writer *w, const struct connect_schema *schema, struct slice space) {
    if (schema->kind == CONNECT_STRUCT) {
        append_record(w, schema, space);
        return;
    }
    bool is_nested = schema->kind == CONNECT_ARRAY || schema->kind == CONNECT_MAP;
    if (!is_nested && !has_properties(schema)) {
        append_quoted(w->out, types[schema->kind]);
        return;
    }
    buf_printf(w->out, "{\"type\":\"%s\"", types[schema->kind]);
    if (is_nested) {
        buf_append_text(w->out, schema->kind == CONNECT_ARRAY ? ",\"items\":" : ",\"values\":");
        append_type(w, schema->items, space);
    }
    int scale, precision;
    if (is_decimal(schema, &scale, &precision))
        buf_printf(w->out, ",\"scale\":%d,\"precision\":%d", scale, precision);
    append_properties(schema, w->out);
    buf_append_char(w->out, '}');
}

static void append_type(struct writer *w, const struct connect_schema *schema, struct slice space) {
    if (!schema->optional) {
        append_base(w, schema, space);
        return;
    }
    buf_append_text(w->out, schema->default_json.data ? "[" : "[\"null\",");
    append_base(w, schema, space);
    buf_append_text(w->out, schema->default_json.data ? ",\"null\"]" : "]");
}

void avro_schema_append(const struct connect_schema *schema, struct buf *out) {
    struct writer writer = {.out = out};
    append_type(&writer, schema, SLICE(""));
}

/* ---- names ---- */

static bool is_letter(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }

/* A character beyond ASCII is one underscore, or two where Java counts two. */
static void append_name(const char *name, bool dots, struct buf *out) {
    bool first = true;
    for (const char *at = name; *at; at++) {
        unsigned char c = (unsigned char)*at;
        bool dot = dots && c == '.';
        if ((c & 0xc0) == 0x80) continue;
        if (first && is_digit(c)) buf_append_char(out, '_');
        buf_append_char(out, is_letter(c) || is_digit(c) || dot ? (char)c : '_');
        if (c >= 0xf0) buf_append_char(out, '_');
        first = dot;
    }
    if (first) buf_append_char(out, '_');
}

void avro_full_name_append(const char *name, struct buf *out) { append_name(name, true, out); }

void avro_field_name_append(const char *name, struct buf *out) { append_name(name, false, out); }

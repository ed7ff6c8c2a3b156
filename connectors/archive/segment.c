#include "connectors/archive/segment.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

enum { COLUMNS_MAX = 1664 /* of PostgreSQL's rows */ };

static const char *const class_names[N_CLASSES] = {
    [CLASS_KEYWORD] = "keyword",     [CLASS_TEXT] = "text",
    [CLASS_BOOL] = "bool",           [CLASS_SHORT] = "short",
    [CLASS_INTEGER] = "integer",     [CLASS_LONG] = "long",
    [CLASS_FLOAT] = "float",         [CLASS_DOUBLE] = "double",
    [CLASS_NUMERIC] = "numeric",     [CLASS_DATE] = "date",
    [CLASS_TIMESTAMP] = "timestamp", [CLASS_TIMESTAMPTZ] = "timestamptz",
    [CLASS_JSON] = "json",           [CLASS_BYTES] = "bytes",
};

static void write_column(struct buf *out, const struct shape_column *column) {
    buf_append_text(out, "{\"name\":");
    json_append_string(out, slice_from(column->name));
    buf_printf(out, ",\"class\":\"%s\"", class_names[column->class]);
    if (column->array) buf_append_text(out, ",\"array\":true");
    if (column->type_name) {
        buf_append_text(out, ",\"type\":");
        json_append_string(out, slice_from(column->type_name));
    }
    buf_append_char(out, '}');
}

void segment_write_header(struct buf *out, uint64_t number, const struct shape *shape) {
    buf_printf(out, "{\"segment\":%" PRIu64 ",\"schema\":", number);
    json_append_string(out, slice_from(shape->schema));
    buf_append_text(out, ",\"table\":");
    json_append_string(out, slice_from(shape->table));
    buf_append_text(out, ",\"columns\":[");
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (i) buf_append_char(out, ',');
        write_column(out, &shape->columns[i]);
    }
    buf_append_text(out, "],\"keys\":[");
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        if (i) buf_append_char(out, ',');
        json_append_string(out, slice_from(shape->columns[shape->keys[i]].name));
    }
    buf_append_text(out, "]}\n");
}

static bool read_column(const json_t *json, struct shape_column *column) {
    const char *class = json_string_value(json_object_get(json, "class"));
    column->name = json_string_value(json_object_get(json, "name"));
    column->type_name = json_string_value(json_object_get(json, "type"));
    column->array = json_is_true(json_object_get(json, "array"));
    for (int i = 0; class && column->name && i < N_CLASSES; i++) {
        column->class = (enum value_class)i;
        if (strcmp(class_names[i], class) == 0) return true;
    }
    return false;
}

static bool read_key(const json_t *json, const struct shape_column *columns, size_t n_columns,
                     uint16_t *key) {
    const char *name = json_string_value(json);
    for (size_t i = 0; name && i < n_columns; i++) {
        *key = (uint16_t)i;
        if (strcmp(columns[i].name, name) == 0) return true;
    }
    return false;
}

static bool names_differ(const struct shape_column *columns, size_t n_columns) {
    for (size_t i = 0; i < n_columns; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(columns[i].name, columns[j].name) == 0) return false;
        }
    }
    return true;
}

static struct shape *read_shape(const json_t *root) {
    const json_t *columns_json = json_object_get(root, "columns");
    const json_t *keys_json = json_object_get(root, "keys");
    const char *schema = json_string_value(json_object_get(root, "schema"));
    const char *table = json_string_value(json_object_get(root, "table"));
    size_t n_columns = json_array_size(columns_json);
    size_t n_keys = json_array_size(keys_json);
    if (!schema || !table || !n_columns || !n_keys || n_columns > COLUMNS_MAX || n_keys > n_columns)
        return NULL;
    struct shape_column *columns = mem_calloc(n_columns, sizeof *columns);
    uint16_t *keys = mem_calloc(n_keys, sizeof *keys);
    bool ok = true;
    for (size_t i = 0; i < n_columns && ok; i++)
        ok = read_column(json_array_get(columns_json, i), &columns[i]);
    ok = ok && names_differ(columns, n_columns);
    for (size_t i = 0; i < n_keys && ok; i++)
        ok = read_key(json_array_get(keys_json, i), columns, n_columns, &keys[i]);
    struct shape *shape =
        ok ? shape_create(schema, table, (uint16_t)n_columns, columns, (uint16_t)n_keys, keys)
           : NULL;
    mem_free(columns);
    mem_free(keys);
    return shape;
}

struct shape *segment_read_header(struct slice line, uint64_t *number) {
    json_t *root = json_loadb(line.data, line.len, 0, NULL);
    const json_t *number_json = json_object_get(root, "segment");
    struct shape *shape = json_is_integer(number_json) ? read_shape(root) : NULL;
    *number = (uint64_t)json_integer_value(number_json);
    json_decref(root);
    return shape;
}

#include "connectors/opensearch/mapping.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    /* Lucene's longest term is 32766 bytes: what may be longer, at 4 bytes a character, is left out of the
     * keyword index, or its document would be refused. */
    KEYWORD_MAX_CHARS = 8191,
    DEFAULT_FIELDS_LIMIT = 1000,
};

/* The one rule: what the table takes, its index takes. So nothing here can refuse a value that the column's type
 * allows: infinity and years past 9999 are malformed dates, NaN is a malformed number, and such a value stays in
 * the document and out of the field's index.
 *
 * - numeric is `double`: exact digits stay in the document, and comparing by 15 of them is what a search needs.
 *   (scaled_float would be exact for narrow ones, but is a module that not every server has; keyword orders "10"
 *   before "9".)
 * - json is an object that is kept and not indexed: flat_object refuses scalars, arrays and strings past 32 KiB, and
 *   a dynamic object refuses the second row whose field has another type. Who searches inside JSON makes
 *   the index with a mapping of their own. */
static const char *const class_mappings[N_CLASSES] = {
    [CLASS_KEYWORD] = "{\"type\":\"keyword\",\"ignore_above\":8191}",
    [CLASS_TEXT] = "{\"type\":\"text\",\"fields\":{\"keyword\":{\"type\":\"keyword\","
                   "\"ignore_above\":8191}}}",
    [CLASS_BOOL] = "{\"type\":\"boolean\"}",
    [CLASS_SHORT] = "{\"type\":\"short\"}",
    [CLASS_INTEGER] = "{\"type\":\"integer\"}",
    [CLASS_LONG] = "{\"type\":\"long\"}",
    [CLASS_FLOAT] = "{\"type\":\"float\",\"ignore_malformed\":true}",
    [CLASS_DOUBLE] = "{\"type\":\"double\",\"ignore_malformed\":true}",
    [CLASS_NUMERIC] = "{\"type\":\"double\",\"ignore_malformed\":true}",
    [CLASS_DATE] = "{\"type\":\"date\",\"format\":\"strict_date_optional_time\","
                   "\"ignore_malformed\":true}",
    [CLASS_TIMESTAMP] = "{\"type\":\"date\",\"format\":\"strict_date_optional_time\","
                        "\"ignore_malformed\":true}",
    [CLASS_TIMESTAMPTZ] = "{\"type\":\"date\",\"format\":\"strict_date_optional_time\","
                          "\"ignore_malformed\":true}",
    [CLASS_JSON] = "{\"type\":\"object\",\"enabled\":false}",
    [CLASS_BYTES] = "{\"type\":\"binary\"}",
};
_Static_assert(KEYWORD_MAX_CHARS == 8191, "written out in the table above");

static json_t *column_mapping(const struct shape_column *column) {
    json_t *mapping = json_loads(class_mappings[column->class], 0, NULL);
    ASSERT(mapping);
    return mapping;
}

/* A name with a dot in it is a path to OpenSearch: "a.b" is b within the object a. Mapped as such, a column `a`
 * beside it would make the whole mapping impossible, so it is left to be a plain part of the document. */
static bool mappable(const struct shape_column *column) {
    return column->name[0] != '_' && strchr(column->name, '.') == NULL;
}

static json_t *properties_of(const struct shape *shape) {
    json_t *properties = json_object();
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        const struct shape_column *column = &shape->columns[i];
        if (mappable(column)) json_object_set_new(properties, column->name, column_mapping(column));
    }
    return properties;
}

static json_t *mark(const struct shape *shape, uint64_t system_identifier) {
    char *table = mem_printf("%s.%s", shape->schema, shape->table);
    char system[24];
    snprintf(system, sizeof system, "%" PRIu64, system_identifier);
    json_t *mark = json_pack("{s:s, s:s}", "table", table, "system_identifier", system);
    mem_free(table);
    return mark;
}

json_t *mapping_index_body(const struct shape *shape, uint64_t system_identifier,
                           const char *alias) {
    json_t *mappings =
        json_pack("{s:b, s:{s:o}, s:o}", "dynamic", 0, "_meta", "freshet",
                  mark(shape, system_identifier), "properties", properties_of(shape));
    json_t *body = json_pack("{s:{s:{}}, s:o}", "aliases", alias, "mappings", mappings);
    /* Text counts twice. A table has 1600 columns at most. */
    int fields = 2 * shape->n_columns + 100;
    if (fields > DEFAULT_FIELDS_LIMIT)
        json_object_set_new(body, "settings",
                            json_pack("{s:i}", "index.mapping.total_fields.limit", fields));
    return body;
}

json_t *mapping_missing(const struct shape *shape, const json_t *mappings) {
    const json_t *present = json_object_get(mappings, "properties");
    json_t *missing = json_object();
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        const struct shape_column *column = &shape->columns[i];
        if (mappable(column) && !json_object_get(present, column->name))
            json_object_set_new(missing, column->name, column_mapping(column));
    }
    if (json_object_size(missing)) return missing;
    json_decref(missing);
    return NULL;
}

bool mapping_is_ours(const json_t *mappings, const struct shape *shape,
                     uint64_t *system_identifier) {
    const json_t *mark_json = json_object_get(json_object_get(mappings, "_meta"), "freshet");
    const char *table = json_string_value(json_object_get(mark_json, "table"));
    const char *system = json_string_value(json_object_get(mark_json, "system_identifier"));
    if (!table || !system) return false;
    char *expected = mem_printf("%s.%s", shape->schema, shape->table);
    bool ours = strcmp(table, expected) == 0;
    mem_free(expected);
    *system_identifier = strtoull(system, NULL, 10);
    return ours;
}

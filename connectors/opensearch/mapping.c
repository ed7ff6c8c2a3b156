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

/* JSON that a query has made is there to be searched: the server maps its fields as they come. */
static bool is_nested(const struct shape *shape, const struct shape_column *column) {
    return shape->computed && column->class == CLASS_JSON;
}

/* The columns that are fields: none where a column is the document, whose own fields they would not be. */
static uint16_t n_fields(const struct shape *shape) {
    return shape->document == SHAPE_NONE ? shape->n_columns : 0;
}

/* To `properties`, what it lacks. */
static void add_columns(json_t *properties, const struct shape *shape) {
    for (uint16_t i = 0; i < n_fields(shape); i++) {
        const struct shape_column *column = &shape->columns[i];
        if (is_nested(shape, column)) continue;
        if (mappable(column) && !json_object_get(properties, column->name))
            json_object_set_new(properties, column->name, column_mapping(column));
    }
}

static json_t *mark(const struct mapping_wish *wish) {
    char *table = mem_printf("%s.%s", wish->shape->schema, wish->shape->table);
    char system[24];
    snprintf(system, sizeof system, "%" PRIu64, wish->system_identifier);
    json_t *mark = json_pack("{s:s, s:s}", "table", table, "system_identifier", system);
    if (wish->serves) json_object_set_new(mark, "rebuild_of", json_string(wish->serves));
    mem_free(table);
    return mark;
}

/* The object of that name in `parent`, made where there is none. Borrowed. */
static json_t *object_in(json_t *parent, const char *name) {
    json_t *object = json_object_get(parent, name);
    if (object) return object;
    json_object_set_new(parent, name, json_object());
    return json_object_get(parent, name);
}

/* Documents that a query makes have fields that no column tells: the server maps those as they come, where the user's mapping
 * does not say otherwise. */
static void fill_mappings(json_t *mappings, const struct mapping_wish *wish) {
    bool rows = wish->shape->document == SHAPE_NONE;
    if (rows && !wish->shape->computed && !json_object_get(mappings, "dynamic"))
        json_object_set_new(mappings, "dynamic", json_false());
    json_object_set_new(object_in(mappings, "_meta"), "freshet", mark(wish));
    if (rows) add_columns(object_in(mappings, "properties"), wish->shape);
}

json_t *mapping_index_body(const struct mapping_wish *wish) {
    json_t *body = wish->file ? json_deep_copy(wish->file) : json_object();
    json_t *aliases = object_in(body, "aliases");
    json_object_set_new(aliases, wish->alias, json_object());
    if (wish->served) json_object_set_new(aliases, wish->served, json_object());
    for (uint32_t i = 0; i < wish->n_aliases; i++)
        json_object_set_new(aliases, wish->aliases[i], json_object());
    fill_mappings(object_in(body, "mappings"), wish);
    /* Text counts twice. A table has 1600 columns at most. */
    int fields = 2 * n_fields(wish->shape) + 100;
    static const char limit[] = "index.mapping.total_fields.limit";
    if (fields > DEFAULT_FIELDS_LIMIT && !json_object_get(object_in(body, "settings"), limit))
        json_object_set_new(object_in(body, "settings"), limit, json_integer(fields));
    return body;
}

json_t *mapping_missing(const struct shape *shape, const json_t *mappings) {
    const json_t *present = json_object_get(mappings, "properties");
    json_t *missing = json_object();
    for (uint16_t i = 0; i < n_fields(shape); i++) {
        const struct shape_column *column = &shape->columns[i];
        if (is_nested(shape, column)) continue;
        if (mappable(column) && !json_object_get(present, column->name))
            json_object_set_new(missing, column->name, column_mapping(column));
    }
    if (json_object_size(missing)) return missing;
    json_decref(missing);
    return NULL;
}

static const json_t *mark_of(const json_t *mappings) {
    return json_object_get(json_object_get(mappings, "_meta"), "freshet");
}

bool mapping_serves(const json_t *mappings, const char *name) {
    const char *of = json_string_value(json_object_get(mark_of(mappings), "rebuild_of"));
    return of && strcmp(of, name) == 0;
}

bool mapping_is_ours(const json_t *mappings, const struct shape *shape,
                     uint64_t *system_identifier) {
    const json_t *mark_json = mark_of(mappings);
    const char *table = json_string_value(json_object_get(mark_json, "table"));
    const char *system = json_string_value(json_object_get(mark_json, "system_identifier"));
    if (!table || !system) return false;
    char *expected = mem_printf("%s.%s", shape->schema, shape->table);
    bool ours = strcmp(table, expected) == 0;
    mem_free(expected);
    *system_identifier = strtoull(system, NULL, 10);
    return ours;
}

/* ---- what a field cannot hold ---- */

#define OBJECTS    " object nested flat_object flattened join "
#define NUMBERS    " byte short integer long unsigned_long half_float float double scaled_float "
#define PLACES     " ip geo_point geo_shape "
#define BELOW_LONG " byte short integer half_float "

/* The field types that refuse some value of a class. What refuses none, or only what a user who chose it means to be refused (a
 * text that is mapped as a date or as an address), is not here; nor is JSON, which a user maps by knowing what it holds. */
static const char *const refusing[N_CLASSES] = {
    [CLASS_KEYWORD] = OBJECTS NUMBERS " boolean binary ",
    [CLASS_TEXT] = OBJECTS NUMBERS " boolean binary ",
    [CLASS_BOOL] = OBJECTS NUMBERS PLACES " date date_nanos binary ",
    [CLASS_SHORT] = OBJECTS PLACES " boolean binary byte ",
    [CLASS_INTEGER] = OBJECTS PLACES " boolean binary byte short half_float ",
    [CLASS_LONG] = OBJECTS PLACES BELOW_LONG " boolean binary ",
    [CLASS_FLOAT] = OBJECTS PLACES BELOW_LONG " long boolean binary date date_nanos ",
    [CLASS_DOUBLE] = OBJECTS PLACES BELOW_LONG " long float boolean binary date date_nanos ",
    [CLASS_NUMERIC] = OBJECTS PLACES " byte short boolean binary date date_nanos ",
    [CLASS_DATE] = OBJECTS NUMBERS PLACES " boolean binary ",
    [CLASS_TIMESTAMP] = OBJECTS NUMBERS PLACES " boolean binary ",
    [CLASS_TIMESTAMPTZ] = OBJECTS NUMBERS PLACES " boolean binary ",
    [CLASS_JSON] = "",
    [CLASS_BYTES] = OBJECTS NUMBERS PLACES " boolean date date_nanos ",
};

static bool refuses(enum value_class class, const char *type) {
    char word[64];
    snprintf(word, sizeof word, " %.60s ", type);
    return strstr(refusing[class], word) != NULL;
}

const char *mapping_conflict(const struct shape *shape, const json_t *mappings, const char **type) {
    const json_t *properties = json_object_get(mappings, "properties");
    for (uint16_t i = 0; i < n_fields(shape); i++) {
        const struct shape_column *column = &shape->columns[i];
        const json_t *field = json_object_get(properties, column->name);
        if (!field || json_is_true(json_object_get(field, "ignore_malformed"))) continue;
        *type = json_string_value(json_object_get(field, "type"));
        if (!*type && json_object_get(field, "properties")) *type = "object";
        if (*type && refuses(column->class, *type)) return column->name;
    }
    return NULL;
}

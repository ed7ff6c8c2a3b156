/* From column types to an index's mapping. */
#include "connectors/opensearch/mapping.h"

#include "connectors/connector.h"
#include "connectors/registry.h"
#include "rows.h"

static struct shape *wide_shape(uint16_t n) {
    struct shape_column *columns = calloc(n, sizeof *columns);
    char(*names)[8] = calloc(n, sizeof *names);
    for (uint16_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "c%u", i);
        columns[i] = (struct shape_column){names[i], CLASS_TEXT, false, NULL, NULL};
    }
    struct shape *shape = shape_create("s", "t", n, columns, 1, (const uint16_t[]){0});
    free(columns);
    free(names);
    return shape;
}

static json_t *body_of(const struct shape *shape, uint64_t system_identifier, const char *alias) {
    return mapping_index_body(&(struct mapping_wish){
        .shape = shape, .system_identifier = system_identifier, .alias = alias});
}

static json_t *at(json_t *json, const char *path) {
    char copy[128];
    snprintf(copy, sizeof copy, "%s", path);
    char *rest = NULL;
    for (char *part = strtok_r(copy, "/", &rest); part; part = strtok_r(NULL, "/", &rest))
        json = json_object_get(json, part);
    return json;
}

static void assert_text(json_t *json, const char *path, const char *expected) {
    const char *text = json_string_value(at(json, path));
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static void each_class_has_its_field_type(void **state) {
    (void)state;
    static const struct {
        enum value_class class;
        const char *type;
    } expected[] = {
        {CLASS_KEYWORD, "keyword"}, {CLASS_TEXT, "text"},       {CLASS_BOOL, "boolean"},
        {CLASS_SHORT, "short"},     {CLASS_INTEGER, "integer"}, {CLASS_LONG, "long"},
        {CLASS_FLOAT, "float"},     {CLASS_DOUBLE, "double"},   {CLASS_NUMERIC, "double"},
        {CLASS_DATE, "date"},       {CLASS_TIMESTAMP, "date"},  {CLASS_TIMESTAMPTZ, "date"},
        {CLASS_JSON, "object"},     {CLASS_BYTES, "binary"},
    };
    assert_int_equal(sizeof expected / sizeof *expected, N_CLASSES);
    for (size_t i = 0; i < N_CLASSES; i++) {
        struct shape_column column = {"c", expected[i].class, false, NULL, NULL};
        struct shape *shape = shape_create("s", "t", 1, &column, 1, (const uint16_t[]){0});
        json_t *body = body_of(shape, 7, "freshet-t");
        assert_text(body, "mappings/properties/c/type", expected[i].type);
        json_decref(body);
        shape_release(&shape);
    }
}

static void the_index_body_bears_alias_and_mark(void **state) {
    (void)state;
    struct shape *shape = users_shape();
    json_t *body = body_of(shape, UINT64_C(7301234567890123456), "freshet-users");
    assert_non_null(at(body, "aliases/freshet-users"));
    assert_true(json_is_false(at(body, "mappings/dynamic")));
    assert_text(body, "mappings/_meta/freshet/table", "public.users");
    assert_text(body, "mappings/properties/name/fields/keyword/type", "keyword");
    assert_null(at(body, "settings"));
    uint64_t system_identifier = 0;
    assert_true(mapping_is_ours(at(body, "mappings"), shape, &system_identifier));
    assert_true(system_identifier == UINT64_C(7301234567890123456));
    json_decref(body);
    shape_release(&shape);
}

static void another_tables_mark_is_not_ours_nor_is_none(void **state) {
    (void)state;
    struct shape *users = users_shape();
    struct shape *other = wide_shape(1);
    json_t *body = body_of(other, 7, "a");
    uint64_t system_identifier;
    assert_false(mapping_is_ours(at(body, "mappings"), users, &system_identifier));
    assert_false(mapping_is_ours(NULL, users, &system_identifier));
    json_decref(body);
    shape_release(&users);
    shape_release(&other);
}

static void only_what_is_missing_is_added(void **state) {
    (void)state;
    struct shape *shape = users_shape();
    json_t *mappings = json_pack("{s:{s:{}, s:{}}}", "properties", "id", "note");
    json_t *missing = mapping_missing(shape, mappings);
    assert_int_equal(json_object_size(missing), 1);
    assert_text(missing, "name/type", "text");
    json_object_set_new(at(mappings, "properties"), "name", json_object());
    assert_null(mapping_missing(shape, mappings));
    json_decref(missing);
    json_decref(mappings);
    shape_release(&shape);
}

static void a_wide_table_raises_the_limit_of_fields(void **state) {
    (void)state;
    struct shape *shape = wide_shape(1600);
    json_t *body = body_of(shape, 7, "a");
    assert_true(json_integer_value(at(body, "settings/index.mapping.total_fields.limit")) >= 3200);
    json_decref(body);
    shape_release(&shape);
}

static void names_that_are_paths_to_the_server_are_not_mapped(void **state) {
    (void)state;
    static const struct shape_column columns[] = {{"a", CLASS_LONG, false, NULL, NULL},
                                                  {"a.b", CLASS_LONG, false, NULL, NULL},
                                                  {"_c", CLASS_LONG, false, NULL, NULL}};
    struct shape *shape = shape_create("s", "t", 3, columns, 1, (const uint16_t[]){0});
    json_t *body = body_of(shape, 7, "a");
    assert_int_equal(json_object_size(at(body, "mappings/properties")), 1);
    json_decref(body);
    shape_release(&shape);
}

static void types_of_postgres_have_their_class(void **state) {
    (void)state;
    struct shape_column column;
    assert_true(shape_builtin_type(1700, &column) && column.class == CLASS_NUMERIC &&
                !column.array);
    assert_true(shape_builtin_type(1231, &column) && column.class == CLASS_NUMERIC && column.array);
    assert_true(shape_builtin_type(3802, &column) && column.class == CLASS_JSON);
    assert_false(shape_builtin_type(999999, &column));
}

static void every_type_that_is_named_is_there(void **state) {
    (void)state;
    size_t n = 0;
    for (const char *const *name = connector_types(); *name; name++, n++) {
        const struct sink_type *type = registry_find(*name);
        assert_non_null(type);
        assert_string_equal(type->name, *name);
    }
    assert_true(n > 0);
    assert_null(registry_find("nonesuch"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_class_has_its_field_type),
        cmocka_unit_test(the_index_body_bears_alias_and_mark),
        cmocka_unit_test(another_tables_mark_is_not_ours_nor_is_none),
        cmocka_unit_test(only_what_is_missing_is_added),
        cmocka_unit_test(a_wide_table_raises_the_limit_of_fields),
        cmocka_unit_test(names_that_are_paths_to_the_server_are_not_mapped),
        cmocka_unit_test(types_of_postgres_have_their_class),
        cmocka_unit_test(every_type_that_is_named_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

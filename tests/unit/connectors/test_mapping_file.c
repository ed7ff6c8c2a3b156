/* The user's file of mappings and settings, what it leaves to the columns' types, and what it cannot hold. */
#include "connectors/opensearch/mapping_file.h"

#include "connectors/opensearch/mapping.h"
#include "rows.h"

static json_t *parse(const char *text) {
    struct error err = {0};
    json_t *file = mapping_file_parse("users.json", slice_from(text), &err);
    if (!file) print_message("%s\n", err.message);
    assert_non_null(file);
    return file;
}

static void expect_wrong(const char *text, const char *place, const char *why) {
    struct error err = {0};
    assert_null(mapping_file_parse("users.json", slice_from(text), &err));
    assert_int_equal(err.code, ERROR_CONFIG);
    assert_memory_equal(err.message, place, strlen(place));
    if (!strstr(err.message, why)) fail_msg("%s: not \"%s\"", err.message, why);
}

static void what_is_wrong_has_its_place(void **state) {
    (void)state;
    expect_wrong("{\"mappings\": {\n  \"properties\": {,}\n}}", "users.json:2:", "");
    expect_wrong("", "users.json:1:", "");
    expect_wrong("[]", "users.json:1:1: ", "no object");
    expect_wrong("{\"settings\": {},\n \"mapping\": {}}", "users.json:2:2: ", "neither");
    expect_wrong("{\n\"mappings\": []}", "users.json:2:1: ", "no object");
    expect_wrong("{\"mappings\":\n {\"properties\": 3}}", "users.json:2:3: ", "no object");
    expect_wrong("{\"settings\": 1, \"settings\": 2}", "users.json:1:", "duplicate");
}

static json_t *body_of(const struct shape *shape, const json_t *file) {
    static const char *const aliases[] = {"people"};
    return mapping_index_body(&(struct mapping_wish){.shape = shape,
                                                     .system_identifier = 7,
                                                     .alias = "freshet-users",
                                                     .aliases = aliases,
                                                     .n_aliases = 1,
                                                     .file = file,
                                                     .serves = "users"});
}

static const char *type_of(const json_t *body, const char *field) {
    const json_t *properties = json_object_get(json_object_get(body, "mappings"), "properties");
    return json_string_value(json_object_get(json_object_get(properties, field), "type"));
}

static void what_it_says_holds_and_the_rest_is_completed(void **state) {
    (void)state;
    struct shape *shape = users_shape();
    json_t *file = parse("{\"settings\": {\"number_of_shards\": 3}, \"mappings\": {"
                         "\"dynamic\": \"strict\", \"_meta\": {\"team\": \"a\"},"
                         "\"properties\": {\"name\": {\"type\": \"keyword\"}}}}");
    json_t *body = body_of(shape, file);
    const json_t *mappings = json_object_get(body, "mappings");
    assert_string_equal(type_of(body, "name"), "keyword");
    assert_string_equal(type_of(body, "id"), "long");
    assert_string_equal(json_string_value(json_object_get(mappings, "dynamic")), "strict");
    const json_t *meta = json_object_get(mappings, "_meta");
    assert_string_equal(json_string_value(json_object_get(meta, "team")), "a");
    assert_non_null(json_object_get(json_object_get(body, "aliases"), "people"));
    assert_non_null(json_object_get(json_object_get(body, "aliases"), "freshet-users"));
    const json_t *settings = json_object_get(body, "settings");
    assert_int_equal(json_integer_value(json_object_get(settings, "number_of_shards")), 3);
    assert_true(mapping_serves(mappings, "users"));
    assert_false(mapping_serves(mappings, "others"));
    assert_null(json_object_get(json_object_get(file, "mappings"), "_freshet")); /* not changed */
    assert_null(
        json_object_get(json_object_get(json_object_get(file, "mappings"), "_meta"), "freshet"));
    json_decref(body);
    json_decref(file);
    shape_release(&shape);
}

static void fields_that_refuse_a_columns_values_are_found(void **state) {
    (void)state;
    static const struct {
        const char *field;
        const char *conflict;
    } cases[] = {
        {"\"name\": {\"type\": \"keyword\"}", NULL},
        {"\"name\": {\"type\": \"date\"}", NULL},
        {"\"name\": {\"type\": \"integer\"}", "name"},
        {"\"name\": {\"type\": \"integer\", \"ignore_malformed\": true}", NULL},
        {"\"name\": {\"properties\": {}}", "name"},
        {"\"id\": {\"type\": \"integer\"}", "id"},
        {"\"id\": {\"type\": \"long\"}", NULL},
        {"\"id\": {\"type\": \"keyword\"}", NULL},
        {"\"id\": {\"type\": \"boolean\"}", "id"},
        {"\"other\": {\"type\": \"boolean\"}", NULL},
    };
    struct shape *shape = users_shape();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"mappings\": {\"properties\": {%s}}}", cases[i].field);
        json_t *file = parse(text);
        const char *type = NULL;
        const char *column = mapping_conflict(shape, json_object_get(file, "mappings"), &type);
        if (cases[i].conflict)
            assert_string_equal(column, cases[i].conflict);
        else
            assert_null(column);
        json_decref(file);
    }
    shape_release(&shape);
}

static void what_a_query_makes_is_mapped_as_it_comes(void **state) {
    (void)state;
    static const struct shape_column columns[] = {{"id", CLASS_LONG, false, NULL, NULL},
                                                  {"lines", CLASS_JSON, false, NULL, NULL}};
    struct shape *shape = shape_create("query", "orders", 2, columns, 1, (const uint16_t[]){0});
    shape->computed = true;
    json_t *body = body_of(shape, NULL);
    assert_string_equal(type_of(body, "id"), "long");
    assert_null(type_of(body, "lines"));
    assert_null(json_object_get(json_object_get(body, "mappings"), "dynamic"));
    json_decref(body);
    assert_true(shape_set_parts(shape, NULL, "lines"));
    body = body_of(shape, NULL);
    assert_null(type_of(body, "id"));
    json_decref(body);
    shape_release(&shape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_has_its_place),
        cmocka_unit_test(what_it_says_holds_and_the_rest_is_completed),
        cmocka_unit_test(fields_that_refuse_a_columns_values_are_found),
        cmocka_unit_test(what_a_query_makes_is_mapped_as_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

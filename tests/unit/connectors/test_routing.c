/* The column that chooses a shard: in a key's text, and in a _bulk request. */
#include "connectors/opensearch/bulk.h"
#include "rows.h"

static const struct shape_column columns[] = {{"id", CLASS_LONG, false, NULL, NULL},
                                              {"shop", CLASS_TEXT, false, NULL, NULL},
                                              {"doc", CLASS_JSON, false, NULL, NULL}};

static struct shape *orders(uint16_t n_keys, const char *routing, const char *document) {
    static const uint16_t keys[] = {0, 1};
    struct shape *shape = shape_create("public", "orders", 3, columns, n_keys, keys);
    assert_true(shape_set_parts(shape, routing, document));
    return shape;
}

static void expect_parts(const struct shape *shape, const struct value *row, const char *key_text,
                         const char *id_text, const char *routing_text) {
    struct buf key = {0};
    struct buf id = {0};
    struct buf routing = {0};
    assert_true(shape_append_key(shape, row, &key));
    assert_string_equal(buf_text(&key), key_text);
    shape_split_key(shape, buf_slice(&key), &id, &routing);
    assert_string_equal(buf_text(&id), id_text);
    assert_string_equal(buf_text(&routing), routing_text);
    buf_deinit(&key);
    buf_deinit(&id);
    buf_deinit(&routing);
}

static void a_routing_apart_stands_before_the_key(void **state) {
    (void)state;
    struct shape *shape = orders(1, "shop", NULL);
    assert_true(shape->routing_apart);
    expect_parts(shape, ROW(V("7"), V("north"), V(NULL)), "north:7", "7", "north");
    expect_parts(shape, ROW(V("a:b%"), V("n:o%"), V(NULL)), "n%3Ao%25:a%3Ab%25", "a:b%", "n:o%");
    expect_parts(shape, ROW(V("7"), V(NULL), V(NULL)), ":7", "7", "");
    shape_release(&shape);
}

static void a_routing_that_is_not_known_makes_no_key(void **state) {
    (void)state;
    struct shape *shape = orders(1, "shop", NULL);
    struct buf key = {0};
    assert_false(shape_append_key(shape, ROW(V("7"), V(UNCHANGED), V(NULL)), &key));
    buf_deinit(&key);
    shape_release(&shape);
}

static void a_routing_of_the_key_leaves_it_as_it_is(void **state) {
    (void)state;
    struct shape *shape = orders(2, "shop", NULL);
    assert_false(shape->routing_apart);
    expect_parts(shape, ROW(V("7"), V("n:"), V(NULL)), "7:n%3A", "7:n%3A", "n:");
    shape_release(&shape);
    shape = orders(1, "id", NULL);
    expect_parts(shape, ROW(V("a:b%3A"), V("n"), V(NULL)), "a:b%3A", "a:b%3A", "a:b%3A");
    shape_release(&shape);
}

static void without_routing_the_key_is_the_id(void **state) {
    (void)state;
    struct shape *shape = orders(1, NULL, NULL);
    expect_parts(shape, ROW(V("a:b%3A"), V("n"), V(NULL)), "a:b%3A", "a:b%3A", "");
    shape_release(&shape);
}

static void a_part_that_no_column_has_is_told(void **state) {
    (void)state;
    struct shape *shape = orders(1, NULL, NULL);
    assert_false(shape_set_parts(shape, "absent", NULL));
    assert_false(shape_set_parts(shape, NULL, "absent"));
    assert_true(shape_set_parts(shape, NULL, NULL));
    shape_release(&shape);
}

static void a_request_names_the_routing_and_the_document_that_is_one(void **state) {
    (void)state;
    struct shape *shape = orders(1, "shop", "doc");
    struct batch *batch = batch_create(BATCH_WRITES, shape, 0);
    struct write_stamp stamp = {.version = 5};
    const struct value *row = ROW(V("7"), V("north"), V("{\"lines\": [{\"n\": 1}]}"));
    batch_put(batch, SLICE("north:7"), &stamp, row, NULL);
    batch_remove(batch, SLICE(":8"), &stamp);
    struct buf body = {0};
    size_t at = 0;
    assert_int_equal(bulk_compose(&body, batch, &at, 2, SIZE_MAX), 2);
    assert_string_equal(
        buf_text(&body),
        "{\"index\":{\"_id\":\"7\",\"routing\":\"north\",\"version\":5,"
        "\"version_type\":\"external\"}}\n"
        "{\"lines\": [{\"n\": 1}]}\n"
        "{\"delete\":{\"_id\":\"8\",\"version\":5,\"version_type\":\"external\"}}\n");
    buf_deinit(&body);
    batch_destroy(&batch);
    shape_release(&shape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_routing_apart_stands_before_the_key),
        cmocka_unit_test(a_routing_that_is_not_known_makes_no_key),
        cmocka_unit_test(a_routing_of_the_key_leaves_it_as_it_is),
        cmocka_unit_test(without_routing_the_key_is_the_id),
        cmocka_unit_test(a_part_that_no_column_has_is_told),
        cmocka_unit_test(a_request_names_the_routing_and_the_document_that_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

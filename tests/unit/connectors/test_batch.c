/* Coalescing, and values that the stream leaves out. */
#include "connectors/runtime/batch.h"

#include "rows.h"

static struct shape *shape;

static struct batch *new_batch(void) { return batch_create(BATCH_WRITES, shape, 0); }

static void put(struct batch *batch, const char *key, uint64_t version, const struct value *row) {
    batch_put(batch, slice_from(key), &(struct write_stamp){.version = version}, row, NULL);
}

static void take_away(struct batch *batch, const char *key, uint64_t version) {
    batch_remove(batch, slice_from(key), &(struct write_stamp){.version = version});
}

static struct write *next(struct batch *batch, size_t *at) {
    return batch_next(batch, at, batch->n_writes);
}

static void the_last_change_of_a_key_wins_in_its_place(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    put(batch, "1", 10, ROW(V("1"), V("a"), V(NULL)));
    put(batch, "2", 11, ROW(V("2"), V("b"), V(NULL)));
    put(batch, "1", 12, ROW(V("1"), V("c"), V(NULL)));
    take_away(batch, "3", 13);
    size_t at = 0;
    struct write *write = next(batch, &at);
    assert_slice(write->key, "2");
    write = next(batch, &at);
    assert_slice(write->key, "1");
    assert_int_equal(write->stamp.version, 12);
    assert_memory_equal(write->row[1].data, "c", 1);
    write = next(batch, &at);
    assert_slice(write->key, "3");
    assert_int_equal(write->operation, WRITE_REMOVE);
    assert_null(next(batch, &at));
    assert_int_equal(batch->n_superseded, 1);
    batch_destroy(&batch);
}

static void a_delete_then_an_insert_is_the_insert_and_the_other_way_round(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    take_away(batch, "1", 10);
    put(batch, "1", 11, ROW(V("1"), V("a"), V(NULL)));
    put(batch, "2", 12, ROW(V("2"), V("b"), V(NULL)));
    take_away(batch, "2", 13);
    size_t at = 0;
    assert_int_equal(next(batch, &at)->operation, WRITE_PUT);
    assert_int_equal(next(batch, &at)->operation, WRITE_REMOVE);
    assert_null(next(batch, &at));
    batch_destroy(&batch);
}

static void ten_thousand_keys_are_told_apart(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    char key[16];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++) {
            snprintf(key, sizeof key, "%d", i);
            put(batch, key, (uint64_t)(round * 10000 + i + 1), ROW(V(key), V("x"), V(NULL)));
        }
    }
    size_t n = 0;
    size_t at = 0;
    for (struct write *write; (write = next(batch, &at)); n++)
        assert_int_equal(write->stamp.version, 20000 + n + 1);
    assert_int_equal(n, 10000);
    batch_destroy(&batch);
}

static void what_the_stream_left_out_is_taken_from_the_change_before(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    put(batch, "1", 10, ROW(V("1"), V("a"), V("large")));
    put(batch, "1", 11, ROW(V("1"), V("b"), V(UNCHANGED)));
    size_t at = 0;
    struct write *write = next(batch, &at);
    assert_false(write->incomplete);
    assert_memory_equal(write->row[1].data, "b", 1);
    assert_memory_equal(write->row[2].data, "large", 5);
    batch_destroy(&batch);
}

static void or_from_the_old_row_where_the_stream_has_it(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    batch_put(batch, SLICE("1"), &(struct write_stamp){.version = 1},
              ROW(V("1"), V("b"), V(UNCHANGED)), ROW(V("1"), V("a"), V("old")));
    size_t at = 0;
    struct write *write = next(batch, &at);
    assert_false(write->incomplete);
    assert_memory_equal(write->row[2].data, "old", 3);
    batch_destroy(&batch);
}

static void or_is_missing_and_says_so(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    put(batch, "1", 10, ROW(V("1"), V("a"), V(UNCHANGED)));
    put(batch, "1", 11, ROW(V("1"), V("b"), V(UNCHANGED)));
    take_away(batch, "2", 12);
    put(batch, "2", 13, ROW(V("2"), V("b"), V(UNCHANGED)));
    put(batch, "3", 14, ROW(V("3"), V("a"), V(UNCHANGED)));
    put(batch, "3", 15, ROW(V("3"), V("b"), V("here")));
    size_t at = 0;
    assert_true(next(batch, &at)->incomplete);
    assert_true(next(batch, &at)->incomplete);
    assert_false(next(batch, &at)->incomplete);
    batch_destroy(&batch);
}

static void only_what_is_pending_is_given_again(void **state) {
    (void)state;
    struct batch *batch = new_batch();
    for (int i = 0; i < 4; i++)
        put(batch, (const char *[]){"1", "2", "3", "4"}[i], 10, ROW(V("1"), V("a"), V(NULL)));
    batch->writes[0].outcome = WRITE_DONE;
    batch_refuse(batch, &batch->writes[1], 400, SLICE("{}"));
    batch->writes[2].vanished = true;
    size_t at = 0;
    assert_slice(next(batch, &at)->key, "4");
    assert_null(next(batch, &at));
    assert_string_equal(batch->writes[1].cause, "{}");
    batch_destroy(&batch);
}

static int setup(void **state) {
    (void)state;
    shape = users_shape();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    shape_release(&shape);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_change_of_a_key_wins_in_its_place),
        cmocka_unit_test(a_delete_then_an_insert_is_the_insert_and_the_other_way_round),
        cmocka_unit_test(ten_thousand_keys_are_told_apart),
        cmocka_unit_test(what_the_stream_left_out_is_taken_from_the_change_before),
        cmocka_unit_test(or_from_the_old_row_where_the_stream_has_it),
        cmocka_unit_test(or_is_missing_and_says_so),
        cmocka_unit_test(only_what_is_pending_is_given_again),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

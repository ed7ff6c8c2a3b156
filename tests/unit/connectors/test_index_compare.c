/* The answer to an _mget. */
#include "connectors/opensearch/index_compare.h"

#include "connectors/document/json_digest.h"
#include "rows.h"

#define DOCUMENT                                                                                   \
    "{\"_index\":\"users\",\"_id\":\"1\",\"_version\":77,\"found\":true,\"_source\":{\"id\":1}}"
#define ABSENT "{\"_index\":\"users\",\"_id\":\"2\",\"found\":false}"

static bool reads(const char *answer, struct sink_entry *entries, size_t n, struct error *err) {
    return index_compare_read(slice_from(answer), entries, n, err);
}

static void documents_come_in_the_requests_order(void **state) {
    (void)state;
    struct sink_entry entries[2];
    struct error err;
    assert_true(reads("{\"docs\":[" DOCUMENT "," ABSENT "]}", entries, 2, &err));
    uint64_t digest;
    assert_true(json_digest(SLICE("{\"id\": 1}"), &digest));
    assert_true(entries[0].found && entries[0].version == 77 && entries[0].digest == digest);
    assert_false(entries[1].found);
    assert_int_equal(entries[1].version, 0);
}

static void what_is_no_answer_to_the_request_is_refused(void **state) {
    (void)state;
    static const char *const answers[] = {"",
                                          "null",
                                          "{}",
                                          "{\"docs\":{}}",
                                          "{\"docs\":[" DOCUMENT "]}",
                                          "{\"docs\":[" DOCUMENT "," DOCUMENT "," DOCUMENT "]}",
                                          "{\"docs\":[" DOCUMENT ",1]}",
                                          "{\"docs\":[" DOCUMENT "," ABSENT};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct sink_entry entries[2];
        struct error err = {0};
        if (reads(answers[i], entries, 2, &err)) fail_msg("taken: %s", answers[i]);
        assert_true(err.retriable && err.message[0]);
    }
}

static void a_document_that_cannot_be_read_is_no_absent_one(void **state) {
    (void)state;
    struct sink_entry entry;
    struct error err;
    assert_false(reads("{\"docs\":[{\"_id\":\"1\",\"error\":{\"type\":\"shard_failure\"}}]}",
                       &entry, 1, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_false(
        reads("{\"docs\":[{\"_id\":\"1\",\"error\":{\"type\":\"index_not_found_exception\"}}]}",
              &entry, 1, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

/* An id and a routing of the index are a row's key again. */
static void a_key_is_put_together_as_it_was_taken_apart(void **state) {
    (void)state;
    struct shape *shape = users_shape();
    struct buf whole = {0};
    struct buf id = {0};
    struct buf routing = {0};
    struct buf again = {0};
    assert_true(shape_set_parts(shape, "name", NULL));
    assert_true(shape_append_key(shape, ROW(V("4:2"), V("a%:b"), V(NULL)), &whole));
    shape_split_key(shape, buf_slice(&whole), &id, &routing);
    assert_slice(buf_slice(&id), "4:2");
    assert_slice(buf_slice(&routing), "a%:b");
    shape_join_key(shape, buf_slice(&id), buf_slice(&routing), &again);
    assert_slice(buf_slice(&again), buf_text(&whole));
    buf_deinit(&whole);
    buf_deinit(&id);
    buf_deinit(&routing);
    buf_deinit(&again);
    shape_release(&shape);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_come_in_the_requests_order),
        cmocka_unit_test(what_is_no_answer_to_the_request_is_refused),
        cmocka_unit_test(a_document_that_cannot_be_read_is_no_absent_one),
        cmocka_unit_test(a_key_is_put_together_as_it_was_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

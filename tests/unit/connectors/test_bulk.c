/* The _bulk request and its answer. */
#include "connectors/opensearch/bulk.h"

#include "rows.h"

static struct shape *shape;

/* Writes of keys 1..n, the last a delete. */
static struct batch *some_batch(int n) {
    struct batch *batch = batch_create(BATCH_WRITES, shape, 0);
    char key[8];
    for (int i = 1; i <= n; i++) {
        snprintf(key, sizeof key, "%d", i);
        struct write_stamp stamp = {.version = 100 + (uint64_t)i};
        if (i < n)
            batch_put(batch, slice_from(key), &stamp, ROW(V(key), V("a"), V(NULL)), NULL);
        else
            batch_remove(batch, slice_from(key), &stamp);
    }
    return batch;
}

static void each_item_names_its_id_and_external_version(void **state) {
    (void)state;
    struct batch *batch = some_batch(2);
    struct buf body = {0};
    size_t at = 0;
    assert_int_equal(bulk_compose(&body, batch, &at, 2, SIZE_MAX), 2);
    assert_int_equal(at, 2);
    assert_string_equal(
        buf_text(&body),
        "{\"index\":{\"_id\":\"1\",\"version\":101,\"version_type\":\"external\"}}\n"
        "{\"id\":1,\"name\":\"a\",\"note\":null}\n"
        "{\"delete\":{\"_id\":\"2\",\"version\":102,\"version_type\":\"external\"}}\n");
    buf_deinit(&body);
    batch_destroy(&batch);
}

static void a_request_ends_at_its_size(void **state) {
    (void)state;
    struct batch *batch = some_batch(10);
    struct buf body = {0};
    size_t at = 0;
    assert_int_equal(bulk_compose(&body, batch, &at, 10, 1), 1);
    assert_int_equal(at, 1);
    body.len = 0;
    assert_int_equal(bulk_compose(&body, batch, &at, 10, 250), 3);
    assert_int_equal(at, 4);
    body.len = 0;
    assert_int_equal(bulk_compose(&body, batch, &at, 6, SIZE_MAX), 2);
    assert_int_equal(at, 6);
    buf_deinit(&body);
    batch_destroy(&batch);
}

static void an_id_that_would_sink_the_whole_request_is_refused_alone(void **state) {
    (void)state;
    struct batch *batch = batch_create(BATCH_WRITES, shape, 0);
    char longest[514];
    memset(longest, 'x', 513);
    longest[513] = '\0';
    struct write_stamp stamp = {.version = 1};
    batch_remove(batch, slice_from(longest), &stamp);
    batch_remove(batch, SLICE(""), &stamp);
    longest[512] = '\0';
    batch_remove(batch, slice_from(longest), &stamp);
    struct buf body = {0};
    size_t at = 0;
    assert_int_equal(bulk_compose(&body, batch, &at, 3, SIZE_MAX), 1);
    assert_int_equal(batch->writes[0].outcome, WRITE_REFUSED);
    assert_int_equal(batch->writes[1].outcome, WRITE_REFUSED);
    assert_int_equal(batch->writes[2].outcome, WRITE_PENDING);
    buf_deinit(&body);
    batch_destroy(&batch);
}

static void every_item_gets_its_own_outcome(void **state) {
    (void)state;
    struct batch *batch = some_batch(5);
    struct error err = {0};
    enum bulk_result result =
        bulk_read(batch, 0, 5,
                  SLICE("{\"took\":1,\"errors\":true,\"items\":["
                        "{\"index\":{\"_id\":\"1\",\"status\":201}},"
                        "{\"index\":{\"_id\":\"2\",\"status\":409,\"error\":{\"type\":\"version_"
                        "conflict_engine_exception\"}}},"
                        "{\"index\":{\"_id\":\"3\",\"status\":400,\"error\":{\"type\":\"mapper_"
                        "parsing_exception\",\"reason\":\"no\"}}},"
                        "{\"index\":{\"_id\":\"4\",\"status\":429,\"error\":{\"type\":\"rejected\","
                        "\"reason\":\"busy\"}}},"
                        "{\"delete\":{\"_id\":\"5\",\"status\":404,\"result\":\"not_found\"}}]}"),
                  &err);
    assert_int_equal(result, BULK_RETRY);
    assert_true(err.retriable);
    assert_non_null(strstr(err.message, "busy"));
    assert_int_equal(batch->writes[0].outcome, WRITE_DONE);
    assert_int_equal(batch->writes[1].outcome, WRITE_STALE);
    assert_int_equal(batch->writes[2].outcome, WRITE_REFUSED);
    assert_int_equal(batch->writes[2].status, 400);
    assert_string_equal(batch->writes[2].cause,
                        "{\"type\":\"mapper_parsing_exception\",\"reason\":\"no\"}");
    assert_int_equal(batch->writes[3].outcome, WRITE_PENDING);
    assert_int_equal(batch->writes[4].outcome, WRITE_DONE);
    batch_destroy(&batch);
}

static void what_is_no_fault_of_the_document_is_tried_again(void **state) {
    (void)state;
    static const int statuses[] = {401, 403, 408, 429, 500, 502, 503, 504};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct batch *batch = some_batch(1);
        char answer[128];
        snprintf(answer, sizeof answer, "{\"items\":[{\"delete\":{\"status\":%d}}]}", statuses[i]);
        struct error err = {0};
        assert_int_equal(bulk_read(batch, 0, 1, slice_from(answer), &err), BULK_RETRY);
        assert_int_equal(batch->writes[0].outcome, WRITE_PENDING);
        batch_destroy(&batch);
    }
}

static void a_missing_index_is_told_from_a_missing_document(void **state) {
    (void)state;
    struct batch *batch = some_batch(1);
    struct error err = {0};
    assert_int_equal(bulk_read(batch, 0, 1,
                               SLICE("{\"items\":[{\"delete\":{\"status\":404,\"error\":"
                                     "{\"type\":\"index_not_found_exception\"}}}]}"),
                               &err),
                     BULK_GONE);
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    batch_destroy(&batch);
}

static void a_part_of_the_batch_is_read_by_itself(void **state) {
    (void)state;
    struct batch *batch = some_batch(4);
    batch->writes[1].outcome = WRITE_DONE;
    struct error err = {0};
    assert_int_equal(
        bulk_read(batch, 1, 3, SLICE("{\"items\":[{\"index\":{\"status\":200}}]}"), &err),
        BULK_DONE);
    assert_int_equal(batch->writes[0].outcome, WRITE_PENDING);
    assert_int_equal(batch->writes[2].outcome, WRITE_DONE);
    assert_int_equal(batch->writes[3].outcome, WRITE_PENDING);
    batch_destroy(&batch);
}

static void an_answer_to_another_request_is_none(void **state) {
    (void)state;
    static const char *const answers[] = {
        "",
        "[]",
        "{\"items\":{}}",
        "{\"items\":[]}",
        "{\"items\":[{\"index\":{\"status\":200}}]}",
        "{\"items\":[{\"index\":{\"status\":200}},{\"index\":{\"status\":200}}]}",
        "{\"items\":[{\"index\":{\"status\":200}},{\"delete\":{\"status\":200}},{\"index\":{"
        "\"status\":200}}]}",
        "{\"items\":[{\"index\":{}},{\"delete\":{\"status\":200}}]}",
        "{\"items\":[7,8]}",
        "<html>",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct batch *batch = some_batch(2);
        struct error err = {0};
        assert_int_equal(bulk_read(batch, 0, 2, slice_from(answers[i]), &err), BULK_INVALID);
        assert_true(err.retriable);
        batch_destroy(&batch);
    }
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
        cmocka_unit_test(each_item_names_its_id_and_external_version),
        cmocka_unit_test(a_request_ends_at_its_size),
        cmocka_unit_test(an_id_that_would_sink_the_whole_request_is_refused_alone),
        cmocka_unit_test(every_item_gets_its_own_outcome),
        cmocka_unit_test(what_is_no_fault_of_the_document_is_tried_again),
        cmocka_unit_test(a_missing_index_is_told_from_a_missing_document),
        cmocka_unit_test(a_part_of_the_batch_is_read_by_itself),
        cmocka_unit_test(an_answer_to_another_request_is_none),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

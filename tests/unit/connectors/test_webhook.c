/* What is posted to a webhook, and its signature. */
#include "connectors/webhook/request.h"

#include <stdlib.h>

#include "base/mem.h"
#include "rows.h"

static struct shape *shape;

/* Writes of keys 1..n with the versions given, all of transaction `xid`. */
static struct batch *batch_of(int n, const uint64_t *versions, uint64_t xid) {
    struct batch *batch = batch_create(BATCH_WRITES, shape, 0);
    char key[8];
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%d", i + 1);
        batch_put(batch, slice_from(key), &(struct write_stamp){.version = versions[i], .xid = xid},
                  ROW(V(key), V("Ann"), V(NULL)), NULL);
    }
    return batch;
}

static void a_request_has_its_changes_and_the_position_of_the_last(void **state) {
    (void)state;
    struct batch *batch = batch_of(2, (const uint64_t[]){0x100000010, 0x100000020}, 7);
    struct request request = {0};
    size_t at = 0;
    request_compose(&request, "hooks", batch, &at, 2, SIZE_MAX, false);
    assert_int_equal(at, 2);
    assert_int_equal(request.n_changes, 2);
    assert_string_equal(request.key, "1/20");
    assert_string_equal(
        buf_text(&request.body),
        "{\"connector\":\"hooks\",\"schema\":\"public\",\"table\":\"users\",\"changes\":["
        "{\"operation\":\"put\",\"id\":\"1\",\"version\":4294967312,\"xid\":7,"
        "\"document\":{\"id\":1,\"name\":\"Ann\",\"note\":null}},"
        "{\"operation\":\"put\",\"id\":\"2\",\"version\":4294967328,\"xid\":7,"
        "\"document\":{\"id\":2,\"name\":\"Ann\",\"note\":null}}],\"position\":\"1/20\"}");
    request_deinit(&request);
    batch_destroy(&batch);
}

static void a_request_ends_at_its_size_but_not_within_a_position(void **state) {
    (void)state;
    struct batch *batch = batch_of(4, (const uint64_t[]){1, 2, 2, 3}, 7);
    struct request request = {0};
    size_t at = 0;
    request_compose(&request, "hooks", batch, &at, 4, 1, false);
    assert_int_equal(at, 1);
    request_compose(&request, "hooks", batch, &at, 4, 1, false);
    assert_int_equal(at, 3);
    assert_string_equal(request.key, "0/2");
    request_compose(&request, "hooks", batch, &at, 4, 1, false);
    assert_int_equal(at, 4);
    request_compose(&request, "hooks", batch, &at, 4, 1, false);
    assert_int_equal(request.n_changes, 0);
    request_deinit(&request);
    batch_destroy(&batch);
}

/* All rows of a load have one version; and the second half of a request ends where the whole does. */
static void keys_that_a_position_does_not_tell_apart_have_a_hash(void **state) {
    (void)state;
    struct batch *load = batch_of(2, (const uint64_t[]){5, 5}, 0);
    struct request one = {0};
    struct request two = {0};
    size_t at = 0;
    request_compose(&one, "hooks", load, &at, 2, 1, false);
    assert_int_equal(at, 1);
    request_compose(&two, "hooks", load, &at, 2, 1, false);
    assert_memory_equal(one.key, "0/5-", 4);
    assert_string_not_equal(one.key, two.key);
    batch_destroy(&load);
    struct batch *batch = batch_of(2, (const uint64_t[]){5, 6}, 9);
    at = 0;
    request_compose(&one, "hooks", batch, &at, 2, SIZE_MAX, false);
    at = 1;
    request_compose(&two, "hooks", batch, &at, 2, SIZE_MAX, true);
    assert_string_equal(one.key, "0/6");
    assert_memory_equal(two.key, "0/6-", 4);
    request_deinit(&one);
    request_deinit(&two);
    batch_destroy(&batch);
}

/* However many keys a transaction touches, and in how many batches. */
static void results_of_one_transaction_are_told_apart_too(void **state) {
    (void)state;
    shape->computed = true;
    struct batch *batch = batch_of(2, (const uint64_t[]){5, 5}, 9);
    struct request one = {0};
    struct request two = {0};
    size_t at = 0;
    request_compose(&one, "hooks", batch, &at, 2, 1, false);
    assert_int_equal(at, 1);
    request_compose(&two, "hooks", batch, &at, 2, 1, false);
    assert_memory_equal(one.key, "0/5-", 4);
    assert_string_not_equal(one.key, two.key);
    shape->computed = false;
    request_deinit(&one);
    request_deinit(&two);
    batch_destroy(&batch);
}

/* The example of the specification of Standard Webhooks. */
static void the_signature_is_that_of_standard_webhooks(void **state) {
    (void)state;
    struct error err;
    struct request_secret secret;
    assert_true(request_read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &secret, &err));
    struct request request = {0};
    snprintf(request.key, sizeof request.key, "msg_p5jXN8AQM9LWM0D4loKWxJek");
    buf_append_text(&request.body, "{\"test\": 2432232314}");
    char headers[REQUEST_HEADERS][REQUEST_HEADER_MAX];
    assert_int_equal(request_headers(&request, &secret, 1614265330, headers), 4);
    assert_string_equal(headers[0], "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_string_equal(headers[1], "Idempotency-Key: msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_string_equal(headers[2], "webhook-timestamp: 1614265330");
    assert_string_equal(headers[3],
                        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_int_equal(request_headers(&request, NULL, 1614265330, headers), 3);
    mem_free(secret.key);
    request_deinit(&request);
}

static void a_secret_that_is_none_is_refused(void **state) {
    (void)state;
    struct error err;
    struct request_secret secret;
    assert_false(request_read_secret("", &secret, &err));
    assert_false(request_read_secret("whsec_", &secret, &err));
    assert_false(request_read_secret("whsec_???", &secret, &err));
    assert_true(request_read_secret("any text", &secret, &err));
    assert_int_equal(secret.len, 8);
    mem_free(secret.key);
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
        cmocka_unit_test(a_request_has_its_changes_and_the_position_of_the_last),
        cmocka_unit_test(a_request_ends_at_its_size_but_not_within_a_position),
        cmocka_unit_test(keys_that_a_position_does_not_tell_apart_have_a_hash),
        cmocka_unit_test(results_of_one_transaction_are_told_apart_too),
        cmocka_unit_test(the_signature_is_that_of_standard_webhooks),
        cmocka_unit_test(a_secret_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* When a connector may write: pause, rate, breaker. */
#include "connectors/runtime/gate.h"

#include "rows.h"

enum { SECOND_US = 1000000 };

static void a_paused_gate_is_closed_until_it_is_resumed(void **state) {
    (void)state;
    struct gate gate = {.paused = true};
    assert_true(gate_wait_us(&gate, 5) == GATE_CLOSED);
    gate.paused = false;
    assert_int_equal(gate_wait_us(&gate, 5), 0);
}

static void a_rate_is_kept_and_not_saved_up(void **state) {
    (void)state;
    struct gate gate = {.config = {.writes_per_second = 100}};
    int64_t now_us = 50 * SECOND_US;
    gate_passed(&gate, 10, now_us);
    assert_int_equal(gate_wait_us(&gate, now_us), SECOND_US / 10);
    gate_passed(&gate, 10, now_us);
    assert_int_equal(gate_wait_us(&gate, now_us), SECOND_US / 5);
    now_us += 60 * SECOND_US; /* an idle minute */
    assert_int_equal(gate_wait_us(&gate, now_us), 0);
    gate_passed(&gate, 10, now_us);
    assert_int_equal(gate_wait_us(&gate, now_us), SECOND_US / 10);
    assert_int_equal(gate_batch_writes(&gate.config), 10);
    assert_int_equal(gate_batch_writes(&(struct gate_config){.writes_per_second = 3}), 1);
    assert_int_equal(gate_batch_writes(&(struct gate_config){0}), 0);
}

static void a_breaker_opens_after_a_row_of_failures_and_closes_by_one_success(void **state) {
    (void)state;
    struct gate gate = {.config = {.breaker_failures = 3, .breaker_pause_us = 60 * SECOND_US}};
    struct backoff backoff;
    backoff_init(&backoff, 1);
    assert_true(gate_failed(&gate, &backoff) < SECOND_US);
    assert_true(gate_failed(&gate, &backoff) < SECOND_US);
    assert_false(gate_broken(&gate));
    assert_int_equal(gate_failed(&gate, &backoff), 60 * SECOND_US);
    assert_true(gate_broken(&gate));
    assert_int_equal(gate_failed(&gate, &backoff), 60 * SECOND_US);
    gate_passed(&gate, 1, 0);
    assert_false(gate_broken(&gate));
    assert_true(gate_failed(&gate, &backoff) < 60 * SECOND_US);
}

static void a_breaker_of_no_failures_never_opens(void **state) {
    (void)state;
    struct gate gate = {.config = {.breaker_pause_us = 3600 * (int64_t)SECOND_US}};
    struct backoff backoff;
    backoff_init(&backoff, 1);
    for (int i = 0; i < 100; i++)
        assert_true(gate_failed(&gate, &backoff) <= 15 * SECOND_US);
    assert_false(gate_broken(&gate));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_paused_gate_is_closed_until_it_is_resumed),
        cmocka_unit_test(a_rate_is_kept_and_not_saved_up),
        cmocka_unit_test(a_breaker_opens_after_a_row_of_failures_and_closes_by_one_success),
        cmocka_unit_test(a_breaker_of_no_failures_never_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The lease: what samples and applied positions prove about staleness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/rows/lease.h"

enum { SECOND_US = 1000 * 1000 };

static int64_t deadline(const struct lease *lease) {
    return lease_deadline_us(lease_deadline(lease));
}

static void there_is_no_lease_before_a_sample_is_reached(void **state) {
    (void)state;
    struct lease *lease = lease_create(2 * SECOND_US);
    assert_int_equal(deadline(lease), 0);
    assert_int_equal(lease_staleness_us(lease, 5), -1);
    lease_sample(lease, 10 * SECOND_US, 1000);
    assert_int_equal(deadline(lease), 0);
    lease_applied(lease, 999);
    assert_int_equal(deadline(lease), 0);
    lease_applied(lease, 1000);
    assert_int_equal(deadline(lease), 12 * SECOND_US);
    assert_int_equal(lease_staleness_us(lease, 11 * SECOND_US), SECOND_US);
    lease_destroy(&lease);
}

static void a_sample_that_is_reached_already_counts_at_once(void **state) {
    (void)state;
    struct lease *lease = lease_create(SECOND_US);
    lease_applied(lease, 5000);
    lease_sample(lease, 7 * SECOND_US, 5000);
    assert_int_equal(deadline(lease), 8 * SECOND_US);
    lease_destroy(&lease);
}

static void a_lease_that_relies_on_the_feed_waits_for_its_next_word(void **state) {
    (void)state;
    struct lease *lease = lease_create(SECOND_US);
    lease_rely_on_feed(lease);
    lease_applied(lease, 5000);
    lease_sample(lease, 7 * SECOND_US, 5000);
    lease_sample(lease, 8 * SECOND_US, 5000);
    assert_int_equal(deadline(lease), 0);
    lease_applied(lease, 5000);
    assert_int_equal(deadline(lease), 9 * SECOND_US);
    lease_applied(lease, 4000);
    assert_int_equal(lease_applied_lsn(lease), 5000);
    lease_destroy(&lease);
}

static void the_newest_sample_reached_decides(void **state) {
    (void)state;
    int64_t taken_us;
    struct lease *lease = lease_create(SECOND_US);
    for (int64_t i = 1; i <= 5; i++)
        lease_sample(lease, i * SECOND_US, (uint64_t)i * 100);
    assert_int_equal(lease_waiting_lsn(lease, &taken_us), 100);
    lease_applied(lease, 350);
    assert_int_equal(deadline(lease), 4 * SECOND_US);
    assert_int_equal(lease_waiting_lsn(lease, &taken_us), 400);
    assert_int_equal(taken_us, 4 * SECOND_US);
    lease_applied(lease, 500);
    assert_int_equal(deadline(lease), 6 * SECOND_US);
    assert_int_equal(lease_waiting_lsn(lease, &taken_us), 0);
    lease_destroy(&lease);
}

static void an_older_position_takes_nothing_back(void **state) {
    (void)state;
    struct lease *lease = lease_create(SECOND_US);
    lease_applied(lease, 500);
    lease_applied(lease, 400);
    assert_int_equal(lease_applied_lsn(lease), 500);
    lease_sample(lease, SECOND_US, 450);
    assert_int_equal(deadline(lease), 2 * SECOND_US);
    lease_destroy(&lease);
}

static void a_feed_far_behind_keeps_the_oldest_samples(void **state) {
    (void)state;
    struct lease *lease = lease_create(SECOND_US);
    for (int64_t i = 1; i <= 1000; i++)
        lease_sample(lease, i * SECOND_US, (uint64_t)i * 100);
    lease_applied(lease, 100);
    assert_int_equal(deadline(lease), 2 * SECOND_US);
    lease_applied(lease, 100 * 1000);
    assert_true(deadline(lease) <= 1001 * (int64_t)SECOND_US);
    lease_sample(lease, 2000 * (int64_t)SECOND_US, 100 * 1000);
    assert_int_equal(deadline(lease), 2001 * (int64_t)SECOND_US);
    lease_destroy(&lease);
}

static void another_server_ends_the_lease(void **state) {
    (void)state;
    struct lease *lease = lease_create(SECOND_US);
    lease_sample(lease, SECOND_US, 100);
    lease_applied(lease, 1000);
    lease_reset(lease);
    assert_int_equal(deadline(lease), 0);
    assert_int_equal(lease_applied_lsn(lease), 0);
    lease_applied(lease, 10); /* its LSNs may be smaller */
    assert_int_equal(lease_applied_lsn(lease), 10);
    lease_destroy(&lease);
}

static void an_insert_position_behind_a_page_header_is_the_page_end(void **state) {
    (void)state;
    enum { BLOCK = 8192, SEGMENT = 16 * 1024 * 1024 };
    assert_int_equal(lease_normal_lsn(3 * BLOCK + 24, BLOCK, SEGMENT), 3 * BLOCK);
    assert_int_equal(lease_normal_lsn(SEGMENT + 40, BLOCK, SEGMENT), SEGMENT);
    assert_int_equal(lease_normal_lsn(3 * BLOCK + 40, BLOCK, SEGMENT), 3 * BLOCK + 40);
    assert_int_equal(lease_normal_lsn(3 * BLOCK, BLOCK, SEGMENT), 3 * BLOCK);
    assert_int_equal(lease_normal_lsn(12345, BLOCK, SEGMENT), 12345);
    assert_int_equal(lease_normal_lsn(SEGMENT + 24, BLOCK, SEGMENT), SEGMENT + 24);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_no_lease_before_a_sample_is_reached),
        cmocka_unit_test(a_sample_that_is_reached_already_counts_at_once),
        cmocka_unit_test(a_lease_that_relies_on_the_feed_waits_for_its_next_word),
        cmocka_unit_test(the_newest_sample_reached_decides),
        cmocka_unit_test(an_older_position_takes_nothing_back),
        cmocka_unit_test(a_feed_far_behind_keeps_the_oldest_samples),
        cmocka_unit_test(another_server_ends_the_lease),
        cmocka_unit_test(an_insert_position_behind_a_page_header_is_the_page_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

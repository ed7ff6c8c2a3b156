#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cache/wheel.h"

#define TODAY_MS INT64_C(1795248000000)
enum { TICK_MS = 1 << WHEEL_TICK_BITS };

static struct entry *timed(int64_t expire_at_ms) {
    return entry_create_string(SLICE("k"), 1, SLICE("v"), expire_at_ms);
}

/* Takes all that is due; checks that nothing comes early or late. Returns how many. */
static uint32_t take_due(struct wheel *wheel, int64_t now_ms) {
    uint32_t n = 0;
    struct entry *entry;
    while ((entry = wheel_due(wheel, now_ms))) {
        assert_true(entry_expiry(entry) <= now_ms);
        wheel_remove(wheel, entry);
        entry_destroy(&entry);
        n++;
    }
    return n;
}

static void an_entry_is_due_within_a_tick_after_its_expiry_and_never_before(void **state) {
    (void)state;
    const int64_t after_ms[] = {1, 63, 64, 65, 1000, 1024, 59999, 300000, 3600000, 86400000};
    for (size_t i = 0; i < sizeof after_ms / sizeof after_ms[0]; i++) {
        struct wheel wheel;
        wheel_init(&wheel);
        assert_null(wheel_due(&wheel, TODAY_MS));
        int64_t expire_at_ms = TODAY_MS + after_ms[i];
        wheel_add(&wheel, timed(expire_at_ms));
        for (int64_t now = TODAY_MS; now < expire_at_ms; now += after_ms[i] / 7 + 1)
            assert_null(wheel_due(&wheel, now));
        assert_null(wheel_due(&wheel, expire_at_ms - 1));
        assert_int_equal(take_due(&wheel, expire_at_ms + TICK_MS), 1);
        assert_int_equal(wheel.count, 0);
    }
}

static void many_entries_come_in_time_whatever_the_steps_of_the_clock(void **state) {
    (void)state;
    enum { N = 20000 };
    static int64_t expiries[N];
    struct wheel wheel;
    wheel_init(&wheel);
    srand48(7);
    int64_t now = TODAY_MS;
    wheel_due(&wheel, now);
    uint32_t added = 0;
    uint32_t gone = 0;
    while (gone < N) {
        for (uint32_t i = 0; i < 200 && added < N; i++) {
            expiries[added] = now + 1 + lrand48() % (lrand48() % 4 ? 5000 : 30 * 60 * 1000);
            wheel_add(&wheel, timed(expiries[added++]));
        }
        now += 1 + lrand48() % 3000;
        gone += take_due(&wheel, now);
        uint32_t overdue = 0;
        for (uint32_t i = 0; i < added; i++)
            overdue += expiries[i] <= now - TICK_MS;
        assert_true(gone >= overdue);
        assert_int_equal(wheel.count, added - gone);
    }
}

static void what_was_removed_never_comes(void **state) {
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel);
    wheel_due(&wheel, TODAY_MS);
    struct entry *entries[3];
    for (int i = 0; i < 3; i++)
        wheel_add(&wheel, entries[i] = timed(TODAY_MS + 500));
    wheel_remove(&wheel, entries[1]);
    wheel_remove(&wheel, entries[1]); /* in no wheel: nothing happens */
    assert_int_equal(take_due(&wheel, TODAY_MS + 1000), 2);
    entry_destroy(&entries[1]);
}

static void entries_from_before_the_first_look_at_the_clock_are_kept(void **state) {
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel);
    wheel_add(&wheel, timed(TODAY_MS + 100));
    wheel_add(&wheel, timed(TODAY_MS + INT64_C(400) * 86400000));
    wheel_add(&wheel, timed(INT64_MAX));
    assert_null(wheel_due(&wheel, TODAY_MS));
    assert_int_equal(take_due(&wheel, TODAY_MS + 300), 1);
    assert_int_equal(take_due(&wheel, TODAY_MS + INT64_C(399) * 86400000), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS + INT64_C(401) * 86400000), 1);
    struct entry *last = wheel.far;
    wheel_remove(&wheel, last);
    entry_destroy(&last);
}

static void a_clock_that_goes_back_loses_nothing_and_takes_nothing_early(void **state) {
    (void)state;
    const int64_t hour = 3600000;
    struct wheel wheel;
    wheel_init(&wheel);
    wheel_due(&wheel, TODAY_MS);
    wheel_add(&wheel, timed(TODAY_MS + 1000));
    wheel_add(&wheel, timed(TODAY_MS - hour +
                            1000)); /* set by the new clock, before the wheel has seen it */
    assert_int_equal(take_due(&wheel, TODAY_MS - hour), 0);
    wheel_add(&wheel, timed(TODAY_MS - hour + 2000));
    assert_int_equal(take_due(&wheel, TODAY_MS - hour + 500), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS - hour + 1100), 1);
    assert_int_equal(take_due(&wheel, TODAY_MS - hour + 2100), 1);
    assert_int_equal(take_due(&wheel, TODAY_MS + 900), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS + 1100), 1);
}

static void an_entry_set_by_a_clock_a_little_behind_is_not_taken_early(void **state) {
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel);
    wheel_due(&wheel, TODAY_MS);
    wheel_add(&wheel, timed(TODAY_MS - 200));
    assert_null(wheel_due(&wheel, TODAY_MS - 300));
    assert_int_equal(take_due(&wheel, TODAY_MS), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_is_due_within_a_tick_after_its_expiry_and_never_before),
        cmocka_unit_test(many_entries_come_in_time_whatever_the_steps_of_the_clock),
        cmocka_unit_test(what_was_removed_never_comes),
        cmocka_unit_test(entries_from_before_the_first_look_at_the_clock_are_kept),
        cmocka_unit_test(a_clock_that_goes_back_loses_nothing_and_takes_nothing_early),
        cmocka_unit_test(an_entry_set_by_a_clock_a_little_behind_is_not_taken_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cache/store/wheel.h"

#define TODAY_MS INT64_C(1795248000000)
enum { TICK_MS = 1 << WHEEL_TICK_BITS };

/* Takes all that is due; checks that nothing comes early. Returns how many. */
static uint32_t take_due(struct wheel *wheel, int64_t now_ms) {
    uint32_t n = 0;
    struct wheel_note note;
    for (; wheel_due(wheel, now_ms, &note); n++)
        assert_true((int64_t)note.tick * TICK_MS <= now_ms);
    return n;
}

static void a_note_is_due_within_a_tick_after_its_time_and_never_before(void **state) {
    (void)state;
    const int64_t after_ms[] = {1, 63, 64, 65, 1000, 1024, 59999, 300000, 3600000, 86400000};
    for (size_t i = 0; i < sizeof after_ms / sizeof after_ms[0]; i++) {
        struct wheel wheel;
        struct wheel_note note;
        wheel_init(&wheel);
        assert_false(wheel_due(&wheel, TODAY_MS, &note));
        int64_t expire_at_ms = TODAY_MS + after_ms[i];
        wheel_add(&wheel, 0xabcdef12, expire_at_ms);
        for (int64_t now = TODAY_MS; now < expire_at_ms; now += after_ms[i] / 7 + 1)
            assert_false(wheel_due(&wheel, now, &note));
        assert_false(wheel_due(&wheel, expire_at_ms - 1, &note));
        assert_true(wheel_due(&wheel, expire_at_ms + TICK_MS, &note));
        assert_int_equal(note.hash, 0xcdef12);
        assert_int_equal(note.tick, wheel_tick(expire_at_ms));
        assert_int_equal(wheel.notes, 0);
        assert_int_equal(wheel.bytes, 0);
    }
}

static void many_notes_come_in_time_whatever_the_steps_of_the_clock(void **state) {
    (void)state;
    enum { N = 20000 };
    static int64_t expiries[N];
    struct wheel wheel;
    wheel_init(&wheel);
    srand48(7);
    int64_t now = TODAY_MS;
    take_due(&wheel, now);
    uint32_t added = 0;
    uint32_t gone = 0;
    while (gone < N) {
        for (uint32_t i = 0; i < 200 && added < N; i++) {
            expiries[added] = now + 1 + lrand48() % (lrand48() % 4 ? 5000 : 30 * 60 * 1000);
            wheel_add(&wheel, added, expiries[added]);
            added++;
        }
        now += 1 + lrand48() % 3000;
        gone += take_due(&wheel, now);
        uint32_t overdue = 0;
        for (uint32_t i = 0; i < added; i++)
            overdue += expiries[i] <= now - TICK_MS;
        assert_true(gone >= overdue);
        assert_int_equal(wheel.notes, added - gone);
    }
    assert_int_equal(wheel.bytes, 0);
}

static void notes_from_before_the_first_look_at_the_clock_are_kept(void **state) {
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel);
    wheel_add(&wheel, 1, TODAY_MS + 100);
    wheel_add(&wheel, 2, TODAY_MS + INT64_C(400) * 86400000);
    wheel_add(&wheel, 3, INT64_MAX);
    assert_int_equal(take_due(&wheel, TODAY_MS), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS + 300), 1);
    assert_int_equal(take_due(&wheel, TODAY_MS + INT64_C(399) * 86400000), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS + INT64_C(401) * 86400000), 1);
    assert_int_equal(wheel.notes, 1);
    wheel_clear(&wheel);
    assert_int_equal(wheel.bytes, 0);
}

static void a_clock_that_goes_back_loses_nothing_and_takes_nothing_early(void **state) {
    (void)state;
    const int64_t hour = 3600000;
    struct wheel wheel;
    wheel_init(&wheel);
    take_due(&wheel, TODAY_MS);
    wheel_add(&wheel, 1, TODAY_MS + 1000);
    wheel_add(&wheel, 2,
              TODAY_MS - hour + 1000); /* by the new clock, before the wheel has seen it */
    assert_int_equal(take_due(&wheel, TODAY_MS - hour), 0);
    wheel_add(&wheel, 3, TODAY_MS - hour + 2000);
    assert_int_equal(take_due(&wheel, TODAY_MS - hour + 500), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS - hour + 1100), 1);
    assert_int_equal(take_due(&wheel, TODAY_MS - hour + 2100), 1);
    assert_int_equal(take_due(&wheel, TODAY_MS + 900), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS + 1100), 1);
}

static void a_note_by_a_clock_a_little_behind_is_not_taken_early(void **state) {
    (void)state;
    struct wheel wheel;
    wheel_init(&wheel);
    take_due(&wheel, TODAY_MS);
    wheel_add(&wheel, 1, TODAY_MS - 200);
    assert_int_equal(take_due(&wheel, TODAY_MS - 300), 0);
    assert_int_equal(take_due(&wheel, TODAY_MS), 1);
}

static void a_sweep_offers_notes_while_more_than_half_are_stale(void **state) {
    (void)state;
    enum { N = 10000, LIVE = 1000 };
    struct wheel wheel;
    struct wheel_note note;
    wheel_init(&wheel);
    take_due(&wheel, TODAY_MS);
    for (uint32_t i = 0; i < N; i++)
        wheel_add(&wheel, i, TODAY_MS + 1000 + i * 100);
    assert_false(wheel_sweep(&wheel, N / 2, &note));
    for (uint32_t tries = 0; tries < 2 * N && wheel_sweep(&wheel, LIVE, &note); tries++)
        if (note.hash < LIVE) wheel_add(&wheel, note.hash, (int64_t)note.tick * TICK_MS);
    assert_in_range(wheel.notes, LIVE, 2 * LIVE + 100);
    assert_in_range(take_due(&wheel, TODAY_MS + 86400000), LIVE, 2 * LIVE + 100);
    assert_int_equal(wheel.bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_note_is_due_within_a_tick_after_its_time_and_never_before),
        cmocka_unit_test(many_notes_come_in_time_whatever_the_steps_of_the_clock),
        cmocka_unit_test(notes_from_before_the_first_look_at_the_clock_are_kept),
        cmocka_unit_test(a_clock_that_goes_back_loses_nothing_and_takes_nothing_early),
        cmocka_unit_test(a_note_by_a_clock_a_little_behind_is_not_taken_early),
        cmocka_unit_test(a_sweep_offers_notes_while_more_than_half_are_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

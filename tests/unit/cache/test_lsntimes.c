#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "cache/rows/lsntimes.h"

static void an_lsn_is_as_fresh_as_the_newest_sample_at_or_before_it(void **state) {
    (void)state;
    struct lsntimes *times = lsntimes_create(1000);
    assert_int_equal(lsntimes_at(times, 100), 0);
    lsntimes_add(times, 1000, 100);
    lsntimes_add(times, 2000, 200);
    lsntimes_add(times, 3000, 200); /* nothing has happened */
    assert_int_equal(lsntimes_at(times, 99), 0);
    assert_int_equal(lsntimes_at(times, 100), 1000);
    assert_int_equal(lsntimes_at(times, 199), 1000);
    assert_int_equal(lsntimes_at(times, 200), 3000);
    assert_int_equal(lsntimes_at(times, 999), 3000);
    lsntimes_clear(times);
    assert_int_equal(lsntimes_at(times, 999), 0);
    lsntimes_destroy(&times);
}

/* However many samples there are, those kept reach back over the span, and none is said to be younger than it is. */
static void samples_reach_back_over_the_span(void **state) {
    (void)state;
    enum { SPAN_US = 3600 * 1000 * 1000u, STEP_US = 100 * 1000 };
    struct lsntimes *times = lsntimes_create(SPAN_US);
    int64_t last_us = 0;
    for (int64_t now_us = STEP_US; now_us <= 2 * (int64_t)SPAN_US; now_us += STEP_US) {
        lsntimes_add(times, now_us, (uint64_t)now_us);
        last_us = now_us;
    }
    assert_int_equal(lsntimes_at(times, (uint64_t)last_us), last_us);
    for (int64_t age_us = 0; age_us <= SPAN_US; age_us += 7 * (int64_t)STEP_US) {
        int64_t at_us = last_us - age_us;
        int64_t found_us = lsntimes_at(times, (uint64_t)at_us);
        assert_true(found_us <= at_us);
        assert_true(found_us >= at_us - SPAN_US / 64);
    }
    lsntimes_destroy(&times);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_lsn_is_as_fresh_as_the_newest_sample_at_or_before_it),
        cmocka_unit_test(samples_reach_back_over_the_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

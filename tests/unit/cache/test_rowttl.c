#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "cache/rows/ahead.h"
#include "cache/rows/pace.h"
#include "cache/rows/rowttl.h"
#include "cache/store/store.h"

enum { NOW = 1000000 };

static void without_a_ttl_or_an_end_it_stays(void **state) {
    (void)state;
    assert_int_equal(rowttl_expiry(&(struct rowttl){.stale_ms = 5, .jitter_percent = 50}, NOW),
                     STORE_NEVER);
}

static void the_rows_end_is_the_most(void **state) {
    (void)state;
    struct rowttl ttl = {.ttl_ms = 1000, .stale_ms = 500, .ends = true, .left_ms = 1200};
    assert_int_equal(rowttl_expiry(&ttl, NOW), NOW + 1200);
    ttl.left_ms = 5000;
    assert_int_equal(rowttl_expiry(&ttl, NOW), NOW + 1500);
    ttl.ttl_ms = 0;
    assert_int_equal(rowttl_expiry(&ttl, NOW), NOW + 5000);
}

static void jitter_takes_away_at_most_its_part(void **state) {
    (void)state;
    int64_t least = INT64_MAX;
    int64_t most = 0;
    for (uint64_t seed = 0; seed < 10000; seed++) {
        struct rowttl ttl = {.ttl_ms = 1000, .jitter_percent = 30, .seed = seed};
        int64_t kept_ms = rowttl_expiry(&ttl, NOW) - NOW;
        least = kept_ms < least ? kept_ms : least;
        most = kept_ms > most ? kept_ms : most;
    }
    assert_int_equal(least, 700);
    assert_int_equal(most, 1000);
    struct rowttl all = {.ttl_ms = 1, .jitter_percent = 100, .seed = 3};
    assert_true(rowttl_expiry(&all, NOW) > NOW);
}

static void a_key_is_filled_at_most_once_an_interval(void **state) {
    (void)state;
    struct pace *pace = pace_create(100);
    uint64_t hash = UINT64_C(0x123456789abcdef0);
    assert_int_equal(pace_claim(pace, hash, 1000), 1000);
    assert_int_equal(pace_claim(pace, hash, 1010), 1100);
    assert_int_equal(pace_claim(pace, hash, 1099), 1100); /* with the one that waits */
    assert_int_equal(pace_claim(pace, hash, 1100), 1200);
    assert_int_equal(pace_claim(pace, hash + 1, 1100), 1100);
    assert_int_equal(pace_claim(pace, hash, 1300), 1300);
    assert_int_equal(pace_claim(pace, hash, 1301), 1400);
    pace_destroy(&pace);
    assert_null(pace_create(0));
    assert_int_equal(pace_claim(NULL, hash, 7), 7);
}

static void early_refresh_goes_by_chance_and_the_time_of_a_fill(void **state) {
    (void)state;
    struct ahead ahead = {.eagerness = 1};
    assert_false(ahead_may_be_due(&ahead, 201, 10));
    assert_true(ahead_may_be_due(&ahead, 200, 10));
    assert_false(ahead_is_due(&ahead, 11, 10, 0.5)); /* 10 ms * ln 2: 6.9 */
    assert_true(ahead_is_due(&ahead, 6, 10, 0.5));
    assert_true(ahead_is_due(&ahead, 200, 10, 0));
    assert_true(ahead_is_due(&ahead, 0, 10, 0.999999));
    ahead.eagerness = 0;
    assert_false(ahead_may_be_due(&ahead, 1, 10));
}

static void past_its_ttl_a_row_is_due_at_once(void **state) {
    (void)state;
    struct ahead ahead = {.eagerness = 0, .stale_for_ms = 500};
    assert_false(ahead_may_be_due(&ahead, 501, 10));
    assert_true(ahead_may_be_due(&ahead, 500, 10) && ahead_is_due(&ahead, 500, 10, 0.9));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_ttl_or_an_end_it_stays),
        cmocka_unit_test(the_rows_end_is_the_most),
        cmocka_unit_test(jitter_takes_away_at_most_its_part),
        cmocka_unit_test(a_key_is_filled_at_most_once_an_interval),
        cmocka_unit_test(early_refresh_goes_by_chance_and_the_time_of_a_fill),
        cmocka_unit_test(past_its_ttl_a_row_is_due_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

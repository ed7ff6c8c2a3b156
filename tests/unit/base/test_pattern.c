#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "base/pattern.h"

static void a_pattern_names_tables(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *schema, *table;
        bool matches;
    } cases[] = {
        {"public.users", "public", "users", true},
        {"public.users", "public", "users2", false},
        {"public.users", "publi", "users", false},
        {"public.*", "public", "users", true},
        {"public.*", "sales", "users", false},
        {"users", "public", "users", true},
        {"users", "sales", "users", false},
        {"*.*", "sales", "orders", true},
        {"s*.o*s", "sales", "orders", true},
        {"s*.o*s", "sales", "order", false},
        {"*a*b*.t", "xaxxbxab", "t", true},
        {"*a*b.t", "xaxxbxa", "t", false},
        {"public.a*a", "public", "aa", true},
        {"public.a*a", "public", "a", false},
        {"Public.Users", "public", "users", false},
        {"\"My.Schema\".\"T able\"", "My.Schema", "T able", true},
        {"public.\"*\"", "public", "*", true},
        {"public.\"*\"", "public", "x", false},
        {"public.\"a\"\"b\"", "public", "a\"b", true},
        {"public.x*\"*\"", "public", "xyz*", true},
        {"public.x*\"*\"", "public", "xyz", false},
        {"public.*é", "public", "café", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(pattern_match(cases[i].pattern, cases[i].schema, cases[i].table),
                         cases[i].matches);
}

static void a_broken_pattern_is_told_and_matches_nothing(void **state) {
    (void)state;
    static const char *const broken[] = {"", ".t", "s.", "a.b.c", "\"open.t", "s.\"t", "."};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_false(pattern_valid(broken[i]));
        assert_false(pattern_match(broken[i], "a", "b"));
    }
    assert_true(pattern_valid("a.b"));
    assert_true(pattern_valid("\"a.b\""));
}

static void no_pattern_at_all_means_every_table(void **state) {
    (void)state;
    static const char *const patterns[] = {"a.*", "b.t"};
    assert_true(pattern_match_any(0, NULL, "x", "y"));
    assert_true(pattern_match_any(2, patterns, "b", "t"));
    assert_false(pattern_match_any(2, patterns, "b", "u"));
}

static void a_pattern_tells_what_its_stars_stand_for(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *schema, *table;
        uint32_t n;
        const char *texts[3];
    } cases[] = {
        {"public.orders_*", "public", "orders_2024", 1, {"2024"}},
        {"public.orders_*_*", "public", "orders_2024_01", 2, {"2024", "01"}},
        {"*.*", "sales", "t", 2, {"sales", "t"}},
        {"s*.a*b*", "s", "aXbYbZ", 3, {"", "X", "YbZ"}},
        {"public.*b", "public", "abab", 1, {"aba"}},
        {"public.\"a*\"*", "public", "a*z", 1, {"z"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pattern_stars stars;
        assert_true(pattern_capture(cases[i].pattern, cases[i].schema, cases[i].table, &stars));
        assert_int_equal(stars.n, cases[i].n);
        assert_int_equal(pattern_count_stars(cases[i].pattern), cases[i].n);
        for (uint32_t k = 0; k < stars.n; k++)
            assert_true(slice_equal(stars.texts[k], slice_from(cases[i].texts[k])));
    }
}

static void a_name_alone_may_hold_dots(void **state) {
    (void)state;
    assert_true(pattern_match_name("shop.*", "shop.public.users"));
    assert_true(pattern_match_name("*.users", "shop.public.users"));
    assert_false(pattern_match_name("shop.*", "shopping"));
    assert_true(pattern_match_name("", ""));
    assert_false(pattern_match_name("", "a"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_names_tables),
        cmocka_unit_test(a_broken_pattern_is_told_and_matches_nothing),
        cmocka_unit_test(no_pattern_at_all_means_every_table),
        cmocka_unit_test(a_pattern_tells_what_its_stars_stand_for),
        cmocka_unit_test(a_name_alone_may_hold_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_names_tables),
        cmocka_unit_test(a_broken_pattern_is_told_and_matches_nothing),
        cmocka_unit_test(no_pattern_at_all_means_every_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

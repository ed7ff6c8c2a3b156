#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cache/values/glob.h"

static void patterns_match_as_in_redis(void **state) {
    (void)state;
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } cases[] = {
        {"*", "", false}, /* nothing but the empty pattern is like the empty text */
        {"*", "anything", true},
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "A", false},
        {"a", "ab", false},
        {"?", "", false},
        {"h?llo", "hello", true},
        {"h?llo", "hllo", false},
        {"h*llo", "heeeello", true},
        {"h*llo", "hllo!", false},
        {"*:*", "users:42", true},
        {"a*b*c", "aXbXbXc", true},
        {"a*b*c", "aXbXbX", false},
        {"**a**", "bab", true},
        {"h[ae]llo", "hallo", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false},
        {"h[a-c]llo", "hbllo", true},
        {"h[c-a]llo", "hbllo", true},
        {"h[a-c]llo", "hdllo", false},
        {"[a-]", "-", false}, /* a range from a to ], not closed */
        {"[a-]", "^", true},
        {"[]", "]", false},
        {"[]a", "a", false},
        {"[^]", "x", true},
        {"[abc", "b", true},
        {"[abc", "bc", false},
        {"[\\]]", "]", true},
        {"[\\a-c]", "b", false},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"a?", "a", false},
        {"a*", "a", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool matches = glob_match(slice_from(cases[i].pattern), slice_from(cases[i].text));
        if (matches != cases[i].matches) fail_msg("%s on %s", cases[i].pattern, cases[i].text);
    }
}

static void many_stars_cost_no_more_than_pattern_times_text(void **state) {
    (void)state;
    char pattern[201];
    char text[20000];
    for (size_t i = 0; i < sizeof pattern - 1; i++)
        pattern[i] = i % 2 ? '*' : 'a';
    pattern[sizeof pattern - 1] = 'b';
    memset(text, 'a', sizeof text);
    assert_false(glob_match(slice_make(pattern, sizeof pattern), slice_make(text, sizeof text)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_as_in_redis),
        cmocka_unit_test(many_stars_cost_no_more_than_pattern_times_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/values/number.h"

static void integers_have_one_form_only(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool valid;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-1", true, -1},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"18446744073709551617", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"-0", false, 0},
        {"+1", false, 0},
        {"01", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x1", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t value = 0;
        assert_int_equal(number_parse_i64(slice_from(cases[i].text), &value), cases[i].valid);
        if (!cases[i].valid) continue;
        assert_true(value == cases[i].value);
        char digits[NUMBER_I64_MAX_LEN + 1];
        number_format_i64(digits, value);
        assert_string_equal(digits, cases[i].text);
    }
}

static void floats_are_written_with_up_to_seventeen_decimals(void **state) {
    (void)state;
    static const struct {
        long double value;
        const char *text;
    } cases[] = {
        {3.0L, "3"},          {10.5L, "10.5"},
        {0.1L + 0.2L, "0.3"}, {-0.0L, "0"},
        {5.0e3L, "5000"},     {1e-17L, "0.00000000000000001"},
        {-1.25L, "-1.25"},    {1e20L, "100000000000000000000"},
        {100.0L, "100"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[NUMBER_LONG_DOUBLE_MAX_LEN];
        size_t len = number_format_long_double(text, cases[i].value);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(len, strlen(cases[i].text));
    }
}

static void floats_are_read_whole_or_not_at_all(void **state) {
    (void)state;
    static const char *const valid[] = {"1", "-1.5", "1e3", "inf", "-inf", "0x10", ".5", "5."};
    static const char *const invalid[] = {"", " 1", "1 ", "nan", "1,5", "abc", "1e5000", "1e-5000"};
    long double value;
    for (size_t i = 0; i < sizeof valid / sizeof valid[0]; i++)
        assert_true(number_parse_long_double(slice_from(valid[i]), &value));
    for (size_t i = 0; i < sizeof invalid / sizeof invalid[0]; i++)
        assert_false(number_parse_long_double(slice_from(invalid[i]), &value));
    assert_false(number_parse_long_double(SLICE("1\0"
                                                "2"),
                                          &value));
}

static void a_cursor_is_digits_to_the_end(void **state) {
    (void)state;
    uint64_t cursor;
    assert_true(number_parse_cursor(SLICE("0"), &cursor));
    assert_true(number_parse_cursor(SLICE("18446744073709551615"), &cursor));
    assert_true(cursor == UINT64_MAX);
    assert_false(number_parse_cursor(SLICE("18446744073709551616"), &cursor));
    assert_true(number_parse_cursor(SLICE(""), &cursor)); /* as in Redis */
    assert_true(cursor == 0);
    assert_false(number_parse_cursor(SLICE(" 1"), &cursor));
    assert_false(number_parse_cursor(SLICE("1x"), &cursor));
}

static void scores_are_written_with_seventeen_digits(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-42, "-42"},
        {0.1, "0.10000000000000001"},
        {1e15, "1000000000000000"},
        {999999999999999, "999999999999999"},
        {1e17, "1e+17"},
        {-1e300, "-1.0000000000000001e+300"},
        {HUGE_VAL, "inf"},
        {-HUGE_VAL, "-inf"},
        {5e-324, "4.9406564584124654e-324"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[NUMBER_DOUBLE_MAX_LEN];
        size_t len = number_format_double(text, cases[i].value);
        assert_true(slice_equal(slice_make(text, len), slice_from(cases[i].text)));
    }
}

static void scores_are_read_whole_and_ends_of_ranges_loosely(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool score, bound;
        double value;
    } cases[] = {
        {"1", true, true, 1},
        {"-0", true, true, 0},
        {"1.5e3", true, true, 1500},
        {"0x10", true, true, 16},
        {"inf", true, true, HUGE_VAL},
        {"+7", true, true, 7},
        {"007", true, true, 7},
        {"", false, true, 0},
        {" 1", false, true, 1},
        {"1 ", false, false, 0},
        {"x", false, false, 0},
        {"nan", false, false, 0},
        {"1e400", false, true, HUGE_VAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double value;
        struct slice text = slice_from(cases[i].text);
        assert_int_equal(number_parse_double(text, &value), cases[i].score);
        if (cases[i].score) assert_true(value == cases[i].value);
        assert_int_equal(number_parse_bound(text, &value), cases[i].bound);
        if (cases[i].bound) assert_true(value == cases[i].value);
    }
    char digits[400];
    double value;
    memset(digits, '9', sizeof digits);
    digits[300] = '.';
    assert_true(number_parse_double(slice_make(digits, sizeof digits), &value));
    assert_true(value == 1e300);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_have_one_form_only),
        cmocka_unit_test(floats_are_written_with_up_to_seventeen_decimals),
        cmocka_unit_test(floats_are_read_whole_or_not_at_all),
        cmocka_unit_test(a_cursor_is_digits_to_the_end),
        cmocka_unit_test(scores_are_written_with_seventeen_digits),
        cmocka_unit_test(scores_are_read_whole_and_ends_of_ranges_loosely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

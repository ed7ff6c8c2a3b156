#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cache/values/bits.h"

static uint64_t dice = 17;

static uint64_t roll(uint64_t sides) {
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (dice >> 33) % sides;
}

static void counts_and_finds_what_a_walk_over_the_bits_does(void **state) {
    (void)state;
    enum { BYTES = 40 };
    char bytes[BYTES];
    struct slice string = slice_make(bytes, BYTES);
    for (int round = 0; round < 20000; round++) {
        if (round % 50 == 0)
            for (size_t i = 0; i < BYTES; i++)
                bytes[i] = (char)(roll(3) == 0 ? roll(256) : roll(2) ? 0 : 255);
        uint64_t first = roll(8 * BYTES);
        uint64_t last = first + roll(8 * BYTES - first);
        bool wanted = roll(2);
        uint64_t count = 0;
        int64_t found = -1;
        for (uint64_t at = first; at <= last; at++) {
            count += bits_at(string, at);
            if (found < 0 && bits_at(string, at) == wanted) found = (int64_t)at;
        }
        assert_int_equal(bits_count(string, first, last), count);
        assert_int_equal(bits_find(string, first, last, wanted), found);
    }
}

static void there_are_zeros_past_the_end(void **state) {
    (void)state;
    assert_true(bits_at(SLICE("\xff"), 7));
    assert_false(bits_at(SLICE("\xff"), 8));
    assert_false(bits_at(SLICE(""), 0));
    assert_int_equal(bits_get(SLICE("\xff"), 4, (struct bits_type){false, 8}), 0xf0);
}

static void a_number_is_read_as_it_was_written_and_its_neighbours_stay(void **state) {
    (void)state;
    char bytes[32];
    for (int round = 0; round < 5000; round++) {
        struct bits_type type = {.is_signed = roll(2)};
        type.width = 1 + (unsigned)roll(type.is_signed ? 64 : 63);
        memset(bytes, roll(2) ? 0xff : 0, sizeof bytes);
        bool around = bytes[0] != 0;
        uint64_t offset = 1 + roll(100);
        int64_t value;
        assert_true(bits_fit(type, (int64_t)(dice ^ dice << 7), OVERFLOW_WRAP, &value));
        bits_set(bytes, offset, type, value);
        struct slice string = slice_make(bytes, sizeof bytes);
        assert_int_equal(bits_get(string, offset, type), value);
        assert_int_equal(bits_at(string, offset - 1), around);
        assert_int_equal(bits_at(string, offset + type.width), around);
    }
}

static void what_does_not_fit_wraps_stops_or_fails(void **state) {
    (void)state;
    struct bits_type i8 = {true, 8};
    struct bits_type u8 = {false, 8};
    struct bits_type i64 = {true, 64};
    int64_t sum;
    assert_true(bits_add(i8, 127, 1, OVERFLOW_WRAP, &sum));
    assert_int_equal(sum, -128);
    assert_true(bits_add(i8, -100, -100, OVERFLOW_SATURATE, &sum));
    assert_int_equal(sum, -128);
    assert_false(bits_add(u8, 255, 1, OVERFLOW_FAIL, &sum));
    assert_true(bits_add(u8, 255, 1, OVERFLOW_WRAP, &sum));
    assert_int_equal(sum, 0);
    assert_true(bits_add(u8, 3, -5, OVERFLOW_SATURATE, &sum));
    assert_int_equal(sum, 0);
    assert_true(bits_add(i64, INT64_MAX, INT64_MAX, OVERFLOW_SATURATE, &sum));
    assert_true(sum == INT64_MAX);
    assert_true(bits_add(i64, INT64_MIN, -1, OVERFLOW_WRAP, &sum));
    assert_true(sum == INT64_MAX);
    assert_true(bits_fit(u8, -1, OVERFLOW_SATURATE, &sum));
    assert_int_equal(sum, 255);
}

static void types_are_spelled_with_a_letter_and_a_width(void **state) {
    (void)state;
    struct bits_type type;
    assert_true(bits_parse_type(SLICE("i64"), &type));
    assert_true(type.is_signed && type.width == 64);
    assert_true(bits_parse_type(SLICE("u63"), &type));
    assert_false(bits_parse_type(SLICE("u64"), &type));
    assert_false(bits_parse_type(SLICE("i65"), &type));
    assert_false(bits_parse_type(SLICE("i0"), &type));
    assert_false(bits_parse_type(SLICE("i"), &type));
    assert_false(bits_parse_type(SLICE(""), &type));
    assert_false(bits_parse_type(SLICE("x8"), &type));
    assert_false(bits_parse_type(SLICE("i08"), &type));
}

static void operations_lay_a_string_over_another(void **state) {
    (void)state;
    char out[4] = {0x0f, 0x33, 0x55, 0x7f};
    bits_apply(BITS_XOR, out, 4, SLICE("\xff\xff"));
    assert_memory_equal(out, "\xf0\xcc\x55\x7f", 4);
    bits_apply(BITS_OR, out, 4, SLICE("\x01"));
    assert_memory_equal(out, "\xf1\xcc\x55\x7f", 4);
    bits_apply(BITS_NOT, out, 4, SLICE(""));
    assert_memory_equal(out, "\x0e\x33\xaa\x80", 4);
    bits_apply(BITS_AND, out, 4, SLICE("\xff\x0f"));
    assert_memory_equal(out, "\x0e\x03\x00\x00", 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_finds_what_a_walk_over_the_bits_does),
        cmocka_unit_test(there_are_zeros_past_the_end),
        cmocka_unit_test(a_number_is_read_as_it_was_written_and_its_neighbours_stay),
        cmocka_unit_test(what_does_not_fit_wraps_stops_or_fails),
        cmocka_unit_test(types_are_spelled_with_a_letter_and_a_width),
        cmocka_unit_test(operations_lay_a_string_over_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

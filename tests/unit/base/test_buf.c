/* The growable buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"

static void an_empty_buffer_gives_an_empty_text(void **state) {
    (void)state;
    struct buf buf = {0};
    assert_string_equal(buf_text(&buf), "");
    assert_int_equal(buf.len, 0);
    buf_deinit(&buf);
}

static void bytes_survive_growth(void **state) {
    (void)state;
    struct buf buf = {0};
    for (int i = 0; i < 100000; i++)
        buf_append_char(&buf, (char)(i % 251));
    assert_int_equal(buf.len, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal((unsigned char)buf.data[i], i % 251);
    assert_true(buf.cap >= buf.len);
    buf_deinit(&buf);
    assert_null(buf.data);
}

static void reserved_bytes_are_claimed_by_len(void **state) {
    (void)state;
    struct buf buf = {0};
    memcpy(buf_reserve(&buf, 1000), "abc", 3);
    assert_int_equal(buf.len, 0);
    buf.len += 3;
    assert_true(slice_equal(buf_slice(&buf), SLICE("abc")));
    buf_deinit(&buf);
}

static void check_i64(int64_t value, const char *want) {
    struct buf buf = {0};
    buf_append_i64(&buf, value);
    assert_string_equal(buf_text(&buf), want);
    buf_deinit(&buf);
}

static void integers_are_written_at_their_limits(void **state) {
    (void)state;
    check_i64(0, "0");
    check_i64(-1, "-1");
    check_i64(INT64_MAX, "9223372036854775807");
    check_i64(INT64_MIN, "-9223372036854775808");
    struct buf buf = {0};
    buf_append_u64(&buf, UINT64_MAX);
    assert_string_equal(buf_text(&buf), "18446744073709551615");
    buf_deinit(&buf);
}

static void printf_appends_whatever_the_length(void **state) {
    (void)state;
    struct buf buf = {0};
    buf_append_text(&buf, "a=");
    buf_printf(&buf, "%d ", 7);
    buf_printf(&buf, "%0200d", 0);
    assert_int_equal(buf.len, 4 + 200);
    assert_memory_equal(buf.data, "a=7 0000", 8);
    buf_deinit(&buf);
}

static void consuming_keeps_the_rest(void **state) {
    (void)state;
    struct buf buf = {0};
    buf_append_text(&buf, "headtail");
    buf_consume(&buf, 0);
    buf_consume(&buf, 4);
    assert_string_equal(buf_text(&buf), "tail");
    buf_consume(&buf, 4);
    assert_int_equal(buf.len, 0);
    buf_deinit(&buf);
}

static void the_text_s_end_is_not_part_of_it(void **state) {
    (void)state;
    struct buf buf = {0};
    buf_append_slice(&buf, SLICE("ab"));
    buf_text(&buf);
    buf_append_char(&buf, 'c');
    assert_string_equal(buf_text(&buf), "abc");
    buf_deinit(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_gives_an_empty_text),
        cmocka_unit_test(bytes_survive_growth),
        cmocka_unit_test(reserved_bytes_are_claimed_by_len),
        cmocka_unit_test(integers_are_written_at_their_limits),
        cmocka_unit_test(printf_appends_whatever_the_length),
        cmocka_unit_test(consuming_keeps_the_rest),
        cmocka_unit_test(the_text_s_end_is_not_part_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cache/values/rdb.h"

static bool append_item(const struct rdb_item *item, void *arg) {
    buf_append_slice(arg, item->name);
    if (item->value.data) {
        buf_append_char(arg, '=');
        buf_append_slice(arg, item->value);
    }
    buf_append_char(arg, ' ');
    return true;
}

static void expect(struct slice body, const char *text) {
    struct buf seen = {0};
    assert_true(rdb_each(body, append_item, &seen));
    assert_string_equal(buf_text(&seen), text);
    buf_deinit(&seen);
}

static void expect_refused(struct slice body) {
    struct buf seen = {0};
    assert_false(rdb_each(body, append_item, &seen));
    buf_deinit(&seen);
}

/* What redis-server 7.0.15 answers to DUMP after SET k foo. */
static void a_string_is_written_as_redis_writes_it(void **state) {
    (void)state;
    struct buf out = {0};
    rdb_write_string(&out, SLICE("foo"));
    assert_int_equal(out.len, 15);
    assert_memory_equal(out.data,
                        "\x00\x03"
                        "foo"
                        "\x0a\x00"
                        "\x73\x49\x39\xdb\x4d\xc1\xba\x97",
                        15);
    struct slice body;
    enum entry_kind kind;
    assert_true(rdb_verify(buf_slice(&out), &body));
    assert_true(rdb_kind(body, &kind));
    assert_int_equal(kind, ENTRY_STRING);
    expect(body, "foo ");
    buf_deinit(&out);
}

static void a_byte_that_was_changed_shows(void **state) {
    (void)state;
    struct buf out = {0};
    struct slice body;
    rdb_write_string(&out, SLICE("some text"));
    for (size_t i = 0; i < out.len; i++) {
        out.data[i] ^= 4;
        assert_false(rdb_verify(buf_slice(&out), &body));
        out.data[i] ^= 4;
    }
    assert_true(rdb_verify(buf_slice(&out), &body));
    assert_false(rdb_verify(slice_make(out.data, 9), &body));
    buf_deinit(&out);
}

static void numbers_and_compressed_text_are_strings_too(void **state) {
    (void)state;
    expect(SLICE("\x00\xc0\x85"), "-123 ");
    expect(SLICE("\x00\xc1\x00\x80"), "-32768 ");
    expect(SLICE("\x00\xc2\xff\xff\xff\x7f"), "2147483647 ");
    expect(SLICE("\x00\xc3\x05\x0a\x00"
                 "a"
                 "\xe0\x00\x00"),
           "aaaaaaaaaa ");
    expect(SLICE("\x00\x80\x00\x00\x00\x02"
                 "ab"),
           "ab ");
    expect(SLICE("\x00\x40\x02"
                 "ab"),
           "ab ");
}

static void containers_are_read_element_by_element(void **state) {
    (void)state;
    expect(SLICE("\x01\x02\x01"
                 "a\x01"
                 "b"),
           "a b ");
    expect(SLICE("\x04\x01\x01"
                 "f\x01"
                 "v"),
           "f=v ");
    expect(SLICE("\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00"), "-1 5 ");
    expect(SLICE("\x10\x0d\x0d\x00\x00\x00\x02\x00\x81"
                 "f\x02\xdf\xff\x02\xff"),
           "f=-1 ");
}

static void what_is_malformed_is_refused(void **state) {
    (void)state;
    expect_refused(SLICE(""));
    expect_refused(SLICE("\x00"));
    expect_refused(SLICE("\x00\x03"
                         "ab")); /* too short */
    expect_refused(SLICE("\x00\x01"
                         "ab"));       /* too long */
    expect_refused(SLICE("\x01\x00")); /* no elements */
    expect_refused(SLICE("\x01\x02\x01"
                         "a")); /* fewer than announced */
    expect_refused(SLICE("\x0f\x01\x01"
                         "a"));                        /* a stream */
    expect_refused(SLICE("\x00\x82\x00"));             /* no length */
    expect_refused(SLICE("\x00\xc3\x02\x05\x20\x00")); /* back before the beginning */
    expect_refused(SLICE("\x05\x01\x01"
                         "a\x00\x00\x00\x00\x00\x00\xf8\x7f")); /* NaN */
    expect_refused(SLICE("\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                         "a"));
}

static bool stop(const struct rdb_item *item, void *arg) {
    (void)item;
    ++*(int *)arg;
    return false;
}

static void a_visitor_can_end_the_walk(void **state) {
    (void)state;
    int visits = 0;
    assert_false(rdb_each(SLICE("\x01\x02\x01"
                                "a\x01"
                                "b"),
                          stop, &visits));
    assert_int_equal(visits, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_is_written_as_redis_writes_it),
        cmocka_unit_test(a_byte_that_was_changed_shows),
        cmocka_unit_test(numbers_and_compressed_text_are_strings_too),
        cmocka_unit_test(containers_are_read_element_by_element),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(a_visitor_can_end_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "cache/front/reply.h"

/* Composes by both protocols and compares. */
#define EXPECT(call, resp2, resp3)                                                                 \
    do {                                                                                           \
        static const char *const expected[] = {resp2, resp3};                                      \
        for (uint8_t protocol = 2; protocol <= 3; protocol++) {                                    \
            struct buf out = {0};                                                                  \
            struct reply composer = {.out = &out, .protocol = protocol};                           \
            struct reply *reply = &composer;                                                       \
            call;                                                                                  \
            assert_string_equal(buf_text(&out), expected[protocol - 2]);                           \
            buf_deinit(&out);                                                                      \
        }                                                                                          \
    } while (0)
#define BOTH(call, text) EXPECT(call, text, text)

static void scalars(void **state) {
    (void)state;
    BOTH(reply_ok(reply), "+OK\r\n");
    BOTH(reply_simple(reply, "PONG"), "+PONG\r\n");
    BOTH(reply_text(reply, ""), "$0\r\n\r\n");
    BOTH(reply_text(reply, "hello world"), "$11\r\nhello world\r\n");
    BOTH(reply_integer(reply, 0), ":0\r\n");
    BOTH(reply_integer(reply, 9), ":9\r\n");
    BOTH(reply_integer(reply, 10), ":10\r\n");
    BOTH(reply_integer(reply, -1), ":-1\r\n");
    BOTH(reply_integer(reply, INT64_MAX), ":9223372036854775807\r\n");
    BOTH(reply_integer(reply, INT64_MIN), ":-9223372036854775808\r\n");
}

static void resp3_has_types_of_its_own(void **state) {
    (void)state;
    EXPECT(reply_null(reply), "$-1\r\n", "_\r\n");
    EXPECT(reply_null_array(reply), "*-1\r\n", "_\r\n");
    EXPECT(reply_bool(reply, true), ":1\r\n", "#t\r\n");
    EXPECT(reply_bool(reply, false), ":0\r\n", "#f\r\n");
    EXPECT(reply_double(reply, 1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    EXPECT(reply_double(reply, INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
    EXPECT(reply_double(reply, -INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
    EXPECT(reply_verbatim(reply, SLICE("some text")), "$9\r\nsome text\r\n",
           "=13\r\ntxt:some text\r\n");
    EXPECT(reply_map(reply, 3), "*6\r\n", "%3\r\n");
    EXPECT(reply_set(reply, 2), "*2\r\n", "~2\r\n");
    EXPECT(reply_push(reply, 2), "*2\r\n", ">2\r\n");
    BOTH(reply_array(reply, 12345), "*12345\r\n");
}

static void a_bulk_may_hold_any_byte(void **state) {
    (void)state;
    struct buf out = {0};
    struct reply reply = {.out = &out, .protocol = 2};
    reply_bulk(&reply, SLICE("a\0\r\n"));
    assert_int_equal(out.len, 10);
    assert_memory_equal(out.data, "$4\r\na\0\r\n\r\n", 10);
    buf_deinit(&out);
}

static void an_error_is_one_line_whatever_it_quotes(void **state) {
    (void)state;
    BOTH(reply_error(reply, "ERR no '%s'", "a\r\n+OK"), "-ERR no 'a  +OK'\r\n");
    struct buf out = {0};
    struct reply reply = {.out = &out, .protocol = 2};
    reply_wrong_type(&reply);
    reply_syntax_error(&reply);
    assert_int_equal(reply.errors, 2);
    buf_deinit(&out);
}

static void shared_errors_have_redis_words(void **state) {
    (void)state;
    BOTH(reply_wrong_type(reply),
         "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    BOTH(reply_syntax_error(reply), "-ERR syntax error\r\n");
    BOTH(reply_not_an_integer(reply), "-ERR value is not an integer or out of range\r\n");
    BOTH(reply_not_a_float(reply), "-ERR value is not a valid float\r\n");
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars),
        cmocka_unit_test(resp3_has_types_of_its_own),
        cmocka_unit_test(a_bulk_may_hold_any_byte),
        cmocka_unit_test(an_error_is_one_line_whatever_it_quotes),
        cmocka_unit_test(shared_errors_have_redis_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "cache/front/resp.h"

enum { MAX_BULK = 1024 * 1024 };

static struct resp_parser make_parser(void) {
    struct resp_parser parser;
    resp_init(&parser, MAX_BULK);
    parser.authenticated = true;
    return parser;
}

/* The arguments as "<a><b>", or the error, or "more" with nothing else. */
static void describe(struct resp_parser *parser, enum resp_status status, const char *bytes,
                     struct buf *out) {
    if (status == RESP_INVALID) buf_append_text(out, parser->error);
    if (status == RESP_MORE) buf_append_text(out, "more");
    if (status != RESP_DONE) return;
    struct slice argv[64];
    assert_true(parser->argc <= 64);
    resp_argv(parser, bytes, argv);
    for (uint32_t i = 0; i < parser->argc; i++) {
        buf_append_char(out, '<');
        buf_append_slice(out, argv[i]);
        buf_append_char(out, '>');
    }
}

/* All requests in the bytes, one line each; the last line is why it ended. `step` bytes arrive at a time, and lie
 * somewhere else each time. */
static void parse_all(const char *bytes, size_t n, size_t step, bool authenticated,
                      struct buf *out) {
    struct resp_parser parser = make_parser();
    parser.authenticated = authenticated;
    size_t at = 0;
    for (size_t have = step < n ? step : n;;) {
        char *copy = test_malloc(have - at + 1);
        memcpy(copy, bytes + at, have - at);
        enum resp_status status = resp_parse(&parser, copy, have - at);
        bool last = status == RESP_INVALID || (status == RESP_MORE && have == n);
        if (status == RESP_DONE || last) {
            describe(&parser, status, copy, out);
            buf_append_char(out, '\n');
        }
        test_free(copy);
        if (last) break;
        if (status == RESP_DONE) {
            at += parser.consumed;
            resp_reset(&parser);
        } else {
            have = have + step < n ? have + step : n;
        }
    }
    resp_deinit(&parser);
}

static void expect_at_any_step(const char *bytes, size_t n, bool authenticated,
                               const char *expected) {
    for (size_t step = n ? n : 1; step >= 1; step = step > 8 ? step / 2 : step - 1) {
        struct buf out = {0};
        parse_all(bytes, n, step, authenticated, &out);
        assert_string_equal(buf_text(&out), expected);
        buf_deinit(&out);
    }
}

#define EXPECT(bytes, expected) expect_at_any_step(bytes, sizeof(bytes) - 1, true, expected "\n")

static void multibulk_requests_are_read_however_they_arrive(void **state) {
    (void)state;
    EXPECT("*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n", "<GET><a>\n<PING>\nmore");
    EXPECT("*1\r\n$0\r\n\r\n", "<>\nmore");
    EXPECT("*2\r\n$3\r\n\0\r\n\r\n$2\r\n\r\n\r\n", "<\0\r\n><\r\n>\nmore");
    EXPECT("", "more");
    EXPECT("*", "more");
    EXPECT("*2\r\n$3\r\nGET\r\n$10\r\n1234", "more");
}

static void nothing_asked_is_nothing_answered(void **state) {
    (void)state;
    EXPECT("*0\r\n*-1\r\n\r\n\n   \r\n*1\r\n$1\r\nx\r\n", "\n\n\n\n\n<x>\nmore");
}

static void inline_requests_are_split_as_redis_splits(void **state) {
    (void)state;
    EXPECT("PING\r\nset a  b\nget\ta\r\n", "<PING>\n<set><a><b>\n<get><a>\nmore");
    EXPECT("echo \"a b\" 'c d' e\r\n", "<echo><a b><c d><e>\nmore");
    EXPECT("echo \"\\x41\\n\\\"\\q\" '\\n\\''\r\n", "<echo><A\n\"q><\\n'>\nmore");
    EXPECT("echo \"\" ''\r\n", "<echo><><>\nmore");
    EXPECT("a\"b c\"\r\n", "<ab c>\nmore");
    EXPECT("\"\\xZZ\"\r\n", "<xZZ>\nmore");
}

#define ERROR(bytes, text) EXPECT(bytes, "Protocol error: " text)

static void what_is_invalid_is_said_in_redis_words(void **state) {
    (void)state;
    ERROR("*x\r\n", "invalid multibulk length");
    ERROR("*\r\n", "invalid multibulk length");
    ERROR("*1048577\r\n", "invalid multibulk length");
    ERROR("*3000000000\r\n", "invalid multibulk length");
    ERROR("*99999999999999999999999\r\n", "invalid multibulk length");
    ERROR("*01\r\n", "invalid multibulk length");
    ERROR("*+1\r\n", "invalid multibulk length");
    ERROR("*-0\r\n", "invalid multibulk length");
    ERROR("*1\r\n:1\r\n", "expected '$', got ':'");
    ERROR("*1\r\nfoo\r\n", "expected '$', got 'f'");
    ERROR("*1\r\n$-1\r\n", "invalid bulk length");
    ERROR("*1\r\n$x\r\n", "invalid bulk length");
    ERROR("*1\r\n$1048577\r\n", "invalid bulk length");
    ERROR("*1\r\n$2000000000\r\n", "invalid bulk length");
    ERROR("set \"a\r\n", "unbalanced quotes in request");
    ERROR("set 'a\r\n", "unbalanced quotes in request");
    ERROR("set \"a\"b\r\n", "unbalanced quotes in request");
}

static void before_auth_the_bounds_are_small(void **state) {
    (void)state;
    static const char args[] = "*11\r\n";
    expect_at_any_step(args, sizeof args - 1, false,
                       "Protocol error: unauthenticated multibulk length\n");
    static const char bulk[] = "*1\r\n$16385\r\n";
    expect_at_any_step(bulk, sizeof bulk - 1, false,
                       "Protocol error: unauthenticated bulk length\n");
    static const char fine[] = "*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n";
    expect_at_any_step(fine, sizeof fine - 1, false, "<AUTH><x>\nmore\n");
}

static void lines_without_end_are_cut(void **state) {
    (void)state;
    static const struct {
        const char *begin;
        const char *error;
    } cases[] = {{"", "Protocol error: too big inline request\n"},
                 {"*", "Protocol error: too big mbulk count string\n"},
                 {"*1\r\n$", "Protocol error: too big bulk count string\n"},
                 {"*1\r\n", "Protocol error: too big bulk count string\n"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t n = RESP_MAX_INLINE + 64;
        char *bytes = test_malloc(n);
        memset(bytes, '1', n);
        memcpy(bytes, cases[i].begin, strlen(cases[i].begin));
        struct buf out = {0};
        parse_all(bytes, n, 1000, true, &out);
        assert_string_equal(buf_text(&out), cases[i].error);
        buf_deinit(&out);
        test_free(bytes);
    }
}

static void a_long_inline_request_within_the_bound_is_read(void **state) {
    (void)state;
    char *bytes = test_malloc(RESP_MAX_INLINE);
    memset(bytes, 'x', RESP_MAX_INLINE);
    for (int i = 1; i < RESP_MAX_INLINE; i += 2)
        bytes[i] = ' ';
    bytes[RESP_MAX_INLINE - 1] = '\n';
    struct resp_parser parser = make_parser();
    assert_int_equal(resp_parse(&parser, bytes, RESP_MAX_INLINE), RESP_DONE);
    assert_int_equal(parser.argc, RESP_MAX_INLINE / 2);
    resp_reset(&parser);
    assert_null(parser.args); /* given back */
    resp_deinit(&parser);
    test_free(bytes);
}

static void a_count_alone_reserves_no_memory(void **state) {
    (void)state;
    struct resp_parser parser = make_parser();
    static const char bytes[] = "*1048576\r\n$1048576\r\n";
    assert_int_equal(resp_parse(&parser, bytes, sizeof bytes - 1), RESP_MORE);
    assert_true(parser.args_cap <= 16);
    assert_int_equal(parser.missing, 1048576 + 2);
    resp_deinit(&parser);
}

static void many_arguments_are_read(void **state) {
    (void)state;
    enum { N = 100000 };
    struct buf bytes = {0};
    buf_printf(&bytes, "*%d\r\n", N);
    for (int i = 0; i < N; i++)
        buf_printf(&bytes, "$1\r\n%d\r\n", i % 10);
    struct resp_parser parser = make_parser();
    assert_int_equal(resp_parse(&parser, bytes.data, bytes.len - 1), RESP_MORE);
    assert_int_equal(resp_parse(&parser, bytes.data, bytes.len), RESP_DONE);
    assert_int_equal(parser.argc, N);
    struct slice *argv = test_calloc(N, sizeof argv[0]);
    resp_argv(&parser, bytes.data, argv);
    for (int i = 0; i < N; i++) {
        assert_int_equal(argv[i].len, 1);
        assert_int_equal(*argv[i].data, '0' + i % 10);
    }
    test_free(argv);
    resp_deinit(&parser);
    buf_deinit(&bytes);
}

static void small_requests_are_read_at_once_or_left_to_the_parser(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t argc; /* 0: left to the parser */
    } cases[] = {
        {"*1\r\n$4\r\nPING\r\n", 1},
        {"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", 2},
        {"*2\r\n$3\r\nGET\r\n$12\r\nkey:12345678\r\n*1\r\n", 2},
        {"*11\r\n$4\r\nMGET\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n"
         "$1\r\n7\r\n$1\r\n8\r\n$1\r\n9\r\n$1\r\n0\r\n",
         11},
        {"*0\r\n$4\r\nPING\r\n", 0},
        {"*01\r\n$4\r\nPING\r\n", 0},
        {"*-1\r\n$4\r\nPING\r\n", 0},
        {"*1\r\n$04\r\nPING\r\n", 0},
        {"*1\r\n$-1\r\nPING\r\n", 0},
        {"*1\r\n:4\r\nPING\r\n", 0},
        {"*1\r\n$4\r\nPING\r", 0},
        {"*2\r\n$4\r\nPING\r\n", 0},
        {"*1\r\n$1000\r\nPING\r\n", 0},
        {"*33\r\n$4\r\nPING\r\n", 0},
        {"*133\r\n$4\r\nPING\r\n", 0},
        {"PING a b c d\r\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice small[RESP_SMALL_ARGS], whole[RESP_SMALL_ARGS];
        uint32_t argc = 0;
        size_t len = strlen(cases[i].bytes);
        size_t consumed = resp_parse_small(cases[i].bytes, len, small, &argc);
        assert_int_equal(argc, cases[i].argc);
        assert_int_equal(consumed > 0, argc > 0);
        if (!argc) continue;
        struct resp_parser parser;
        resp_init(&parser, 4096);
        parser.authenticated = true;
        assert_int_equal(resp_parse(&parser, cases[i].bytes, len), RESP_DONE);
        assert_int_equal(parser.consumed, consumed);
        assert_int_equal(parser.argc, argc);
        resp_argv(&parser, cases[i].bytes, whole);
        for (uint32_t a = 0; a < argc; a++)
            assert_true(small[a].data == whole[a].data && small[a].len == whole[a].len);
        resp_deinit(&parser);
    }
}

int main(void) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(multibulk_requests_are_read_however_they_arrive),
        cmocka_unit_test(nothing_asked_is_nothing_answered),
        cmocka_unit_test(inline_requests_are_split_as_redis_splits),
        cmocka_unit_test(what_is_invalid_is_said_in_redis_words),
        cmocka_unit_test(before_auth_the_bounds_are_small),
        cmocka_unit_test(lines_without_end_are_cut),
        cmocka_unit_test(a_long_inline_request_within_the_bound_is_read),
        cmocka_unit_test(a_count_alone_reserves_no_memory),
        cmocka_unit_test(many_arguments_are_read),
        cmocka_unit_test(small_requests_are_read_at_once_or_left_to_the_parser),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

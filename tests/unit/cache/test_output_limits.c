#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cache/front/output_limits.h"

static void assert_shown(const struct output_limits *limits, const char *expected) {
    struct buf shown = {0};
    output_limits_format(limits, &shown);
    assert_string_equal(buf_text(&shown), expected);
    buf_deinit(&shown);
}

static void defaults_are_redis_s_but_for_normal_clients(void **state) {
    (void)state;
    struct output_limits limits;
    output_limits_init(&limits, 1000);
    assert_shown(&limits, "normal 1000 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
}

static void only_the_classes_that_are_named_change(void **state) {
    (void)state;
    struct output_limits limits;
    output_limits_init(&limits, 0);
    assert_null(output_limits_set(&limits, SLICE("pubsub 1mb 512kb 10  replica 1k 2m 3"), true));
    assert_shown(&limits, "normal 0 0 0 slave 1000 2000000 3 pubsub 1048576 524288 10");
    assert_int_equal(output_limits_hard(&limits, OUTPUT_PUBSUB), 1 << 20);
    assert_int_equal(output_limits_soft(&limits, OUTPUT_PUBSUB), 1 << 19);
    assert_int_equal(output_limits_soft_us(&limits, OUTPUT_PUBSUB), 10 * 1000000);
    assert_null(output_limits_set(&limits, SLICE(""), true));
}

static void what_is_wrong_or_only_asked_for_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"wrong number", "Wrong number of arguments in buffer limit configuration."},
        {"master 1 1 1", "Invalid client class specified in buffer limit configuration."},
        {"normal 10mbs 1 1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
        {"normal 1 x 1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
        {"normal 1 1 -1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
        {"normal -1 1 1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
        {"normal 99999999999gb 1 1",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
        {"pubsub 1 1 1 normal 1 1 1s",
         "Error in hard, soft or soft_seconds setting in buffer limit configuration."},
    };
    struct output_limits limits;
    output_limits_init(&limits, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(output_limits_set(&limits, slice_from(cases[i].text), true),
                            cases[i].why);
    assert_null(output_limits_set(&limits, SLICE("pubsub 1 1 1"), false));
    assert_shown(&limits, "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_redis_s_but_for_normal_clients),
        cmocka_unit_test(only_the_classes_that_are_named_change),
        cmocka_unit_test(what_is_wrong_or_only_asked_for_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

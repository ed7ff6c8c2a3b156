/* Errors told at I/O boundaries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/error.h"

static void an_error_is_filled_and_false_is_returned(void **state) {
    (void)state;
    struct error err = {0};
    assert_false(error_set(&err, ERROR_REFUSED, true, "slot \"%s\": in use", "a"));
    assert_int_equal(err.code, ERROR_REFUSED);
    assert_true(err.retriable);
    assert_string_equal(err.message, "slot \"a\": in use");
}

static void a_server_s_message_becomes_one_line(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERROR_SYSTEM, false, "%s", "ERROR:  no\nHINT:\tyes \n");
    assert_string_equal(err.message, "ERROR:  no HINT: yes");
}

static void nobody_may_want_to_know(void **state) {
    (void)state;
    assert_false(error_set(NULL, ERROR_LIMIT, false, "x"));
    assert_false(error_prefix(NULL, "y"));
}

static void context_goes_before_the_message(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERROR_TIMEOUT, true, "no answer");
    assert_false(error_prefix(&err, "table %s", "t"));
    assert_string_equal(err.message, "table t: no answer");
    assert_int_equal(err.code, ERROR_TIMEOUT);
}

static void long_messages_are_cut(void **state) {
    (void)state;
    struct error err = {0};
    error_set(&err, ERROR_LIMIT, false, "%02000d", 0);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    error_prefix(&err, "context");
    assert_memory_equal(err.message, "context: 000", 12);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    error_prefix(&err, "%02000d", 1); /* no room for it: the message itself counts for more */
    assert_memory_equal(err.message, "context: 000", 12);
}

static void each_code_has_a_name(void **state) {
    (void)state;
    for (int code = ERROR_NONE; code <= ERROR_STOPPED; code++)
        assert_true(strlen(error_code_name((enum error_code)code)) > 0);
    assert_string_equal(error_code_name(ERROR_NOT_FOUND), "not_found");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_filled_and_false_is_returned),
        cmocka_unit_test(a_server_s_message_becomes_one_line),
        cmocka_unit_test(nobody_may_want_to_know),
        cmocka_unit_test(context_goes_before_the_message),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(each_code_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

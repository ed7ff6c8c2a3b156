/* Log sequence numbers as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/lsn.h"

static void check(const char *text, uint64_t want) {
    uint64_t lsn = 1;
    assert_true(lsn_parse(text, &lsn));
    assert_true(lsn == want);
}

static void both_halves_are_hexadecimal(void **state) {
    (void)state;
    check("0/0", 0);
    check("16/B374D848", 0x16B374D848);
    check("ffffffff/FFFFFFFF", UINT64_MAX);
}

static void what_is_no_lsn_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",    "0",   "/",    "0/",          "/0",   "1/2/3", "0/0 ", " 0/0",  "0/0x",
        "g/0", "0/g", "0 /0", "0/123456789", "-1/0", "0/-1",  "+1/0", "0x1/0", "1234567890/0"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t lsn;
        if (lsn_parse(bad[i], &lsn)) fail_msg("\"%s\" passes for an LSN", bad[i]);
    }
}

static void it_is_written_as_postgresql_does(void **state) {
    (void)state;
    char text[32];
    uint64_t lsn = 0x16000000AB;
    snprintf(text, sizeof text, LSN_FMT, LSN_ARG(lsn));
    assert_string_equal(text, "16/AB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_halves_are_hexadecimal),
        cmocka_unit_test(what_is_no_lsn_is_refused),
        cmocka_unit_test(it_is_written_as_postgresql_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

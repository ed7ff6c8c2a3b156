#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "server/units.h"

static void durations_carry_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"0", 0},         {"0s", 0},
        {"250ms", 250},   {"1.5s", 1500},
        {"5m", 300000},   {"2h", 7200000},
        {"1d", 86400000}, {"007s", 7000},
        {"0.001s", 1},    {"104249991d", 9007199222400000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        struct why why;
        if (!units_duration(cases[i].text, &ms, &why)) fail_msg("%s", why.text);
        assert_int_equal(ms, cases[i].ms);
    }
}

static void a_wrong_duration_says_what_would_be_right(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"5", "\"5\" has no unit, write 250ms, 30s, 5m, 2h or 1d"},
        {"", "\"\" is not a duration, write 250ms, 30s, 5m, 2h or 1d"},
        {"-5s", "\"-5s\" is not a duration, write 250ms, 30s, 5m, 2h or 1d"},
        {"0x10s", "\"0x10s\" has the unknown unit \"x10s\", write 250ms, 30s, 5m, 2h or 1d"},
        {"inf", "\"inf\" is not a duration, write 250ms, 30s, 5m, 2h or 1d"},
        {"5.s", "\"5.s\" is not a duration, write 250ms, 30s, 5m, 2h or 1d"},
        {"1e3s", "\"1e3s\" has the unknown unit \"e3s\", write 250ms, 30s, 5m, 2h or 1d"},
        {"5S", "\"5S\" has the unknown unit \"S\", write 5s"},
        {"5hours", "\"5hours\" has the unknown unit \"hours\", write 5h"},
        {"0.1ms", "\"0.1ms\" is less than 1ms"},
        {"104249992d", "\"104249992d\" is too large"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms;
        struct why why;
        assert_false(units_duration(cases[i].text, &ms, &why));
        assert_string_equal(why.text, cases[i].why);
    }
}

static void sizes_carry_units(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {
        {"0", 0}, {"512B", 512}, {"64KiB", 65536}, {"1.5GiB", 1610612736}, {"10MB", 10000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 1;
        struct why why;
        if (!units_size(cases[i].text, &bytes, &why)) fail_msg("%s", why.text);
        assert_int_equal(bytes, cases[i].bytes);
    }
    uint64_t bytes;
    struct why why;
    assert_false(units_size("1gb", &bytes, &why));
    assert_string_equal(why.text, "\"1gb\" has the unknown unit \"gb\", write 1GB");
    assert_false(units_size("1G", &bytes, &why));
    assert_string_equal(why.text, "\"1G\" has the unknown unit \"G\", write 1GiB");
    assert_false(units_size("99999TiB", &bytes, &why));
}

static void addresses_are_host_and_port(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *host; /* NULL: refused */
        uint16_t port;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:6380", "127.0.0.1", 6380, true},
        {"127.9.9.9:1", "127.9.9.9", 1, true},
        {"[::1]:0", "::1", 0, true},
        {"localhost:65535", "localhost", 65535, true},
        {"0.0.0.0:6380", "0.0.0.0", 6380, false},
        {"[::]:6380", "::", 6380, false},
        {"cache.internal:1", "cache.internal", 1, false},
        {"6380", NULL, 0, false},
        {":6380", NULL, 0, false},
        {"a:65536", NULL, 0, false},
        {"a:", NULL, 0, false},
        {"a:12x", NULL, 0, false},
        {"::1:6380", NULL, 0, false},
        {"[::1:6380", NULL, 0, false},
        {"a:-1", NULL, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct address address;
        struct why why;
        bool done = units_address(cases[i].text, &address, &why);
        if (done != (cases[i].host != NULL)) fail_msg("%s", cases[i].text);
        if (!done) continue;
        assert_string_equal(address.host, cases[i].host);
        assert_int_equal(address.port, cases[i].port);
        assert_int_equal(address_is_loopback(&address), cases[i].loopback);
    }
}

static void counts_are_whole_numbers(void **state) {
    (void)state;
    int64_t value;
    struct why why;
    assert_true(units_count("42", &value, &why));
    assert_int_equal(value, 42);
    assert_false(units_count("4.5", &value, &why));
    assert_false(units_count("", &value, &why));
    assert_false(units_count("99999999999999999999", &value, &why));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_carry_units),
        cmocka_unit_test(a_wrong_duration_says_what_would_be_right),
        cmocka_unit_test(sizes_carry_units),
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test(counts_are_whole_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "base/standbys.h"

static enum standby_role role(const char *text, const char *name) {
    struct standbys standbys;
    assert_true(standbys_parse(text, &standbys));
    enum standby_role role = standbys_role(&standbys, name);
    standbys_deinit(&standbys);
    return role;
}

static void a_name_is_found_as_postgresql_finds_it(void **state) {
    (void)state;
    assert_int_equal(role("", "cache"), STANDBY_NOT_NAMED);
    assert_int_equal(role("  ", "cache"), STANDBY_NOT_NAMED);
    assert_int_equal(role("cache2, my_cache", "cache"), STANDBY_NOT_NAMED);
    assert_int_equal(role("Cache", "cache"), STANDBY_NEEDED);
    assert_int_equal(role("\"a \"\"b\"\"\"", "a \"b\""), STANDBY_NEEDED);
    assert_int_equal(role("\"FIRST 1 (x)\"", "x"), STANDBY_NOT_NAMED);
    assert_int_equal(role("first", "first"), STANDBY_NEEDED);
}

static void what_a_list_means_to_one_of_it(void **state) {
    (void)state;
    assert_int_equal(role("cache", "cache"), STANDBY_NEEDED);
    assert_int_equal(role("FIRST 1 (cache)", "cache"), STANDBY_NEEDED);
    assert_int_equal(role("2 (cache, s1)", "s1"), STANDBY_NEEDED);
    assert_int_equal(role("any 2(s1,cache)", "cache"), STANDBY_NEEDED);
    assert_int_equal(role("cache, s1", "cache"), STANDBY_PREFERRED);
    assert_int_equal(role("FIRST 1 (cache, s1)", "cache"), STANDBY_PREFERRED);
    assert_int_equal(role("FIRST 2 (a, cache, s1)", "cache"), STANDBY_PREFERRED);
    assert_int_equal(role("FIRST 1 (s1, cache)", "cache"), STANDBY_OPTIONAL);
    assert_int_equal(role("ANY 1 (cache, s1)", "cache"), STANDBY_OPTIONAL);
    assert_int_equal(role("*", "cache"), STANDBY_OPTIONAL);
    assert_int_equal(role("cache, *", "cache"), STANDBY_PREFERRED);
}

static void what_is_not_of_the_syntax_is_refused(void **state) {
    (void)state;
    static const char *const wrong[] = {"(",  "1 (", "FIRST (a)", "ANY 0 (a)", "1 (a,)",
                                        "a,", "\"a", "1 (a) b",   "a b"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct standbys standbys;
        assert_false(standbys_parse(wrong[i], &standbys));
        standbys_deinit(&standbys);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_found_as_postgresql_finds_it),
        cmocka_unit_test(what_a_list_means_to_one_of_it),
        cmocka_unit_test(what_is_not_of_the_syntax_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

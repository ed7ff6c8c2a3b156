/* One event, one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { ROOM = 16 * 1024 };

/* What a log writes, read back through a pipe. */
struct fixture {
    int ends[2];
    struct log *log;
    char text[ROOM];
};

static void setup(struct fixture *f, enum log_level level) {
    assert_int_equal(pipe(f->ends), 0);
    f->log = log_create(f->ends[1], level);
}

static const char *finish(struct fixture *f) {
    close(f->ends[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(f->ends[0], f->text + len, sizeof f->text - 1 - len)) > 0)
        len += (size_t)n;
    f->text[len] = '\0';
    close(f->ends[0]);
    log_destroy(&f->log);
    return f->text;
}

static void the_event_comes_first_and_the_time_last(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, LOG_INFO);
    log_info(f.log, "slot_created", "slot=%s", "freshet");
    const char *text = finish(&f);
    assert_memory_equal(text, "slot_created slot=freshet level=info time=20", 44);
    assert_string_equal(text + strlen(text) - 2, "Z\n");
}

static void an_event_without_values_has_no_stray_space(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, LOG_INFO);
    log_warn(f.log, "ready", "%s", "");
    assert_memory_equal(finish(&f), "ready level=warn", 16);
}

static void what_is_below_the_level_is_not_written(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, LOG_WARN);
    log_info(f.log, "quiet", "x=%d", 1);
    log_error(f.log, "loud", "x=%d", 1);
    log_set_level(f.log, LOG_ERROR);
    log_warn(f.log, "quiet", "x=%d", 1);
    const char *text = finish(&f);
    assert_non_null(strstr(text, "loud"));
    assert_null(strstr(text, "quiet"));
}

static void a_value_cannot_begin_a_line_of_its_own(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, LOG_INFO);
    log_info(f.log, "bad_input", "text=\"%s\"", "a\nready\r\n");
    const char *text = finish(&f);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_null(strchr(text, '\r'));
}

static void a_long_line_is_cut_and_still_ends_well(void **state) {
    (void)state;
    struct fixture f;
    setup(&f, LOG_INFO);
    log_info(f.log, "long", "%09000d", 0);
    const char *text = finish(&f);
    assert_true(strlen(text) < 4096 + 64);
    assert_non_null(strstr(text, " level=info time="));
}

static void levels_have_names(void **state) {
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_false(log_level_parse("verbose", &level));
    assert_int_equal(level, LOG_DEBUG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_event_comes_first_and_the_time_last),
        cmocka_unit_test(an_event_without_values_has_no_stray_space),
        cmocka_unit_test(what_is_below_the_level_is_not_written),
        cmocka_unit_test(a_value_cannot_begin_a_line_of_its_own),
        cmocka_unit_test(a_long_line_is_cut_and_still_ends_well),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

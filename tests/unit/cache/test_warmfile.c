/* The file of a warm start: what was written reads the same, and nothing else is taken for one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache/rows/warmfile.h"

static void write_two(struct buf *text) {
    warmfile_begin(text);
    warmfile_add(text, 's', slice_from("users:42"));
    warmfile_add(text, 'h', slice_make("t:a b\n%\0\xff", 9));
    warmfile_end(text);
}

static void what_was_written_reads_the_same(void **state) {
    (void)state;
    struct buf text = {0};
    struct buf scratch = {0};
    struct warmfile file;
    struct slice key;
    const char *why;
    char form;
    write_two(&text);
    assert_memory_equal(text.data, "freshet warm 1\ns users:42\nh t:a%20b%0A%25%00\xff\nend 2 ",
                        52);
    assert_true(warmfile_open(buf_slice(&text), &file, &why));
    assert_int_equal(file.n_keys, 2);
    assert_true(warmfile_next(&file, &key, &form, &scratch));
    assert_true(slice_equal(key, slice_from("users:42")) && form == 's');
    assert_true(warmfile_next(&file, &key, &form, &scratch));
    assert_true(slice_equal(key, slice_make("t:a b\n%\0\xff", 9)) && form == 'h');
    assert_false(warmfile_next(&file, &key, &form, &scratch));
    buf_deinit(&text);
    buf_deinit(&scratch);
}

static void a_file_of_no_keys_is_one(void **state) {
    (void)state;
    struct buf text = {0};
    struct warmfile file;
    const char *why;
    warmfile_begin(&text);
    warmfile_add(&text, 's', slice_from("")); /* no key */
    warmfile_end(&text);
    assert_true(warmfile_open(buf_slice(&text), &file, &why));
    assert_int_equal(file.n_keys, 0);
    buf_deinit(&text);
}

static void any_altered_byte_and_any_cut_is_found(void **state) {
    (void)state;
    struct buf text = {0};
    struct warmfile file;
    const char *why = NULL;
    write_two(&text);
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] ^= 1;
        assert_false(warmfile_open(buf_slice(&text), &file, &why));
        assert_non_null(why);
        text.data[i] ^= 1;
    }
    for (size_t len = 0; len < text.len; len++)
        assert_false(warmfile_open(slice_make(text.data, len), &file, &why));
    buf_append_char(&text, '\n');
    assert_false(warmfile_open(buf_slice(&text), &file, &why));
    buf_deinit(&text);
}

/* Under a good signature. */
static void assert_refused(const char *lines) {
    struct buf text = {0};
    struct warmfile file;
    const char *why;
    warmfile_begin(&text);
    buf_append_text(&text, lines);
    warmfile_end(&text);
    assert_false(warmfile_open(buf_slice(&text), &file, &why));
    buf_deinit(&text);
}

static void lines_of_another_format_are_refused(void **state) {
    (void)state;
    assert_refused("users:42\n");
    assert_refused("x users:42\n");
    assert_refused("s \n");
    assert_refused("s users:42 value\n");
    assert_refused("s users:4%2\n");
    assert_refused("s users:%zz\n");
    assert_refused("s users:%\n");
    assert_refused("\n");
    char *line = malloc(WARMFILE_MAX_KEY_BYTES + 8);
    memset(line, 'x', WARMFILE_MAX_KEY_BYTES + 6);
    line[1] = ' ';
    line[0] = 's';
    strcpy(line + WARMFILE_MAX_KEY_BYTES + 5, "\n");
    assert_refused(line);
    free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_reads_the_same),
        cmocka_unit_test(a_file_of_no_keys_is_one),
        cmocka_unit_test(any_altered_byte_and_any_cut_is_found),
        cmocka_unit_test(lines_of_another_format_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

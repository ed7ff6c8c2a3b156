#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cache/values/fields.h"

static void assert_slice(struct slice got, const char *wanted) {
    assert_int_equal(got.len, strlen(wanted));
    assert_memory_equal(got.data, wanted, got.len);
}

static void pairs_come_back_in_the_order_of_appending(void **state) {
    (void)state;
    struct buf packed = {0};
    fields_append(&packed, SLICE("name"), SLICE("Ada"));
    fields_append(&packed, SLICE(""), SLICE(""));
    fields_append(&packed, SLICE("born"), SLICE("1815"));

    struct fields_cursor cursor = fields_begin(buf_slice(&packed));
    struct slice field;
    struct slice value;
    assert_true(fields_next(&cursor, &field, &value));
    assert_slice(field, "name");
    assert_slice(value, "Ada");
    assert_true(fields_next(&cursor, &field, &value));
    assert_slice(field, "");
    assert_slice(value, "");
    assert_true(fields_next(&cursor, &field, &value));
    assert_slice(field, "born");
    assert_false(fields_next(&cursor, &field, &value));
    assert_int_equal(fields_count(buf_slice(&packed)), 3);
    buf_deinit(&packed);
}

static void a_field_is_found_by_its_whole_name(void **state) {
    (void)state;
    struct buf packed = {0};
    fields_append(&packed, SLICE("ab"), SLICE("1"));
    fields_append(&packed, SLICE("abc"), SLICE("2"));
    struct slice value;
    assert_true(fields_find(buf_slice(&packed), SLICE("abc"), &value));
    assert_slice(value, "2");
    assert_false(fields_find(buf_slice(&packed), SLICE("a"), &value));
    assert_false(fields_find((struct slice){0}, SLICE("a"), &value));
    buf_deinit(&packed);
}

static void long_values_keep_their_length(void **state) {
    (void)state;
    static char big[70000];
    memset(big, 'x', sizeof big);
    const size_t lengths[] = {0, 1, 127, 128, 16383, 16384, sizeof big};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct buf packed = {0};
        fields_append(&packed, slice_make(big, lengths[i]), slice_make(big, lengths[i]));
        fields_append(&packed, SLICE("end"), SLICE("."));
        struct slice value;
        assert_true(fields_find(buf_slice(&packed), slice_make(big, lengths[i]), &value));
        assert_int_equal(value.len, lengths[i]);
        assert_true(fields_find(buf_slice(&packed), SLICE("end"), &value));
        buf_deinit(&packed);
    }
}

static void a_damaged_run_ends_the_walk_inside_its_bytes(void **state) {
    (void)state;
    struct buf packed = {0};
    fields_append(&packed, SLICE("field"), SLICE("value"));
    fields_append(&packed, SLICE("other"), SLICE("value"));
    for (size_t len = 0; len < packed.len; len++)
        assert_true(fields_count(slice_make(packed.data, len)) <= 1);
    const char endless[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_int_equal(fields_count(slice_make(endless, sizeof endless - 1)), 0);
    const char past_the_end[] = "\x01x\x7fyz";
    assert_int_equal(fields_count(slice_make(past_the_end, sizeof past_the_end - 1)), 0);
    buf_deinit(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_come_back_in_the_order_of_appending),
        cmocka_unit_test(a_field_is_found_by_its_whole_name),
        cmocka_unit_test(long_values_keep_their_length),
        cmocka_unit_test(a_damaged_run_ends_the_walk_inside_its_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

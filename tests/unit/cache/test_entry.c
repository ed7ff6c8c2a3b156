#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/store/entry.h"
#include "cache/values/hash.h"

#define assert_slice(got, wanted)                                                                  \
    do {                                                                                           \
        struct slice got_slice = (got);                                                            \
        assert_int_equal(got_slice.len, strlen(wanted));                                           \
        assert_memory_equal(got_slice.data, wanted, got_slice.len);                                \
    } while (0)

static void a_string_keeps_key_value_and_expiry(void **state) {
    (void)state;
    struct entry *entry = entry_create_string(SLICE("key"), 7, SLICE("value"), 1234);
    assert_int_equal(entry->kind, ENTRY_STRING);
    assert_slice(entry_key(entry), "key");
    assert_slice(entry_string(entry), "value");
    assert_int_equal(entry_expiry(entry), 1234);
    assert_false(entry_is_expired(entry, 1233));
    assert_true(entry_is_expired(entry, 1234));
    entry_destroy(&entry);
    assert_null(entry);

    entry = entry_create_string(SLICE(""), 7, SLICE(""), STORE_NEVER);
    assert_slice(entry_key(entry), "");
    assert_slice(entry_string(entry), "");
    assert_false(entry_is_expired(entry, INT64_MAX));
    entry_destroy(&entry);
}

static void a_small_key_without_ttl_costs_sixteen_bytes_more_than_its_data(void **state) {
    (void)state;
    char key[16] = {0};
    char value[32] = {0};
    struct entry *entry = entry_create_string(slice_make(key, sizeof key), 1,
                                              slice_make(value, sizeof value), STORE_NEVER);
    assert_in_range(entry_size(entry), 64, 72); /* the allocator's rounding */
    entry_destroy(&entry);
}

static void a_big_value_has_room_for_an_expiry_from_the_start(void **state) {
    (void)state;
    static char value[4096];
    struct entry *entry =
        entry_create_string(SLICE("k"), 1, slice_make(value, sizeof value), STORE_NEVER);
    assert_true(entry->flags & ENTRY_TIMED);
    assert_int_equal(entry_expiry(entry), STORE_NEVER);
    assert_false(entry_is_expired(entry, INT64_MAX));
    entry_destroy(&entry);
}

static void a_row_holds_either_form_or_both(void **state) {
    (void)state;
    struct row_stamp stamp = {.table = 3, .generation = 9, .snapshot_xmin = 5, .filled_at_us = 11};
    struct slice got;
    struct entry *row =
        entry_create_row(SLICE("t:1"), 1, 50, &stamp, SLICE("{\"a\":1}"), SLICE("packed"));
    assert_int_equal(entry_row_stamp(row)->table, 3);
    assert_int_equal(entry_row_stamp(row)->filled_at_us, 11);
    assert_slice(entry_key(row), "t:1");
    assert_true(entry_row_json(row, &got));
    assert_slice(got, "{\"a\":1}");
    assert_true(entry_row_fields(row, &got));
    assert_slice(got, "packed");
    entry_destroy(&row);

    row = entry_create_row(SLICE("t:1"), 1, STORE_NEVER, &stamp, (struct slice){0}, SLICE(""));
    assert_false(entry_row_json(row, &got));
    assert_true(entry_row_fields(row, &got)); /* a row of NULLs: read, and empty */
    assert_int_equal(got.len, 0);
    assert_non_null(got.data);
    entry_destroy(&row);
}

static void a_negative_entry_is_marked_and_has_no_form(void **state) {
    (void)state;
    struct row_stamp stamp = {.absent = true};
    struct slice got;
    struct entry *row =
        entry_create_row(SLICE("t:2"), 1, 50, &stamp, (struct slice){0}, (struct slice){0});
    assert_true(entry_is_absent(row));
    assert_false(entry_row_json(row, &got));
    assert_false(entry_row_fields(row, &got));
    entry_destroy(&row);
}

static void a_copy_with_room_for_an_expiry_is_the_same_otherwise(void **state) {
    (void)state;
    struct row_stamp stamp = {.table = 3};
    struct entry *row =
        entry_create_row(SLICE("t:1"), 1, STORE_NEVER, &stamp, SLICE("{}"), SLICE("packed"));
    struct entry *moved = entry_move_timed(row, 99);
    struct slice got;
    assert_int_equal(entry_expiry(moved), 99);
    assert_slice(entry_key(moved), "t:1");
    assert_int_equal(entry_row_stamp(moved)->table, 3);
    assert_true(entry_row_fields(moved, &got));
    assert_slice(got, "packed");
    mem_free(row);
    entry_destroy(&moved);
}

static void a_big_hash_is_counted_with_its_table_which_moves_along(void **state) {
    (void)state;
    struct hash_table *table = hash_table_create(1);
    struct entry *hash = entry_create_object(ENTRY_HASH, SLICE("h"), 1, STORE_NEVER, table);
    struct hash_edit edit;
    size_t before = entry_size(hash);
    hash_edit_begin(&edit, hash, 1, (struct hash_limits){512, 64});
    assert_true(hash_edit_set(&edit, SLICE("field"), SLICE("value")));
    hash_edit_abandon(&edit);
    assert_true(entry_size(hash) > before + 10);

    struct entry *moved = entry_move_timed(hash, 99);
    mem_free(hash);
    struct hash_view view = hash_view_entry(moved);
    struct slice value;
    assert_true(hash_find(&view, SLICE("field"), &value));
    assert_slice(value, "value");
    entry_destroy(&moved);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_string_keeps_key_value_and_expiry),
        cmocka_unit_test(a_small_key_without_ttl_costs_sixteen_bytes_more_than_its_data),
        cmocka_unit_test(a_big_value_has_room_for_an_expiry_from_the_start),
        cmocka_unit_test(a_row_holds_either_form_or_both),
        cmocka_unit_test(a_negative_entry_is_marked_and_has_no_form),
        cmocka_unit_test(a_copy_with_room_for_an_expiry_is_the_same_otherwise),
        cmocka_unit_test(a_big_hash_is_counted_with_its_table_which_moves_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

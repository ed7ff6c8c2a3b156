/* What open transactions have touched: kept by xid, dropped at an abort, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cache/rows/held.h"

enum { MAP = 7, TABLE = 3, OTHER = 4 };

static void touch(struct held *held, uint64_t xid, uint64_t subxid, uint32_t table, int n) {
    char text[32];
    int len = snprintf(text, sizeof text, "t:%d", n);
    struct touched *touched = held_begin(held, xid, subxid, MAP);
    touched_key(touched, table, (uint64_t)n, slice_make(text, (size_t)len));
    held_end(held);
}

static void assert_keys(const struct touched *touched, const char *expected) {
    char all[256] = "";
    size_t at = 0;
    for (size_t i = 0; i < touched->n_keys; i++) {
        struct slice text = touched_text(touched, &touched->keys[i]);
        at += (size_t)snprintf(all + at, sizeof all - at, "%.*s ", (int)text.len, text.data);
    }
    assert_string_equal(all, expected);
}

static void transactions_are_kept_apart_until_they_end(void **state) {
    (void)state;
    struct held *held = held_create(100, 1 << 20);
    struct touched touched;
    touch(held, 10, 10, TABLE, 1);
    touch(held, 11, 11, TABLE, 2);
    touch(held, 10, 10, TABLE, 3);
    assert_int_equal(held_count(held), 2);
    assert_true(held_bytes(held) > 0);
    assert_true(held_take(held, 10, MAP, &touched));
    assert_keys(&touched, "t:1 t:3 ");
    touched_deinit(&touched);
    assert_false(held_take(held, 10, MAP, &touched));
    held_abort(held, 11, 11);
    assert_false(held_take(held, 11, MAP, &touched));
    assert_int_equal(held_count(held), 0);
    assert_int_equal(held_bytes(held), 0);
    held_destroy(&held);
}

static void an_aborted_subtransaction_takes_its_keys_along(void **state) {
    (void)state;
    struct held *held = held_create(100, 1 << 20);
    struct touched touched;
    touch(held, 10, 10, TABLE, 1);
    touch(held, 10, 12, TABLE, 2);
    touch(held, 10, 12, TABLE, 3);
    touch(held, 10, 13, TABLE, 4);
    touch(held, 10, 12, TABLE, 5);
    touch(held, 10, 10, TABLE, 6);
    held_abort(held, 10, 99);
    held_abort(held, 10, 12);
    touch(held, 10, 14, TABLE, 7);
    held_abort(held, 10, 14);
    touch(held, 10, 15, TABLE, 8);
    assert_true(held_take(held, 10, MAP, &touched));
    assert_keys(&touched, "t:1 t:4 t:6 t:8 ");
    assert_int_equal(touched.n_tables, 0);
    touched_deinit(&touched);
    held_destroy(&held);
}

static void past_its_keys_a_transaction_is_known_by_its_tables(void **state) {
    (void)state;
    struct held *held = held_create(4, 1 << 20);
    struct touched touched;
    for (int i = 0; i < 4; i++)
        touch(held, 10, 10, TABLE, i);
    touch(held, 10, 11, TABLE, 4);
    touch(held, 10, 12, TABLE, 5);
    touch(held, 10, 13, OTHER, 6);
    /* The table stays touched: it is not known by which of the parts. */
    held_abort(held, 10, 11);
    assert_true(held_take(held, 10, MAP, &touched));
    assert_true(touched_has_table(&touched, TABLE));
    assert_false(touched_has_table(&touched, OTHER));
    assert_keys(&touched, "t:6 ");
    touched_deinit(&touched);
    held_destroy(&held);
}

static void past_the_bytes_the_largest_gives_up_its_keys(void **state) {
    (void)state;
    enum { MAX_BYTES = 64 << 10 };
    struct held *held = held_create(1 << 20, MAX_BYTES);
    struct touched touched;
    touch(held, 11, 11, OTHER, 1);
    for (int i = 0; i < 10000; i++) {
        touch(held, 10, (uint64_t)(10 + i % 7), TABLE, i);
        assert_true(held_bytes(held) <= MAX_BYTES);
    }
    assert_true(held_take(held, 10, MAP, &touched));
    assert_true(touched_has_table(&touched, TABLE));
    assert_int_equal(touched.n_keys, 0);
    touched_deinit(&touched);
    assert_true(held_take(held, 11, MAP, &touched));
    assert_keys(&touched, "t:1 ");
    touched_deinit(&touched);
    held_destroy(&held);
}

static void under_another_map_its_tables_are_touched(void **state) {
    (void)state;
    struct held *held = held_create(100, 1 << 20);
    struct touched touched;
    touch(held, 10, 10, TABLE, 1);
    assert_true(held_take(held, 10, MAP + 1, &touched));
    assert_true(touched_has_table(&touched, TABLE));
    assert_int_equal(touched.n_keys, 0);
    touched_deinit(&touched);
    touch(held, 12, 12, TABLE, 1);
    struct touched *more = held_begin(held, 12, 12, MAP + 1);
    touched_key(more, OTHER, 2, slice_from("t:2"));
    held_end(held);
    held_abort(held, 12, 13);
    assert_true(held_take(held, 12, MAP + 1, &touched));
    assert_true(touched_has_table(&touched, TABLE));
    assert_keys(&touched, "t:2 ");
    touched_deinit(&touched);
    held_destroy(&held);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_are_kept_apart_until_they_end),
        cmocka_unit_test(an_aborted_subtransaction_takes_its_keys_along),
        cmocka_unit_test(past_its_keys_a_transaction_is_known_by_its_tables),
        cmocka_unit_test(past_the_bytes_the_largest_gives_up_its_keys),
        cmocka_unit_test(under_another_map_its_tables_are_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

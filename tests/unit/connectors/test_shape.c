/* Keys of a shape: written, and taken apart again. */
#include "rows.h"

static void assert_round_trip(uint16_t n_keys, const struct value *row, const char *written) {
    static const struct shape_column columns[] = {{"a", CLASS_TEXT, false, NULL},
                                                  {"b", CLASS_TEXT, false, NULL}};
    static const uint16_t keys[] = {0, 1};
    struct shape *shape = shape_create("public", "t", 2, columns, n_keys, keys);
    struct buf key = {0};
    assert_true(shape_append_key(shape, row, &key));
    assert_slice(buf_slice(&key), written);
    struct slice rest = buf_slice(&key);
    for (uint16_t i = 0; i < n_keys; i++) {
        struct buf part = {0};
        shape_take_key(shape, &rest, &part);
        assert_slice(buf_slice(&part), row[i].data);
        buf_deinit(&part);
    }
    assert_int_equal(rest.len, 0);
    buf_deinit(&key);
    shape_release(&shape);
}

static void a_single_key_is_taken_as_it_is(void **state) {
    (void)state;
    assert_round_trip(1, ROW(V("a:b%3A"), V("x")), "a:b%3A");
    assert_round_trip(1, ROW(V(""), V("x")), "");
}

static void parts_are_unescaped(void **state) {
    (void)state;
    assert_round_trip(2, ROW(V("x:y%z"), V("7")), "x%3Ay%25z:7");
    assert_round_trip(2, ROW(V("%3A"), V("%25:")), "%253A:%2525%3A");
    assert_round_trip(2, ROW(V(""), V("")), ":");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_key_is_taken_as_it_is),
        cmocka_unit_test(parts_are_unescaped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

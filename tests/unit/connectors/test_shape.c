/* Keys of a shape: written, and taken apart again. */
#include "base/mem.h"
#include "connectors/runtime/load_note.h"

#include "rows.h"

static void assert_round_trip(uint16_t n_keys, const struct value *row, const char *written) {
    static const struct shape_column columns[] = {{"a", CLASS_TEXT, false, NULL, NULL},
                                                  {"b", CLASS_TEXT, false, NULL, NULL}};
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

static struct shape *users(void) {
    static const struct shape_column columns[] = {{"id", CLASS_LONG, false, "bigint", NULL},
                                                  {"name", CLASS_TEXT, false, "text", NULL},
                                                  {"email", CLASS_TEXT, false, "text", NULL}};
    return shape_create("public", "users", 3, columns, 1, (const uint16_t[]){0});
}

static void chosen_columns_have_their_order_and_their_names(void **state) {
    (void)state;
    const struct shape_choice choices[] = {{"email", "mail"}, {"id", "user_id"}};
    struct shape *all = users();
    struct error err;
    uint32_t at;
    struct shape *shape = shape_choose(all, 2, choices, &at, &err);
    assert_non_null(shape);
    assert_int_equal(shape->n_columns, 2);
    assert_string_equal(shape->columns[0].name, "mail");
    assert_string_equal(shape->columns[0].source, "email");
    assert_string_equal(shape->columns[1].type_name, "bigint");
    assert_int_equal(shape->keys[0], 1);
    struct value taken[2];
    shape_take(shape, ROW(V("7"), V("Ann"), V("a@b")), taken);
    assert_slice(slice_make(taken[0].data, taken[0].len), "a@b");
    struct buf key = {0};
    assert_true(shape_append_key(shape, taken, &key));
    assert_slice(buf_slice(&key), "7");
    buf_deinit(&key);
    shape_release(&shape);
    shape_release(&all);
}

static void assert_wrong_choice(uint32_t n, const struct shape_choice *choices, uint32_t wrong,
                                const char *text) {
    struct shape *all = users();
    struct error err;
    uint32_t at;
    assert_null(shape_choose(all, n, choices, &at, &err));
    assert_int_equal(at, wrong);
    assert_non_null(strstr(err.message, text));
    shape_release(&all);
}

static void a_choice_names_what_is_there_once_and_with_the_key(void **state) {
    (void)state;
    assert_wrong_choice(2, (const struct shape_choice[]){{"id", "id"}, {"mail", "mail"}}, 1,
                        "no column \"mail\"");
    assert_wrong_choice(2, (const struct shape_choice[]){{"id", "id"}, {"name", "id"}}, 1,
                        "two columns");
    assert_wrong_choice(1, (const struct shape_choice[]){{"name", "name"}}, 1, "column \"id\"");
}

static void another_choice_is_another_origin(void **state) {
    (void)state;
    struct shape *all = users();
    struct error err;
    uint32_t at;
    struct shape *one = shape_choose(all, 1, &(struct shape_choice){"id", "id"}, &at, &err);
    struct shape *other = shape_choose(all, 1, &(struct shape_choice){"id", "i"}, &at, &err);
    assert_int_not_equal(one->chosen, other->chosen);
    struct buf text = {0};
    shape_append_origin(all, &text);
    assert_slice(buf_slice(&text), "public.users");
    shape_append_origin(one, &text);
    assert_int_equal(text.len, 2 * strlen("public.users") + 18);
    buf_deinit(&text);
    shape_release(&one);
    shape_release(&other);
    shape_release(&all);
}

static void another_table_of_the_name_has_other_keys(void **state) {
    (void)state;
    assert_true(shape_same_keys("id#16402", "id#16402"));
    assert_false(shape_same_keys("id#16402", "id#16403"));
    assert_true(shape_same_keys("id", "id#16402")); /* of an older Freshet */
    assert_false(shape_same_keys("id", "name#16402"));
    assert_false(shape_same_keys("a#b", "a#c"));
    struct shape *shape = users_shape();
    struct buf text = {0};
    shape->tables = 16402;
    shape_append_keys(shape, &text);
    assert_slice(buf_slice(&text), "id#16402");
    buf_deinit(&text);
    shape_release(&shape);
}

static void a_walks_note_tells_where_it_was(void **state) {
    (void)state;
    struct buf text = {0};
    uint64_t slot_lsn = 0;
    char *after = NULL;
    load_note_append_walk(&text, 7, 0x16B374D848, "a:\n\"b ");
    assert_slice(buf_slice(&text), "7 16/B374D848 \"a:\\n\\\"b \"");
    assert_true(load_note_read_walk(buf_text(&text) + 2, &slot_lsn, &after));
    assert_int_equal(slot_lsn, 0x16B374D848);
    assert_string_equal(after, "a:\n\"b ");
    static const char *const wrong[] = {
        "",          "16/B374D848",    "16/B374D848 ", "x \"a\"", "16/B374D848 7",
        "0/0 \"a\"", "{\"tables\":[]}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(load_note_read_walk(wrong[i], &slot_lsn, &after));
    mem_free(after);
    buf_deinit(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_key_is_taken_as_it_is),
        cmocka_unit_test(parts_are_unescaped),
        cmocka_unit_test(chosen_columns_have_their_order_and_their_names),
        cmocka_unit_test(a_choice_names_what_is_there_once_and_with_the_key),
        cmocka_unit_test(another_choice_is_another_origin),
        cmocka_unit_test(another_table_of_the_name_has_other_keys),
        cmocka_unit_test(a_walks_note_tells_where_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

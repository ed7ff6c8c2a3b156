/* Keys of view tables: groups of NULLs as text, and which keys two servers have in one order. */
#include "connectors/source/key_range.h"
#include "connectors/view/groupkey.h"

#include "rows.h"

static struct shape *make_shape(const char *type, const char *other_type) {
    struct shape_column columns[] = {{.name = "a", .type_name = type},
                                     {.name = "b", .type_name = other_type},
                                     {.name = "n", .type_name = "bigint"}};
    return shape_create("public", "t", 3, columns, 2, (const uint16_t[]){0, 1});
}

static void a_groups_key_is_the_same_again(void **state) {
    (void)state;
    static const char *const texts[][2] = {{"a", "b"},  {"a:b%", "%N"}, {"", ":"},
                                           {NULL, "x"}, {"%25", NULL},  {NULL, NULL}};
    struct shape *shape = make_shape("text", "text");
    shape->deltas = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct buf key = {0};
        struct buf part = {0};
        struct value row[] = {V(texts[i][0]), V(texts[i][1]), V(NULL)};
        groupkey_append(shape, row, &key);
        struct slice rest = buf_slice(&key);
        for (int k = 0; k < 2; k++) {
            part.len = 0;
            assert_int_equal(groupkey_take(shape, &rest, &part), texts[i][k] != NULL);
            if (texts[i][k]) assert_string_equal(buf_text(&part), texts[i][k]);
        }
        assert_int_equal(rest.len, 0);
        buf_deinit(&key);
        buf_deinit(&part);
    }
    shape_release(&shape);
}

static void a_group_of_null_is_no_group_of_its_text(void **state) {
    (void)state;
    struct shape *shape = make_shape("text", "text");
    shape->deltas = true;
    struct buf null_key = {0};
    struct buf text_key = {0};
    struct value row[] = {V(NULL), V("b"), V("1")};
    groupkey_append(shape, row, &null_key);
    row[0] = V("%N");
    groupkey_append(shape, row, &text_key);
    assert_string_equal(buf_text(&null_key), "%N:b");
    assert_string_equal(buf_text(&text_key), "%25N:b");
    buf_deinit(&null_key);
    buf_deinit(&text_key);
    shape_release(&shape);
}

static void text_has_an_order_where_the_collation_is_the_same(void **state) {
    (void)state;
    static const struct {
        const char *type, *other;
        enum key_order order;
    } cases[] = {
        {"bigint", "uuid", KEY_ORDER_EVERYWHERE},
        {"numeric(10,2)", "timestamp with time zone", KEY_ORDER_EVERYWHERE},
        {"integer", "text", KEY_ORDER_BY_COLLATION},
        {"character varying(20)", "integer", KEY_ORDER_BY_COLLATION},
        {"integer[]", "integer", KEY_ORDER_NONE},
        {"text", "text[]", KEY_ORDER_NONE},
        {"text", "interval", KEY_ORDER_NONE},
        {NULL, "integer", KEY_ORDER_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shape *shape = make_shape(cases[i].type, cases[i].other);
        assert_int_equal(key_range_order(shape), cases[i].order);
        shape->many = true;
        assert_int_equal(key_range_order(shape), KEY_ORDER_NONE);
        shape_release(&shape);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_groups_key_is_the_same_again),
        cmocka_unit_test(a_group_of_null_is_no_group_of_its_text),
        cmocka_unit_test(text_has_an_order_where_the_collation_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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

static void text_has_no_order_that_all_servers_share(void **state) {
    (void)state;
    static const struct {
        const char *type, *other;
        bool orders;
    } cases[] = {
        {"bigint", "uuid", true},        {"numeric(10,2)", "timestamp with time zone", true},
        {"integer", "text", false},      {"character varying(20)", "integer", false},
        {"integer[]", "integer", false}, {NULL, "integer", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shape *shape = make_shape(cases[i].type, cases[i].other);
        assert_int_equal(key_range_orders(shape), cases[i].orders);
        shape->many = true;
        assert_false(key_range_orders(shape));
        shape_release(&shape);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_groups_key_is_the_same_again),
        cmocka_unit_test(a_group_of_null_is_no_group_of_its_text),
        cmocka_unit_test(text_has_no_order_that_all_servers_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

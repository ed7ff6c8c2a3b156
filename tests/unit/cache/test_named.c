/* Named queries: their keys, the parameters in their SQL, and what becomes of their results. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cache/rows/named.h"
#include "cache/rows/result.h"
#include "cache/values/elements.h"
#include "cache/values/fields.h"
#include "cache/values/scored.h"

/* ---- keys ---- */

static void a_key_is_a_name_and_its_parameters(void **state) {
    (void)state;
    struct named_key key;
    assert_null(named_key_parse("orders:{user_id}", &key));
    assert_true(slice_equal(key.prefix, SLICE("orders")));
    assert_int_equal(key.n_parameters, 1);
    assert_true(slice_equal(key.parameters[0], SLICE("user_id")));
    assert_null(named_key_parse("a:b:{x}:{y}", &key));
    assert_true(slice_equal(key.prefix, SLICE("a:b")));
    assert_int_equal(key.n_parameters, 2);
    assert_true(slice_equal(key.parameters[1], SLICE("y")));
    assert_null(named_key_parse("top", &key));
    assert_int_equal(key.n_parameters, 0);
}

static void what_is_no_key_says_why(void **state) {
    (void)state;
    static const char *const keys[] = {"{x}",      ":{x}",   "a{x}", "a:{x}b",
                                       "a:{x}{y}", "a:{}",   "a:{x", "a:{x}:y",
                                       "a b:{x}",  "a=:{x}", "a}",   "a:{x:y}"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct named_key key;
        assert_non_null(named_key_parse(keys[i], &key));
    }
}

/* ---- parameters ---- */

static void mark(void *arg, unsigned number, struct buf *out) {
    (void)arg;
    buf_printf(out, "<%u>", number);
}

static void parameters_are_found_where_sql_has_them(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"SELECT $1", "SELECT <1>"},
        {"SELECT $1+$12 ; \n ", "SELECT <1>+<12>"},
        {"SELECT '$1', \"$1\", $1", "SELECT '$1', \"$1\", <1>"},
        {"SELECT '''$1', E'\\'$1', e'\\\\'||$1", "SELECT '''$1', E'\\'$1', e'\\\\'||<1>"},
        {"SELECT 1 -- $1\n, $1 -- end", "SELECT 1 \n, <1>"},
        {"SELECT /* $1 /* $1 */ $1 */ $1", "SELECT /* $1 /* $1 */ $1 */ <1>"},
        {"SELECT $$ $1 $$, $t$ $1 $$ $t$, $1", "SELECT $$ $1 $$, $t$ $1 $$ $t$, <1>"},
        {"SELECT a$1, é$1 FROM t1$2", "SELECT a$1, é$1 FROM t1$2"},
        {"SELECT '$1", "SELECT '$1"},
        {"SELECT $1 FROM t;;", "SELECT <1> FROM t"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = {0};
        named_substitute(cases[i][0], mark, NULL, &out);
        assert_string_equal(buf_text(&out), cases[i][1]);
        buf_deinit(&out);
    }
}

/* ---- results ---- */

static bool pack(const struct named_query *query, const char *text, struct buf *packed,
                 const char **why) {
    *packed = (struct buf){0};
    return result_pack(query, slice_from(text), packed, why);
}

static void a_list_leaves_nulls_out(void **state) {
    (void)state;
    struct named_query query = {.shape = SHAPE_LIST, .n_columns = 1};
    struct buf packed;
    const char *why;
    assert_true(pack(&query, "3:a-b-0:2:1:", &packed, &why));
    const char *at = packed.data;
    assert_true(slice_equal(elements_forward(&at), SLICE("a-b")));
    assert_true(slice_equal(elements_forward(&at), SLICE("")));
    assert_true(slice_equal(elements_forward(&at), SLICE("1:")));
    assert_ptr_equal(at, packed.data + packed.len);
    buf_deinit(&packed);
    assert_true(pack(&query, "--", &packed, &why));
    assert_int_equal(packed.len, 0);
    buf_deinit(&packed);
}

static void a_hash_of_two_columns_is_pairs_and_else_the_columns_of_a_row(void **state) {
    (void)state;
    static const char *const columns[] = {"a", "b", "c"};
    struct named_query pairs = {.shape = SHAPE_HASH, .n_columns = 2, .columns = columns};
    struct named_query row = {.shape = SHAPE_HASH, .n_columns = 3, .columns = columns};
    struct buf packed;
    struct slice value;
    const char *why;
    assert_true(pack(&pairs,
                     "1:x1:11:y1:21:x1:3-1:4"
                     "1:z-",
                     &packed, &why));
    assert_int_equal(fields_count(buf_slice(&packed)), 2);
    assert_true(fields_find(buf_slice(&packed), SLICE("x"), &value)); /* the last one counts */
    assert_true(slice_equal(value, SLICE("3")));
    buf_deinit(&packed);
    assert_true(pack(&row, "1:1-2:bc", &packed, &why));
    assert_int_equal(fields_count(buf_slice(&packed)), 2);
    assert_false(fields_find(buf_slice(&packed), SLICE("b"), &value));
    assert_true(fields_find(buf_slice(&packed), SLICE("c"), &value));
    assert_true(slice_equal(value, SLICE("bc")));
    buf_deinit(&packed);
}

static void a_sorted_set_is_in_order(void **state) {
    (void)state;
    struct named_query query = {.shape = SHAPE_ZSET, .n_columns = 2};
    struct buf packed;
    struct scored item;
    const char *why;
    assert_true(pack(&query, "1:b1:11:a1:11:b4:-0.51:z8:Infinity1:n-", &packed, &why));
    assert_int_equal(scored_count(buf_slice(&packed)), 3);
    struct scored_cursor cursor = scored_begin(buf_slice(&packed));
    static const struct scored wanted[] = {{{"b", 1}, -0.5}, {{"a", 1}, 1}};
    for (size_t i = 0; i < 2; i++) {
        assert_true(scored_next(&cursor, &item));
        assert_true(slice_equal(item.member, wanted[i].member) && item.score == wanted[i].score);
    }
    assert_true(scored_next(&cursor, &item) && item.score > 1e300);
    buf_deinit(&packed);
    assert_false(pack(&query, "1:a3:NaN", &packed, &why));
    assert_string_equal(why, "a sorted set's score is not a number");
    buf_deinit(&packed);
}

static void what_cannot_be_read_is_refused(void **state) {
    (void)state;
    struct named_query queries[] = {{.shape = SHAPE_LIST, .n_columns = 1},
                                    {.shape = SHAPE_HASH, .n_columns = 2},
                                    {.shape = SHAPE_ZSET, .n_columns = 2}};
    static const char *const texts[] = {"x", ":", "3:ab", "1", "99999999999:a", "1:a1", "1:a2:b"};
    for (size_t q = 0; q < 3; q++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            struct buf packed;
            const char *why = NULL;
            assert_false(pack(&queries[q], texts[i], &packed, &why));
            assert_non_null(why);
            buf_deinit(&packed);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_a_name_and_its_parameters),
        cmocka_unit_test(what_is_no_key_says_why),
        cmocka_unit_test(parameters_are_found_where_sql_has_them),
        cmocka_unit_test(a_list_leaves_nulls_out),
        cmocka_unit_test(a_hash_of_two_columns_is_pairs_and_else_the_columns_of_a_row),
        cmocka_unit_test(a_sorted_set_is_in_order),
        cmocka_unit_test(what_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

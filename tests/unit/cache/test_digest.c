#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cache/rows/digest.h"
#include "cache/values/elements.h"
#include "cache/values/fields.h"

static uint64_t digest(enum cache_shape shape, struct slice bytes) {
    struct named_query query = {.shape = shape};
    struct table table = {.query = &query};
    return digest_of(&table, bytes);
}

static uint64_t rows(const char *json) { return digest(SHAPE_ROWS, slice_from(json)); }

static void the_order_of_a_querys_rows_does_not_count(void **state) {
    (void)state;
    assert_int_equal(rows("[{\"a\":1},{\"a\":2}]"), rows("[{\"a\":2},{\"a\":1}]"));
    assert_int_equal(rows("[{\"a\":\"x,]\\\"\"},{\"b\":[1,{}]}]"),
                     rows("[{\"b\":[1,{}]},{\"a\":\"x,]\\\"\"}]"));
    assert_int_not_equal(rows("[{\"a\":12},{\"a\":3}]"), rows("[{\"a\":13},{\"a\":2}]"));
    assert_int_not_equal(rows("[{\"a\":1}]"), rows("[{\"a\":1},{\"a\":1}]"));
    assert_int_not_equal(rows("[]"), rows("[{}]"));
}

static void text_that_ends_early_is_read_to_its_end_alone(void **state) {
    (void)state;
    static const char *const texts[] = {"", "[", "[\"", "[\"\\", "[{\"a", "]", "[,"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(rows(texts[i]), rows(texts[i]));
}

static void it_counts_where_the_value_is_one_text(void **state) {
    (void)state;
    struct table table = {0};
    assert_int_not_equal(digest_of(&table, SLICE("[1,2]")), digest_of(&table, SLICE("[2,1]")));
    assert_int_not_equal(digest(SHAPE_ROW, SLICE("[1,2]")), digest(SHAPE_ROW, SLICE("[2,1]")));
}

static void pack_fields(struct buf *out, const char *const *words) {
    for (; *words; words += 2)
        fields_append(out, slice_from(words[0]), slice_from(words[1]));
}

static void fields_belong_to_their_values(void **state) {
    (void)state;
    struct buf a = {0}, b = {0}, c = {0};
    pack_fields(&a, (const char *[]){"x", "1", "y", "2", NULL});
    pack_fields(&b, (const char *[]){"y", "2", "x", "1", NULL});
    pack_fields(&c, (const char *[]){"x", "2", "y", "1", NULL});
    assert_int_equal(digest(SHAPE_HASH, buf_slice(&a)), digest(SHAPE_HASH, buf_slice(&b)));
    assert_int_not_equal(digest(SHAPE_HASH, buf_slice(&a)), digest(SHAPE_HASH, buf_slice(&c)));
    buf_deinit(&a);
    buf_deinit(&b);
    buf_deinit(&c);
}

static void elements_of_a_list_in_any_order(void **state) {
    (void)state;
    char a[8], b[8];
    elements_write(a, SLICE("ab"));
    size_t size = elements_size(2);
    elements_write(a + size, SLICE("cd"));
    elements_write(b, SLICE("cd"));
    elements_write(b + size, SLICE("ab"));
    assert_int_equal(digest(SHAPE_LIST, slice_make(a, 2 * size)),
                     digest(SHAPE_LIST, slice_make(b, 2 * size)));
    elements_write(b + size, SLICE("ac"));
    assert_int_not_equal(digest(SHAPE_LIST, slice_make(a, 2 * size)),
                         digest(SHAPE_LIST, slice_make(b, 2 * size)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_order_of_a_querys_rows_does_not_count),
        cmocka_unit_test(text_that_ends_early_is_read_to_its_end_alone),
        cmocka_unit_test(it_counts_where_the_value_is_one_text),
        cmocka_unit_test(fields_belong_to_their_values),
        cmocka_unit_test(elements_of_a_list_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Rows as JSON documents, keys as ids. */
#include "connectors/document/document.h"

#include "rows.h"

static void expect_json(enum value_class class, bool array, const char *text, const char *json) {
    struct shape_column column = {"c", class, array, NULL, NULL};
    struct shape *shape = shape_create("s", "t", 1, &column, 1, (const uint16_t[]){0});
    struct buf out = {0};
    document_append(&out, shape, ROW(V(text)));
    char *expected = NULL;
    assert_true(asprintf(&expected, "{\"c\":%s}", json) > 0);
    assert_string_equal(buf_text(&out), expected);
    free(expected);
    buf_deinit(&out);
    shape_release(&shape);
}

static void scalars_have_their_natural_json_type(void **state) {
    (void)state;
    expect_json(CLASS_LONG, false, "-9223372036854775808", "-9223372036854775808");
    expect_json(CLASS_NUMERIC, false, "12.50", "12.50");
    expect_json(CLASS_DOUBLE, false, "1e+300", "1e+300");
    expect_json(CLASS_BOOL, false, "t", "true");
    expect_json(CLASS_BOOL, false, "f", "false");
    expect_json(CLASS_TEXT, false, "a \"b\"\n", "\"a \\\"b\\\"\\n\"");
    expect_json(CLASS_TEXT, false, "", "\"\"");
    expect_json(CLASS_TEXT, false, NULL, "null");
    expect_json(CLASS_KEYWORD, false, "[1,5)", "\"[1,5)\"");
}

static void what_json_has_no_number_for_is_a_string(void **state) {
    (void)state;
    expect_json(CLASS_NUMERIC, false, "NaN", "\"NaN\"");
    expect_json(CLASS_DOUBLE, false, "-Infinity", "\"-Infinity\"");
    char digits[1002];
    memset(digits, '7', 1001);
    digits[1001] = '\0';
    char quoted[1004];
    snprintf(quoted, sizeof quoted, "\"%s\"", digits);
    expect_json(CLASS_NUMERIC, false, digits, quoted);
}

static void times_are_iso_8601(void **state) {
    (void)state;
    expect_json(CLASS_DATE, false, "2026-11-21", "\"2026-11-21\"");
    expect_json(CLASS_TIMESTAMP, false, "2026-11-21 07:41:07.5", "\"2026-11-21T07:41:07.5\"");
    expect_json(CLASS_TIMESTAMPTZ, false, "2026-11-21 07:41:07+00",
                "\"2026-11-21T07:41:07+00:00\"");
    expect_json(CLASS_TIMESTAMPTZ, false, "2026-11-21 07:41:07-03:30",
                "\"2026-11-21T07:41:07-03:30\"");
    expect_json(CLASS_TIMESTAMPTZ, false, "0044-03-15 12:00:00+00 BC",
                "\"0044-03-15T12:00:00+00:00 BC\"");
    expect_json(CLASS_TIMESTAMP, false, "infinity", "\"infinity\"");
}

static void json_stays_json_on_one_line(void **state) {
    (void)state;
    expect_json(CLASS_JSON, false, "{\"a\":\n [1,\r\n2]}", "{\"a\":  [1,  2]}");
    expect_json(CLASS_JSON, false, "\"x\"", "\"x\"");
}

static void bytes_are_base64(void **state) {
    (void)state;
    expect_json(CLASS_BYTES, false, "\\x0001ff", "\"AAH/\"");
    expect_json(CLASS_BYTES, false, "\\x", "\"\"");
}

static void arrays_are_arrays(void **state) {
    (void)state;
    expect_json(CLASS_INTEGER, true, "{1,NULL,3}", "[1,null,3]");
    expect_json(CLASS_INTEGER, true, "{}", "[]");
    expect_json(CLASS_INTEGER, true, "{{1,2},{3,4}}", "[[1,2],[3,4]]");
    expect_json(CLASS_INTEGER, true, "[0:1]={7,8}", "[7,8]");
    expect_json(CLASS_TEXT, true, "{a,\"b \\\"c\\\\\",\"NULL\",\"\"}",
                "[\"a\",\"b \\\"c\\\\\",\"NULL\",\"\"]");
    expect_json(CLASS_JSON, true, "{\"{\\\"a\\\": 1}\"}", "[{\"a\": 1}]");
    expect_json(CLASS_TIMESTAMP, true, "{\"2026-11-21 07:41:07\"}", "[\"2026-11-21T07:41:07\"]");
}

static void what_is_no_array_stays_text(void **state) {
    (void)state;
    static const char *const broken[] = {"{1,2",   "{1,,2}", "{{{{{{{1}}}}}}}", "1,2", "{\"a}",
                                         "{1}{2}", "{1 ",    "{\"a\\",          "{,"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct buf quoted = {0};
        buf_append_char(&quoted, '"');
        for (const char *c = broken[i]; *c; c++) {
            if (*c == '"' || *c == '\\') buf_append_char(&quoted, '\\');
            buf_append_char(&quoted, *c);
        }
        buf_append_char(&quoted, '"');
        expect_json(CLASS_INTEGER, true, broken[i], buf_text(&quoted));
        buf_deinit(&quoted);
    }
}

static void expect_key(uint16_t n_keys, const struct value *row, const char *expected) {
    static const struct shape_column columns[] = {{"a", CLASS_TEXT, false, NULL, NULL},
                                                  {"b", CLASS_TEXT, false, NULL, NULL}};
    struct shape *shape = shape_create("s", "t", 2, columns, n_keys, (const uint16_t[]){1, 0});
    struct buf key = {0};
    bool known = shape_append_key(shape, row, &key);
    assert_int_equal(known, expected != NULL);
    if (expected) assert_string_equal(buf_text(&key), expected);
    buf_deinit(&key);
    shape_release(&shape);
}

static void one_key_column_is_taken_as_it_is_and_several_are_encoded(void **state) {
    (void)state;
    expect_key(1, ROW(V("x"), V("a:b%c")), "a:b%c");
    expect_key(2, ROW(V("7"), V("a:b%c")), "a%3Ab%25c:7");
    expect_key(2, ROW(V(""), V("")), ":");
    expect_key(1, ROW(V("x"), V(NULL)), NULL);
    expect_key(2, ROW(V(UNCHANGED), V("1")), NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_have_their_natural_json_type),
        cmocka_unit_test(what_json_has_no_number_for_is_a_string),
        cmocka_unit_test(times_are_iso_8601),
        cmocka_unit_test(json_stays_json_on_one_line),
        cmocka_unit_test(bytes_are_base64),
        cmocka_unit_test(arrays_are_arrays),
        cmocka_unit_test(what_is_no_array_stays_text),
        cmocka_unit_test(one_key_column_is_taken_as_it_is_and_several_are_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

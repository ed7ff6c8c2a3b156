/* Composing JSON strings and base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"

static void check_string(struct slice in, const char *want) {
    struct buf out = {0};
    json_append_string(&out, in);
    assert_string_equal(buf_text(&out), want);
    buf_deinit(&out);
}

static void strings_are_quoted_and_utf8_stays(void **state) {
    (void)state;
    check_string(SLICE(""), "\"\"");
    check_string(SLICE("naïve – 雪"), "\"naïve – 雪\"");
    check_string(SLICE("a/b\x7f"), "\"a/b\x7f\"");
}

static void controls_quotes_and_backslashes_are_escaped(void **state) {
    (void)state;
    check_string(SLICE("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    check_string(SLICE("\x00\x01\x1f "), "\"\\u0000\\u0001\\u001F \"");
}

static void escapes_are_found_at_each_place_of_any_length(void **state) {
    (void)state;
    char in[50];
    char want[2 * sizeof in + 3];
    for (size_t len = 1; len <= sizeof in; len++) {
        for (size_t place = 0; place <= len; place++) { /* at the end: nowhere */
            memset(in, 'a', len);
            if (place < len) in[place] = '\n';
            size_t at = 0;
            want[at++] = '"';
            for (size_t i = 0; i < len; i++) {
                if (i == place) want[at++] = '\\';
                want[at++] = i == place ? 'n' : in[i];
            }
            want[at++] = '"';
            want[at] = '\0';
            check_string(slice_make(in, len), want);
        }
    }
}

static void astral_characters_are_pairs_where_java_compares(void **state) {
    (void)state;
    struct buf out = {0};
    json_append_string_java(&out,
                            SLICE("0123456789abcdef\xf0\x9f\x98\x80 \n\xe9\x9b\xaa \xf0\x9f"));
    assert_string_equal(buf_text(&out),
                        "\"0123456789abcdef\\uD83D\\uDE00 \\n\xe9\x9b\xaa \xf0\x9f\"");
    buf_deinit(&out);
}

static void base64_is_padded(void **state) {
    (void)state;
    static const char *const want[] = {"",         "Zg==",     "Zm8=",    "Zm9v",
                                       "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    for (size_t n = 0; n < 7; n++) {
        struct buf out = {0};
        base64_append(&out, "foobar", n);
        assert_string_equal(buf_text(&out), want[n]);
        buf_deinit(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_quoted_and_utf8_stays),
        cmocka_unit_test(controls_quotes_and_backslashes_are_escaped),
        cmocka_unit_test(escapes_are_found_at_each_place_of_any_length),
        cmocka_unit_test(astral_characters_are_pairs_where_java_compares),
        cmocka_unit_test(base64_is_padded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Numbers as Debezium writes them: every expectation was read off the oracle, or follows Java's documentation. */
#include "tests/unit/cdc/codec_check.h"

#include <string.h>

static const struct event_format precise = {.encoding = "json"};
static const struct event_format strings = {.decimals = DECIMALS_STRING};
static const struct event_format doubles = {.decimals = DECIMALS_DOUBLE};

static void integers_and_booleans_are_json(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_INT2, -1, "-32768", "-32768", CODEC_DONE},
                {OID_INT4, -1, "0", "0", CODEC_DONE},
                {OID_INT8, -1, "-9223372036854775808", "-9223372036854775808", CODEC_DONE},
                {OID_OID, -1, "4294967295", "4294967295", CODEC_DONE},
                {OID_BOOL, -1, "t", "true", CODEC_DONE}, {OID_BOOL, -1, "f", "false", CODEC_DONE});
}

static void what_a_type_never_prints_is_text_and_counted(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_INT4, -1, "", "\"\"", CODEC_AS_TEXT},
                {OID_INT4, -1, "-", "\"-\"", CODEC_AS_TEXT},
                {OID_INT4, -1, "1a", "\"1a\"", CODEC_AS_TEXT},
                {OID_INT4, -1, "007", "\"007\"", CODEC_AS_TEXT},
                {OID_BOOL, -1, "yes", "\"yes\"", CODEC_AS_TEXT},
                {OID_FLOAT8, -1, "1e", "\"1e\"", CODEC_AS_TEXT},
                {OID_FLOAT8, -1, ".", "\".\"", CODEC_AS_TEXT},
                {OID_NUMERIC, -1, "1.2.3", "\"1.2.3\"", CODEC_AS_TEXT},
                {OID_NUMERIC, -1, ".", "\".\"", CODEC_AS_TEXT},
                {OID_NUMERIC, NUMERIC_TYPMOD(5, 1), "1.23", "\"1.23\"", CODEC_AS_TEXT},
                {OID_MONEY, -1, "$", "\"$\"", CODEC_AS_TEXT});
}

static void floats_have_javas_form(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_FLOAT8, -1, "0", "0.0", CODEC_DONE},
                {OID_FLOAT8, -1, "-0", "-0.0", CODEC_DONE},
                {OID_FLOAT8, -1, "1", "1.0", CODEC_DONE},
                {OID_FLOAT8, -1, "10000000", "1.0E7", CODEC_DONE},
                {OID_FLOAT8, -1, "9999999.5", "9999999.5", CODEC_DONE},
                {OID_FLOAT8, -1, "0.001", "0.001", CODEC_DONE},
                {OID_FLOAT8, -1, "0.0001", "1.0E-4", CODEC_DONE},
                {OID_FLOAT8, -1, "1e+22", "1.0E22", CODEC_DONE},
                {OID_FLOAT8, -1, "123456789.125", "1.23456789125E8", CODEC_DONE},
                {OID_FLOAT8, -1, "1.7976931348623157e+308", "1.7976931348623157E308", CODEC_DONE},
                {OID_FLOAT8, -1, "2.2250738585072014e-308", "2.2250738585072014E-308", CODEC_DONE},
                {OID_FLOAT8, -1, "5e-324", "4.9E-324", CODEC_DONE},
                {OID_FLOAT4, -1, "1e-45", "1.4E-45", CODEC_DONE},
                {OID_FLOAT4, -1, "1.6777216e+07", "1.6777216E7", CODEC_DONE},
                {OID_FLOAT4, -1, "3.4028235e+38", "3.4028235E38", CODEC_DONE},
                {OID_FLOAT8, -1, "NaN", "\"NaN\"", CODEC_DONE},
                {OID_FLOAT8, -1, "-Infinity", "\"-Infinity\"", CODEC_DONE});
}

static void decimals_are_unscaled_twos_complement(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "1.10", "\"bg==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "-0.01", "\"/w==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "1.27", "\"fw==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "1.28", "\"AIA=\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "-1.28", "\"gA==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "99999999.99", "\"AlQL4/8=\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(38, 10), "-100000000000000000000.0000000000",
                 "\"82DTYy+5ixIVwAAAAA==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(38, 10), "12345678901234567890.5000000000",
                 "\"AY7pD/bDc+DvLq76AA==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(7, 0), "9999999", "\"AJiWfw==\"", CODEC_DONE},
                {OID_PRICE, -1, "9.99", "\"A+c=\"", CODEC_DONE});
}

static void a_negative_scale_divides(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_NUMERIC, NUMERIC_TYPMOD(5, -2), "12300", "\"ew==\"", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(5, -2), "0", "\"AA==\"", CODEC_DONE});
}

static void a_decimal_without_scale_carries_its_own(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_NUMERIC, -1, "1.10", "{\"scale\":1,\"value\":\"Cw==\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "120.00", "{\"scale\":0,\"value\":\"eA==\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "1000000", "{\"scale\":0,\"value\":\"D0JA\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "0", "{\"scale\":0,\"value\":\"AA==\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "0.00", "{\"scale\":0,\"value\":\"AA==\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "-1.10", "{\"scale\":1,\"value\":\"9Q==\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "0.00000000001", "{\"scale\":11,\"value\":\"AQ==\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "-99999999999999999999.5",
                 "{\"scale\":1,\"value\":\"yco2UjohYAAF\"}", CODEC_DONE},
                {OID_NUMERIC, -1, "1000000000000000000000000000000",
                 "{\"scale\":0,\"value\":\"DJ8snNBGdO3qQAAAAA==\"}", CODEC_DONE});
}

static void strings_and_doubles_by_choice(void **state) {
    (void)state;
    CODEC_CHECK(&strings, {OID_NUMERIC, -1, "120.00", "\"120.00\"", CODEC_DONE},
                {OID_NUMERIC, -1, "NaN", "\"NAN\"", CODEC_DONE},
                {OID_NUMERIC, -1, "Infinity", "\"POSITIVE_INFINITY\"", CODEC_DONE},
                {OID_NUMERIC, -1, "-Infinity", "\"NEGATIVE_INFINITY\"", CODEC_DONE},
                {OID_MONEY, -1, "$5.50", "\"5.50\"", CODEC_DONE},
                {OID_MONEY, -1, "-$1,234.50", "\"-1234.50\"", CODEC_DONE});
    CODEC_CHECK(&doubles, {OID_NUMERIC, -1, "120.00", "120.0", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(38, 10), "12345678901234567890.5000000000",
                 "1.2345678901234567E19", CODEC_DONE},
                {OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "0.10", "0.1", CODEC_DONE},
                {OID_NUMERIC, -1, "0.0000000010", "1.0E-9", CODEC_DONE},
                {OID_NUMERIC, -1, "NaN", "\"NaN\"", CODEC_DONE});
}

static void money_has_two_digits_whatever_the_locale_puts_around_them(void **state) {
    (void)state;
    CODEC_CHECK(&precise, {OID_MONEY, -1, "$12.34", "\"BNI=\"", CODEC_DONE},
                {OID_MONEY, -1, "-$1,234.50", "\"/h3G\"", CODEC_DONE},
                {OID_MONEY, -1, "$0.00", "\"AA==\"", CODEC_DONE});
}

static void check_header(const struct event_format *format, uint32_t oid, int32_t typmod,
                         const char *text, const char *want) {
    struct types *types = codec_check_types();
    struct arena *arena = arena_create(1024);
    const struct codec *codec = codec_resolve(types, oid, typmod, format, arena);
    struct buf out = {0};
    assert_int_equal(codec_encode_header(codec, slice_from(text), &out), CODEC_DONE);
    assert_string_equal(buf_text(&out), want);
    buf_deinit(&out);
    arena_destroy(&arena);
    types_destroy(&types);
}

static void a_decimal_of_bytes_is_digits_in_a_header(void **state) {
    (void)state;
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "1.10", "1.10");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "-0.05", "-0.05");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "0.00", "0.00");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "1234.50", "1234.50");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(7, 0), "120", "120");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(20, 10), "0.0000000012", "1.2E-9");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(20, 10), "0.0000000000", "0E-10");
    check_header(&precise, OID_NUMERIC, NUMERIC_TYPMOD(20, 10), "-0.0000010000", "-0.0000010000");
    check_header(&precise, OID_MONEY, -1, "-$1,234.50", "-1234.50");
    check_header(&precise, OID_NUMERIC, -1, "1.10", "{\"scale\":1,\"value\":\"Cw==\"}");
    check_header(&strings, OID_NUMERIC, NUMERIC_TYPMOD(10, 2), "1.10", "\"1.10\"");
    check_header(&precise, OID_INT4, -1, "5", "5");
}

static void a_precise_infinity_is_as_configured(void **state) {
    (void)state;
    struct event_format format = {.non_finite = NON_FINITE_NULL};
    CODEC_CHECK(&format, {OID_NUMERIC, -1, "NaN", "null", CODEC_DONE});
    format.non_finite = NON_FINITE_STRING;
    CODEC_CHECK(&format, {OID_NUMERIC, -1, "-Infinity", "\"NEGATIVE_INFINITY\"", CODEC_DONE});
    format.non_finite = NON_FINITE_ERROR;
    CODEC_CHECK(&format, {OID_NUMERIC, -1, "NaN", NULL, CODEC_REFUSED});
}

static void the_longest_numeric_comes_through(void **state) {
    (void)state;
    enum { DIGITS = 131072 };
    char *text = malloc(DIGITS + 1);
    memset(text, '9', DIGITS);
    text[DIGITS] = '\0';
    struct types *types = codec_check_types();
    struct arena *arena = arena_create(1024);
    const struct codec *codec = codec_resolve(types, OID_NUMERIC, -1, &precise, arena);
    struct buf out = {0};
    assert_int_equal(codec_encode(codec, slice_from(text), &out), CODEC_DONE);
    /* 131072 decimal digits are 54428 bytes, and four characters carry three of them. */
    assert_in_range(out.len, 72550, 72620);
    buf_deinit(&out);
    arena_destroy(&arena);
    types_destroy(&types);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_and_booleans_are_json),
        cmocka_unit_test(what_a_type_never_prints_is_text_and_counted),
        cmocka_unit_test(floats_have_javas_form),
        cmocka_unit_test(decimals_are_unscaled_twos_complement),
        cmocka_unit_test(a_negative_scale_divides),
        cmocka_unit_test(a_decimal_without_scale_carries_its_own),
        cmocka_unit_test(strings_and_doubles_by_choice),
        cmocka_unit_test(money_has_two_digits_whatever_the_locale_puts_around_them),
        cmocka_unit_test(a_decimal_of_bytes_is_digits_in_a_header),
        cmocka_unit_test(a_precise_infinity_is_as_configured),
        cmocka_unit_test(the_longest_numeric_comes_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

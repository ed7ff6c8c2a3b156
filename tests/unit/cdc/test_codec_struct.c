/* Text, bytes, bits, arrays, hstore, points; what stands for values that are not in the stream. */
#include "tests/unit/cdc/codec_check.h"

static const struct event_format plain = {.encoding = "json"};
static const struct event_format url_safe = {.bytes = BYTES_BASE64_URL_SAFE, .hstore = HSTORE_MAP};
static const struct event_format hex = {.bytes = BYTES_HEX};

static void text_types_are_their_text(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_TEXT, -1, "a\"\xc3\xa9\n", "\"a\\\"\xc3\xa9\\n\"", CODEC_DONE},
                {OID_BPCHAR, 7, "ab   ", "\"ab   \"", CODEC_DONE},
                {OID_JSONB, -1, "{\"a\": 1}", "\"{\\\"a\\\": 1}\"", CODEC_DONE},
                {OID_UUID, -1, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                 "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"", CODEC_DONE},
                {OID_MOOD, -1, "happy", "\"happy\"", CODEC_DONE},
                {OID_DMOOD, -1, "happy", "\"happy\"", CODEC_DONE},
                {OID_NAME, -1, "n", "\"n\"", CODEC_DONE},
                {OID_INT4RANGE, -1, "[1,5)", "\"[1,5)\"", CODEC_DONE},
                {OID_PAIR, -1, "(1,x)", "\"(1,x)\"", CODEC_DONE});
}

static void domains_are_their_base_type(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_POSINT, -1, "5", "5", CODEC_DONE},
                {OID_PRICE, -1, "1.10", "\"bg==\"", CODEC_DONE});
}

static void a_type_without_a_rule_is_text_and_counted(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_STRANGE, -1, "x", "\"x\"", CODEC_AS_TEXT},
                {424242, -1, "y", "\"y\"", CODEC_AS_TEXT});
}

static void bytes_in_each_mode(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_BYTEA, -1, "\\x00ff10", "\"AP8Q\"", CODEC_DONE},
                {OID_BYTEA, -1, "\\x", "\"\"", CODEC_DONE},
                {OID_BYTEA, -1, "\\xfbefff", "\"++//\"", CODEC_DONE},
                {OID_BYTEA, -1, "\\x0g", "\"\\\\x0g\"", CODEC_AS_TEXT},
                {OID_BYTEA, -1, "\\x0", "\"\\\\x0\"", CODEC_AS_TEXT});
    CODEC_CHECK(&url_safe, {OID_BYTEA, -1, "\\xfbefff", "\"--__\"", CODEC_DONE});
    CODEC_CHECK(&hex, {OID_BYTEA, -1, "\\xfbEFff", "\"fbefff\"", CODEC_DONE});
}

static void bits_are_little_endian_and_cut_whatever_bytes_says(void **state) {
    (void)state;
    CODEC_CHECK(&hex, {OID_BIT, 1, "1", "true", CODEC_DONE}, {OID_BIT, 1, "0", "false", CODEC_DONE},
                {OID_VARBIT, 1, "1", "true", CODEC_DONE},
                {OID_BIT, 5, "10101", "\"FQ==\"", CODEC_DONE},
                {OID_BIT, 20, "10101010101010101010", "\"qqoK\"", CODEC_DONE},
                {OID_BIT, 20, "00000000000000000001", "\"AQ==\"", CODEC_DONE},
                {OID_BIT, 5, "00000", "\"\"", CODEC_DONE},
                {OID_VARBIT, -1, "1000000000000000", "\"AIA=\"", CODEC_DONE},
                {OID_VARBIT, -1, "", "\"\"", CODEC_DONE}, {OID_VARBIT, 1, "", "null", CODEC_DONE},
                {OID_BIT, 5, "10x", "\"10x\"", CODEC_AS_TEXT});
}

static void arrays_are_json_arrays_of_the_elements_form(void **state) {
    (void)state;
    CODEC_CHECK(
        &plain, {OID_INT4_ARRAY, -1, "{1,2,NULL}", "[1,2,null]", CODEC_DONE},
        {OID_INT4_ARRAY, -1, "{}", "[]", CODEC_DONE},
        {OID_INT4_ARRAY, -1, "{{1,2},{3,4}}", "[[1,2],[3,4]]", CODEC_DONE},
        {OID_INT4_ARRAY, -1, "[2:3]={1,2}", "[1,2]", CODEC_DONE},
        {OID_TEXT_ARRAY, -1, "{a,\"b \\\"q\\\" c\",NULL,\"NULL\",\"\",\"\\\\\"}",
         "[\"a\",\"b \\\"q\\\" c\",null,\"NULL\",\"\",\"\\\\\"]", CODEC_DONE},
        {OID_BOOL_ARRAY, -1, "{t,f}", "[true,false]", CODEC_DONE},
        {OID_FLOAT8_ARRAY, -1, "{1.5,NaN}", "[1.5,\"NaN\"]", CODEC_DONE},
        {OID_NUMERIC_ARRAY, NUMERIC_TYPMOD(10, 2), "{1.10,2.20}", "[\"bg==\",\"ANw=\"]",
         CODEC_DONE},
        {OID_DATE_ARRAY, -1, "{2016-11-04,infinity}", "[17109,-2147472692]", CODEC_DONE},
        {OID_TIME_ARRAY, -1, "{13:51:30.123456,24:00:00}", "[49890123456,86400000000]", CODEC_DONE},
        {OID_TIMESTAMPTZ_ARRAY, 0, "{\"2016-11-04 11:51:30+00\"}", "[\"2016-11-04T11:51:30Z\"]",
         CODEC_DONE},
        {OID_BYTEA_ARRAY, -1, "{\"\\\\x00ff\"}", "[\"AP8=\"]", CODEC_DONE},
        {OID_BIT_ARRAY, 3, "{101,NULL}", "[\"BQ==\",null]", CODEC_DONE},
        {OID_MOOD_ARRAY, -1, "{ok,NULL}", "[\"ok\",null]", CODEC_DONE},
        {OID_HSTORE_ARRAY, -1, "{\"\\\"a\\\"=>\\\"1\\\"\"}", "[\"{\\\"a\\\":\\\"1\\\"}\"]",
         CODEC_DONE},
        {OID_INT2VECTOR, -1, "1 2", "[1,2]", CODEC_DONE},
        {OID_OIDVECTOR, -1, "", "[]", CODEC_DONE});
}

static void arrays_of_what_has_no_element_form_hold_text(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_MONEY_ARRAY, -1, "{$1.50}", "[\"$1.50\"]", CODEC_DONE},
                {OID_INTERVAL_ARRAY, -1, "{\"1 day\",NULL}", "[\"1 day\",null]", CODEC_DONE});
}

static void a_broken_array_is_text(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_INT4_ARRAY, -1, "{1", "\"{1\"", CODEC_AS_TEXT},
                {OID_INT4_ARRAY, -1, "{1,}", "\"{1,}\"", CODEC_AS_TEXT},
                {OID_INT4_ARRAY, -1, "{1}x", "\"{1}x\"", CODEC_AS_TEXT},
                {OID_TEXT_ARRAY, -1, "{\"a", "\"{\\\"a\"", CODEC_AS_TEXT},
                {OID_INT4_ARRAY, -1, "{{{{{{{1}}}}}}}", "\"{{{{{{{1}}}}}}}\"", CODEC_AS_TEXT},
                {OID_INT4_ARRAY, -1, "", "\"\"", CODEC_AS_TEXT});
}

static void hstore_is_a_json_string_in_javas_order(void **state) {
    (void)state;
    CODEC_CHECK(&plain, {OID_HSTORE, -1, "", "\"{}\"", CODEC_DONE},
                {OID_HSTORE, -1, "\"a\"=>\"1\", \"b\"=>NULL, \"c d\"=>\"e\\\"f\"",
                 "\"{\\\"a\\\":\\\"1\\\",\\\"b\\\":null,\\\"c d\\\":\\\"e\\\\\\\"f\\\"}\"",
                 CODEC_DONE},
                {OID_HSTORE, -1, "\"a\"=>\"2\", \"BB\"=>\"5\", \"Aa\"=>\"4\", \"zeta\"=>\"1\"",
                 "\"{\\\"BB\\\":\\\"5\\\",\\\"Aa\\\":\\\"4\\\",\\\"zeta\\\":\\\"1\\\",\\\"a\\\":"
                 "\\\"2\\\"}\"",
                 CODEC_DONE},
                {OID_HSTORE, -1, "\"a\"", "\"\\\"a\\\"\"", CODEC_AS_TEXT});
    CODEC_CHECK(&url_safe, {OID_HSTORE, -1, "\"a\"=>\"1\", \"b\"=>NULL", "{\"a\":\"1\",\"b\":null}",
                            CODEC_DONE});
}

static void points_have_coordinates_and_wkb(void **state) {
    (void)state;
    CODEC_CHECK(
        &plain,
        {OID_POINT, -1, "(1.5,-2)",
         "{\"x\":1.5,\"y\":-2.0,\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAADA\",\"srid\":null}",
         CODEC_DONE},
        {OID_POINT, -1, "(1e+20,NaN)",
         "{\"x\":1.0E20,\"y\":\"NaN\",\"wkb\":\"AQEAAABAjLV4Ha8VRAAAAAAAAPh/\",\"srid\":null}",
         CODEC_DONE},
        {OID_POINT, -1, "(1,2", "\"(1,2\"", CODEC_AS_TEXT});
}

struct stand_in {
    uint32_t oid;
    int32_t typmod;
    const char *default_sql;
    const char *filler;
    const char *placeholder; /* NULL: not looked at */
};

static void check_stand_ins(const struct event_format *format, const struct stand_in *cases,
                            size_t n) {
    struct types *types = codec_check_types();
    struct arena *arena = arena_create(1024);
    for (size_t i = 0; i < n; i++) {
        const struct codec *codec =
            codec_resolve(types, cases[i].oid, cases[i].typmod, format, arena);
        struct buf out = {0};
        codec_filler(codec, cases[i].default_sql, &out);
        assert_string_equal(buf_text(&out), cases[i].filler);
        out.len = 0;
        codec_placeholder(codec, &out);
        if (cases[i].placeholder) assert_string_equal(buf_text(&out), cases[i].placeholder);
        buf_deinit(&out);
    }
    arena_destroy(&arena);
    types_destroy(&types);
}

#define P CODEC_PLACEHOLDER

static void fillers_are_the_default_or_the_types_zero(void **state) {
    (void)state;
    static const struct stand_in cases[] = {
        {OID_INT4, -1, NULL, "0", NULL},
        {OID_INT4, -1, "7", "7", NULL},
        {OID_INT4, -1, "'-5'::integer", "-5", NULL},
        {OID_INT4, -1, "(5 * 3)", "0", NULL},
        {OID_INT8, -1, "nextval('s'::regclass)", "0", NULL},
        {OID_INT8, -1, "'10000000000'::bigint", "10000000000", NULL},
        {OID_POSINT, -1, "5", "0", NULL},
        {OID_FLOAT8, -1, NULL, "0.0", NULL},
        {OID_FLOAT8, -1, "'NaN'::double precision", "\"NaN\"", NULL},
        {OID_BOOL, -1, "true", "true", NULL},
        {OID_BOOL, -1, NULL, "false", NULL},
        {OID_TEXT, -1, NULL, "\"\"", "\"" P "\""},
        {OID_TEXT, -1, "'x''y'::text", "\"x'y\"", NULL},
        {OID_TEXT, -1, "NULL::text", "\"\"", NULL},
        {OID_TEXT, -1, "('a'::text || 'b'::text)", "\"\"", NULL},
        {OID_TEXT, -1, "CURRENT_USER", "\"\"", NULL},
        {OID_NUMERIC, NUMERIC_TYPMOD(5, 2), NULL, "\"AA==\"", NULL},
        {OID_NUMERIC, NUMERIC_TYPMOD(5, 2), "1.5", "\"AJY=\"", NULL},
        {OID_NUMERIC, NUMERIC_TYPMOD(5, 2), "'-1.25'::numeric", "\"gw==\"", NULL},
        {OID_NUMERIC, -1, "1.50", "{\"scale\":0,\"value\":\"AA==\"}", NULL},
        {OID_DATE, -1, "'2020-01-01'::date", "18262", NULL},
        {OID_DATE, -1, "CURRENT_DATE", "0", NULL},
        {OID_TIMESTAMPTZ, -1, NULL, "\"1970-01-01T00:00:00Z\"", NULL},
        {OID_TIMESTAMPTZ, -1, "now()", "\"1970-01-01T00:00:00.000000Z\"", NULL},
        {OID_TIMESTAMPTZ, 3, "CURRENT_TIMESTAMP(3)", "\"1970-01-01T00:00:00.000Z\"", NULL},
        {OID_NUMERIC, NUMERIC_TYPMOD(5, 2), "random()", "\"AA==\"", NULL},
        {OID_BOOL, -1, "(random() > (2)::double precision)", "false", NULL},
        {OID_OID, -1, "7", "0", NULL},
        {OID_JSONB, -1, "jsonb_build_object()", "\"{}\"", NULL},
        {OID_JSONB, -1, "('x(1)'::text)::varchar(5)", "\"\"", NULL},
        {OID_TIMETZ, -1, "'10:00:00+02'::time with time zone", "\"00:00:00Z\"", NULL},
        {OID_INTERVAL, -1, "'1 day'::interval", "86400000000", NULL},
        {OID_BYTEA, -1, "'\\x01'::bytea", "\"\"", "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\""},
        {OID_BIT, 3, "'101'::\"bit\"", "\"BQ==\"", NULL},
        {OID_BIT, 1, NULL, "false", NULL},
        {OID_INT4_ARRAY, -1, "'{1}'::integer[]", "[]",
         "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,"
         "97,"
         "108,117,101]"},
        {OID_TEXT_ARRAY, -1, NULL, "[]", "[\"" P "\"]"},
        {OID_UUID_ARRAY, -1, NULL, "[]", "[\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\"]"},
        {OID_FLOAT8_ARRAY, -1, NULL, "[]", "null"},
        {OID_HSTORE, -1, NULL, "\"{}\"", "\"{\\\"" P "\\\":\\\"" P "\\\"}\""},
        {OID_UUID, -1, NULL, "\"\"", NULL},
        {OID_UUID, -1, "gen_random_uuid()", "\"00000000-0000-0000-0000-000000000000\"", NULL},
        {OID_MOOD, -1, "'ok'::mood", "\"ok\"", NULL},
        {OID_MOOD, -1, NULL, "\"\"", NULL},
        {OID_JSONB, -1, "'{\"a\": 1}'::jsonb", "\"{\\\"a\\\": 1}\"", NULL},
        {OID_POINT, -1, NULL,
         "{\"x\":0.0,\"y\":0.0,\"wkb\":\"AQEAAAAAAAAAAAAAAAAAAAAAAAAA\",\"srid\":null}", NULL},
    };
    check_stand_ins(&plain, cases, sizeof cases / sizeof *cases);
}

struct described {
    uint32_t oid;
    int32_t typmod;
    const char *default_sql;
    const char *schema;
};

static void check_schemas(const struct event_format *format, const struct described *cases,
                          size_t n) {
    struct types *types = codec_check_types();
    struct arena *arena = arena_create(1024);
    for (size_t i = 0; i < n; i++) {
        const struct codec *codec =
            codec_resolve(types, cases[i].oid, cases[i].typmod, format, arena);
        struct connect_schema schema;
        struct buf out = {0};
        codec_schema(codec, true, cases[i].default_sql, arena, &schema);
        connect_schema_json(&schema, "c", &out);
        assert_string_equal(buf_text(&out), cases[i].schema);
        buf_deinit(&out);
    }
    arena_destroy(&arena);
    types_destroy(&types);
}

#define OPTIONAL(type, more) "{\"type\":\"" type "\"," more "\"field\":\"c\"}"

static void schemas_are_named_as_debezium_names_them(void **state) {
    (void)state;
    static const struct described cases[] = {
        {OID_INT4, -1, "7", OPTIONAL("int32", "\"optional\":true,\"default\":7,")},
        {OID_BIT, 5, NULL,
         OPTIONAL("bytes", "\"optional\":true,\"name\":\"io.debezium.data.Bits\",\"version\":1,"
                           "\"parameters\":{\"length\":\"5\"},")},
        {OID_PRICE, -1, NULL,
         OPTIONAL("bytes",
                  "\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\","
                  "\"version\":1,\"parameters\":{\"scale\":\"2\",\"connect.decimal.precision\":"
                  "\"10\"},")},
        {OID_MOOD_ARRAY, -1, NULL,
         OPTIONAL("array", "\"items\":{\"type\":\"string\",\"optional\":false,\"name\":"
                           "\"io.debezium.data.Enum\",\"version\":1,\"parameters\":{\"allowed\":"
                           "\"sad,ok,happy\"}},\"optional\":true,")},
        {OID_STRANGE, -1, "'x'", OPTIONAL("string", "\"optional\":true,")},
    };
    check_schemas(&plain, cases, sizeof cases / sizeof *cases);
}

static void stand_ins_follow_the_format(void **state) {
    (void)state;
    static const struct event_format strings = {.decimals = DECIMALS_STRING,
                                                .bytes = BYTES_HEX,
                                                .hstore = HSTORE_MAP,
                                                .intervals = INTERVALS_STRING};
    static const struct stand_in cases[] = {
        {OID_NUMERIC, NUMERIC_TYPMOD(5, 2), "1.5", "\"1.50\"", "\"" P "\""},
        {OID_NUMERIC, NUMERIC_TYPMOD(5, 2), NULL, "\"0.00\"", NULL},
        {OID_NUMERIC, -1, NULL, "\"0\"", NULL},
        {OID_NUMERIC, -1, "1.50", "\"1.50\"", NULL},
        {OID_BYTEA, -1, NULL, "\"\"", "\"" P "\""},
        {OID_HSTORE, -1, NULL, "{}", "{\"" P "\":\"" P "\"}"},
        {OID_INTERVAL, -1, NULL, "\"P0Y0M0DT0H0M0S\"", NULL},
    };
    check_stand_ins(&strings, cases, sizeof cases / sizeof *cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_types_are_their_text),
        cmocka_unit_test(domains_are_their_base_type),
        cmocka_unit_test(a_type_without_a_rule_is_text_and_counted),
        cmocka_unit_test(bytes_in_each_mode),
        cmocka_unit_test(bits_are_little_endian_and_cut_whatever_bytes_says),
        cmocka_unit_test(arrays_are_json_arrays_of_the_elements_form),
        cmocka_unit_test(arrays_of_what_has_no_element_form_hold_text),
        cmocka_unit_test(a_broken_array_is_text),
        cmocka_unit_test(hstore_is_a_json_string_in_javas_order),
        cmocka_unit_test(points_have_coordinates_and_wkb),
        cmocka_unit_test(fillers_are_the_default_or_the_types_zero),
        cmocka_unit_test(schemas_are_named_as_debezium_names_them),
        cmocka_unit_test(stand_ins_follow_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

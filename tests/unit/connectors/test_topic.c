/* Records of a row topic: events, values, offsets. */
#include "connectors/source/topic_event.h"
#include "connectors/source/topic_offsets.h"
#include "connectors/source/topic_row.h"

#include "rows.h"

enum {
    BOOL = 16,
    BYTEA = 17,
    INT8 = 20,
    TEXT = 25,
    FLOAT4 = 700,
    FLOAT8 = 701,
    DATE = 1082,
    TIME = 1083,
    TIMESTAMP = 1114,
    TIMESTAMPTZ = 1184,
    NUMERIC = 1700
};

#define TYPMOD_NUMERIC(precision, scale) (((precision) << 16 | (scale)) + 4)

struct sample {
    uint32_t oid;
    int32_t typmod;
    const char *json; /* within [] */
    const char *text; /* NULL: null; UNCHANGED: to be read again */
};

static void assert_sample(const struct sample *sample, const struct topic_format *format) {
    struct catalog_column column = {.name = "c",
                                    .base_type_oid = sample->oid,
                                    .base_typmod = sample->typmod,
                                    .base_type_name = "",
                                    .base_typtype = 'b'};
    json_t *json = json_loads(sample->json, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    struct arena *arena = arena_create(1024);
    struct value value = topic_row_value(&column, format, json, arena);
    struct value expected = value_of(sample->text);
    if (value.kind != expected.kind)
        fail_msg("%s: kind %d in place of %d", sample->json, value.kind, expected.kind);
    if (value.kind == VALUE_TEXT) {
        char *text = strndup(value.data, value.len);
        assert_string_equal(text, sample->text);
        free(text);
    }
    arena_destroy(&arena);
    json_decref(json);
}

static void values_read_as_PostgreSQL_prints_them(void **state) {
    (void)state;
    static const struct sample samples[] = {
        {BOOL, -1, "true", "t"},
        {BOOL, -1, "false", "f"},
        {BOOL, -1, "null", NULL},
        {BOOL, -1, "1", UNCHANGED},
        {INT8, -1, "-9223372036854775808", "-9223372036854775808"},
        {INT8, -1, "1.5", UNCHANGED},
        {TEXT, -1, "\"a\\\"b\\u00e4\"", "a\"b\xc3\xa4"},
        {TEXT, -1, "\"__debezium_unavailable_value\"", UNCHANGED},
        {FLOAT8, -1, "1.0", "1"},
        {FLOAT8, -1, "0.1", "0.1"},
        {FLOAT8, -1, "123456789012345", "123456789012345"},
        {FLOAT8, -1, "1e15", "1e+15"},
        {FLOAT8, -1, "0.00001", "1e-05"},
        {FLOAT8, -1, "-2.5e-300", "-2.5e-300"},
        {FLOAT8, -1, "null", UNCHANGED}, /* NaN may be written so */
        {FLOAT4, -1, "3.14", "3.14"},
        {FLOAT4, -1, "1000000.0", "1e+06"},
        {DATE, -1, "0", "1970-01-01"},
        {DATE, -1, "-1", "1969-12-31"},
        {DATE, -1, "20000", "2024-10-04"},
        {DATE, -1, "2932897", UNCHANGED}, /* 10000-01-01 */
        {TIMESTAMP, -1, "1700000000123456", "2023-11-14 22:13:20.123456"},
        {TIMESTAMP, -1, "-1", "1969-12-31 23:59:59.999999"},
        {TIMESTAMP, 3, "1700000000120", "2023-11-14 22:13:20.12"},
        {TIMESTAMP, 6, "1700000000000000", "2023-11-14 22:13:20"},
        {TIMESTAMPTZ, -1, "\"2023-11-14T22:13:20.120000Z\"", "2023-11-14 22:13:20.12+00"},
        {TIMESTAMPTZ, -1, "\"2023-11-14T22:13:20Z\"", "2023-11-14 22:13:20+00"},
        {TIMESTAMPTZ, -1, "\"2023-11-14T22:13:20.000000Z\"", "2023-11-14 22:13:20+00"},
        {TIMESTAMPTZ, -1, "\"infinity\"", UNCHANGED},
        {TIMESTAMPTZ, -1, "\"-4713-11-23T22:13:20Z\"", UNCHANGED},
        {TIME, -1, "1", UNCHANGED},
        {NUMERIC, TYPMOD_NUMERIC(10, 2), "\"BNI=\"", "12.34"},
        {NUMERIC, TYPMOD_NUMERIC(10, 2), "\"+y4=\"", "-12.34"},
        {NUMERIC, TYPMOD_NUMERIC(10, 2), "\"BQ==\"", "0.05"},
        {NUMERIC, TYPMOD_NUMERIC(10, 0), "\"AA==\"", "0"},
        {NUMERIC, -1, "{\"scale\":3,\"value\":\"MDk=\"}", "12.345"},
        {NUMERIC, -1, "\"12.34\"", UNCHANGED},
        {BYTEA, -1, "\"AAH/\"", "\\x0001ff"},
        {BYTEA, -1, "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"", UNCHANGED},
    };
    const struct topic_format format = {0};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        assert_sample(&samples[i], &format);
}

static void what_other_settings_write_is_read_by_them(void **state) {
    (void)state;
    const struct topic_format format = {
        .decimals = TOPIC_DECIMALS_STRING, .times = TOPIC_TIMES_CONNECT, .bytes = TOPIC_BYTES_HEX};
    static const struct sample samples[] = {
        {NUMERIC, TYPMOD_NUMERIC(10, 2), "\"12.30\"", "12.30"},
        {NUMERIC, TYPMOD_NUMERIC(10, 2), "\"1E+3\"", UNCHANGED},
        {TIMESTAMP, 3, "1700000000120", "2023-11-14 22:13:20.12"},
        {TIMESTAMP, -1, "1700000000120", UNCHANGED}, /* it may have been finer */
        {BYTEA, -1, "\"00ff\"", UNCHANGED},
    };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++)
        assert_sample(&samples[i], &format);
}

static void an_event_is_read_with_and_without_its_schema(void **state) {
    (void)state;
    static const char *const values[] = {
        "{\"before\":null,\"after\":{\"id\":1},\"source\":{\"ts_ms\":7,\"txId\":5},\"op\":\"c\"}",
        "{\"schema\":{},\"payload\":{\"after\":{\"id\":1},\"source\":{\"ts_us\":7000,\"ts_ms\":1,"
        "\"txId\":5},\"op\":\"c\"}}"};
    for (size_t i = 0; i < 2; i++) {
        struct topic_event event;
        assert_true(topic_event_read(slice_from("{\"id\":1}"), slice_from(values[i]), &event));
        assert_int_equal(event.operation, 'c');
        assert_int_equal(event.xid, 5);
        assert_int_equal(event.commit_time_us, 7000);
        assert_int_equal(json_integer_value(json_object_get(event.after, "id")), 1);
        assert_int_equal(json_integer_value(json_object_get(event.key, "id")), 1);
        assert_null(event.before);
        topic_event_deinit(&event);
    }
}

static void what_is_no_event_is_refused_and_a_tombstone_is_none(void **state) {
    (void)state;
    static const char *const wrong[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"op\":\"c\"}",
                                        "{\"op\":\"d\"}",
                                        "{\"op\":\"x\",\"after\":{}}",
                                        "{\"op\":\"cc\"}"};
    struct topic_event event;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(topic_event_read((struct slice){0}, slice_from(wrong[i]), &event));
        topic_event_deinit(&event);
    }
    assert_true(topic_event_read(slice_from("{\"id\":1}"), (struct slice){0}, &event));
    assert_int_equal(event.operation, 0);
    topic_event_deinit(&event);
}

static void offsets_are_done_as_far_as_all_before_them_are(void **state) {
    (void)state;
    struct topic_offsets *offsets = topic_offsets_create();
    topic_offsets_begin(offsets, "t", "target");
    uint64_t number = 0;
    for (int64_t i = 0; i < 5000; i++) {
        topic_offsets_note(offsets, ++number, 0, i + 1);
        topic_offsets_note(offsets, ++number, 1, i + 101);
        if (i % 7) continue;
        rd_kafka_topic_partition_list_t *done = topic_offsets_take(offsets, number - 1);
        assert_non_null(done);
        assert_int_equal(rd_kafka_topic_partition_list_find(done, "t", 0)->offset, i + 1);
        const rd_kafka_topic_partition_t *second = rd_kafka_topic_partition_list_find(done, "t", 1);
        if (i) assert_int_equal(second->offset, i + 100);
        if (!i) assert_null(second);
        rd_kafka_topic_partition_t *first = rd_kafka_topic_partition_list_find(done, "t", 0);
        assert_int_equal(first->metadata_size, 6);
        rd_kafka_topic_partition_list_destroy(done);
        assert_null(topic_offsets_take(offsets, number - 1));
    }
    topic_offsets_clear(offsets);
    assert_null(topic_offsets_take(offsets, UINT64_MAX));
    topic_offsets_destroy(&offsets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_read_as_PostgreSQL_prints_them),
        cmocka_unit_test(what_other_settings_write_is_read_by_them),
        cmocka_unit_test(an_event_is_read_with_and_without_its_schema),
        cmocka_unit_test(what_is_no_event_is_refused_and_a_tombstone_is_none),
        cmocka_unit_test(offsets_are_done_as_far_as_all_before_them_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

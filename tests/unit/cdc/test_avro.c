/* Connect's schemas and values as Avro; and events of a table in Confluent's wire format, with ids from the configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/metrics.h"
#include "cdc/encode/avro.h"
#include "cdc/encode/encode.h"

/* ---- schemas ---- */

static void check_schema(const struct connect_schema *schema, const char *want) {
    struct buf out = {0};
    avro_schema_append(schema, &out);
    assert_string_equal(buf_text(&out), want);
    buf_deinit(&out);
}

static const struct connect_parameter money[] = {{"scale", "2"},
                                                 {"connect.decimal.precision", "10"}};
static const struct connect_parameter odd[] = {{"scale", "-2"}, {"connect.decimal.precision", "5"}};

static void a_plain_type_is_its_name_and_an_optional_one_a_union(void **state) {
    (void)state;
    check_schema(&(struct connect_schema){.kind = CONNECT_INT32}, "\"int\"");
    check_schema(&(struct connect_schema){.kind = CONNECT_INT64, .optional = true},
                 "[\"null\",\"long\"]");
    check_schema(&(struct connect_schema){.kind = CONNECT_INT16},
                 "{\"type\":\"int\",\"connect.type\":\"int16\"}");
}

static void names_versions_parameters_and_defaults_are_properties(void **state) {
    (void)state;
    check_schema(&(struct connect_schema){.kind = CONNECT_INT32,
                                          .name = "io.debezium.time.Date",
                                          .version = 1,
                                          .optional = true,
                                          .default_json = SLICE("5")},
                 "[{\"type\":\"int\",\"connect.version\":1,\"connect.default\":5,\"connect.name\":"
                 "\"io.debezium.time.Date\"},\"null\"]");
    check_schema(&(struct connect_schema){.kind = CONNECT_BYTES,
                                          .name = "org.apache.kafka.connect.data.Decimal",
                                          .version = 1,
                                          .n_parameters = 2,
                                          .parameters = money},
                 "{\"type\":\"bytes\",\"scale\":2,\"precision\":10,\"connect.version\":1,"
                 "\"connect.parameters\":{\"scale\":\"2\",\"connect.decimal.precision\":\"10\"},"
                 "\"connect.name\":\"org.apache.kafka.connect.data.Decimal\",\"logicalType\":"
                 "\"decimal\"}");
    check_schema(&(struct connect_schema){.kind = CONNECT_INT64,
                                          .name = "org.apache.kafka.connect.data.Timestamp",
                                          .version = 1},
                 "{\"type\":\"long\",\"connect.version\":1,\"connect.name\":\"org.apache.kafka."
                 "connect.data.Timestamp\",\"logicalType\":\"timestamp-millis\"}");
}

static void a_decimal_that_avro_has_not_is_told_by_its_parameters_alone(void **state) {
    (void)state;
    check_schema(&(struct connect_schema){.kind = CONNECT_BYTES,
                                          .name = "org.apache.kafka.connect.data.Decimal",
                                          .version = 1,
                                          .n_parameters = 2,
                                          .parameters = odd},
                 "{\"type\":\"bytes\",\"connect.version\":1,\"connect.parameters\":{\"scale\":"
                 "\"-2\",\"connect.decimal.precision\":\"5\"},\"connect.name\":\"org.apache.kafka."
                 "connect.data.Decimal\"}");
}

static void bytes_as_a_default_are_the_characters_up_to_255(void **state) {
    (void)state;
    check_schema(&(struct connect_schema){.kind = CONNECT_BYTES, .default_json = SLICE("\"QQD/\"")},
                 "{\"type\":\"bytes\",\"connect.default\":\"A\\u0000\xc3\xbf\"}");
}

static void a_record_is_described_once_and_then_named(void **state) {
    (void)state;
    static const struct connect_field inner[] = {{"x", {.kind = CONNECT_STRING}}};
    const struct connect_schema near = {
        .kind = CONNECT_STRUCT, .optional = true, .name = "a.b.In", .n_fields = 1, .fields = inner};
    struct connect_schema far = near;
    far.name = "c.In";
    far.doc = "far away";
    const struct connect_field fields[] = {{"p", near}, {"q", near}, {"r", far}, {"s", far}};
    check_schema(
        &(struct connect_schema){
            .kind = CONNECT_STRUCT, .name = "a.b.Out", .n_fields = 4, .fields = fields},
        "{\"type\":\"record\",\"name\":\"Out\",\"namespace\":\"a.b\",\"fields\":["
        "{\"name\":\"p\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"In\",\"fields\":["
        "{\"name\":\"x\",\"type\":\"string\"}],\"connect.name\":\"a.b.In\"}],\"default\":null},"
        "{\"name\":\"q\",\"type\":[\"null\",\"In\"],\"default\":null},"
        "{\"name\":\"r\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"In\",\"namespace\":"
        "\"c\","
        "\"fields\":[{\"name\":\"x\",\"type\":\"string\"}],\"connect.doc\":\"far away\","
        "\"connect.name\":\"c.In\"}],\"default\":null},"
        "{\"name\":\"s\",\"type\":[\"null\",\"c.In\"],\"default\":null}],"
        "\"connect.name\":\"a.b.Out\"}");
}

static void names_are_adjusted(void **state) {
    (void)state;
    static const struct {
        const char *name, *full, *field;
    } cases[] = {
        {"shop.public.t", "shop.public.t", "shop_public_t"},
        {"my-shop.2024.t e", "my_shop._2024.t_e", "my_shop_2024_t_e"},
        {"\xc3\xa4\xf0\x9f\x98\x80", "___", "___"},
        {"9", "_9", "_9"},
        {"", "_", "_"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf full = {0}, field = {0};
        avro_full_name_append(cases[i].name, &full);
        avro_field_name_append(cases[i].name, &field);
        assert_string_equal(buf_text(&full), cases[i].full);
        assert_string_equal(buf_text(&field), cases[i].field);
        buf_deinit(&full);
        buf_deinit(&field);
    }
}

/* ---- values ---- */

/* NULL: it does not fit. */
static void check_json(struct connect_schema schema, const char *json, const void *want,
                       size_t len) {
    struct buf out = {0};
    buf_append_text(&out, "before");
    buf_append_text(&out, json);
    bool fits = avro_replace_json(&schema, &out, 6);
    assert_int_equal(fits, want != NULL);
    assert_int_equal(out.len, 6 + (want ? len : 0));
    assert_memory_equal(out.data, "before", 6);
    if (want) assert_memory_equal(out.data + 6, want, len);
    buf_deinit(&out);
}

#define FITS(schema, json, want)                                                                   \
    check_json((struct connect_schema)schema, json, want, sizeof want - 1)
#define NOT(schema, json) check_json((struct connect_schema)schema, json, NULL, 0)
#define KIND(kind_)                                                                                \
    { .kind = CONNECT_##kind_ }
#define OPTIONAL(kind_)                                                                            \
    { .kind = CONNECT_##kind_, .optional = true }

static void integers_are_zigzag_and_within_their_type(void **state) {
    (void)state;
    FITS(KIND(INT32), "0", "\0");
    FITS(KIND(INT32), "-1", "\1");
    FITS(KIND(INT32), "64", "\x80\1");
    FITS(KIND(INT32), "-2147483648", "\xff\xff\xff\xff\x0f");
    NOT(KIND(INT32), "2147483648");
    NOT(KIND(INT16), "40000");
    FITS(KIND(INT64), "9223372036854775807", "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1");
    FITS(KIND(INT64), "-9223372036854775808", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1");
    NOT(KIND(INT64), "9223372036854775808");
    NOT(KIND(INT64), "1.5");
    NOT(KIND(INT64), "\"1\"");
    NOT(KIND(INT64), "");
    NOT(KIND(INT64), "1 ");
}

static void floats_are_little_endian_and_may_be_no_numbers(void **state) {
    (void)state;
    FITS(KIND(DOUBLE), "1.0", "\0\0\0\0\0\0\xf0\x3f");
    FITS(KIND(DOUBLE), "1.0E300", "\x9c\x75\x00\x88\x3c\xe4\x37\x7e");
    FITS(KIND(FLOAT), "1.4E-45", "\1\0\0\0");
    FITS(KIND(FLOAT), "\"-Infinity\"", "\0\0\x80\xff");
    FITS(KIND(DOUBLE), "\"NaN\"", "\0\0\0\0\0\0\xf8\x7f");
    NOT(KIND(DOUBLE), "\"5\"");
    NOT(KIND(DOUBLE), "1e");
}

static void strings_lose_their_escapes_and_bytes_their_base64(void **state) {
    (void)state;
    FITS(KIND(STRING), "\"\"", "\0");
    FITS(KIND(STRING), "\"a\xc3\xa9\"", "\6a\xc3\xa9");
    FITS(KIND(STRING), "\"q\\\"\\\\\\n\\u0001\\uD83D\\uDE00\"", "\x12q\"\\\n\1\xf0\x9f\x98\x80");
    FITS(KIND(STRING), "\"\\ud83d.\"", "\x08\xef\xbf\xbd.");
    NOT(KIND(STRING), "\"\\u00\"");
    NOT(KIND(STRING), "\"open");
    NOT(KIND(STRING), "\"open\\\"");
    NOT(KIND(STRING), "5");
    FITS(KIND(BYTES), "\"bg==\"", "\2n");
    FITS(KIND(BYTES), "\"AAEC\"", "\6\0\1\2");
    FITS(KIND(BYTES), "\"\"", "\0");
    NOT(KIND(BYTES), "\"bg=\"");
    NOT(KIND(BYTES), "\"b===\"");
    NOT(KIND(BYTES), "\"b-==\"");
}

static void null_is_a_branch(void **state) {
    (void)state;
    FITS(OPTIONAL(STRING), "null", "\0");
    FITS(OPTIONAL(STRING), "\"x\"", "\2\2x");
    const struct connect_schema with_default = {
        .kind = CONNECT_INT32, .optional = true, .default_json = SLICE("7")};
    check_json(with_default, "null", "\2", 1);
    check_json(with_default, "3", "\0\6", 2);
    NOT(KIND(STRING), "null");
}

static void arrays_maps_and_structs_are_their_parts(void **state) {
    (void)state;
    static const struct connect_schema numbers = OPTIONAL(INT32), texts = OPTIONAL(STRING);
    const struct connect_schema array = {.kind = CONNECT_ARRAY, .items = &numbers};
    check_json(array, "[]", "\0", 1);
    check_json(array, "[1,null,-1]", "\6\2\2\0\2\1\0", 7);
    check_json(array, "[[1]]", NULL, 0); /* of two dimensions */
    check_json(array, "[1,]", NULL, 0);
    check_json(array, "[1", NULL, 0);
    const struct connect_schema map = {.kind = CONNECT_MAP, .items = &texts};
    check_json(map, "{\"a,\":\"}\",\"b\":null}", "\4\4a,\2\2}\2b\0\0", 11);
    check_json(map, "{}", "\0", 1);
    static const struct connect_field fields[] = {{"x", KIND(DOUBLE)}, {"srid", OPTIONAL(INT32)}};
    const struct connect_schema point = {.kind = CONNECT_STRUCT, .n_fields = 2, .fields = fields};
    check_json(point, "{\"x\":0.0,\"srid\":null}", "\0\0\0\0\0\0\0\0\0", 9);
    check_json(point, "{\"x\":0.0}", NULL, 0);
    check_json(point, "{\"srid\":null,\"x\":0.0}", NULL, 0);
}

/* ---- events ---- */

static const struct event_format format = {.encoding = "avro", .tombstones = true};

static const struct relation_column columns[] = {{"id", 23, -1, true},
                                                 {"n-ame", 25, -1, false},
                                                 {"n_ame", 17, -1, false},
                                                 {"tags", 1007, -1, false},
                                                 {"ok", 16, -1, false}};
static const struct relation relation = {.oid = 1000,
                                         .version = 1,
                                         .schema = "public",
                                         .name = "t",
                                         .replica_identity = 'd',
                                         .n_columns = 5,
                                         .columns = columns};
static const struct catalog_column catalog_columns[] = {
    {.name = "id", .not_null = true},
    {.name = "n-ame"},
    {.name = "n_ame"},
    {.name = "tags"},
    {.name = "ok", .not_null = true, .default_sql = "true"}};
static const uint16_t key_columns[] = {0};
static const struct catalog_index primary = {
    .primary = true, .usable_as_key = true, .n_columns = 1, .columns = key_columns};
static const struct catalog_table catalog = {.oid = 1000,
                                             .replica_identity = 'd',
                                             .n_columns = 5,
                                             .columns = catalog_columns,
                                             .n_indexes = 1,
                                             .indexes = &primary,
                                             .primary_key = &primary};

static const struct kafka_property ids[] = {{"shop.public.t-key", "7"},
                                            {"shop.public.t-value", "258"},
                                            {"shop.message-key", "3"},
                                            {"shop.message-value", "4"}};
static const struct schema_registry_config fixed = {.n_ids = 4, .ids = ids};

struct fixture {
    struct types *types;
    struct log *log;
    struct metrics *metrics;
    struct schema_registry *registry;
    struct event_source source;
};

static int setup(void **state) {
    static const struct type known[] = {
        {16, "bool", 'b', ',', 0, -1, 0, NULL},     {17, "bytea", 'b', ',', 0, -1, 0, NULL},
        {23, "int4", 'b', ',', 0, -1, 0, NULL},     {25, "text", 'b', ',', 0, -1, 0, NULL},
        {1007, "_int4", 'b', ',', 0, -1, 23, NULL},
    };
    static struct fixture f;
    f.types = types_create();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        types_add(f.types, &known[i]);
    f.log = log_create(2, LOG_ERROR);
    f.metrics = metrics_create();
    f.registry = schema_registry_create(&fixed, f.log, f.metrics, NULL);
    event_source_init(&f.source, "1.0", "shop", "db", &format);
    f.source.registry = f.registry;
    f.source.xid = 42;
    f.source.last_lsn = 90;
    event_source_begin(&f.source);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    event_source_deinit(&f->source);
    schema_registry_destroy(&f->registry);
    metrics_destroy(&f->metrics);
    log_destroy(&f->log);
    types_destroy(&f->types);
    return 0;
}

static struct event_table *make_table(struct fixture *f, const struct relation *of) {
    struct event_table_plan plan = {.relation = of,
                                    .catalog = &catalog,
                                    .types = f->types,
                                    .format = &format,
                                    .prefix = "shop"};
    return event_table_create(&plan);
}

#define VALUE(text)                                                                                \
    { VALUE_TEXT, sizeof(text) - 1, text }
#define NONE                                                                                       \
    { VALUE_NULL, 0, "" }
static const struct value row[] = {VALUE("-5"), VALUE("x"), VALUE("\\x00ff"), VALUE("{1}"),
                                   VALUE("t")};

/* -5, "x", 00ff, [1], true */
#define ROW "\x09\2\2x\2\4\x00\xff\2\2\2\2\0\1"
#define SOURCE_AND_TAIL(op)                                                                        \
    "\6"                                                                                           \
    "1.0"                                                                                          \
    "\x14"                                                                                         \
    "postgresql"                                                                                   \
    "\x08"                                                                                         \
    "shop"                                                                                         \
    "\0"                                                                                           \
    "\0\x0a"                                                                                       \
    "false"                                                                                        \
    "\x04"                                                                                         \
    "db"                                                                                           \
    "\2\x18[\"90\",\"100\"]"                                                                       \
    "\2\0"                                                                                         \
    "\2\0"                                                                                         \
    "\x0c"                                                                                         \
    "public"                                                                                       \
    "\2t"                                                                                          \
    "\2\x54"                                                                                       \
    "\2\xc8\1"                                                                                     \
    "\0"                                                                                           \
    "\0"                                                                                           \
    "\2" op "\2\0\2\0\2\0"

static void check_event(struct fixture *f, struct event event, const char *want, size_t len) {
    struct event_table *table = make_table(f, &relation);
    struct encode_tally tally = {0};
    struct buf out = {0};
    assert_true(encode_avro.prepare(table, f->registry, NULL));
    event.table = table;
    event.lsn = 100;
    assert_true(encode_avro.value(&f->source, &event, &tally, &out));
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, want, len);
    buf_deinit(&out);
    event_table_destroy(&table);
}
#define CHECK_EVENT(state, event, want) check_event(state, event, want, sizeof(want) - 1)

static void a_create_is_the_envelope_behind_its_id(void **state) {
    CHECK_EVENT(*state, ((struct event){.op = 'c', .after = row}),
                "\0\0\0\1\2"
                "\0"
                "\2" ROW SOURCE_AND_TAIL("c"));
}

static void a_delete_has_fillers(void **state) {
    static const struct value identity[] = {VALUE("7"), NONE, NONE, NONE, NONE};
    CHECK_EVENT(*state, ((struct event){.op = 'd', .before = identity, .before_is_key = true}),
                "\0\0\0\1\2"
                "\2"
                "\x0e\0\0\0\1"
                "\0" SOURCE_AND_TAIL("d"));
}

static void a_key_is_its_columns_behind_its_id(void **state) {
    struct fixture *f = *state;
    struct event_table *table = make_table(f, &relation);
    struct encode_tally tally = {0};
    struct buf out = {0};
    assert_true(encode_avro.prepare(table, f->registry, NULL));
    assert_true(encode_avro.key(table, row, NULL, &tally, &out));
    assert_int_equal(out.len, 6);
    assert_memory_equal(out.data, "\0\0\0\0\7\x09", 6);
    buf_deinit(&out);
    event_table_destroy(&table);
}

static void what_avro_has_no_form_for_is_refused_with_its_column(void **state) {
    struct fixture *f = *state;
    static const struct value nested[] = {VALUE("1"), NONE, NONE, VALUE("{{1},{2}}"), VALUE("f")};
    static const struct value null[] = {VALUE("1"), NONE, NONE, NONE, NONE};
    const struct {
        const struct value *row;
        const char *column;
    } cases[] = {{nested, "\"tags\":"}, {null, "\"ok\":"}};
    struct event_table *table = make_table(f, &relation);
    assert_true(encode_avro.prepare(table, f->registry, NULL));
    for (size_t i = 0; i < 2; i++) {
        struct encode_tally tally = {0};
        struct buf out = {0};
        struct event event = {.op = 'c', .table = table, .after = cases[i].row};
        assert_false(encode_avro.value(&f->source, &event, &tally, &out));
        assert_string_equal(tally.refused, cases[i].column);
        assert_non_null(tally.why);
        buf_deinit(&out);
    }
    event_table_destroy(&table);
}

static void a_message_is_an_event_of_its_own_topic(void **state) {
    struct fixture *f = *state;
    struct encode_tally tally = {0};
    struct buf out = {0};
    struct event event = {
        .op = 'm', .message_prefix = SLICE("p"), .message_content = SLICE("\1\2")};
    assert_true(encode_avro.prepare_side(&f->source, SIDE_MESSAGE, NULL));
    encode_avro.message_key(&f->source, SLICE("p\"q"), &out);
    assert_int_equal(out.len, 10);
    assert_memory_equal(out.data, "\0\0\0\0\3\2\6p\"q", 10);
    out.len = 0;
    assert_true(encode_avro.value(&f->source, &event, &tally, &out));
    assert_memory_equal(out.data, "\0\0\0\0\4\2m", 7);
    assert_memory_equal(out.data + out.len - 8, "\0\2\2p\2\4\1\2", 8);
    buf_deinit(&out);
}

static void an_id_of_the_map_means_one_schema(void **state) {
    struct fixture *f = *state;
    static const struct relation changed = {.oid = 1000,
                                            .version = 2,
                                            .schema = "public",
                                            .name = "t",
                                            .replica_identity = 'd',
                                            .n_columns = 4,
                                            .columns = columns};
    struct event_table *before = make_table(f, &relation);
    struct event_table *after = make_table(f, &changed);
    struct event_table *again = make_table(f, &relation);
    struct error err;
    assert_true(encode_avro.prepare(before, f->registry, &err));
    assert_false(encode_avro.prepare(after, f->registry, &err));
    assert_int_equal(err.code, ERROR_CONFLICT);
    assert_non_null(strstr(err.message, "shop.public.t-value@"));
    assert_false(err.retriable);
    assert_true(encode_avro.prepare(again, f->registry, &err));
    event_table_destroy(&before);
    event_table_destroy(&after);
    event_table_destroy(&again);
}

static void a_subject_without_an_id_is_named(void **state) {
    struct fixture *f = *state;
    struct error err;
    assert_false(encode_avro.prepare_side(&f->source, SIDE_TRANSACTION, &err));
    assert_int_equal(err.code, ERROR_CONFIG);
    assert_non_null(strstr(err.message, "shop.transaction-key"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_type_is_its_name_and_an_optional_one_a_union),
        cmocka_unit_test(names_versions_parameters_and_defaults_are_properties),
        cmocka_unit_test(a_decimal_that_avro_has_not_is_told_by_its_parameters_alone),
        cmocka_unit_test(bytes_as_a_default_are_the_characters_up_to_255),
        cmocka_unit_test(a_record_is_described_once_and_then_named),
        cmocka_unit_test(names_are_adjusted),
        cmocka_unit_test(integers_are_zigzag_and_within_their_type),
        cmocka_unit_test(floats_are_little_endian_and_may_be_no_numbers),
        cmocka_unit_test(strings_lose_their_escapes_and_bytes_their_base64),
        cmocka_unit_test(null_is_a_branch),
        cmocka_unit_test(arrays_maps_and_structs_are_their_parts),
        cmocka_unit_test_setup_teardown(a_create_is_the_envelope_behind_its_id, setup, teardown),
        cmocka_unit_test_setup_teardown(a_delete_has_fillers, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_is_its_columns_behind_its_id, setup, teardown),
        cmocka_unit_test_setup_teardown(what_avro_has_no_form_for_is_refused_with_its_column, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_message_is_an_event_of_its_own_topic, setup, teardown),
        cmocka_unit_test_setup_teardown(an_id_of_the_map_means_one_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(a_subject_without_an_id_is_named, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

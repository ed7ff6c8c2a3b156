/* Events of a table: topic, key, envelope, source; what a delete and a moved row look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cdc/encode/encode.h"
#include "cdc/output/positions.h"
#include "cdc/publish/dead_letter.h"

static const struct event_format format = {.encoding = "json", .tombstones = true};

static const struct relation_column columns[] = {
    {"b", 23, -1, true}, {"a", 25, -1, true}, {"n", 23, -1, false}, {"v", 25, -1, false}};
static const struct relation relation = {.oid = 1000,
                                         .version = 1,
                                         .schema = "public",
                                         .name = "Odd t\xc3\xa9",
                                         .replica_identity = 'd',
                                         .n_columns = 4,
                                         .columns = columns};

static const struct catalog_column catalog_columns[] = {
    {.name = "b", .not_null = true},
    {.name = "a", .not_null = true},
    {.name = "n", .not_null = true, .default_sql = "7"},
    {.name = "v"}};
static const uint16_t key_columns[] = {1, 0};
static const uint16_t unique_columns[] = {2};
static const uint16_t nullable_columns[] = {3};

struct fixture {
    struct types *types;
    struct event_table *table;
    struct event_source source;
};

static struct event_table *make_table(struct fixture *f, const struct catalog_table *catalog) {
    struct event_table_plan plan = {.relation = &relation,
                                    .catalog = catalog,
                                    .types = f->types,
                                    .format = &format,
                                    .prefix = "shop"};
    return event_table_create(&plan);
}

static int setup(void **state) {
    static struct fixture f;
    f.types = types_create();
    types_add(f.types, &(struct type){.oid = 23, .name = "int4", .kind = 'b', .base_typmod = -1});
    types_add(f.types, &(struct type){.oid = 25, .name = "text", .kind = 'b', .base_typmod = -1});
    static const struct catalog_index primary = {
        .primary = true, .usable_as_key = true, .n_columns = 2, .columns = key_columns};
    static const struct catalog_table catalog = {.oid = 1000,
                                                 .replica_identity = 'd',
                                                 .n_columns = 4,
                                                 .columns = catalog_columns,
                                                 .n_indexes = 1,
                                                 .indexes = &primary,
                                                 .primary_key = &primary};
    f.table = make_table(&f, &catalog);
    event_source_init(&f.source, "1.0", "shop", "db", &format);
    f.source.xid = (3ULL << 32) + 42;
    f.source.commit_time_us = 1700000000123456;
    f.source.last_lsn = 90;
    event_source_begin(&f.source);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    event_table_destroy(&f->table);
    event_source_deinit(&f->source);
    types_destroy(&f->types);
    return 0;
}

#define VALUE(text)                                                                                \
    { VALUE_TEXT, sizeof(text) - 1, text }
static const struct value row[] = {VALUE("1"), VALUE("x"), VALUE("5"), VALUE("long")};
static const struct value toasted[] = {
    VALUE("1"), VALUE("x"), VALUE("6"), {VALUE_UNCHANGED, 0, ""}};
static const struct value identity[] = {
    VALUE("1"), VALUE("x"), {VALUE_NULL, 0, ""}, {VALUE_NULL, 0, ""}};

static void check_value(struct fixture *f, struct event event, const char *want) {
    struct encode_tally tally = {0};
    struct buf out = {0};
    event.table = f->table;
    event.lsn = 100;
    event.now_us = 1700000001000001;
    assert_true(encode_json.value(&f->source, &event, &tally, &out));
    assert_string_equal(buf_text(&out), want);
    buf_deinit(&out);
}

#define SOURCE(snapshot)                                                                           \
    "\"source\":{\"version\":\"1.0\",\"connector\":\"postgresql\",\"name\":\"shop\",\"ts_ms\":"    \
    "1700000000123,"                                                                               \
    "\"snapshot\":\"" snapshot "\",\"db\":\"db\",\"sequence\":\"[\\\"90\\\",\\\"100\\\"]\","       \
    "\"ts_us\":1700000000123456,\"ts_ns\":1700000000123456000,\"schema\":\"public\","              \
    "\"table\":\"Odd t\xc3\xa9\",\"txId\":42,\"lsn\":100,\"xmin\":null}"
#define TAIL(op)                                                                                   \
    ",\"op\":\"" op                                                                                \
    "\",\"ts_ms\":1700000001000,\"ts_us\":1700000001000001,\"ts_ns\":1700000001000001000}"

static void a_topic_has_underscores_for_what_kafka_refuses(void **state) {
    struct fixture *f = *state;
    assert_string_equal(f->table->topic, "shop.public.Odd_t__");
}

static void a_create_has_the_whole_envelope(void **state) {
    check_value(*state, (struct event){.op = 'c', .after = row},
                "{\"before\":null,\"after\":{\"b\":1,\"a\":\"x\",\"n\":5,\"v\":\"long\"}," SOURCE(
                    "false") ",\"transaction\":null" TAIL("c"));
}

static void a_delete_fills_what_the_stream_lacks(void **state) {
    check_value(*state, (struct event){.op = 'd', .before = identity, .before_is_key = true},
                "{\"before\":{\"b\":1,\"a\":\"x\",\"n\":7,\"v\":null},\"after\":null," SOURCE(
                    "false") ",\"transaction\":null" TAIL("d"));
}

static void an_unchanged_value_comes_from_the_old_row_or_is_marked(void **state) {
    check_value(*state, (struct event){.op = 'u', .before = row, .after = toasted, .old_row = row},
                "{\"before\":{\"b\":1,\"a\":\"x\",\"n\":5,\"v\":\"long\"},\"after\":{\"b\":1,\"a\":"
                "\"x\",\"n\":6,\"v\":\"long\"}," SOURCE("false") ",\"transaction\":null" TAIL("u"));
    check_value(*state, (struct event){.op = 'u', .after = toasted},
                "{\"before\":null,\"after\":{\"b\":1,\"a\":\"x\",\"n\":6,\"v\":\"" CODEC_PLACEHOLDER
                "\"}," SOURCE("false") ",\"transaction\":null" TAIL("u"));
}

static void order_is_told_with_transaction_metadata(void **state) {
    struct event_order order = {.total = 3, .in_collection = 2};
    check_value(*state, (struct event){.op = 't', .order = &order},
                "{\"before\":null,\"after\":null," SOURCE(
                    "false") ",\"transaction\":{\"id\":\"42:100\",\"total_order\":3,"
                             "\"data_collection_order\":2}" TAIL("t"));
}

static void a_snapshots_row_has_no_predecessor(void **state) {
    struct fixture *f = *state;
    f->source.snapshot = true;
    event_source_begin(&f->source);
    struct encode_tally tally = {0};
    struct buf out = {0};
    struct event event = {
        .op = 'r', .table = f->table, .after = row, .lsn = 100, .marker = SNAPSHOT_FIRST};
    assert_true(encode_json.value(&f->source, &event, &tally, &out));
    assert_non_null(strstr(buf_text(&out), "\"snapshot\":\"first\""));
    assert_non_null(strstr(buf_text(&out), "\"sequence\":\"[null,\\\"100\\\"]\""));
    buf_deinit(&out);
    f->source.snapshot = false;
    event_source_begin(&f->source);
}

static void check_key(struct event_table *table, const char *want) {
    struct encode_tally tally = {0};
    struct buf out = {0};
    if (table->n_key) assert_true(encode_json.key(table, row, NULL, &tally, &out));
    assert_string_equal(buf_text(&out), want);
    buf_deinit(&out);
}

static void a_key_has_the_index_order(void **state) {
    struct fixture *f = *state;
    check_key(f->table, "{\"a\":\"x\",\"b\":1}");
}

static struct event_table *make_table_of(struct fixture *f, const struct relation *described,
                                         const struct catalog_table *catalog,
                                         const char *message_key) {
    struct event_table_plan plan = {.relation = described,
                                    .catalog = catalog,
                                    .types = f->types,
                                    .format = &format,
                                    .prefix = "shop",
                                    .message_key = message_key};
    return event_table_create(&plan);
}

static void check_key_of(struct fixture *f, const struct relation *described,
                         const struct catalog_table *catalog, const char *message_key,
                         const char *want) {
    struct event_table *table = make_table_of(f, described, catalog, message_key);
    check_key(table, want);
    event_table_destroy(&table);
}

static const struct catalog_index primary_and_identity[] = {
    {.primary = true, .usable_as_key = true, .n_columns = 2, .columns = key_columns},
    {.replica_identity = true, .usable_as_key = true, .n_columns = 1, .columns = unique_columns}};
static const struct catalog_table two_indexes = {.replica_identity = 'i',
                                                 .n_columns = 4,
                                                 .columns = catalog_columns,
                                                 .n_indexes = 2,
                                                 .indexes = primary_and_identity,
                                                 .primary_key = &primary_and_identity[0]};

static void the_identity_index_comes_before_the_primary_key(void **state) {
    static const struct relation_column flagged[] = {
        {"b", 23, -1, false}, {"a", 25, -1, false}, {"n", 23, -1, true}, {"v", 25, -1, false}};
    struct relation by_index = relation;
    by_index.replica_identity = 'i';
    by_index.columns = flagged;
    check_key_of(*state, &by_index, &two_indexes, NULL, "{\"n\":5}");
}

static void where_the_catalog_is_ahead_the_stream_tells_the_key(void **state) {
    static const struct catalog_index moved[] = {
        {.primary = true, .usable_as_key = true, .n_columns = 1, .columns = unique_columns}};
    struct catalog_table ahead = two_indexes;
    ahead.replica_identity = 'd';
    ahead.n_indexes = 1;
    ahead.indexes = ahead.primary_key = moved;
    check_key_of(*state, &relation, &ahead, NULL, "{\"b\":1,\"a\":\"x\"}");
    /* Before it had a key at all. */
    static const struct relation_column unflagged[] = {
        {"b", 23, -1, false}, {"a", 25, -1, false}, {"n", 23, -1, false}, {"v", 25, -1, false}};
    struct relation keyless = relation;
    keyless.columns = unflagged;
    check_key_of(*state, &keyless, &ahead, NULL, "");
}

static void named_columns_are_the_key(void **state) {
    check_key_of(*state, &relation, &two_indexes, "v, n", "{\"v\":\"long\",\"n\":5}");
    check_key_of(*state, &relation, &two_indexes, "v,gone", "{\"a\":\"x\",\"b\":1}");
    struct fixture *f = *state;
    struct event_table *table = make_table_of(f, &relation, &two_indexes, "v,n");
    struct encode_tally tally = {0};
    struct buf out = {0};
    assert_true(encode_json.key(table, identity, NULL, &tally, &out));
    assert_string_equal(buf_text(&out), "{\"v\":null,\"n\":7}"); /* not in a deleted row */
    buf_deinit(&out);
    event_table_destroy(&table);
}

static void what_only_the_catalog_tells_is_told_apart(void **state) {
    (void)state;
    struct catalog_column altered[4];
    memcpy(altered, catalog_columns, sizeof altered);
    struct catalog_table other = two_indexes;
    other.columns = altered;
    assert_true(event_table_facts(&other) == event_table_facts(&two_indexes));
    altered[2].default_sql = "8";
    assert_false(event_table_facts(&other) == event_table_facts(&two_indexes));
    altered[2].default_sql = "7";
    altered[2].not_null = false;
    assert_false(event_table_facts(&other) == event_table_facts(&two_indexes));
    altered[2].not_null = true;
    other.n_indexes = 1;
    assert_false(event_table_facts(&other) == event_table_facts(&two_indexes));
    assert_true(event_table_facts(NULL) == 0);
}

static void without_a_primary_key_the_first_unique_index_that_is_never_null(void **state) {
    struct catalog_index indexes[] = {
        {.name = "a", .usable_as_key = true, .n_columns = 1, .columns = nullable_columns},
        {.name = "b", .usable_as_key = false, .n_columns = 2, .columns = key_columns},
        {.name = "d", .usable_as_key = true, .n_columns = 2, .columns = key_columns},
        {.name = "c", .usable_as_key = true, .n_columns = 1, .columns = unique_columns}};
    struct catalog_table catalog = {.replica_identity = 'f',
                                    .n_columns = 4,
                                    .columns = catalog_columns,
                                    .n_indexes = 4,
                                    .indexes = indexes};
    struct relation full = relation;
    full.replica_identity = 'f';
    check_key_of(*state, &full, &catalog, NULL, "{\"n\":5}"); /* by name */
    catalog.n_indexes = 2;
    check_key_of(*state, &full, &catalog, NULL, "");
}

/* What is copied from the event before is what would be composed. */
static void events_of_a_transaction_are_as_if_each_were_alone(void **state) {
    struct fixture *f = *state;
    struct event_order order = {.total = 3, .in_collection = 2};
    const struct event events[] = {
        {.op = 'c', .lsn = 7},
        {.op = 'c', .lsn = 7},
        {.op = 'c', .lsn = 9},
        {.op = 'c', .lsn = 10},
        {.op = 'c', .lsn = 12345678901234567890U},
        {.op = 'c', .lsn = 12345678901234567899U},
        {.op = 'd', .lsn = 12345678901234567899U},
        {.op = 'd', .lsn = 12345678901234567899U, .order = &order},
        {.op = 'd', .lsn = 12345678901234567898U},
        {.op = 'r', .lsn = 8, .marker = SNAPSHOT_FIRST},
        {.op = 'r', .lsn = 8, .marker = SNAPSHOT_TRUE},
        {.op = 'r', .lsn = 8, .marker = SNAPSHOT_TRUE},
        {.op = 'm', .lsn = 8, .message_prefix = SLICE("p")},
        {.op = 'r', .lsn = 8, .marker = SNAPSHOT_LAST, .now_us = 999},
        {.op = 'r', .lsn = 8, .marker = SNAPSHOT_LAST, .now_us = 1700000001000001},
        {.op = 't', .lsn = 8},
    };
    struct encode_tally tally = {0};
    struct buf out = {0};
    struct buf alone = {0};
    for (uint64_t xid = 1; xid < 4; xid += 2) { /* two transactions */
        f->source.xid = xid;
        event_source_begin(&f->source);
        struct event_source forgetful = f->source;
        forgetful.last = NULL;
        for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
            struct event event = events[i];
            if (event.op != 'm') event.table = f->table;
            out.len = alone.len = 0;
            assert_true(encode_json.value(&f->source, &event, &tally, &out));
            assert_true(encode_json.value(&forgetful, &event, &tally, &alone));
            assert_string_equal(buf_text(&out), buf_text(&alone));
        }
    }
    buf_deinit(&out);
    buf_deinit(&alone);
    f->source.xid = (3ULL << 32) + 42;
    event_source_begin(&f->source);
}

static void before_the_first_commit_times_are_zero(void **state) {
    struct fixture *f = *state;
    int64_t time_us = f->source.commit_time_us;
    f->source.commit_time_us = 0;
    event_source_begin(&f->source);
    struct encode_tally tally = {0};
    struct buf out = {0};
    struct event event = {.op = 'm', .lsn = 100, .message_prefix = SLICE("p")};
    assert_true(encode_json.value(&f->source, &event, &tally, &out));
    assert_non_null(strstr(buf_text(&out), "\"ts_us\":0,\"ts_ns\":0,"));
    buf_deinit(&out);
    f->source.commit_time_us = time_us;
    event_source_begin(&f->source);
}

static void a_key_changes_by_value_and_not_by_an_unchanged_toast(void **state) {
    struct fixture *f = *state;
    struct value moved[] = {VALUE("1"), VALUE("y"), VALUE("5"), VALUE("long")};
    struct value kept[] = {VALUE("1"), {VALUE_UNCHANGED, 0, ""}, VALUE("9"), VALUE("short")};
    assert_true(event_key_changed(f->table, identity, moved));
    assert_false(event_key_changed(f->table, identity, row));
    assert_false(event_key_changed(f->table, identity, kept));
}

static enum write_result keep_letter(void *arg, struct slice key, struct slice value,
                                     struct error *err) {
    (void)key;
    (void)err;
    buf_append_slice(arg, value);
    return WRITE_DONE;
}

static void a_dead_letter_has_cause_and_text(void **state) {
    struct fixture *f = *state;
    struct buf out = {0};
    struct event event = {.op = 'u', .table = f->table, .after = toasted, .lsn = 100};
    struct change change = {
        .operation = CHANGE_UPDATE, .relation = &relation, .row_lsn = 100, .new_row = toasted};
    struct dead_letter letter = {.source = &f->source,
                                 .event = &event,
                                 .change = &change,
                                 .commit_lsn = 110,
                                 .key = SLICE("{\"a\":1}"),
                                 .cause = "too \"large\""};
    struct error err;
    assert_int_equal(dead_letter_write(&letter, DEAD_LETTER_BYTES, keep_letter, &out, &err),
                     WRITE_DONE);
    static const char want[] =
        "{\"cause\":\"too \\\"large\\\"\",\"op\":\"u\",\"schema\":\"public\",\"table\":"
        "\"Odd t\xc3\xa9\",\"key\":{\"a\":1},\"lsn\":100,\"txId\":42,\"ts_us\":"
        "1700000000123456,\"before\":null,\"after\":{\"b\":\"1\",\"a\":\"x\",\"n\":\"6\"}";
    assert_memory_equal(buf_text(&out), want, sizeof want - 1);
    buf_deinit(&out);
}

static void a_position_survives_being_written(void **state) {
    (void)state;
    struct change_position position = {
        .end_lsn = 26734656, .snapshot_done = true, .system_identifier = UINT64_MAX};
    struct change_position read;
    struct buf out = {0};
    position_compose_value(&position, &out);
    assert_string_equal(buf_text(&out),
                        "{\"end_lsn\":26734656,\"lsn\":\"0/197F040\",\"snapshot_done\":"
                        "true,\"system_identifier\":\"18446744073709551615\",\"last_end_lsn\":0}");
    assert_true(position_parse(buf_slice(&out), &read));
    assert_memory_equal(&read.end_lsn, &position.end_lsn, sizeof read.end_lsn);
    assert_true(read.snapshot_done && read.system_identifier == UINT64_MAX);
    assert_false(position_parse(SLICE("{\"end_lsn\":1}"), &read));
    assert_false(position_parse(
        SLICE("{\"end_lsn\":-1,\"snapshot_done\":true,\"system_identifier\":\"1\"}"), &read));
    assert_false(position_parse(SLICE("nonsense"), &read));
    buf_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_has_underscores_for_what_kafka_refuses),
        cmocka_unit_test(a_create_has_the_whole_envelope),
        cmocka_unit_test(a_delete_fills_what_the_stream_lacks),
        cmocka_unit_test(an_unchanged_value_comes_from_the_old_row_or_is_marked),
        cmocka_unit_test(order_is_told_with_transaction_metadata),
        cmocka_unit_test(a_snapshots_row_has_no_predecessor),
        cmocka_unit_test(a_key_has_the_index_order),
        cmocka_unit_test(the_identity_index_comes_before_the_primary_key),
        cmocka_unit_test(where_the_catalog_is_ahead_the_stream_tells_the_key),
        cmocka_unit_test(named_columns_are_the_key),
        cmocka_unit_test(what_only_the_catalog_tells_is_told_apart),
        cmocka_unit_test(events_of_a_transaction_are_as_if_each_were_alone),
        cmocka_unit_test(before_the_first_commit_times_are_zero),
        cmocka_unit_test(without_a_primary_key_the_first_unique_index_that_is_never_null),
        cmocka_unit_test(a_key_changes_by_value_and_not_by_an_unchanged_toast),
        cmocka_unit_test(a_dead_letter_has_cause_and_text),
        cmocka_unit_test(a_position_survives_being_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

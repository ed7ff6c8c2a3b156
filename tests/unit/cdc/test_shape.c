/* What shapes a table's changes, without a database: rules, masks, filters' texts, outboxes, topics' settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "base/arena.h"
#include "cdc/output/murmur2.h"
#include "cdc/shape/mask.h"
#include "cdc/shape/outbox.h"
#include "cdc/shape/row_filter.h"
#include "cdc/shape/shape.h"
#include "cdc/shape/topic_rules.h"

/* ---- masks ---- */

static void assert_hash(const char *algorithm, const char *salt, const char *text, uint32_t longest,
                        const char *wanted) {
    char hex[MASK_HASH_MAX];
    struct masker *masker = masker_create(algorithm, salt);
    for (int twice = 0; twice < 2; twice++) {
        uint32_t len = masker_hash(masker, slice_from(text), longest, hex);
        assert_int_equal(len, strlen(wanted));
        assert_memory_equal(hex, wanted, len);
    }
    masker_destroy(&masker);
}

static void a_hash_is_over_the_salt_and_the_value(void **state) {
    (void)state;
    assert_hash("SHA-256", "", "abc", 0,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_hash("SHA-256", "a", "bc", 0,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_hash("SHA-256", "a", "bc", 10, "ba7816bf8f");
    assert_hash("MD5", "a", "bc", 0, "900150983cd24fb0d6963f7d28e17f72");
    assert_hash("SHA-1", "", "abc", 0, "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_null(masker_create("ROT-13", "x"));
}

static void a_text_is_cut_between_characters_as_java_counts_them(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t characters;
        const char *wanted;
    } cases[] = {
        {"abc", 5, "abc"},
        {"abc", 3, "abc"},
        {"abc", 2, "ab"},
        {"abc", 0, ""},
        {"", 0, ""},
        {"\u20ac\u20acx", 2, "\u20ac\u20ac"},
        {"ab\U0001F600", 4, "ab\U0001F600"},
        {"ab\U0001F600", 3, "ab"},
        {"\U0001F600\U0001F600", 2, "\U0001F600"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice cut = mask_cut(slice_from(cases[i].text), cases[i].characters);
        assert_int_equal(cut.len, strlen(cases[i].wanted));
        assert_memory_equal(cut.data, cases[i].wanted, cut.len);
    }
}

/* ---- rules ---- */

static const struct kafka_property masked[] = {{"ph*", "5"}};
static const struct kafka_property truncated[] = {{"*", "10"}};
static const char *const hashed[] = {"email"};
static const char *const kept[] = {"id", "n*", "email", "phone"};
static const char *const dropped[] = {"note_secret"};
static const struct shape_entry entries[] = {
    {.table = "public.*", .n_truncated = 1, .truncated = truncated},
    {.table = "public.users",
     .n_columns = 4,
     .columns = kept,
     .n_excluded = 1,
     .excluded = dropped,
     .n_masked = 1,
     .masked = masked,
     .n_hashed = 1,
     .hashed = hashed},
};
static const struct shape_rules rules = {
    .n_entries = 2, .entries = entries, .hash_algorithm = "SHA-256", .hash_salt = "pepper"};

static void assert_fate(const char *table, const char *column, const char *type, int32_t typmod,
                        enum shape_fate wanted, uint32_t wanted_length) {
    uint32_t length;
    assert_int_equal(shape_fate(&rules, "public", table, column, type, typmod, &length), wanted);
    if (wanted != FATE_DROPPED) assert_int_equal(length, wanted_length);
}

static void all_entries_apply_and_the_strictest_rule_holds(void **state) {
    (void)state;
    assert_fate("users", "id", "int4", -1, FATE_AS_IS, 0);
    assert_fate("users", "note", "text", -1, FATE_TRUNCATED, 10);
    assert_fate("users", "name", "varchar", 12, FATE_AS_IS, 0); /* of 8 characters */
    assert_fate("users", "name", "varchar", 24, FATE_TRUNCATED, 10);
    assert_fate("users", "note_secret", "text", -1, FATE_DROPPED, 0);
    assert_fate("users", "unlisted", "text", -1, FATE_DROPPED, 0);
    assert_fate("users", "phone", "int4", -1, FATE_MASKED, 5);
    assert_fate("users", "email", "text", -1, FATE_HASHED, 0);
    assert_fate("users", "email", "varchar", 34, FATE_HASHED, 30);
    assert_fate("orders", "phone", "text", -1, FATE_TRUNCATED, 10);
    assert_fate("orders", "total", "int4", -1, FATE_AS_IS, 0);
}

static struct value text(const char *bytes) {
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(bytes), .data = bytes};
}

static void a_change_shows_what_its_shape_leaves(void **state) {
    (void)state;
    static const struct relation_column columns[] = {{"id", 23, -1, true},
                                                     {"email", 25, -1, false},
                                                     {"phone", 23, -1, false},
                                                     {"gone", 25, -1, false}};
    static const struct relation relation = {.oid = 7,
                                             .version = 3,
                                             .schema = "public",
                                             .name = "users",
                                             .replica_identity = 'd',
                                             .n_columns = 4,
                                             .columns = columns};
    struct shape_plan plan = {.rules = &rules, .relation = &relation, .admitted = true};
    struct table_shape *shape = table_shape_create(&plan);
    assert_int_equal(shape->relation.n_columns, 3);
    assert_int_equal(shape->relation.version, 3);
    assert_int_equal(shape->relation.columns[2].type_oid, 25); /* asterisks are a text */
    struct error err;
    struct shaper *shaper = shaper_create(&rules, &err);
    struct value new_row[] = {
        text("1"), {.kind = VALUE_UNCHANGED}, {.kind = VALUE_NULL}, text("x")};
    struct value old_row[] = {
        text("1"), {.kind = VALUE_NULL}, {.kind = VALUE_NULL}, {.kind = VALUE_NULL}};
    struct change change = {
        .relation = &relation, .old_row = old_row, .old_is_key = true, .new_row = new_row};
    shaper_change(shaper, shape, &change);
    assert_ptr_equal(change.relation, &shape->relation);
    assert_int_equal(change.new_row[1].kind, VALUE_UNCHANGED); /* what is not known has no hash */
    assert_memory_equal(change.new_row[2].data, "*****", 5);   /* nor does NULL show */
    assert_int_equal(change.old_row[2].kind, VALUE_NULL); /* not in the stream: nothing to hide */
    shaper_destroy(&shaper);
    table_shape_destroy(&shape);
}

/* ---- row filters ---- */

static void a_filter_is_pushed_where_it_harms_nobody(void **state) {
    (void)state;
    static const struct catalog_column columns[] = {
        {.name = "id", .type_oid = 23, .in_identity = true},
        {.name = "status", .type_oid = 25},
        {.name = "Odd \"x", .type_oid = 25, .in_identity = true},
        {.name = "mood", .type_oid = 20000, .in_identity = true},
    };
    struct catalog_table table = {.n_columns = 4, .columns = columns, .replica_identity = 'd'};
    static const char *const pushable[] = {
        "id > 10",        "ID IN (1, 2, 3) OR NOT id = -5", "\"Odd \"\"x\" LIKE 'it''s%'",
        "id IS NOT NULL", "id BETWEEN 1 AND 2.5",           "true"};
    static const char *const others[] = {
        "status = 'x'", "mood = 'ok'", "length(id) > 1", "id > random()", "id::text = '1'",
        "id = E'\\n'",  "\"ID\" = 1",  "id = $1",        "unknown = 1",   "id > 1 -- why",
        "id = 'open",   "\"open = 1",  "id > 1; DROP",   "id(1)",         "(id) = ANY ('{1}')"};
    for (size_t i = 0; i < sizeof pushable / sizeof *pushable; i++)
        assert_true(row_filter_pushable(pushable[i], &table));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(row_filter_pushable(others[i], &table));
    table.replica_identity = 'f';
    assert_true(row_filter_pushable("status = 'x'", &table));
    assert_true(row_filter_mentions("lower(Status) = 'x'", "status"));
    assert_true(row_filter_mentions("\"Odd \"\"x\" = 1", "Odd \"x"));
    assert_false(row_filter_mentions("\"Status\" = 'status'", "status"));
}

/* ---- outboxes ---- */

static void a_logical_message_tells_its_fields_as_they_stand_there(void **state) {
    (void)state;
    struct outbox_entry entry = {.name = "outbox",
                                 .topic = "to.$1",
                                 .route_by = "aggregatetype",
                                 .key = "aggregateid",
                                 .payload = "payload",
                                 .id = "id"};
    struct arena *arena = arena_create(1024);
    struct outbox_message message;
    json_t *parsed;
    struct slice content =
        SLICE("{ \"x\": [1, {\"payload\": 2}, \"}\"], \"aggregatetype\":\"or\\u0064er\","
              "\"aggregateid\" : 7 , \"payload\": {\"n\": 1.10, \"s\": \"\\\"}\"} }");
    assert_null(outbox_read_content(&entry, content, &parsed, arena, &message));
    assert_true(slice_equal(message.route, SLICE("order")));
    assert_true(slice_equal(message.key, SLICE("7")));
    assert_true(slice_equal(message.payload, SLICE("{\"n\": 1.10, \"s\": \"\\\"}\"}")));
    assert_null(message.id.data);
    assert_string_equal(outbox_topic(&entry, &message, arena), "to.order");
    json_decref(parsed);
    content = SLICE("{\"a\\\\\": 1, \"\\u0061ggregateid\": {\"k\": 1.0}, \"pay\\u006coad\":[1.50],"
                    "\"aggregate\\u0074ype\": \"order\", \"i\\u0064\": 12}");
    assert_null(outbox_read_content(&entry, content, &parsed, arena, &message));
    assert_true(slice_equal(message.route, SLICE("order")));
    assert_true(slice_equal(message.key, SLICE("{\"k\": 1.0}")));
    assert_true(slice_equal(message.payload, SLICE("[1.50]")));
    assert_true(slice_equal(message.id, SLICE("12")));
    json_decref(parsed);
    content = SLICE("{\"aggregatetype\":\"o\",\"aggregateid\":123456789012345678901234567890,"
                    "\"payload\":\"a\\u0000b\"}");
    assert_null(outbox_read_content(&entry, content, &parsed, arena, &message));
    assert_true(slice_equal(message.key, SLICE("123456789012345678901234567890")));
    assert_true(slice_equal(message.payload, slice_make("a\0b", 3)));
    json_decref(parsed);
    static const char *const wrong[] = {"", "[]", "7", "{", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_non_null(
            outbox_read_content(&entry, slice_from(wrong[i]), &parsed, arena, &message));
        json_decref(parsed);
    }
    message.route = SLICE("");
    assert_null(outbox_topic(&entry, &message, arena));
    arena_destroy(&arena);
}

/* ---- topics ---- */

static void later_rules_of_topics_hold(void **state) {
    (void)state;
    static const struct kafka_property more[] = {{"max.message.bytes", "5"}};
    static const struct topic_entry topics[] = {
        {.name = "shop.*", .partitions = 3, .cleanup = "compact"},
        {.name = "*.users",
         .partitions = 9,
         .retention_ms = 7,
         .n_properties = 1,
         .properties = more},
    };
    struct kafka_topic_spec defaults = {.partitions = 1, .replication = 2};
    struct kafka_topic_spec spec = topic_rules_spec(2, topics, "shop.public.users", defaults);
    assert_int_equal(spec.partitions, 9);
    assert_int_equal(spec.replication, 2);
    assert_string_equal(spec.cleanup, "compact");
    assert_int_equal(spec.keep_ms, 7);
    assert_int_equal(spec.n_more, 1);
    spec = topic_rules_spec(2, topics, "other", defaults);
    assert_int_equal(spec.partitions, 1);
    assert_null(spec.cleanup);
}

static void records_are_placed_as_the_java_client_places_them(void **state) {
    (void)state;
    /* UtilsTest.testMurmur2 of Kafka. */
    assert_int_equal((int32_t)murmur2(SLICE("21")), -973932308);
    assert_int_equal((int32_t)murmur2(SLICE("foobar")), -790332482);
    assert_int_equal((int32_t)murmur2(SLICE("a-little-bit-long-string")), -985981536);
    assert_int_equal((int32_t)murmur2(SLICE("a-little-bit-longer-string")), -1486304829);
    assert_int_equal((int32_t)murmur2(SLICE("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")),
                     -58897971);
    assert_int_equal((int32_t)murmur2(SLICE("abc")), 479470107);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_over_the_salt_and_the_value),
        cmocka_unit_test(a_text_is_cut_between_characters_as_java_counts_them),
        cmocka_unit_test(all_entries_apply_and_the_strictest_rule_holds),
        cmocka_unit_test(a_change_shows_what_its_shape_leaves),
        cmocka_unit_test(a_filter_is_pushed_where_it_harms_nobody),
        cmocka_unit_test(a_logical_message_tells_its_fields_as_they_stand_there),
        cmocka_unit_test(later_rules_of_topics_hold),
        cmocka_unit_test(records_are_placed_as_the_java_client_places_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The pure parts of the feed: xids, frames, the relation cache, COPY's text, delivery into a sink. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "cdc/decode/copytext.h"
#include "cdc/decode/relations.h"
#include "cdc/decode/xid.h"
#include "cdc/feed/delivery.h"
#include "cdc/feed/stream.h"
#include "recorded.h"

/* ---- xids ---- */

static void xids_take_the_epoch_of_the_nearest_reference(void **state) {
    (void)state;
    const uint64_t epoch = UINT64_C(1) << 32;
    assert_true(xid_extend(5 * epoch + 1000, 1001) == 5 * epoch + 1001);
    assert_true(xid_extend(5 * epoch + 1000, 999) == 5 * epoch + 999);
    /* over the wrap, forwards and backwards */
    assert_true(xid_extend(5 * epoch + 0xfffffff0, 7) == 6 * epoch + 7);
    assert_true(xid_extend(6 * epoch + 7, 0xfffffff0) == 5 * epoch + 0xfffffff0);
    /* half a circle away */
    assert_true(xid_extend(epoch, 0x7fffffff) == epoch + 0x7fffffff);
    assert_true(xid_extend(epoch + 1, 0x80000001) == 0x80000001);
    /* nothing is before epoch 0 */
    assert_true(xid_extend(7, 0xfffffff0) == 0xfffffff0);
    assert_true(xid_extend(3 * epoch, 0) == 0);
}

/* ---- frames ---- */

static void a_keepalive_is_read_whole_or_not_at_all(void **state) {
    (void)state;
    static const char bytes[] = "k\0\0\0\x16\xB3\x74\xD8\x48\0\0\0\0\0\0\0\x01\x01";
    struct frame frame;
    assert_true(frame_parse(slice_make(bytes, 18), &frame));
    assert_int_equal(frame.kind, FRAME_KEEPALIVE);
    assert_true(frame.wal_end_lsn == UINT64_C(0x16B374D848));
    assert_true(frame.sent_us == INT64_C(946684800000001));
    assert_true(frame.reply_requested);
    for (size_t len = 0; len < 18; len++)
        assert_false(frame_parse(slice_make(bytes, len), &frame));
    assert_false(frame_parse(slice_make(bytes, 19), &frame));
}

static void xlogdata_leaves_the_payload_in_place(void **state) {
    (void)state;
    char bytes[28] = "w";
    bytes[8] = 0x10;
    bytes[16] = 0x20;
    memcpy(bytes + 25, "abc", 3);
    struct frame frame;
    assert_true(frame_parse(slice_make(bytes, sizeof bytes), &frame));
    assert_int_equal(frame.kind, FRAME_DATA);
    assert_int_equal(frame.start_lsn, 0x10);
    assert_int_equal(frame.wal_end_lsn, 0x20);
    assert_ptr_equal(frame.payload.data, bytes + 25);
    assert_int_equal(frame.payload.len, 3);
}

static void a_status_says_one_position_three_times(void **state) {
    (void)state;
    char status[STATUS_BYTES];
    status_write(status, UINT64_C(0x0102030405060708), INT64_C(946684800000002), true);
    assert_memory_equal(status,
                        "r\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10\1\2\3\4\5\6\7\10"
                        "\0\0\0\0\0\0\0\2\1",
                        STATUS_BYTES);
}

/* ---- relations ---- */

static struct relation_draft draft_of(uint32_t oid, uint16_t n,
                                      const struct pgoutput_column *columns) {
    return (struct relation_draft){.oid = oid,
                                   .schema = SLICE("public"),
                                   .name = SLICE("t"),
                                   .replica_identity = 'd',
                                   .n_columns = n,
                                   .columns = columns};
}

static void a_relation_changes_its_version_only_when_something_differs(void **state) {
    (void)state;
    struct pgoutput_column columns[2] = {{true, SLICE("id"), 23, -1}, {false, SLICE("a"), 25, -1}};
    struct relations *relations = relations_create();
    struct relation_draft draft = draft_of(1, 2, columns);
    bool announce;
    const struct relation *first = relations_put(relations, &draft, &announce);
    assert_true(announce);
    assert_string_equal(first->columns[1].name, "a");
    assert_ptr_equal(relations_put(relations, &draft, &announce), first);
    assert_false(announce);
    relations_new_session(relations);
    assert_ptr_equal(relations_put(relations, &draft, &announce), first);
    assert_true(announce);

    uint32_t version = first->version;
    columns[1].typmod = 24;
    const struct relation *second = relations_put(relations, &draft, &announce);
    assert_true(announce);
    assert_true(second->version > version);
    assert_int_equal(first->version, version); /* still there until the sweep */
    relations_sweep(relations);
    assert_ptr_equal(relations_find(relations, 1), second);
    draft.replica_identity = 'f';
    assert_true(relations_put(relations, &draft, &announce)->version > version + 1);
    draft.n_columns = 1;
    assert_int_equal(relations_put(relations, &draft, &announce)->n_columns, 1);
    assert_null(relations_find(relations, 2));
    relations_destroy(&relations);
}

static void thousands_of_relations_are_found_again(void **state) {
    (void)state;
    struct relations *relations = relations_create();
    bool announce;
    for (uint32_t oid = 16384; oid < 16384 + 5000; oid++) {
        struct relation_draft draft = draft_of(oid, 0, NULL);
        relations_put(relations, &draft, &announce);
    }
    for (uint32_t oid = 16384; oid < 16384 + 5000; oid++)
        assert_int_equal(relations_find(relations, oid)->oid, oid);
    assert_null(relations_find(relations, 16383));
    relations_destroy(&relations);
}

/* ---- COPY's text ---- */

static void assert_copied(const char *row, size_t len, uint16_t n, const char *const *expected) {
    char *copy = malloc(len + 1);
    memcpy(copy, row, len);
    struct value values[8];
    assert_int_equal(copytext_take(copy, len, n, values), len);
    for (uint16_t i = 0; i < n; i++) {
        if (!expected[i]) {
            assert_int_equal(values[i].kind, VALUE_NULL);
            continue;
        }
        assert_int_equal(values[i].kind, VALUE_TEXT);
        assert_int_equal(values[i].len, strlen(expected[i]));
        assert_memory_equal(values[i].data, expected[i], values[i].len);
    }
    free(copy);
}

#define ASSERT_COPIED(row, ...)                                                                    \
    assert_copied(row, sizeof(row) - 1,                                                            \
                  sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),                    \
                  (const char *const[]){__VA_ARGS__})

static void a_copied_row_is_split_and_unescaped(void **state) {
    (void)state;
    ASSERT_COPIED("1\tone\t\\N\n", "1", "one", NULL);
    ASSERT_COPIED("\t\n", "", "");
    ASSERT_COPIED("a\\tb\\nc\\\\d\\re\\bf\\fg\\vh\t\\\\N\n", "a\tb\nc\\d\re\bf\fg\vh", "\\N");
    ASSERT_COPIED("\\101\\x42\\x4\\.\\7\n", "AB\4.\7");
    ASSERT_COPIED("\\Nx\n", "Nx");
    ASSERT_COPIED(
        "a long value, longer than what is looked at at a time\\tand\\\\so on, to its end\t\\N\n",
        "a long value, longer than what is looked at at a time\tand\\so on, to its end", NULL);
}

static void copied_rows_are_taken_one_behind_the_other(void **state) {
    (void)state;
    char rows[] = "a\\tb\t\\N\nsecond\t\nthird";
    struct value values[2];
    assert_int_equal(copytext_take(rows, sizeof rows - 1, 2, values), 8);
    assert_int_equal(values[0].len, 3);
    assert_memory_equal(values[0].data, "a\tb", 3);
    assert_int_equal(values[1].kind, VALUE_NULL);
    assert_int_equal(copytext_take(rows + 8, sizeof rows - 9, 2, values), 8);
    assert_memory_equal(values[0].data, "second", 6);
    assert_int_equal(values[1].len, 0);
    assert_int_equal(copytext_take(rows + 16, sizeof rows - 17, 1, values), 0); /* cut short */
}

static void a_copied_row_with_other_columns_is_invalid(void **state) {
    (void)state;
    struct value values[4];
    char two[] = "a\tb\n";
    char cut[] = "a\\";
    char empty[] = "\n";
    assert_int_equal(copytext_take(two, 4, 1, values), 0);
    assert_int_equal(copytext_take(two, 4, 3, values), 0);
    assert_int_equal(copytext_take(cut, 2, 1, values), 0);
    assert_int_equal(copytext_take(empty, 1, 0, values), 1);
    assert_int_equal(copytext_take(two, 4, 0, values), 0);
}

/* ---- delivery ---- */

struct seen {
    unsigned begins, changes, commits, relations;
    unsigned by_operation[CHANGE_READ + 1];
    uint64_t last_xid;
    uint64_t last_end_lsn;
    uint64_t last_row_lsn;
    bool lone_message;
    bool refuse;
};

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct seen *seen = self;
    seen->begins++;
    seen->last_xid = tx->xid;
    return true;
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    struct seen *seen = self;
    seen->changes++;
    seen->by_operation[change->operation]++;
    seen->last_row_lsn = change->row_lsn;
    if (change->operation == CHANGE_MESSAGE && !change->transactional) {
        assert_int_equal(tx->xid, 0);
        assert_true(tx->end_lsn == change->row_lsn);
        seen->lone_message = true;
    }
    return !seen->refuse || error_set(err, ERROR_REFUSED, false, "refused");
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct seen *seen = self;
    seen->commits++;
    seen->last_end_lsn = tx->end_lsn;
    return true;
}

static bool on_relation(void *self, const struct relation *relation, struct error *err) {
    (void)err;
    (void)relation;
    ((struct seen *)self)->relations++;
    return true;
}

static const struct change_sink_ops seeing = {
    .begin = on_begin, .change = on_change, .commit = on_commit, .relation = on_relation};

static bool deliver(struct delivery *delivery, struct slice message, struct error *err) {
    struct frame frame = {.kind = FRAME_DATA, .start_lsn = 77, .payload = message};
    return delivery_frame(delivery, &frame, err);
}

static void deliver_recorded(struct delivery *delivery, const char *name) {
    struct buf file = recorded_load(name);
    struct slice message;
    for (size_t at = 0; at < file.len;) {
        struct error err;
        assert_true(recorded_next(buf_slice(&file), &at, &message));
        assert_true(deliver(delivery, message, &err));
    }
    buf_deinit(&file);
}

static void recorded_rows_reach_the_sink_in_transactions(void **state) {
    (void)state;
    struct seen seen = {0};
    struct delivery delivery;
    delivery_init(&delivery, (struct change_sink){.ops = &seeing, .self = &seen, .name = "seen"});
    delivery_new_session(&delivery, UINT64_C(7) << 32 | 100);
    deliver_recorded(&delivery, "rows");
    assert_int_equal(seen.begins, 5);
    assert_int_equal(seen.commits, 5);
    assert_int_equal(seen.by_operation[CHANGE_INSERT], 3);
    assert_int_equal(seen.by_operation[CHANGE_UPDATE], 2);
    assert_int_equal(seen.by_operation[CHANGE_DELETE], 1);
    assert_int_equal(seen.relations, 2);
    assert_int_equal(seen.last_xid >> 32, 7);
    assert_true(seen.last_end_lsn > 0 && delivery.last_end_lsn == seen.last_end_lsn);
    assert_int_equal(seen.last_row_lsn, 77);
    delivery_deinit(&delivery);
}

static void a_truncate_is_one_change_a_table(void **state) {
    (void)state;
    struct seen seen = {0};
    struct delivery delivery;
    delivery_init(&delivery, (struct change_sink){.ops = &seeing, .self = &seen, .name = "seen"});
    deliver_recorded(&delivery, "truncate");
    assert_int_equal(seen.begins, 2);
    assert_int_equal(seen.by_operation[CHANGE_TRUNCATE], 3);
    delivery_deinit(&delivery);
}

static void a_message_outside_is_a_transaction_of_its_own(void **state) {
    (void)state;
    struct seen seen = {0};
    struct delivery delivery;
    delivery_init(&delivery, (struct change_sink){.ops = &seeing, .self = &seen, .name = "seen"});
    deliver_recorded(&delivery, "messages");
    assert_int_equal(seen.begins, 2);
    assert_int_equal(seen.commits, 2);
    assert_int_equal(seen.by_operation[CHANGE_MESSAGE], 2);
    assert_true(seen.lone_message);
    delivery_deinit(&delivery);
}

static void what_makes_no_sense_is_a_protocol_error(void **state) {
    (void)state;
    static const char insert[] = "I\0\0\0\1N\0\0";
    static const char commit[] = "C\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3";
    static const char begin[] = "B\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\3";
    struct seen seen = {0};
    struct delivery delivery;
    struct error err;
    delivery_init(&delivery, (struct change_sink){.ops = &seeing, .self = &seen, .name = "seen"});
    assert_false(deliver(&delivery, slice_make(insert, 8), &err)); /* no transaction */
    assert_false(deliver(&delivery, slice_make(commit, 26), &err));
    assert_true(deliver(&delivery, slice_make(begin, 21), &err));
    assert_false(deliver(&delivery, slice_make(begin, 21), &err)); /* one is open */
    assert_false(deliver(&delivery, slice_make(insert, 8), &err)); /* unknown relation */
    assert_int_equal(err.code, ERROR_PROTOCOL);
    struct relation_draft draft = draft_of(1, 0, NULL);
    bool announce;
    relations_put(delivery.relations, &draft, &announce);
    assert_true(deliver(&delivery, slice_make(insert, 8), &err));
    struct pgoutput_column column = {true, SLICE("id"), 23, -1};
    draft = draft_of(1, 1, &column);
    relations_put(delivery.relations, &draft, &announce);
    assert_false(deliver(&delivery, slice_make(insert, 8), &err)); /* another number of columns */
    assert_int_equal(delivery.invalid, 5);
    delivery_deinit(&delivery);
}

static void a_sink_that_refuses_ends_the_delivery(void **state) {
    (void)state;
    struct seen seen = {.refuse = true};
    struct delivery delivery;
    delivery_init(&delivery, (struct change_sink){.ops = &seeing, .self = &seen, .name = "seen"});
    struct buf file = recorded_load("rows");
    struct slice message;
    struct error err = {0};
    size_t at = 0;
    while (recorded_next(buf_slice(&file), &at, &message) && deliver(&delivery, message, &err)) {
    }
    assert_int_equal(err.code, ERROR_REFUSED);
    assert_int_equal(seen.changes, 1);
    assert_int_equal(seen.commits, 0);
    /* The next session begins afresh. */
    delivery_new_session(&delivery, 0);
    assert_false(delivery.open);
    buf_deinit(&file);
    delivery_deinit(&delivery);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xids_take_the_epoch_of_the_nearest_reference),
        cmocka_unit_test(a_keepalive_is_read_whole_or_not_at_all),
        cmocka_unit_test(xlogdata_leaves_the_payload_in_place),
        cmocka_unit_test(a_status_says_one_position_three_times),
        cmocka_unit_test(a_relation_changes_its_version_only_when_something_differs),
        cmocka_unit_test(thousands_of_relations_are_found_again),
        cmocka_unit_test(a_copied_row_is_split_and_unescaped),
        cmocka_unit_test(copied_rows_are_taken_one_behind_the_other),
        cmocka_unit_test(a_copied_row_with_other_columns_is_invalid),
        cmocka_unit_test(recorded_rows_reach_the_sink_in_transactions),
        cmocka_unit_test(a_truncate_is_one_change_a_table),
        cmocka_unit_test(a_message_outside_is_a_transaction_of_its_own),
        cmocka_unit_test(what_makes_no_sense_is_a_protocol_error),
        cmocka_unit_test(a_sink_that_refuses_ends_the_delivery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

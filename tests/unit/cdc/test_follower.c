/* A follower of a topic of invalidations: which records make one chain, and what ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "cdc/feed/follower.h"

/* What the sink was told, a letter each: S started, E ended, R relation, B begin, + change, C commit, P progress. */
struct heard {
    struct buf story;
    uint64_t lsn; /* of the last S, C or P */
    uint32_t relation_version;
};

static bool tell(void *self, char letter, uint64_t lsn) {
    struct heard *heard = self;
    buf_append_char(&heard->story, letter);
    if (lsn) heard->lsn = lsn;
    return true;
}

static bool on_started(void *self, const struct feed_identity *identity, struct error *err) {
    (void)err;
    return tell(self, 'S', identity->slot_lsn);
}

static void on_ended(void *self, const struct error *cause) {
    (void)cause;
    tell(self, 'E', 0);
}

static bool on_relation(void *self, const struct relation *relation, struct error *err) {
    (void)err;
    ((struct heard *)self)->relation_version = relation->version;
    return tell(self, 'R', 0);
}

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)tx;
    (void)err;
    return tell(self, 'B', 0);
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    (void)tx;
    (void)err;
    assert_string_equal(change->relation->name, "t");
    return tell(self, '+', 0);
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    return tell(self, 'C', tx->end_lsn);
}

static bool on_progress(void *self, uint64_t end_lsn, struct error *err) {
    (void)err;
    return tell(self, 'P', end_lsn);
}

static const struct change_sink_ops ops = {.started = on_started,
                                           .ended = on_ended,
                                           .relation = on_relation,
                                           .begin = on_begin,
                                           .change = on_change,
                                           .commit = on_commit,
                                           .progress = on_progress};

static struct heard heard;
static struct follower follower;
static struct invalidation_source source;
static uint64_t fingerprint;

static int setup(void **state) {
    (void)state;
    heard = (struct heard){0};
    follower_init(&follower, (struct change_sink){.ops = &ops, .self = &heard, .name = "test"});
    follower.topic = "shop.invalidations";
    follower.database = "shop";
    follower.publication = "freshet";
    source = (struct invalidation_source){.system_identifier = 77,
                                          .timeline = 1,
                                          .server_start_us = 5,
                                          .database = slice_from("shop"),
                                          .publication = slice_from("freshet")};
    fingerprint = 1;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    follower_deinit(&follower);
    buf_deinit(&heard.story);
    return 0;
}

static bool take(const struct invalidation *head, struct error *err) {
    struct buf relations = {0};
    struct buf changes = {0};
    struct buf record = {0};
    struct invalidation_column id = {.name = slice_from("id"), .type_oid = 23, .identity = true};
    struct invalidation_relation relation = {.oid = 9,
                                             .fingerprint = fingerprint,
                                             .schema = slice_from("public"),
                                             .name = slice_from("t"),
                                             .replica_identity = 'd',
                                             .n_columns = 1,
                                             .columns = &id};
    struct value row = {.kind = VALUE_TEXT, .len = 1, .data = "1"};
    struct invalidation_change change = {
        .operation = CHANGE_INSERT, .n_columns = 1, .new_row = &row};
    invalidation_write_relation(&relations, &relation);
    invalidation_write_change(&changes, &change);
    invalidation_write(&record, head, 1, buf_slice(&relations), 1, buf_slice(&changes));
    bool ok = follower_take(&follower, buf_slice(&record), err);
    buf_deinit(&relations);
    buf_deinit(&changes);
    buf_deinit(&record);
    return ok;
}

static void heartbeat(uint64_t since_lsn, uint64_t end_lsn) {
    struct invalidation head = {.kind = INVALIDATION_HEARTBEAT,
                                .source = source,
                                .since_lsn = since_lsn,
                                .end_lsn = end_lsn};
    assert_true(take(&head, NULL));
}

/* A part of a transaction; the last where it has an end. */
static void part(uint64_t xid, uint32_t number, uint64_t since_lsn, uint64_t end_lsn) {
    struct invalidation head = {.kind = INVALIDATION_TRANSACTION,
                                .source = source,
                                .since_lsn = since_lsn,
                                .end_lsn = end_lsn,
                                .xid = xid,
                                .part = number,
                                .last = end_lsn != 0};
    assert_true(take(&head, NULL));
}

#define expect(text)                                                                               \
    do {                                                                                           \
        assert_string_equal(buf_text(&heard.story), text);                                         \
        heard.story.len = 0;                                                                       \
    } while (0)

static void a_session_begins_where_the_first_record_begins(void **state) {
    (void)state;
    heartbeat(100, 120);
    expect("SP");
    assert_int_equal(heard.lsn, 120);
    part(5, 0, 120, 150);
    expect("BR+C");
    assert_int_equal(heard.lsn, 150);
    part(6, 0, 150, 160);
    expect("B+C"); /* known by now */
    heartbeat(160, 170);
    expect("P");
}

static void in_the_middle_of_a_transaction_no_session_begins(void **state) {
    (void)state;
    part(5, 1, 100, 0);
    part(5, 2, 100, 150);
    expect("");
    part(6, 0, 150, 160);
    expect("SBR+C");
    assert_int_equal(follower.identity.slot_lsn, 150);
}

static void parts_are_one_transaction(void **state) {
    (void)state;
    part(5, 0, 100, 0);
    part(5, 1, 100, 0);
    part(5, 2, 100, 150);
    expect("SBR+++C");
}

static void a_repetition_is_taken_again_and_takes_nothing_back(void **state) {
    (void)state;
    heartbeat(100, 200);
    part(5, 0, 200, 250);
    expect("SPBR+C");
    part(5, 0, 200, 250);
    heartbeat(150, 200);
    expect("B+CP");
    assert_int_equal(heard.lsn, 250); /* what progress tells stays where it was */
    part(6, 0, 250, 260);
    expect("B+C");
}

static void a_gap_ends_the_session_and_begins_another(void **state) {
    (void)state;
    heartbeat(100, 200);
    expect("SP");
    part(6, 0, 201, 260);
    expect("ESBR+C");
    assert_int_equal(follower.breaks, 1);
    assert_int_equal(follower.identity.slot_lsn, 201);
    heartbeat(300, 310);
    expect("ESP");
}

static void a_missing_part_is_a_gap(void **state) {
    (void)state;
    heartbeat(100, 200);
    part(5, 0, 200, 0);
    expect("SPBR+");
    part(5, 2, 200, 250);
    expect("E");
    heartbeat(250, 260);
    expect("SP");
}

static void a_transaction_that_never_ends_never_happened(void **state) {
    (void)state;
    heartbeat(100, 200);
    part(5, 0, 200, 0);
    heartbeat(200, 200); /* a publisher that went on from its position */
    part(5, 0, 200, 250);
    expect("SPBR+PB+C");
}

static void another_server_timeline_or_start_ends_the_session(void **state) {
    (void)state;
    heartbeat(100, 200);
    source.server_start_us++;
    heartbeat(200, 210);
    source.timeline++;
    heartbeat(210, 220);
    source.system_identifier++;
    part(5, 0, 220, 230);
    expect("SPESPESPESBR+C");
    assert_int_equal(follower.breaks, 3);
}

static void an_altered_relation_is_told_with_a_new_version(void **state) {
    (void)state;
    part(5, 0, 100, 110);
    assert_int_equal(heard.relation_version, 1);
    fingerprint++;
    part(6, 0, 110, 120);
    expect("SBR+CBR+C");
    assert_int_equal(heard.relation_version, 2);
}

static void records_of_others_are_refused(void **state) {
    (void)state;
    struct error err;
    struct invalidation head = {
        .kind = INVALIDATION_HEARTBEAT, .source = source, .since_lsn = 1, .end_lsn = 2};
    head.source.database = slice_from("other");
    assert_false(take(&head, &err));
    assert_non_null(strstr(err.message, "\"other\""));
    head.source = source;
    head.source.publication = slice_from("another");
    assert_false(take(&head, &err));
    assert_non_null(strstr(err.message, "\"another\""));
    assert_false(follower_take(&follower, slice_from("nonsense"), &err));
    assert_int_equal(err.code, ERROR_PROTOCOL);
    assert_int_equal(follower.invalid, 1);
    expect("");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_session_begins_where_the_first_record_begins),
        TEST(in_the_middle_of_a_transaction_no_session_begins),
        TEST(parts_are_one_transaction),
        TEST(a_repetition_is_taken_again_and_takes_nothing_back),
        TEST(a_gap_ends_the_session_and_begins_another),
        TEST(a_missing_part_is_a_gap),
        TEST(a_transaction_that_never_ends_never_happened),
        TEST(another_server_timeline_or_start_ends_the_session),
        TEST(an_altered_relation_is_told_with_a_new_version),
        TEST(records_of_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

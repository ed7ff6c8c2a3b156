/* Open and prepared transactions, for a sink that takes whole ones: what it is given, when, and what may be confirmed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/cdc/messages.h"

struct told {
    struct buf text; /* what the sink was told */
    char directory[64];
    struct metrics *metrics;
    struct spool *spool;
    struct delivery delivery;
};

static bool on_relation(void *self, const struct relation *relation, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "relation v%u; ", relation->version);
    return true;
}

static bool on_described_again(void *self, const struct relation *relation, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "again v%u; ", relation->version);
    return true;
}

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "begin %llu; ", (unsigned long long)tx->xid);
    return tx->end_lsn == 0;
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    (void)tx;
    (void)err;
    buf_printf(&((struct told *)self)->text, "%llu: row of %u; ", (unsigned long long)change->index,
               change->relation->n_columns);
    return true;
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "commit %llu at %llu; ", (unsigned long long)tx->xid,
               (unsigned long long)tx->end_lsn);
    return true;
}

static const struct change_sink_ops ops = {.relation = on_relation,
                                           .described_again = on_described_again,
                                           .begin = on_begin,
                                           .change = on_change,
                                           .commit = on_commit};

static struct told *setup(void) {
    struct told *told = calloc(1, sizeof *told);
    snprintf(told->directory, sizeof told->directory, "/tmp/freshet-spool-XXXXXX");
    assert_non_null(mkdtemp(told->directory));
    told->metrics = metrics_create();
    struct spool_config config = {
        .directory = told->directory, .name = "slot", .feed = "test", .memory_bytes = 256};
    told->spool = spool_create(&config, told->metrics);
    delivery_init(&told->delivery, (struct change_sink){&ops, told, "test"});
    delivery_use_spool(&told->delivery, told->spool);
    delivery_new_session(&told->delivery, 1000);
    return told;
}

static void teardown(struct told *told) {
    char command[128];
    delivery_deinit(&told->delivery);
    spool_destroy(&told->spool);
    metrics_destroy(&told->metrics);
    snprintf(command, sizeof command, "rm -r %s", told->directory);
    assert_int_equal(system(command), 0);
    buf_deinit(&told->text);
    free(told);
}

static void assert_told(struct told *told, const char *expected) {
    struct error err = {0};
    while (delivery_is_replaying(&told->delivery))
        assert_true(delivery_replay(&told->delivery, &err));
    assert_string_equal(buf_text(&told->text), expected);
    told->text.len = 0;
}

/* A transaction of two rows, described in it. */
static bool stream_two(struct delivery *d, uint32_t xid) {
    return start(d, xid) && describe(d, xid, 2) && insert(d, xid, 2) && insert(d, xid, 2) &&
           stop(d);
}

static void an_open_transaction_is_given_whole_at_its_commit(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(stream_two(d, 1001));
    assert_true(begin(d, 1002) && describe(d, 0, 2) && insert(d, 0, 2) && commit(d));
    assert_told(told, "begin 1002; relation v1; 0: row of 2; commit 1002 at 8; ");
    assert_true(start(d, 1001) && insert(d, 1001, 2) && stop(d));
    assert_told(told, "");
    assert_true(stream_commit(d, 1001, 99));
    assert_true(d->open);
    assert_told(told,
                "begin 1001; again v1; 0: row of 2; 1: row of 2; 2: row of 2; commit 1001 at 99; ");
    assert_false(d->open);
    assert_int_equal(d->last_end_lsn, 99);
    assert_int_equal(d->transactions, 2);
    assert_int_equal(d->changes, 4);
    teardown(told);
}

static void an_aborted_one_never_was(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(stream_two(d, 1001) && stream_abort(d, 1001, 1001));
    assert_false(spool_has(told->spool, 1001));
    assert_true(begin(d, 1002));
    assert_false(insert(d, 0, 2)); /* its description is gone with it */
    assert_told(told, "begin 1002; ");
    teardown(told);
}

static void an_aborted_part_is_left_out(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(start(d, 1001) && describe(d, 1001, 2) && insert(d, 1001, 2));
    assert_true(describe(d, 1003, 3) && insert(d, 1003, 3) && stop(d));
    assert_true(stream_abort(d, 1001, 1003));
    assert_true(start(d, 1001) && describe(d, 1004, 2) && insert(d, 1004, 2) && stop(d));
    assert_true(stream_commit(d, 1001, 99));
    assert_told(told,
                "begin 1001; relation v1; 0: row of 2; again v1; 1: row of 2; commit 1001 at 99; ");
    teardown(told);
}

static void a_relation_altered_in_it_changes_with_its_rows(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(stream_two(d, 1001));
    assert_true(start(d, 1001) && describe(d, 1001, 3) && insert(d, 1001, 3) && stop(d));
    assert_true(stream_commit(d, 1001, 99));
    assert_told(told, "begin 1001; relation v1; 0: row of 2; 1: row of 2; relation v2; "
                      "2: row of 3; commit 1001 at 99; ");
    teardown(told);
}

static void a_prepared_one_is_given_when_it_is_committed(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(begin_prepare(d, 1001, 50) && describe(d, 0, 2) && insert(d, 0, 2));
    assert_true(prepare(d, 'P', 1001, 50));
    assert_told(told, "");
    assert_true(begin(d, 1002) && insert(d, 0, 2) && commit(d)); /* described in the other alone */
    assert_told(told, "begin 1002; relation v1; 0: row of 2; commit 1002 at 8; ");
    assert_true(commit_prepared(d, 1001, 99));
    assert_told(told, "begin 1001; again v1; 0: row of 2; commit 1001 at 99; ");
    teardown(told);
}

static void one_may_be_streamed_and_then_prepared(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(stream_two(d, 1001) && prepare(d, 'p', 1001, 50));
    assert_int_equal(delivery_may_confirm(d, 70), 50);
    assert_true(commit_prepared(d, 1001, 99));
    assert_told(told, "begin 1001; relation v1; 0: row of 2; 1: row of 2; commit 1001 at 99; ");
    teardown(told);
}

static void a_prepared_one_that_is_rolled_back_never_was(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(begin_prepare(d, 1001, 50) && describe(d, 0, 2) && insert(d, 0, 2));
    assert_true(prepare(d, 'P', 1001, 50) && rollback_prepared(d, 1001));
    assert_int_equal(delivery_may_confirm(d, 70), 70);
    assert_true(rollback_prepared(d, 1007)); /* prepared before the stream began */
    assert_told(told, "");
    teardown(told);
}

static void nothing_behind_a_prepared_one_is_confirmed_before_the_sink_has_it(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(begin_prepare(d, 1001, 50) && prepare(d, 'P', 1001, 50));
    assert_true(begin_prepare(d, 1002, 60) && prepare(d, 'P', 1002, 60));
    assert_int_equal(delivery_may_confirm(d, 40), 40);
    assert_int_equal(delivery_may_confirm(d, 70), 50);
    assert_true(commit_prepared(d, 1001, 99));
    assert_told(told, "begin 1001; commit 1001 at 99; ");
    assert_int_equal(delivery_may_confirm(d, 98), 50); /* given, but not yet for good */
    assert_int_equal(delivery_may_confirm(d, 99), 60);
    assert_true(commit_prepared(d, 1002, 120));
    assert_told(told, "begin 1002; commit 1002 at 120; ");
    assert_int_equal(delivery_may_confirm(d, 130), 130);
    teardown(told);
}

static void what_the_sink_has_is_not_given_again(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    delivery_skip(d, 99);
    assert_true(begin(d, 1002) && describe(d, 0, 2) && insert(d, 0, 2) && commit(d));
    assert_told(told, "relation v1; ");
    assert_true(stream_two(d, 1001) && stream_commit(d, 1001, 99));
    assert_told(told, "again v1; ");
    assert_true(commit_prepared(d, 1003, 90)); /* prepared before the stream began */
    assert_told(told, "");
    assert_true(stream_two(d, 1004) && stream_commit(d, 1004, 120));
    assert_told(told, "begin 1004; again v1; 0: row of 2; 1: row of 2; commit 1004 at 120; ");
    assert_int_equal(d->changes, 2);
    teardown(told);
}

static void a_partition_is_no_news(void **state) {
    enum { FIRST = 20001, SECOND = 20002 };
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(begin(d, 1001));
    assert_true(describe(d, 0, 2) && describe_other(d, 0, FIRST, 2) && insert(d, 0, 2));
    assert_told(told, "begin 1001; relation v1; 0: row of 2; ");
    assert_true(describe(d, 0, 2) && describe_other(d, 0, SECOND, 2) && insert(d, 0, 2));
    assert_told(told, "1: row of 2; ");
    /* Both are described once more: something was altered. */
    assert_true(describe(d, 0, 2) && describe_other(d, 0, FIRST, 2) && insert(d, 0, 2));
    assert_told(told, "again v1; 2: row of 2; ");
    assert_true(describe(d, 0, 2) && insert(d, 0, 2));
    assert_told(told, "again v1; 3: row of 2; ");
    assert_true(describe(d, 0, 3) && describe_other(d, 0, FIRST, 3) && insert(d, 0, 3));
    assert_told(told, "relation v2; 4: row of 3; ");
    teardown(told);
}

static void a_table_described_behind_another_is_told_with_its_first_row(void **state) {
    enum { OTHER = 20001 };
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_true(begin(d, 1001) && describe(d, 0, 2) && describe_other(d, 0, OTHER, 2));
    assert_true(insert_other(d, 0, OTHER, 2) && insert(d, 0, 2) && insert_other(d, 0, OTHER, 2));
    assert_told(told, "begin 1001; relation v1; relation v1; 0: row of 2; 1: row of 2; "
                      "2: row of 2; ");
    teardown(told);
}

static void what_makes_no_sense_is_refused(void **state) {
    (void)state;
    struct told *told = setup();
    struct delivery *d = &told->delivery;
    assert_false(commit_prepared(d, 1001, 99)); /* of which nothing is known */
    assert_false(prepare(d, 'P', 1001, 50));
    assert_true(begin_prepare(d, 1001, 50));
    assert_false(begin_prepare(d, 1002, 50));
    assert_false(start(d, 1002));
    assert_false(prepare(d, 'P', 1002, 50));
    assert_false(commit_prepared(d, 1001, 99));
    assert_false(rollback_prepared(d, 1001));
    teardown(told);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_open_transaction_is_given_whole_at_its_commit),
        cmocka_unit_test(an_aborted_one_never_was),
        cmocka_unit_test(an_aborted_part_is_left_out),
        cmocka_unit_test(a_relation_altered_in_it_changes_with_its_rows),
        cmocka_unit_test(a_prepared_one_is_given_when_it_is_committed),
        cmocka_unit_test(one_may_be_streamed_and_then_prepared),
        cmocka_unit_test(a_prepared_one_that_is_rolled_back_never_was),
        cmocka_unit_test(nothing_behind_a_prepared_one_is_confirmed_before_the_sink_has_it),
        cmocka_unit_test(what_the_sink_has_is_not_given_again),
        cmocka_unit_test(a_partition_is_no_news),
        cmocka_unit_test(a_table_described_behind_another_is_told_with_its_first_row),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Pieces of open transactions: to whom they are given, and whose descriptions of relations count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "cdc/feed/delivery.h"
#include "tests/unit/cdc/messages.h"

/* What the sink was told, as text. */
struct told {
    struct buf text;
};

static bool on_relation(void *self, const struct relation *relation, struct error *err) {
    struct told *told = self;
    (void)err;
    buf_printf(&told->text, "relation %u v%u of %u; ", relation->oid, relation->version,
               relation->n_columns);
    return true;
}

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "begin %llu; ", (unsigned long long)tx->xid);
    return true;
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "%llu: row of %u; ", (unsigned long long)tx->xid,
               change->relation->n_columns);
    return true;
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "commit %llu; ", (unsigned long long)tx->xid);
    return true;
}

static bool on_open_change(void *self, uint64_t xid, uint64_t subxid, const struct change *change,
                           struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "open %llu/%llu: row of %u; ", (unsigned long long)xid,
               (unsigned long long)subxid, change->relation->n_columns);
    return true;
}

static bool on_open_abort(void *self, uint64_t xid, uint64_t subxid, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "abort %llu/%llu; ", (unsigned long long)xid,
               (unsigned long long)subxid);
    return true;
}

static bool on_open_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    buf_printf(&((struct told *)self)->text, "open commit %llu at %llu; ",
               (unsigned long long)tx->xid, (unsigned long long)tx->end_lsn);
    return true;
}

static const struct change_sink_ops whole_ops = {
    .relation = on_relation, .begin = on_begin, .change = on_change, .commit = on_commit};
static const struct change_sink_ops open_ops = {.relation = on_relation,
                                                .begin = on_begin,
                                                .change = on_change,
                                                .commit = on_commit,
                                                .open_change = on_open_change,
                                                .open_abort = on_open_abort,
                                                .open_commit = on_open_commit};

static void assert_told(struct told *told, const char *expected) {
    assert_string_equal(buf_text(&told->text), expected);
    told->text.len = 0;
}

static void setup(struct delivery *delivery, struct told *told, const struct change_sink_ops *ops) {
    *told = (struct told){{0}};
    delivery_init(delivery, (struct change_sink){ops, told, "test"});
    delivery_new_session(delivery, 1000);
}

static void teardown(struct delivery *delivery, struct told *told) {
    delivery_deinit(delivery);
    buf_deinit(&told->text);
}

static void pieces_stand_between_other_transactions(void **state) {
    struct delivery delivery;
    struct told told;
    (void)state;
    setup(&delivery, &told, &open_ops);
    assert_true(start(&delivery, 1001) && describe(&delivery, 1001, 2));
    assert_true(insert(&delivery, 1001, 2) && insert(&delivery, 1003, 2) && stop(&delivery));
    assert_told(&told, "open 1001/1001: row of 2; open 1001/1003: row of 2; ");
    assert_true(begin(&delivery, 1002) && describe(&delivery, 0, 2) && insert(&delivery, 0, 2));
    assert_true(commit(&delivery));
    assert_told(&told, "begin 1002; relation 16384 v1 of 2; 1002: row of 2; commit 1002; ");
    assert_true(stream_abort(&delivery, 1001, 1003) && stream_commit(&delivery, 1001, 99));
    assert_told(&told, "abort 1001/1003; open commit 1001 at 99; ");
    assert_int_equal(delivery.last_end_lsn, 99);
    teardown(&delivery, &told);
}

static void a_description_counts_for_all_from_its_commit_on(void **state) {
    struct delivery delivery;
    struct told told;
    (void)state;
    setup(&delivery, &told, &open_ops);
    assert_true(begin(&delivery, 1000) && describe(&delivery, 0, 2) && commit(&delivery));
    assert_true(start(&delivery, 1001) && describe(&delivery, 1001, 3));
    assert_true(insert(&delivery, 1001, 3) && stop(&delivery));
    told.text.len = 0;
    /* Another transaction's rows are as they were. */
    assert_true(begin(&delivery, 1002) && insert(&delivery, 0, 2) && commit(&delivery));
    assert_told(&told, "begin 1002; 1002: row of 2; commit 1002; ");
    assert_true(stream_commit(&delivery, 1001, 99));
    assert_told(&told, "relation 16384 v2 of 3; open commit 1001 at 99; ");
    assert_true(begin(&delivery, 1004) && insert(&delivery, 0, 3) && commit(&delivery));
    assert_told(&told, "begin 1004; 1004: row of 3; commit 1004; ");
    teardown(&delivery, &told);
}

static void each_of_several_descriptions_counts(void **state) {
    enum { OTHER = 20001 };
    struct delivery delivery;
    struct told told;
    (void)state;
    setup(&delivery, &told, &open_ops);
    assert_true(start(&delivery, 1001) && describe(&delivery, 1001, 3));
    assert_true(describe_other(&delivery, 1001, OTHER, 2) && stop(&delivery));
    assert_true(stream_commit(&delivery, 1001, 99));
    assert_told(&told, "relation 16384 v1 of 3; relation 20001 v1 of 2; open commit 1001 at 99; ");
    teardown(&delivery, &told);
}

static void a_description_that_is_rolled_back_never_was(void **state) {
    struct delivery delivery;
    struct told told;
    (void)state;
    setup(&delivery, &told, &open_ops);
    assert_true(begin(&delivery, 1000) && describe(&delivery, 0, 2) && commit(&delivery));
    assert_true(start(&delivery, 1001) && describe(&delivery, 1001, 3) && stop(&delivery));
    assert_true(stream_abort(&delivery, 1001, 1001));
    told.text.len = 0;
    assert_true(begin(&delivery, 1002) && insert(&delivery, 0, 2));
    assert_told(&told, "begin 1002; 1002: row of 2; ");
    assert_false(insert(&delivery, 0, 3));
    teardown(&delivery, &told);
}

static void what_makes_no_sense_is_refused(void **state) {
    struct delivery delivery;
    struct told told;
    (void)state;
    setup(&delivery, &told, &open_ops);
    assert_true(start(&delivery, 1001));
    assert_false(insert(&delivery, 1001, 2)); /* never described */
    assert_false(stream_commit(&delivery, 1001, 99));
    assert_false(start(&delivery, 1002));
    assert_true(stop(&delivery) && begin(&delivery, 1002));
    assert_false(start(&delivery, 1003));
    teardown(&delivery, &told);
    setup(&delivery, &told, &whole_ops);
    assert_false(delivery_wants_open(&delivery));
    assert_false(start(&delivery, 1001));
    teardown(&delivery, &told);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_stand_between_other_transactions),
        cmocka_unit_test(a_description_counts_for_all_from_its_commit_on),
        cmocka_unit_test(each_of_several_descriptions_counts),
        cmocka_unit_test(a_description_that_is_rolled_back_never_was),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

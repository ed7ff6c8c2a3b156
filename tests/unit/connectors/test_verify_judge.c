/* What is a difference, and what only looks like one. */
#include "connectors/verify/verify_judge.h"

#include "rows.h"

enum { T0 = 1000000, ROW = 7, OTHER_ROW = 8 };

/* A row that nobody holds and an entry that differs from it; no transaction is open. */
static struct verify_look look_at(uint64_t xid, int64_t at_us) {
    struct verify_look look = {
        .before = {.lsn = 1000 * xid, .xmin = xid, .xmax = xid},
        .after = {.lsn = 1000 * xid + 500, .xmin = xid, .xmax = xid},
        .row = {.identity = ROW, .xmin = 10},
        .entry = {.found = true, .version = 77, .digest = 1},
        .at_us = at_us,
    };
    return look;
}

static void it_takes_two_looks_that_saw_the_same(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look = look_at(21, T0 + 1);
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_DIFFERS);
}

static void what_is_equal_at_last_is_no_difference(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.entry = (struct sink_entry){.found = true, .equal = true, .version = 78};
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_EQUAL);
}

static void what_changes_between_two_looks_is_looked_at_again(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.row.identity = OTHER_ROW;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.entry.version++;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.entry.digest++;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.entry = (struct sink_entry){0};
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_DIFFERS);
}

static void what_changes_all_the_time_is_given_up(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    for (int i = 0; i < VERIFY_MAX_MOVES; i++) {
        look.entry.version++;
        assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    }
    look.entry.version++;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_MOVED);
}

/* Its commit may be streamed, and not be visible yet: the sink is ahead. */
static void an_open_transaction_that_holds_the_row_is_waited_for(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    look.after.xmax = 25;
    look.row.in_flux = true;
    look.after.waits_for_standbys = look.before.waits_for_standbys = true;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.at_us += 100 * VERIFY_GAP_US;
    look.before.xmin = 24;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.before.xmin = 25;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_DIFFERS);
}

/* It does not show: its row is not visible, and cannot be told from none. */
static void an_open_transaction_may_have_made_an_extra_row(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    look.after.xmax = 25;
    look.row = (struct reader_row){0};
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.at_us += VERIFY_GAP_US - 1;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    look.at_us += 1;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_DIFFERS);
}

static void a_row_that_nobody_holds_is_as_it_is_seen(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    look.after.xmax = 25;
    look.after.waits_for_standbys = true;
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_AGAIN);
    assert_int_equal(verify_judge(&suspect, &look), VERDICT_DIFFERS);
}

static void kinds_are_told_apart(void **state) {
    (void)state;
    struct verify_look look = look_at(20, T0);
    assert_int_equal(verify_kind_of(&look), VERIFY_CHANGED);
    look.before.checkpoint_lsn = 77;
    look.before.checkpoint_xid = 10;
    assert_int_equal(verify_kind_of(&look), VERIFY_OLDER);
    look.before.checkpoint_xid = 11;
    assert_int_equal(verify_kind_of(&look), VERIFY_CHANGED);
    look.before.checkpoint_xid = UINT32_MAX;
    assert_int_equal(verify_kind_of(&look), VERIFY_OLDER);
    look.row = (struct reader_row){0};
    assert_int_equal(verify_kind_of(&look), VERIFY_EXTRA);
    look.row.identity = ROW;
    look.entry = (struct sink_entry){0};
    assert_int_equal(verify_kind_of(&look), VERIFY_MISSING);
}

static void a_row_is_written_again_above_what_is_there_and_below_what_comes(void **state) {
    (void)state;
    struct verify_suspect suspect = {0};
    struct verify_look look = look_at(20, T0);
    (void)verify_judge(&suspect, &look);
    assert_int_equal(verify_repair_version(&suspect, &look), 78);
    look.entry = (struct sink_entry){0};
    assert_int_equal(verify_repair_version(&suspect, &look), 20000);
    suspect.first.after.xmax = 25;
    assert_int_equal(verify_repair_version(&suspect, &look), 20000);
    look.row.in_flux = true;
    assert_int_equal(verify_repair_version(&suspect, &look), 0);
    look.before.xmin = 25;
    assert_int_equal(verify_repair_version(&suspect, &look), 20000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_two_looks_that_saw_the_same),
        cmocka_unit_test(what_is_equal_at_last_is_no_difference),
        cmocka_unit_test(what_changes_between_two_looks_is_looked_at_again),
        cmocka_unit_test(what_changes_all_the_time_is_given_up),
        cmocka_unit_test(an_open_transaction_that_holds_the_row_is_waited_for),
        cmocka_unit_test(an_open_transaction_may_have_made_an_extra_row),
        cmocka_unit_test(a_row_that_nobody_holds_is_as_it_is_seen),
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(a_row_is_written_again_above_what_is_there_and_below_what_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

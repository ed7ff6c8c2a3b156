/* Whether a stream may go on from a position: timelines, promoted servers, slots that do not fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "cdc/feed/lineage.h"

enum { SYSTEM = 7000 };

/* A server on timeline 3: 1 ended at 0x500, 2 at 0x900; its WAL ends at 0xC00. */
static struct lineage third_timeline(void) {
    struct lineage lineage = {.system_identifier = SYSTEM, .timeline = 3, .wal_lsn = 0xC00};
    assert_true(lineage_parse(slice_from("1\t0/500\tno recovery target specified\n\n"
                                         "2\t0/900\tno recovery target specified\n"),
                              &lineage));
    return lineage;
}

/* One that can be resumed. */
static struct slot_info good_slot(void) {
    struct slot_info slot = {.exists = true,
                             .logical = true,
                             .in_this_database = true,
                             .plugin = "pgoutput",
                             .confirmed_lsn = 0x300,
                             .restart_lsn = 0x200};
    return slot;
}

struct judged {
    bool ok;
    struct attach_answer answer;
    struct error err;
};

static struct judged judge_with(struct attach_question question, struct change_position position) {
    struct lineage lineage = third_timeline();
    struct slot_info slot = good_slot();
    struct judged judged = {0};
    question.sink = "cdc";
    question.slot_name = "freshet";
    question.database = "shop";
    question.position = &position;
    if (!question.lineage) question.lineage = &lineage;
    if (!question.slot) question.slot = &slot;
    judged.ok = attach_judge(&question, &judged.answer, &judged.err);
    if (!judged.ok) assert_true(judged.err.code == ERROR_CONFLICT && !judged.err.retriable);
    return judged;
}

static struct judged judge(struct change_position position) {
    position.snapshot_done = true;
    if (!position.system_identifier) position.system_identifier = SYSTEM;
    return judge_with((struct attach_question){0}, position);
}

static void assert_refused(const struct judged *judged, const char *words) {
    assert_false(judged->ok);
    if (!strstr(judged->err.message, words)) fail_msg("%s", judged->err.message);
}

static void assert_resumes(const struct judged *judged, uint64_t lsn) {
    if (!judged->ok) fail_msg("%s", judged->err.message);
    assert_int_equal(judged->answer.action, ATTACH_RESUME);
    assert_int_equal(judged->answer.start_lsn, lsn);
}

/* ---- the history file ---- */

static void a_history_is_read_by_lines(void **state) {
    (void)state;
    struct lineage lineage = third_timeline();
    assert_int_equal(lineage.n_steps, 2);
    assert_int_equal(lineage.steps[0].timeline, 1);
    assert_int_equal(lineage.steps[1].end_lsn, 0x900);
    assert_int_equal(lineage_begin_lsn(&lineage), 0x900);
    lineage.timeline = 1;
    assert_true(lineage_parse(slice_from("# nothing\n"), &lineage));
    assert_int_equal(lineage_begin_lsn(&lineage), 0);
}

static void a_history_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    static const char *const files[] = {
        "x\t0/500\n",
        "1\n",
        "1\t500\n",
        "0\t0/500\n",
        "2\t0/500\n1\t0/600\n",
        "1\t0/600\n2\t0/500\n",
        "3\t0/500\n",
        "99999999999\t0/500\n",
        "1\t0/500000000\n",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct lineage lineage = {.timeline = 3};
        if (lineage_parse(slice_from(files[i]), &lineage)) fail_msg("taken: %s", files[i]);
    }
}

/* ---- positions ---- */

static void a_position_of_the_servers_own_timeline_is_gone_on_from(void **state) {
    (void)state;
    struct judged judged =
        judge((struct change_position){.end_lsn = 0xA00, .timeline = 3, .timeline_lsn = 0x900});
    assert_resumes(&judged, 0xA00);
}

static void a_position_before_a_promotion_means_the_same_after_it(void **state) {
    (void)state;
    struct judged judged = judge((struct change_position){.end_lsn = 0x4F0, .timeline = 1});
    assert_resumes(&judged, 0x4F0);
    judged =
        judge((struct change_position){.end_lsn = 0x900, .timeline = 2, .timeline_lsn = 0x500});
    assert_resumes(&judged, 0x900);
}

static void keepalives_beyond_a_promotion_are_stepped_back_from(void **state) {
    (void)state;
    struct judged judged =
        judge((struct change_position){.end_lsn = 0x580, .timeline = 1, .last_end_lsn = 0x4F0});
    assert_resumes(&judged, 0x500);
}

static void changes_that_a_promoted_server_never_had_are_a_refusal(void **state) {
    (void)state;
    struct judged judged =
        judge((struct change_position){.end_lsn = 0x580, .timeline = 1, .last_end_lsn = 0x501});
    assert_refused(&judged, "was lost with the old primary");
    judged = judge((struct change_position){.end_lsn = 0x580, .timeline = 1});
    assert_refused(&judged, "only up to 0/500");
    /* Half of a transaction is in the sink. */
    judged = judge((struct change_position){
        .end_lsn = 0x4F0, .timeline = 1, .last_end_lsn = 0x4F0, .part = {0x4F8, 10, 1}});
    assert_resumes(&judged, 0x4F0);
    judged = judge((struct change_position){
        .end_lsn = 0x4F0, .timeline = 1, .last_end_lsn = 0x4F0, .part = {0x500, 10, 1}});
    assert_refused(&judged, "was lost with the old primary");
}

static void another_history_is_a_refusal(void **state) {
    (void)state;
    struct judged judged = judge((struct change_position){.end_lsn = 0x400, .timeline = 4});
    assert_refused(&judged, "an old primary");
    /* Two standbys were promoted from timeline 1, each to its own timeline 2. */
    judged =
        judge((struct change_position){.end_lsn = 0x600, .timeline = 2, .timeline_lsn = 0x480});
    assert_refused(&judged, "another server was promoted");
    judged =
        judge((struct change_position){.end_lsn = 0xA00, .timeline = 3, .timeline_lsn = 0x800});
    assert_refused(&judged, "another server was promoted");
    judged = judge((struct change_position){.end_lsn = 0x400, .system_identifier = 1});
    assert_refused(&judged, "another cluster");
    judged = judge((struct change_position){.end_lsn = 0xC01});
    assert_refused(&judged, "beyond the server's WAL");
}

static void a_position_that_tells_no_timeline_is_judged_by_the_rest(void **state) {
    (void)state;
    struct judged judged = judge((struct change_position){.end_lsn = 0xB00});
    assert_resumes(&judged, 0xB00);
}

/* ---- slots ---- */

static void a_slot_ahead_is_a_refusal_also_behind_a_step_back(void **state) {
    (void)state;
    struct judged judged = judge((struct change_position){.end_lsn = 0x2FF, .timeline = 1});
    assert_refused(&judged, "is ahead of cdc's position");
    struct slot_info slot = good_slot();
    slot.confirmed_lsn = 0x510;
    judged = judge_with(
        (struct attach_question){.slot = &slot},
        (struct change_position){
            .end_lsn = 0x580, .timeline = 1, .last_end_lsn = 0x400, .snapshot_done = true});
    assert_refused(&judged, "is ahead of cdc's position");
}

static void a_slot_that_is_gone_or_lost_is_a_refusal_with_the_choices(void **state) {
    (void)state;
    struct slot_info slot = {0};
    struct change_position position = {.end_lsn = 0x400, .snapshot_done = true};
    struct judged judged = judge_with((struct attach_question){.slot = &slot}, position);
    assert_refused(&judged, "is gone");
    assert_refused(&judged, "Choose: remove cdc's stored position");
    slot = good_slot();
    slot.lost = true;
    judged =
        judge_with((struct attach_question){.slot = &slot, .way_on = "left or right"}, position);
    assert_refused(&judged, "is lost");
    assert_refused(&judged, "Choose: left or right");
}

static void whoever_starts_over_needs_no_old_slot(void **state) {
    (void)state;
    struct slot_info slot = good_slot();
    slot.lost = true;
    struct change_position none = {0};
    struct judged judged =
        judge_with((struct attach_question){.slot = &slot, .snapshot = true}, none);
    assert_true(judged.ok && judged.answer.snapshot_due);
    assert_int_equal(judged.answer.action, ATTACH_RECREATE);
    slot.exists = false;
    judged = judge_with((struct attach_question){.slot = &slot}, none);
    assert_true(judged.ok && !judged.answer.snapshot_due);
    assert_int_equal(judged.answer.action, ATTACH_CREATE);
    slot = good_slot();
    slot.lost = true;
    judged = judge_with((struct attach_question){.slot = &slot, .disposable = true}, none);
    assert_int_equal(judged.answer.action, ATTACH_RECREATE);
}

static void a_slot_that_is_not_ours_is_never_touched(void **state) {
    (void)state;
    struct slot_info slot = good_slot();
    strcpy(slot.plugin, "test_decoding");
    struct change_position none = {0};
    struct judged judged =
        judge_with((struct attach_question){.slot = &slot, .snapshot = true}, none);
    assert_refused(&judged, "not ours");
    slot = good_slot();
    slot.in_this_database = false;
    judged = judge_with((struct attach_question){.slot = &slot, .snapshot = true}, none);
    assert_refused(&judged, "belongs to database");
}

static void an_interrupted_snapshot_goes_on_with_its_own_slot_alone(void **state) {
    (void)state;
    struct change_position position = {.end_lsn = 0xA00};
    struct attach_question question = {.snapshot = true, .resumes = true};
    struct judged judged = judge_with(question, position);
    assert_resumes(&judged, 0xA00);
    assert_false(judged.answer.snapshot_due);
    struct slot_info slot = good_slot();
    question.slot = &slot;
    slot.confirmed_lsn = 0xA01; /* made anew */
    judged = judge_with(question, position);
    assert_true(judged.ok && judged.answer.action == ATTACH_RECREATE && judged.answer.snapshot_due);
    slot = good_slot();
    slot.lost = true;
    judged = judge_with(question, position);
    assert_true(judged.ok && judged.answer.action == ATTACH_RECREATE && judged.answer.snapshot_due);
    slot = (struct slot_info){0};
    judged = judge_with(question, position);
    assert_true(judged.ok && judged.answer.action == ATTACH_CREATE && judged.answer.snapshot_due);
}

static void when_needed_starts_over_where_others_are_refused(void **state) {
    (void)state;
    struct change_position position = {
        .end_lsn = 0xA00, .snapshot_done = true, .system_identifier = SYSTEM};
    struct attach_question question = {.snapshot = true, .when_needed = true};
    struct judged judged = judge_with(question, position);
    assert_resumes(&judged, 0xA00);
    struct slot_info slot = {0};
    question.slot = &slot;
    judged = judge_with(question, position);
    assert_true(judged.ok && judged.answer.action == ATTACH_CREATE && judged.answer.snapshot_due);
    slot = good_slot();
    slot.confirmed_lsn = 0xB00;
    judged = judge_with(question, position);
    assert_true(judged.ok && judged.answer.action == ATTACH_RECREATE && judged.answer.snapshot_due);
    /* Never on another cluster, and never with a slot that is somebody else's. */
    position.system_identifier = SYSTEM + 1;
    judged = judge_with(question, position);
    assert_refused(&judged, "another cluster");
    position.system_identifier = SYSTEM;
    slot.in_this_database = false;
    judged = judge_with(question, position);
    assert_refused(&judged, "belongs to database");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_history_is_read_by_lines),
        cmocka_unit_test(a_history_that_makes_no_sense_is_refused),
        cmocka_unit_test(a_position_of_the_servers_own_timeline_is_gone_on_from),
        cmocka_unit_test(a_position_before_a_promotion_means_the_same_after_it),
        cmocka_unit_test(keepalives_beyond_a_promotion_are_stepped_back_from),
        cmocka_unit_test(changes_that_a_promoted_server_never_had_are_a_refusal),
        cmocka_unit_test(another_history_is_a_refusal),
        cmocka_unit_test(a_position_that_tells_no_timeline_is_judged_by_the_rest),
        cmocka_unit_test(a_slot_ahead_is_a_refusal_also_behind_a_step_back),
        cmocka_unit_test(a_slot_that_is_gone_or_lost_is_a_refusal_with_the_choices),
        cmocka_unit_test(whoever_starts_over_needs_no_old_slot),
        cmocka_unit_test(a_slot_that_is_not_ours_is_never_touched),
        cmocka_unit_test(an_interrupted_snapshot_goes_on_with_its_own_slot_alone),
        cmocka_unit_test(when_needed_starts_over_where_others_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The recent set and the fences: what a snapshot that has not seen an applied transaction may not bring back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pgsnapshot.h"
#include "cache/rows/links.h"
#include "cache/rows/recent.h"
#include "cache/rows/tablestate.h"

static struct pgsnapshot snapshot_of(const char *text) {
    struct pgsnapshot snapshot;
    assert_true(pgsnapshot_parse(slice_from(text), &snapshot));
    return snapshot;
}

static void a_snapshot_sees_what_is_over(void **state) {
    (void)state;
    struct pgsnapshot snapshot = snapshot_of("10:20:12,15");
    assert_true(pgsnapshot_sees(&snapshot, 9));
    assert_true(pgsnapshot_sees(&snapshot, 10));
    assert_true(pgsnapshot_sees(&snapshot, 11));
    assert_false(pgsnapshot_sees(&snapshot, 12));
    assert_true(pgsnapshot_sees(&snapshot, 14));
    assert_false(pgsnapshot_sees(&snapshot, 15));
    assert_true(pgsnapshot_sees(&snapshot, 19));
    assert_false(pgsnapshot_sees(&snapshot, 20));
    assert_false(pgsnapshot_sees(&snapshot, UINT64_MAX));
    pgsnapshot_deinit(&snapshot);
    snapshot = snapshot_of("18446744073709551614:18446744073709551615:");
    assert_true(pgsnapshot_sees(&snapshot, 18446744073709551613u));
    pgsnapshot_deinit(&snapshot);
}

static void a_snapshot_is_made_to_see_its_own_transaction(void **state) {
    (void)state;
    struct pgsnapshot snapshot = snapshot_of("10:20:12,15");
    assert_true(pgsnapshot_include(&snapshot, 15));
    assert_true(pgsnapshot_sees(&snapshot, 15));
    assert_false(pgsnapshot_sees(&snapshot, 12));
    assert_true(pgsnapshot_include(&snapshot, 23));
    assert_true(pgsnapshot_sees(&snapshot, 23));
    for (uint64_t xid = 20; xid < 23; xid++)
        assert_false(pgsnapshot_sees(&snapshot, xid));
    assert_true(pgsnapshot_sees(&snapshot, 19));
    assert_false(pgsnapshot_sees(&snapshot, 24));
    assert_false(pgsnapshot_include(&snapshot, UINT64_C(1) << 40));
    pgsnapshot_deinit(&snapshot);
    snapshot = snapshot_of("20:20:");
    assert_true(pgsnapshot_include(&snapshot, 20));
    assert_true(pgsnapshot_sees(&snapshot, 20));
    assert_false(pgsnapshot_sees(&snapshot, 21));
    pgsnapshot_deinit(&snapshot);
}

static void what_is_no_snapshot_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "10",
        "10:20",
        "10:20:x",
        "20:10:",
        "10:20:9",
        "10:20:20",
        "10:20:12,",
        "10:20:,12",
        "10:20:15,12",
        "10:20:12,12",
        ":20:",
        "10::",
        "-1:20:",
        " 10:20:",
        "10:20: ",
        "10:20:12,15,x",
        "1:2:1:1",
        "99999999999999999999:99999999999999999999:",
    };
    struct pgsnapshot snapshot;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_false(pgsnapshot_parse(slice_from(texts[i]), &snapshot));
}

static void a_noted_transaction_blocks_until_it_is_seen(void **state) {
    (void)state;
    struct recent *recent = recent_create(1000);
    struct pgsnapshot before = snapshot_of("10:12:10");
    struct pgsnapshot after = snapshot_of("12:12:");
    uint64_t xid;
    assert_true(recent_note(recent, 77, 10, 0));
    assert_true(recent_note(recent, 77, 11, 0));
    assert_true(recent_blocks(recent, 77, &before, &xid));
    assert_int_equal(xid, 10);
    assert_false(recent_blocks(recent, 78, &before, NULL));
    assert_false(recent_blocks(recent, 77, &after, NULL));
    pgsnapshot_deinit(&before);
    pgsnapshot_deinit(&after);
    recent_destroy(&recent);
}

static void only_what_a_snapshot_sees_is_forgotten(void **state) {
    (void)state;
    struct recent *recent = recent_create(100000);
    for (uint64_t i = 0; i < 10000; i++)
        assert_true(recent_note(recent, i * 0x9E3779B97F4A7C15u, 100 + i % 2, 0));
    assert_int_equal(recent_size(recent), 10000);
    struct pgsnapshot sees_100 = snapshot_of("101:102:101");
    assert_int_equal(recent_forget(recent, &sees_100), 5000);
    for (uint64_t i = 0; i < 10000; i++)
        assert_int_equal(recent_has(recent, i * 0x9E3779B97F4A7C15u, NULL), i % 2);
    struct pgsnapshot sees_all = snapshot_of("102:102:");
    assert_int_equal(recent_forget(recent, &sees_all), 0);
    pgsnapshot_deinit(&sees_100);
    pgsnapshot_deinit(&sees_all);
    recent_destroy(&recent);
}

static void a_full_set_says_so_and_loses_nothing(void **state) {
    (void)state;
    struct recent *recent = recent_create(3);
    for (uint64_t i = 1; i <= 3; i++)
        assert_true(recent_note(recent, i, i, 0));
    assert_false(recent_note(recent, 4, 4, 0));
    for (uint64_t i = 1; i <= 3; i++)
        assert_true(recent_has(recent, i, NULL));
    recent_clear(recent);
    assert_true(recent_note(recent, 4, 4, 0));
    recent_destroy(&recent);
}

static struct pgsnapshot standby_at(uint64_t lsn) {
    return (struct pgsnapshot){.standby = true, .lsn = lsn};
}

static void a_standby_is_blocked_until_it_has_replayed_the_commit(void **state) {
    (void)state;
    struct recent *recent = recent_create(1000);
    struct pgsnapshot behind = standby_at(99);
    struct pgsnapshot caught_up = standby_at(100);
    assert_true(recent_note(recent, 77, 10, 100));
    assert_true(recent_blocks(recent, 77, &behind, NULL));
    assert_false(recent_blocks(recent, 77, &caught_up, NULL));
    assert_false(recent_blocks(recent, 78, &behind, NULL));
    assert_true(recent_note(recent, 79, 11, 0));
    assert_true(recent_blocks(recent, 79, &caught_up, NULL));
    assert_true(recent_note(recent, 79, 11, 100));
    assert_false(recent_blocks(recent, 79, &caught_up, NULL));
    assert_false(recent_is_past(recent, 77, 99));
    assert_true(recent_is_past(recent, 77, 100));
    recent_destroy(&recent);
}

static void what_is_forgotten_blocks_standbys_behind_it(void **state) {
    (void)state;
    struct recent *recent = recent_create(1000);
    struct pgsnapshot sees_all = snapshot_of("20:20:");
    struct pgsnapshot behind = standby_at(99);
    struct pgsnapshot caught_up = standby_at(100);
    sees_all.lsn = 200;
    assert_true(recent_note(recent, 77, 10, 100));
    recent_keep_past(recent, 99); /* a standby is there */
    assert_int_equal(recent_forget(recent, &sees_all), 1);
    assert_false(recent_blocks(recent, 78, &behind, NULL));
    recent_keep_past(recent, 100);
    assert_int_equal(recent_forget(recent, &sees_all), 0);
    assert_true(recent_blocks(recent, 78, &behind, NULL));
    assert_false(recent_blocks(recent, 78, &caught_up, NULL));
    /* Of one whose place is not known, the snapshot that sees it tells. */
    assert_true(recent_note(recent, 77, 11, 0));
    assert_int_equal(recent_forget(recent, &sees_all), 0);
    assert_true(recent_blocks(recent, 78, &caught_up, NULL));
    pgsnapshot_deinit(&sees_all);
    recent_destroy(&recent);
}

static void a_full_set_keeps_nothing_for_standbys(void **state) {
    (void)state;
    struct recent *recent = recent_create(4);
    struct pgsnapshot sees_all = snapshot_of("20:20:");
    for (uint64_t i = 1; i <= 3; i++)
        assert_true(recent_note(recent, i, i, 100 + i));
    recent_keep_past(recent, 0);
    assert_int_equal(recent_forget(recent, &sees_all), 0);
    struct pgsnapshot behind = standby_at(102);
    assert_true(recent_blocks(recent, 9, &behind, NULL));
    pgsnapshot_deinit(&sees_all);
    recent_destroy(&recent);
}

static struct tablestates *make_table(struct tablestate **table) {
    struct tablestates *states = tablestates_create();
    uint32_t number;
    assert_true(tablestates_number(states, "public", "users", &number));
    *table = tablestates_at(states, number);
    return states;
}

static void a_table_keeps_its_number(void **state) {
    (void)state;
    struct tablestates *states = tablestates_create();
    uint32_t one, two, again;
    assert_true(tablestates_number(states, "public", "a", &one));
    assert_true(tablestates_number(states, "publica", "", &two));
    assert_true(tablestates_number(states, "public", "a", &again));
    assert_int_equal(one, again);
    assert_int_not_equal(one, two);
    tablestates_destroy(&states);
}

static void nothing_is_admitted_before_the_table_has_joined(void **state) {
    (void)state;
    struct tablestate *table;
    struct tablestates *states = make_table(&table);
    struct pgsnapshot early = snapshot_of("99:105:99,103");
    struct pgsnapshot late = snapshot_of("100:105:103");
    assert_int_equal(tablestate_admits(table, 0, &late), TABLESTATE_JOINING);
    tablestate_set_horizon(table, 100, 1);
    assert_int_equal(tablestate_admits(table, 0, &early), TABLESTATE_BELOW_HORIZON);
    assert_int_equal(tablestate_admits(table, 0, &late), TABLESTATE_ADMITTED);
    assert_int_equal(tablestate_admits(table, 1, &late), TABLESTATE_OTHER_VERSION);
    pgsnapshot_deinit(&early);
    pgsnapshot_deinit(&late);
    tablestates_destroy(&states);
}

static void a_fence_holds_until_it_is_seen_and_forgotten(void **state) {
    (void)state;
    struct tablestate *table;
    struct tablestates *states = make_table(&table);
    tablestate_set_horizon(table, 1, 1);
    tablestate_fence(table, 50, 0);
    struct pgsnapshot blind = snapshot_of("50:60:50");
    struct pgsnapshot seeing = snapshot_of("51:60:51");
    assert_int_equal(tablestate_admits(table, 0, &blind), TABLESTATE_FENCED);
    assert_int_equal(tablestate_admits(table, 0, &seeing), TABLESTATE_ADMITTED);
    tablestate_forget(table, &blind);
    assert_int_equal(tablestate_admits(table, 0, &blind), TABLESTATE_FENCED);
    tablestate_forget(table, &seeing);
    assert_int_equal(tablestate_admits(table, 0, &blind), TABLESTATE_ADMITTED);
    pgsnapshot_deinit(&blind);
    pgsnapshot_deinit(&seeing);
    tablestates_destroy(&states);
}

static void a_standby_must_have_replayed_horizon_and_fences(void **state) {
    (void)state;
    struct tablestate *table;
    struct tablestates *states = make_table(&table);
    struct pgsnapshot standby = standby_at(100);
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_JOINING);
    tablestate_set_horizon(table, 1, 101);
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_BELOW_HORIZON);
    standby.lsn = 101;
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_ADMITTED);
    tablestate_fence(table, 50, 200);
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_BELOW_HORIZON);
    standby.lsn = 200;
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_ADMITTED);
    tablestate_fence(table, 51, 0);
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_BELOW_HORIZON);
    struct pgsnapshot seeing = snapshot_of("52:60:");
    seeing.lsn = 300;
    tablestate_forget(table, &seeing);
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_BELOW_HORIZON);
    standby.lsn = 300;
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_ADMITTED);
    tablestate_part(table);
    tablestate_set_horizon(table, 1, 7); /* another timeline, whose LSNs begin anew */
    standby.lsn = 7;
    assert_int_equal(tablestate_admits(table, 0, &standby), TABLESTATE_ADMITTED);
    pgsnapshot_deinit(&seeing);
    tablestates_destroy(&states);
}

static void more_fences_than_fit_become_a_horizon(void **state) {
    (void)state;
    struct tablestate *table;
    struct tablestates *states = make_table(&table);
    tablestate_set_horizon(table, 1, 1);
    for (uint64_t xid = 100; xid < 100 + 2 * TABLESTATE_FENCES; xid++)
        tablestate_fence(table, xid, 0);
    struct pgsnapshot blind_to_last = snapshot_of("115:117:115");
    struct pgsnapshot seeing_all = snapshot_of("116:117:116");
    assert_int_not_equal(tablestate_admits(table, 0, &blind_to_last), TABLESTATE_ADMITTED);
    assert_int_equal(tablestate_admits(table, 0, &seeing_all), TABLESTATE_ADMITTED);
    pgsnapshot_deinit(&blind_to_last);
    pgsnapshot_deinit(&seeing_all);
    tablestates_destroy(&states);
}

static void links_lead_to_all_texts_of_a_row_once(void **state) {
    (void)state;
    struct links *links = links_create(3);
    struct buf keys = {0};
    assert_true(links_add(links, 1, SLICE("t:01")));
    assert_true(links_add(links, 1, SLICE("t:01")));
    assert_true(links_add(links, 1, SLICE("t:+1")));
    assert_true(links_add(links, 2, SLICE("t:02")));
    assert_false(links_add(links, 3, SLICE("t:03")));
    assert_int_equal(links_size(links), 3);
    assert_int_equal(links_take(links, 1, &keys), 2);
    struct slice packed = buf_slice(&keys);
    struct slice key;
    assert_true(links_next(&packed, &key));
    assert_true(slice_equal(key, SLICE("t:+1")));
    assert_true(links_next(&packed, &key));
    assert_true(slice_equal(key, SLICE("t:01")));
    assert_false(links_next(&packed, &key));
    assert_int_equal(links_take(links, 1, &keys), 0);
    links_remove(links, 2, SLICE("t:02"));
    assert_int_equal(links_size(links), 0);
    buf_deinit(&keys);
    links_destroy(&links);
}

static void memory_is_told_and_bounded(void **state) {
    (void)state;
    struct recent *recent = recent_create(1000);
    size_t empty = recent_bytes(recent);
    for (uint64_t i = 1; i <= 2000; i++) {
        bool noted = recent_note(recent, i << 32, 10, 1);
        assert_true(noted == (i <= 1000));
    }
    assert_true(recent_bytes(recent) >= empty + 1000 * 24);
    assert_true(recent_bytes(recent) < empty + 2000 * 96);
    recent_clear(recent);
    assert_int_equal(recent_bytes(recent), empty);
    recent_destroy(&recent);
    struct links *links = links_create(1000);
    static char key[100000];
    empty = links_bytes(links);
    uint64_t n = 0;
    while (links_add(links, n << 50, slice_make(key, sizeof key)))
        n++;
    assert_in_range(n, 1, 60); /* long keys take the room of many */
    assert_true(links_bytes(links) > empty + n * sizeof key);
    links_clear(links);
    assert_int_equal(links_bytes(links), empty);
    links_destroy(&links);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_sees_what_is_over),
        cmocka_unit_test(a_snapshot_is_made_to_see_its_own_transaction),
        cmocka_unit_test(what_is_no_snapshot_is_refused),
        cmocka_unit_test(a_noted_transaction_blocks_until_it_is_seen),
        cmocka_unit_test(only_what_a_snapshot_sees_is_forgotten),
        cmocka_unit_test(a_full_set_says_so_and_loses_nothing),
        cmocka_unit_test(a_standby_is_blocked_until_it_has_replayed_the_commit),
        cmocka_unit_test(what_is_forgotten_blocks_standbys_behind_it),
        cmocka_unit_test(a_full_set_keeps_nothing_for_standbys),
        cmocka_unit_test(a_standby_must_have_replayed_horizon_and_fences),
        cmocka_unit_test(a_table_keeps_its_number),
        cmocka_unit_test(nothing_is_admitted_before_the_table_has_joined),
        cmocka_unit_test(a_fence_holds_until_it_is_seen_and_forgotten),
        cmocka_unit_test(more_fences_than_fit_become_a_horizon),
        cmocka_unit_test(links_lead_to_all_texts_of_a_row_once),
        cmocka_unit_test(memory_is_told_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

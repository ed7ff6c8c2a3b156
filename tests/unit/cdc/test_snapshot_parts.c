/* What a snapshot keeps of itself, which rows of a chunk are too old to give, and the SQL that chooses them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include "base/mem.h"
#include "cdc/snapshot/chunk_sql.h"
#include "cdc/snapshot/snapshot_state.h"
#include "cdc/snapshot/window.h"

/* ---- the state ---- */

static void assert_pages(const struct snapshot_task *task, uint32_t n,
                         const struct page_range *pages) {
    assert_int_equal(task->n_pages_done, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(task->pages_done[i].from, pages[i].from);
        assert_int_equal(task->pages_done[i].to, pages[i].to);
    }
}

static void pages_that_meet_become_one_range(void **state_arg) {
    (void)state_arg;
    struct snapshot_state *state = snapshot_state_create();
    struct snapshot_task *task = snapshot_state_add(state, "public", "t", TASK_INITIAL);
    snapshot_task_pages_done(task, 10, 20);
    snapshot_task_pages_done(task, 30, PAGES_TO_END);
    snapshot_task_pages_done(task, 0, 5);
    assert_pages(task, 3, (struct page_range[]){{0, 5}, {10, 20}, {30, PAGES_TO_END}});
    snapshot_task_pages_done(task, 5, 10);
    assert_pages(task, 2, (struct page_range[]){{0, 20}, {30, PAGES_TO_END}});
    snapshot_task_pages_done(task, 20, 30);
    assert_pages(task, 1, (struct page_range[]){{0, PAGES_TO_END}});
    snapshot_state_destroy(&state);
}

static struct snapshot_state *sample_state(void) {
    struct snapshot_state *state = snapshot_state_create();
    state->consistent_lsn = 0x1500000;
    state->exported = mem_strdup("700:705:701,703");
    snapshot_state_know(state, 16500);
    snapshot_state_know(state, 16400);
    snapshot_state_know(state, 16450);
    state->knows_tables = true;
    struct snapshot_task *task = snapshot_state_add(state, "public", "a \"b\"", TASK_INITIAL);
    mem_free(task->filenode);
    task->filenode = mem_strdup("abc");
    snapshot_task_pages_done(task, 0, 7);
    task = snapshot_state_add(state, "s", "t", TASK_REQUESTED);
    task->where = mem_strdup("x > 'y'");
    task->rows = 12;
    snapshot_task_reach(task, 2, (const char *const[]){"1", "\xc3\xbc\n"});
    return state;
}

static void a_note_says_all_that_is_left(void **state_arg) {
    (void)state_arg;
    struct snapshot_state *state = sample_state();
    struct buf note = {0};
    struct error err;
    snapshot_state_compose(state, &note);
    struct snapshot_state *read = snapshot_state_parse(buf_slice(&note), &err);
    assert_non_null(read);
    assert_int_equal(read->consistent_lsn, 0x1500000);
    assert_string_equal(read->exported, "700:705:701,703");
    assert_true(read->knows_tables && snapshot_state_knows(read, 16400) &&
                snapshot_state_knows(read, 16450) && snapshot_state_knows(read, 16500));
    assert_false(snapshot_state_knows(read, 16401));
    assert_int_equal(snapshot_state_count(read), 2);
    assert_string_equal(read->tasks->name, "a \"b\"");
    assert_pages(read->tasks, 1, (struct page_range[]){{0, 7}});
    const struct snapshot_task *asked = snapshot_state_find(read, 2);
    assert_string_equal(asked->where, "x > 'y'");
    assert_int_equal(asked->n_after, 2);
    assert_string_equal(asked->after[1], "\xc3\xbc\n");
    assert_int_equal(asked->rows, 12);
    assert_int_equal(snapshot_state_add(read, "s", "u", TASK_JOINED)->id, 3);
    struct buf again = {0};
    snapshot_state_remove(read, snapshot_state_find(read, 3));
    read->last_id = 2;
    snapshot_state_compose(read, &again);
    assert_true(slice_equal(buf_slice(&note), buf_slice(&again)));
    snapshot_state_complete(read);
    assert_false(snapshot_state_has_initial(read));
    assert_int_equal(snapshot_state_count(read), 1);
    buf_deinit(&note);
    buf_deinit(&again);
    snapshot_state_destroy(&state);
    snapshot_state_destroy(&read);
}

static void a_malformed_note_is_refused(void **state_arg) {
    (void)state_arg;
    static const char *const notes[] = {
        "",
        "[]",
        "{}",
        "{\"last_id\":-1,\"tasks\":[]}",
        "{\"last_id\":1,\"tasks\":[{}]}",
        "{\"last_id\":1,\"known\":[0],\"tasks\":[]}",
        "{\"last_id\":1,\"tasks\":[{\"origin\":\"other\",\"id\":1,\"schema\":\"s\",\"name\":\"t\","
        "\"rows\":0}]}",
        "{\"last_id\":1,\"tasks\":[{\"origin\":\"initial\",\"id\":1,\"schema\":\"s\",\"name\":"
        "\"t\","
        "\"rows\":0,\"pages\":[[3,3]]}]}",
        "{\"last_id\":1,\"tasks\":[{\"origin\":\"initial\",\"id\":1,\"schema\":\"s\",\"name\":"
        "\"t\","
        "\"rows\":0,\"after\":[1]}]}",
    };
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        struct error err;
        assert_null(snapshot_state_parse(slice_from(notes[i]), &err));
        assert_int_equal(err.code, ERROR_CONFLICT);
    }
}

/* ---- the window ---- */

static void a_row_is_dropped_for_what_its_snapshot_does_not_see(void **state_arg) {
    (void)state_arg;
    struct window *window = window_create(1 << 20);
    struct pgsnapshot snapshot;
    bool lacks;
    assert_true(pgsnapshot_parse(SLICE("100:110:105"), &snapshot));
    window_open(window);
    window_touch(window, 99, SLICE("seen"), false);
    window_touch(window, 105, SLICE("running"), false);
    window_touch(window, 111, SLICE("later"), false);
    window_touch(window, 99, SLICE("both"), false);
    window_touch(window, 112, SLICE("both"), false);
    assert_false(window_overtook(window, SLICE("untouched"), &snapshot, &lacks));
    assert_false(window_overtook(window, SLICE("seen"), &snapshot, &lacks));
    assert_true(window_overtook(window, SLICE("running"), &snapshot, &lacks));
    assert_true(window_overtook(window, SLICE("later"), &snapshot, &lacks));
    assert_true(window_overtook(window, SLICE("both"), &snapshot, &lacks));
    window_touch(window, 113, SLICE("toasted"), true);
    assert_true(window_overtook(window, SLICE("toasted"), &snapshot, &lacks) && lacks);
    window_touch(window, 114, SLICE("toasted"), false);
    assert_true(window_overtook(window, SLICE("toasted"), &snapshot, &lacks) && !lacks);
    window_open(window);
    assert_false(window_overtook(window, SLICE("later"), &snapshot, &lacks));
    window_touch_all(window, 120);
    assert_true(window_overtook(window, SLICE("untouched"), &snapshot, &lacks));
    window_close(window);
    pgsnapshot_deinit(&snapshot);
    window_destroy(&window);
}

static void a_transaction_streamed_before_the_order_and_not_visible_is_told(void **state_arg) {
    (void)state_arg;
    struct window *window = window_create(1 << 20);
    struct pgsnapshot snapshot;
    assert_true(pgsnapshot_parse(SLICE("100:110:105"), &snapshot));
    window_passed(window, 101);
    window_open(window);
    window_passed(window, 105); /* its keys are noted */
    window_passed(window, 130);
    assert_false(window_hides(window, &snapshot));
    window_open(window);
    assert_true(window_hides(window, &snapshot)); /* 105 runs, 130 is beyond */
    pgsnapshot_deinit(&snapshot);
    /* The newest of all is in no list of running ones. */
    assert_true(pgsnapshot_parse(SLICE("130:130:"), &snapshot));
    assert_true(window_hides(window, &snapshot));
    pgsnapshot_deinit(&snapshot);
    window_destroy(&window);
}

static void a_window_holds_many_keys_and_says_when_it_is_full(void **state_arg) {
    (void)state_arg;
    struct window *window = window_create(1 << 20);
    struct pgsnapshot snapshot;
    bool lacks;
    assert_true(pgsnapshot_parse(SLICE("5:5:"), &snapshot));
    char key[32];
    window_open(window);
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        window_touch(window, 7, slice_from(key), false);
    }
    assert_false(window_is_full(window));
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "key %d", i);
        assert_true(window_overtook(window, slice_from(key), &snapshot, &lacks));
    }
    assert_false(window_overtook(window, SLICE("key 5000"), &snapshot, &lacks));
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof key, "more %d", i);
        window_touch(window, 7, slice_from(key), false);
    }
    assert_true(window_is_full(window));
    window_open(window);
    assert_false(window_is_full(window));
    window_give_up(window);
    assert_true(window_is_full(window));
    pgsnapshot_deinit(&snapshot);
    window_destroy(&window);
}

/* ---- the SQL ---- */

struct sql_case {
    struct snapshot_table table;
    struct snapshot_task task;
    struct chunk_key key;
    struct chunk_choice choice;
    struct buf sql;
};

static const char *copy_sql(struct sql_case *c) {
    c->sql.len = 0;
    c->choice.table = &c->table;
    c->choice.task = &c->task;
    c->choice.key = &c->key;
    chunk_sql_copy(&c->choice, &c->sql);
    return buf_text(&c->sql);
}

static void a_chunk_is_chosen_by_its_key(void **state_arg) {
    (void)state_arg;
    struct pgoutput_column columns[] = {{.name = SLICE("a")}, {.name = SLICE("b")}};
    char *names[] = {(char[]){"a"}, (char[]){"B"}};
    char *types[] = {(char[]){"integer"}, (char[]){"text"}};
    char *after[] = {(char[]){"1"}, (char[]){"it's"}};
    char *bound[] = {(char[]){"2"}, (char[]){"z"}};
    struct sql_case c = {
        .table = {.schema = "public", .name = "t", .row_filter = "", .filenode = "f"},
        .task = {.filenode = (char[]){"f"}},
        .key = {.n = 2, .names = names, .types = types}};
    c.table.draft.n_columns = 2;
    c.table.draft.columns = columns;
    assert_string_equal(copy_sql(&c), "COPY (SELECT \"a\", \"b\" FROM ONLY \"public\".\"t\""
                                      " ORDER BY \"a\", \"B\") TO STDOUT");
    c.task.n_after = 2;
    c.task.after = after;
    c.choice.bound = bound;
    c.task.where = (char[]){"b > 3 -- x"};
    c.table.row_filter = "a > 0";
    assert_string_equal(copy_sql(&c),
                        "COPY (SELECT \"a\", \"b\" FROM ONLY \"public\".\"t\" WHERE (a > 0) AND"
                        " (\"a\", \"B\") > ('1'::integer, 'it''s'::text) AND"
                        " (\"a\", \"B\") <= ('2'::integer, 'z'::text) AND (b > 3 -- x\n)"
                        " ORDER BY \"a\", \"B\") TO STDOUT");
    c.sql.len = 0;
    chunk_sql_bound(&c.choice, 100, &c.sql);
    assert_string_equal(buf_text(&c.sql),
                        "SELECT \"a\", \"B\" FROM ONLY \"public\".\"t\" WHERE (a > 0) AND"
                        " (\"a\", \"B\") > ('1'::integer, 'it''s'::text) AND (b > 3 -- x\n)"
                        " ORDER BY \"a\", \"B\" OFFSET 99 LIMIT 1");
    buf_deinit(&c.sql);
}

static void the_rest_of_a_snapshot_leaves_out_what_was_given(void **state_arg) {
    (void)state_arg;
    struct pgoutput_column columns[] = {{.name = SLICE("a")}};
    struct page_range pages[] = {{0, 4}, {9, PAGES_TO_END}};
    char *names[] = {(char[]){"a"}};
    char *types[] = {(char[]){"integer"}};
    struct sql_case c = {
        .table = {.schema = "s", .name = "t", .row_filter = "", .filenode = "f"},
        .task = {.filenode = (char[]){"f"}, .n_pages_done = 2, .pages_done = pages},
        .key = {.n = 1, .names = names, .types = types},
        .choice = {.exported = "700:705:701"}};
    c.table.draft.n_columns = 1;
    c.table.draft.columns = columns;
    const char *sql = copy_sql(&c);
    assert_non_null(strstr(sql, "pg_visible_in_snapshot("));
    assert_non_null(strstr(sql, " AND NOT ((ctid >= '(0,0)' AND ctid < '(4,0)') OR"
                                " (ctid >= '(9,0)'))"));
    /* An update may lack values: a newer version is read, too. */
    c.table.toasts = true;
    assert_non_null(strstr(copy_sql(&c), "WHERE NOT (("));
    /* Pages of files that are no more tell nothing. */
    c.table.filenode = "g";
    assert_null(strstr(copy_sql(&c), "ctid"));
    assert_null(strstr(copy_sql(&c), "pg_visible_in_snapshot"));
    buf_deinit(&c.sql);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_that_meet_become_one_range),
        cmocka_unit_test(a_note_says_all_that_is_left),
        cmocka_unit_test(a_malformed_note_is_refused),
        cmocka_unit_test(a_row_is_dropped_for_what_its_snapshot_does_not_see),
        cmocka_unit_test(a_transaction_streamed_before_the_order_and_not_visible_is_told),
        cmocka_unit_test(a_window_holds_many_keys_and_says_when_it_is_full),
        cmocka_unit_test(a_chunk_is_chosen_by_its_key),
        cmocka_unit_test(the_rest_of_a_snapshot_leaves_out_what_was_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "cdc/snapshot/snapshot.h"

#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/decode/copytext.h"
#include "cdc/snapshot/snapshot_readers.h"
#include "cdc/snapshot/snapshot_state.h"
#include "cdc/snapshot/snapshot_tables.h"

enum { PROGRESS_EVERY_US = 10000000, ROWS_PER_CLOCK = 256, NOT_READY_WAIT_MS = 2 };

/* A row as COPY gave it: its values lie in the bytes of a piece. */
struct row {
    bool any;
    const struct relation *relation;
    bool first_in_table;
    bool first_of_all;
    struct value *values;
};

struct snapshot {
    const struct snapshot_plan *plan;
    struct snapshot_counts *counts;
    PGconn *conn; /* keeps the exported snapshot alive, and knows the catalog as of it */
    struct snapshot_tables *tables;
    struct snapshot_readers *readers;
    struct transaction tx;
    uint64_t next_index;

    uint32_t table; /* in hand; n: none yet */
    uint32_t n_announced;
    const struct relation *relation; /* its */
    bool first_row;                  /* none of its rows has come */
    bool any_table;                  /* a row of any table has come */
    struct row held; /* the row of which it is not known yet whether it is a last one */
    struct row read;
    struct snapshot_piece *piece;      /* holds `read` */
    struct snapshot_piece *held_piece; /* holds `held`, where that is another one */

    /* What is noted. A part is done when its last row has been given, which may be held. */
    struct snapshot_state *state;
    struct snapshot_task **tasks; /* of each table */
    bool part_due;                /* this one is done but for the held row */
    uint32_t due_table, due_from, due_to;
    uint32_t n_done; /* the tasks of the tables before are off the list */

    uint64_t all_pages;
    uint64_t pages;
    int64_t began_us;
    int64_t last_turn_us;
    int64_t last_progress_us;
    uint64_t last_progress_rows;
};

/* ---- keeping everybody alive between rows ---- */

static void tell_progress(struct snapshot *s, int64_t now_us) {
    const struct snapshot_counts *counts = s->counts;
    int64_t since_us = now_us - s->last_progress_us;
    double all_us = (double)(now_us - s->began_us);
    double left_s = counts->share > 0 ? all_us * (1 - counts->share) / counts->share / 1e6 : 0;
    log_info(
        s->plan->log, "snapshot_progress",
        "feed=%s table=%s.%s tables=%llu/%llu rows=%llu bytes=%llu percent=%.1f "
        "rows_per_second=%llu seconds_left=%.0f",
        s->plan->sink.name, counts->schema ? counts->schema : "",
        counts->table ? counts->table : "", (unsigned long long)counts->tables,
        (unsigned long long)counts->all_tables, (unsigned long long)counts->rows,
        (unsigned long long)counts->bytes, counts->share * 100,
        (unsigned long long)((counts->rows - s->last_progress_rows) * 1000000 / (uint64_t)since_us),
        left_s);
    s->last_progress_us = now_us;
    s->last_progress_rows = counts->rows;
}

static bool take_turn(struct snapshot *s, int64_t now_us, struct error *err) {
    s->last_turn_us = now_us;
    const struct pgwait *wait = s->plan->wait;
    if (!pgwait_poll(wait, -1, 0, 0, err)) return false;
    if (wait->turn && !wait->turn(wait->arg, now_us - s->began_us, err)) return false;
    if (now_us - s->last_progress_us >= PROGRESS_EVERY_US) tell_progress(s, now_us);
    return true;
}

static bool turn_when_due(struct snapshot *s, struct error *err) {
    int64_t now_us = clock_mono_us();
    return now_us - s->last_turn_us <= 5000 || take_turn(s, now_us, err);
}

/* Until the sink has room. The readers wait with us once they are as far ahead as they may. */
static bool wait_for_sink(struct snapshot *s, struct error *err) {
    const struct change_sink *sink = &s->plan->sink;
    while (sink->ops->ready && !sink->ops->ready(sink->self)) {
        if (!pgwait_poll(s->plan->wait, -1, 0, NOT_READY_WAIT_MS, err) ||
            !take_turn(s, clock_mono_us(), err))
            return false;
    }
    return true;
}

/* ---- markers ---- */

enum next_row { NEXT_SAME_TABLE, NEXT_OTHER_TABLE, NEXT_NONE };

/* Last of all beats last of its table beats first of all beats first of its table. */
static enum snapshot_marker marker_of(const struct row *row, enum next_row next) {
    if (next == NEXT_NONE) return SNAPSHOT_LAST;
    if (next == NEXT_OTHER_TABLE) return SNAPSHOT_LAST_IN_TABLE;
    if (row->first_of_all) return SNAPSHOT_FIRST;
    return row->first_in_table ? SNAPSHOT_FIRST_IN_TABLE : SNAPSHOT_TRUE;
}

static bool give_held(struct snapshot *s, enum next_row next, struct error *err) {
    if (!s->held.any) return true;
    struct change change = {.operation = CHANGE_READ,
                            .relation = s->held.relation,
                            .row_lsn = s->plan->consistent_lsn,
                            .index = s->next_index++,
                            .new_row = s->held.values,
                            .marker = marker_of(&s->held, next)};
    bool ok = s->plan->sink.ops->change(s->plan->sink.self, &s->tx, &change, err);
    s->held.any = false;
    snapshot_piece_destroy(&s->held_piece);
    return ok;
}

/* ---- transactions and notes ---- */

static bool begin(struct snapshot *s, struct error *err) {
    s->next_index = 0;
    return s->plan->sink.ops->begin(s->plan->sink.self, &s->tx, err);
}

static bool note(struct snapshot *s, struct error *err) {
    struct buf text = {0};
    snapshot_state_compose(s->state, &text);
    bool ok = s->plan->sink.ops->note(s->plan->sink.self, buf_slice(&text), err);
    buf_deinit(&text);
    return ok;
}

/* A table that was rewritten before a reader came to it looks empty to an older snapshot. */
static bool was_rewritten(struct snapshot *s, const struct snapshot_table *table, bool *rewritten,
                          struct error *err) {
    *rewritten = false;
    if (!table->n_pages) return true; /* nothing of it was to be read */
    struct snapshot_choice choice = {
        .publication = s->plan->publication, .schema = table->schema, .name = table->name};
    struct snapshot_tables *now = snapshot_tables_load(s->plan->wait, s->conn, &choice, err);
    if (!now) return false;
    *rewritten = now->n != 1 || strcmp(now->tables[0].filenode, table->filenode) != 0;
    snapshot_tables_destroy(&now);
    return true;
}

/* Tables before the one in hand are done, since nothing of them is held any more; a rewritten one is left to be read beside the
 * stream, whole. */
static bool strike_done(struct snapshot *s, uint32_t end, struct error *err) {
    for (; s->n_done < end; s->n_done++) {
        const struct snapshot_table *table = &s->tables->tables[s->n_done];
        bool rewritten;
        if (!was_rewritten(s, table, &rewritten, err)) return false;
        if (rewritten && !s->plan->state)
            return error_set(err, ERROR_CONFLICT, true,
                             "table %s.%s was rewritten before it was read", table->schema,
                             table->name);
        if (rewritten) {
            log_warn(s->plan->log, "snapshot_rewritten",
                     "feed=%s table=%s.%s cause=\"it was rewritten before it was read: it is read "
                     "again, beside the stream\"",
                     s->plan->sink.name, table->schema, table->name);
            snapshot_task_begin_anew(s->tasks[s->n_done]);
        } else {
            snapshot_state_remove(s->state, s->tasks[s->n_done]);
        }
    }
    return true;
}

/* The held row has been given: the part that it ended is whole, and so is its transaction. */
static bool close_part(struct snapshot *s, struct error *err) {
    if (!s->part_due) return true;
    s->part_due = false;
    if (!s->plan->state) return true;
    snapshot_task_pages_done(s->tasks[s->due_table], s->due_from, s->due_to);
    return strike_done(s, s->table, err) && note(s, err) &&
           s->plan->sink.ops->commit(s->plan->sink.self, &s->tx, err) && begin(s, err);
}

/* ---- rows ---- */

/* Takes one row of the bytes; 0: an error. */
static size_t accept_row(struct snapshot *s, char *bytes, size_t len, struct error *err) {
    struct row *row = &s->read;
    *row = (struct row){.any = true,
                        .relation = s->relation,
                        .first_in_table = s->first_row,
                        .first_of_all = s->first_row && s->table == 0,
                        .values = row->values};
    enum next_row next = s->first_row ? NEXT_OTHER_TABLE : NEXT_SAME_TABLE;
    s->first_row = false;
    size_t taken = copytext_take(bytes, len, row->relation->n_columns, row->values);
    s->counts->rows++;
    s->counts->bytes += taken;
    if (!taken)
        return error_set(err, ERROR_PROTOCOL, true, "snapshot of %s.%s: malformed COPY row",
                         row->relation->schema, row->relation->name);
    if (!give_held(s, next, err) || !close_part(s, err)) return 0;
    struct row given = s->held;
    s->held = s->read;
    s->read = (struct row){.values = given.values};
    return taken;
}

static bool give_rows(struct snapshot *s, struct error *err) {
    struct buf *rows = &s->piece->rows;
    for (size_t at = 0; at < rows->len;) {
        if (!wait_for_sink(s, err)) return false;
        size_t taken = accept_row(s, rows->data + at, rows->len - at, err);
        if (!taken) return false;
        at += taken;
        if (s->counts->rows % ROWS_PER_CLOCK == 0 && !turn_when_due(s, err)) return false;
    }
    return true;
}

static void count_pages(struct snapshot *s, const struct snapshot_piece *part) {
    uint32_t n = s->tables->tables[part->table].n_pages;
    uint32_t to = part->to < n ? part->to : n;
    if (to > part->from) s->pages += to - part->from;
    s->counts->share = s->all_pages ? (double)s->pages / (double)s->all_pages : 1;
}

/* A part without rows is done as soon as it has been seen; one whose last row is held, later. */
static bool end_part(struct snapshot *s, const struct snapshot_piece *part, struct error *err) {
    count_pages(s, part);
    if (!s->held.any || s->part_due) {
        if (s->plan->state) snapshot_task_pages_done(s->tasks[part->table], part->from, part->to);
        return true;
    }
    s->part_due = true;
    s->due_table = part->table;
    s->due_from = part->from;
    s->due_to = part->to;
    (void)err;
    return true;
}

/* ---- tables ---- */

static void warn_of_row_security(struct snapshot *s, const struct snapshot_table *table) {
    log_warn(s->plan->log, "snapshot_row_security",
             "feed=%s table=%s.%s cause=\"row-level security is in force: only the rows that "
             "Freshet's role may see are in the snapshot, while the stream has all\"",
             s->plan->sink.name, table->schema, table->name);
}

static bool announce(struct snapshot *s, const struct snapshot_table *table, struct error *err) {
    const struct change_sink *sink = &s->plan->sink;
    bool due;
    if (table->row_security) warn_of_row_security(s, table);
    s->relation = relations_put(s->plan->relations, &table->draft, &due);
    bool ok = !due || !sink->ops->relation || sink->ops->relation(sink->self, s->relation, err);
    /* A row that is held points to another table's relation, which is not replaced by this one. */
    relations_sweep(s->plan->relations);
    return ok;
}

/* Up to the table; the empty ones before it are told of, too. */
static bool enter_table(struct snapshot *s, uint32_t table, struct error *err) {
    for (; s->n_announced <= table && s->n_announced < s->tables->n; s->n_announced++) {
        const struct snapshot_table *entered = &s->tables->tables[s->n_announced];
        if (!announce(s, entered, err)) return false;
        s->counts->schema = entered->schema;
        s->counts->table = entered->name;
        s->counts->tables = s->n_announced;
        s->table = s->n_announced;
        s->first_row = true;
    }
    return true;
}

static bool give_piece(struct snapshot *s, struct error *err) {
    if (!enter_table(s, s->piece->table, err) || !give_rows(s, err)) return false;
    if (s->piece->ends_part && !end_part(s, s->piece, err)) return false;
    /* The last row that was parsed lies in this piece; what was held before it has been given. */
    if (s->held.any && s->piece->rows.len) {
        snapshot_piece_destroy(&s->held_piece);
        s->held_piece = s->piece;
        s->piece = NULL;
    }
    snapshot_piece_destroy(&s->piece);
    return true;
}

static bool give_all(struct snapshot *s, struct error *err) {
    while (true) {
        switch (snapshot_readers_next(s->readers, &s->piece, err)) {
        case GOT_PIECE:
            if (!give_piece(s, err)) return false;
            break;
        case GOT_NOTHING_YET:
            if (!pgwait_poll(s->plan->wait, snapshot_readers_fd(s->readers), POLLIN, PGWAIT_TURN_MS,
                             err))
                return false;
            break;
        case GOT_ALL: return enter_table(s, s->tables->n, err);
        case GOT_ERROR: return false;
        }
        if (!turn_when_due(s, err)) return false;
    }
}

/* ---- all of it ---- */

static bool run_sql(const struct snapshot *s, const char *sql, struct error *err) {
    PGresult *result = pgwait_query(s->plan->wait, s->conn, sql, err);
    PQclear(result);
    return result != NULL;
}

static bool adopt_snapshot(struct snapshot *s, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SET TRANSACTION SNAPSHOT ");
    pg_quote_literal(&sql, s->plan->exported);
    bool ok = run_sql(s, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) &&
              run_sql(s, buf_text(&sql), err);
    buf_deinit(&sql);
    return ok;
}

/* Which transactions the exported snapshot saw, and which tables the publication lists by name. */
static bool read_facts(struct snapshot *s, struct error *err) {
    PGresult *rows = pgwait_query(s->plan->wait, s->conn, "SELECT pg_current_snapshot()", err);
    if (!rows) return false;
    s->state->exported = mem_strdup(PQgetvalue(rows, 0, 0));
    s->state->consistent_lsn = s->plan->consistent_lsn;
    PQclear(rows);
    struct snapshot_members *members =
        snapshot_members_load(s->plan->wait, s->conn, s->plan->publication, err);
    if (!members) return false;
    for (uint32_t i = 0; i < members->n; i++)
        snapshot_state_know(s->state, members->members[i].oid);
    s->state->knows_tables = true;
    snapshot_members_destroy(&members);
    return true;
}

static bool plan_tables(struct snapshot *s, struct error *err) {
    struct snapshot_choice choice = {.publication = s->plan->publication,
                                     .n_patterns = s->plan->n_patterns,
                                     .patterns = s->plan->patterns,
                                     .sink = &s->plan->sink};
    s->tables = snapshot_tables_load(s->plan->wait, s->conn, &choice, err);
    if (!s->tables || !read_facts(s, err)) return false;
    s->tasks = mem_calloc(s->tables->n + 1, sizeof(struct snapshot_task *));
    for (uint32_t i = 0; i < s->tables->n; i++) {
        const struct snapshot_table *table = &s->tables->tables[i];
        s->tasks[i] = snapshot_state_add(s->state, table->schema, table->name, TASK_INITIAL);
        mem_free(s->tasks[i]->filenode);
        s->tasks[i]->filenode = mem_strdup(table->filenode);
        s->all_pages += table->n_pages;
    }
    s->counts->all_tables = s->tables->n;
    return true;
}

static bool start_readers(struct snapshot *s, struct error *err) {
    struct readers_plan plan = {.database_url = s->plan->database_url,
                                .options = &s->plan->options,
                                .exported = s->plan->exported,
                                .tables = s->tables,
                                .n_readers = s->plan->n_readers,
                                .part_bytes = s->plan->part_bytes,
                                .by_pages = PQserverVersion(s->conn) >= 140000};
    s->readers = snapshot_readers_start(&plan, err);
    return s->readers != NULL;
}

static bool finish(struct snapshot *s, struct error *err) {
    const struct change_sink *sink = &s->plan->sink;
    if (!give_held(s, NEXT_NONE, err)) return false;
    s->part_due = false;
    s->counts->tables = s->tables->n;
    s->counts->share = 1;
    if (!strike_done(s, s->tables->n, err)) return false;
    if (s->plan->state && !note(s, err)) return false;
    if (!sink->ops->commit(sink->self, &s->tx, err)) return false;
    if (snapshot_state_has_initial(s->state)) return true;
    if (sink->ops->snapshot_done &&
        !sink->ops->snapshot_done(sink->self, s->plan->consistent_lsn, err))
        return false;
    snapshot_state_complete(s->state);
    return true;
}

/* Before any row, by a sink whose rows may be there before its notes are (at least once): cut short, the stream begins here all
 * the same, and nothing is left out between two snapshots. */
static bool note_plan(struct snapshot *s, struct error *err) {
    if (!s->plan->state) return true;
    return note(s, err) && s->plan->sink.ops->commit(s->plan->sink.self, &s->tx, err) &&
           begin(s, err);
}

static bool read_all(struct snapshot *s, struct error *err) {
    s->tx = (struct transaction){.commit_lsn = s->plan->consistent_lsn,
                                 .end_lsn = s->plan->consistent_lsn,
                                 .commit_time_us = clock_wall_us(),
                                 .snapshot = true};
    s->conn = pgwait_connect(s->plan->wait, s->plan->database_url, &s->plan->options, err);
    return s->conn && adopt_snapshot(s, err) && plan_tables(s, err) && start_readers(s, err) &&
           begin(s, err) && note_plan(s, err) && give_all(s, err) && finish(s, err);
}

bool snapshot_run(const struct snapshot_plan *plan, struct snapshot_counts *counts,
                  struct error *err) {
    int64_t now_us = clock_mono_us();
    struct snapshot s = {.plan = plan,
                         .counts = counts,
                         .began_us = now_us,
                         .last_turn_us = now_us,
                         .last_progress_us = now_us};
    *counts = (struct snapshot_counts){0};
    struct snapshot_state *own = plan->state ? NULL : snapshot_state_create();
    s.state = plan->state ? plan->state : own;
    s.held.values = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof(struct value));
    s.read.values = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof(struct value));
    bool ok = read_all(&s, err);
    snapshot_readers_stop(&s.readers);
    counts->schema = counts->table = NULL;
    snapshot_tables_destroy(&s.tables);
    snapshot_state_destroy(&own);
    snapshot_piece_destroy(&s.piece);
    snapshot_piece_destroy(&s.held_piece);
    mem_free(s.tasks);
    mem_free(s.held.values);
    mem_free(s.read.values);
    if (s.conn) PQfinish(s.conn);
    return ok || error_prefix(err, "snapshot");
}

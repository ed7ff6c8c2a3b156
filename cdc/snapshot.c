#include "cdc/snapshot.h"

#include <poll.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/copytext.h"
#include "cdc/snapshot_tables.h"

enum { PROGRESS_EVERY_US = 10000000, ROWS_PER_CLOCK = 256, NOT_READY_WAIT_MS = 2 };

/* A row as COPY gave it, and where its values lie. */
struct row {
    char *bytes; /* NULL: none */
    const struct relation *relation;
    bool first_in_table;
    bool first_of_all;
    struct value *values;
};

struct snapshot {
    const struct snapshot_plan *plan;
    struct snapshot_counts *counts;
    PGconn *conn;
    struct transaction tx;
    uint64_t next_index;
    struct row held; /* the row of which it is not known yet whether it is a last one */
    struct row read;
    int64_t began_us;
    int64_t last_turn_us;
    int64_t last_progress_us;
    uint64_t last_progress_rows;
};

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
    if (!s->held.bytes) return true;
    struct change change = {.operation = CHANGE_READ,
                            .relation = s->held.relation,
                            .row_lsn = s->plan->consistent_lsn,
                            .index = s->next_index++,
                            .new_row = s->held.values,
                            .marker = marker_of(&s->held, next)};
    bool ok = s->plan->sink.ops->change(s->plan->sink.self, &s->tx, &change, err);
    PQfreemem(s->held.bytes);
    s->held.bytes = NULL;
    return ok;
}

/* ---- keeping everybody alive between rows ---- */

static bool take_turn(struct snapshot *s, int64_t now_us, struct error *err) {
    s->last_turn_us = now_us;
    const struct pgwait *wait = s->plan->wait;
    if (!pgwait_poll(wait, -1, 0, 0, err)) return false;
    if (wait->turn && !wait->turn(wait->arg, now_us - s->began_us, err)) return false;
    int64_t since_us = now_us - s->last_progress_us;
    if (since_us < PROGRESS_EVERY_US) return true;
    log_info(s->plan->log, "snapshot_progress",
             "feed=%s table=%s.%s rows=%llu bytes=%llu rows_per_second=%llu", s->plan->sink.name,
             s->read.relation->schema, s->read.relation->name, (unsigned long long)s->counts->rows,
             (unsigned long long)s->counts->bytes,
             (unsigned long long)((s->counts->rows - s->last_progress_rows) * 1000000 /
                                  (uint64_t)since_us));
    s->last_progress_us = now_us;
    s->last_progress_rows = s->counts->rows;
    return true;
}

/* Until the sink has room. The server waits with us: nothing is read meanwhile. */
static bool wait_for_sink(struct snapshot *s, struct error *err) {
    const struct change_sink *sink = &s->plan->sink;
    while (sink->ops->ready && !sink->ops->ready(sink->self)) {
        if (!pgwait_poll(s->plan->wait, -1, 0, NOT_READY_WAIT_MS, err) ||
            !take_turn(s, clock_mono_us(), err))
            return false;
    }
    return true;
}

/* ---- one table ---- */

static bool accept_row(struct snapshot *s, char *bytes, int len, bool *first_row, bool first_table,
                       struct error *err) {
    struct row *row = &s->read;
    row->bytes = bytes;
    row->first_in_table = *first_row;
    row->first_of_all = *first_row && first_table;
    *first_row = false;
    s->counts->rows++;
    s->counts->bytes += (uint64_t)len;
    if (!copytext_parse(bytes, (size_t)len, row->relation->n_columns, row->values)) {
        PQfreemem(bytes);
        row->bytes = NULL;
        return error_set(err, ERROR_PROTOCOL, true, "snapshot of %s.%s: malformed COPY row",
                         row->relation->schema, row->relation->name);
    }
    enum next_row next = row->first_in_table ? NEXT_OTHER_TABLE : NEXT_SAME_TABLE;
    bool ok = give_held(s, next, err);
    struct row given = s->held;
    s->held = s->read;
    s->read.values = given.values;
    s->read.bytes = NULL;
    return ok;
}

/* The COPY's end: an error, or done. */
static bool finish_copy(struct snapshot *s, struct error *err) {
    bool ok = true;
    PGresult *result;
    while ((result = PQgetResult(s->conn)) != NULL) {
        if (ok && PQresultStatus(result) != PGRES_COMMAND_OK)
            ok = pg_error(err, s->conn, result, "snapshot");
        PQclear(result);
    }
    return ok;
}

static bool read_rows(struct snapshot *s, bool first_table, struct error *err) {
    bool first_row = true;
    while (true) {
        if (!wait_for_sink(s, err)) return false;
        char *bytes;
        int len = PQgetCopyData(s->conn, &bytes, 1);
        if (len > 0) {
            if (!accept_row(s, bytes, len, &first_row, first_table, err)) return false;
            if (s->counts->rows % ROWS_PER_CLOCK) continue;
        } else if (len == 0) {
            if (!pgwait_poll(s->plan->wait, PQsocket(s->conn), POLLIN, PGWAIT_TURN_MS, err))
                return false;
            if (!PQconsumeInput(s->conn)) return pg_error(err, s->conn, NULL, "snapshot");
        } else {
            return finish_copy(s, err);
        }
        int64_t now_us = clock_mono_us();
        if (now_us - s->last_turn_us > 5000 && !take_turn(s, now_us, err)) return false;
    }
}

static void warn_of_row_security(struct snapshot *s, const struct snapshot_table *table) {
    log_warn(s->plan->log, "snapshot_row_security",
             "feed=%s table=%s.%s cause=\"row-level security is in force: only the rows that "
             "Freshet's role may see are in the snapshot, while the stream has all\"",
             s->plan->sink.name, table->schema, table->name);
}

static bool read_table(struct snapshot *s, const struct snapshot_table *table, bool first_table,
                       struct error *err) {
    if (table->row_security) warn_of_row_security(s, table);
    struct buf sql = {0};
    snapshot_tables_copy_sql(table, &sql);
    PGresult *result = pgwait_query(s->plan->wait, s->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    bool ok = result && read_rows(s, first_table, err);
    PQclear(result);
    if (!ok) return error_prefix(err, "table %s.%s", table->schema, table->name);
    s->counts->tables++;
    return true;
}

/* ---- all of them ---- */

static const struct relation *announce(struct snapshot *s, const struct snapshot_table *table,
                                       struct error *err) {
    const struct change_sink *sink = &s->plan->sink;
    bool due;
    const struct relation *relation = relations_put(s->plan->relations, &table->draft, &due);
    bool ok = !due || !sink->ops->relation || sink->ops->relation(sink->self, relation, err);
    relations_sweep(s->plan->relations);
    return ok ? relation : NULL;
}

static bool read_tables(struct snapshot *s, const struct snapshot_tables *tables,
                        struct error *err) {
    const struct change_sink *sink = &s->plan->sink;
    s->tx = (struct transaction){.commit_lsn = s->plan->consistent_lsn,
                                 .end_lsn = s->plan->consistent_lsn,
                                 .commit_time_us = clock_wall_us(),
                                 .snapshot = true};
    if (!sink->ops->begin(sink->self, &s->tx, err)) return false;
    for (uint32_t i = 0; i < tables->n; i++) {
        s->read.relation = announce(s, &tables->tables[i], err);
        if (!s->read.relation || !read_table(s, &tables->tables[i], i == 0, err)) return false;
    }
    if (!give_held(s, NEXT_NONE, err) || !sink->ops->commit(sink->self, &s->tx, err)) return false;
    return !sink->ops->snapshot_done ||
           sink->ops->snapshot_done(sink->self, s->plan->consistent_lsn, err);
}

static bool run(const struct pgwait *wait, PGconn *conn, const char *sql, struct error *err) {
    PGresult *result = pgwait_query(wait, conn, sql, err);
    PQclear(result);
    return result != NULL;
}

static bool adopt_snapshot(struct snapshot *s, struct error *err) {
    const struct pgwait *wait = s->plan->wait;
    struct buf sql = {0};
    buf_append_text(&sql, "SET TRANSACTION SNAPSHOT ");
    pg_quote_literal(&sql, s->plan->exported);
    bool ok = run(wait, s->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) &&
              run(wait, s->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    return ok;
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
    s.conn = pgwait_connect(plan->wait, plan->database_url, &plan->options, err);
    if (!s.conn) return error_prefix(err, "snapshot");
    s.held.values = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof(struct value));
    s.read.values = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof(struct value));
    struct snapshot_tables *tables = NULL;
    bool ok = adopt_snapshot(&s, err);
    if (ok) {
        tables = snapshot_tables_load(plan->wait, s.conn, plan->publication, plan->n_patterns,
                                      plan->patterns, err);
        ok = tables && read_tables(&s, tables, err);
    }
    snapshot_tables_destroy(&tables);
    PQfreemem(s.held.bytes);
    mem_free(s.held.values);
    mem_free(s.read.values);
    PQfinish(s.conn);
    return ok || error_prefix(err, "snapshot");
}

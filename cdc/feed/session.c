#include "cdc/feed/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/feed/slot.h"
#include "cdc/snapshot/increment.h"

enum {
    DEFAULT_STATUS_INTERVAL_MS = 1000,
    DEFAULT_PART_BYTES = 2 * 1024 * 1024,
    BLOCKER_EVERY_US = 5000000,
    DEFAULT_SILENCE_MS = 60000,
    STANDIN_AFTER_US = 300000, /* so long a slot may take to make */
    STANDIN_AGAIN_US = 3000000,
};

/* The text of values is what these settings make it, whatever the role's or the database's defaults are; and no
 * timeout of theirs may end a session that waits by design. */
static const char session_settings[] =
    "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c timezone=UTC"
    " -c bytea_output=hex -c statement_timeout=0 -c lock_timeout=0"
    " -c idle_in_transaction_session_timeout=0 -c client_min_messages=warning";

/* ---- while libpq waits ---- */

void session_publish(struct session *s) {
    struct board_figures figures = {
        .received_lsn = s->received_lsn,
        .confirmed_lsn = s->confirmed_lsn,
        .last_end_lsn = s->delivery->last_end_lsn,
        .last_commit_time_us = s->delivery->last_commit_time_us,
        .last_message_us = s->last_message_us,
        .transactions = s->delivery->transactions,
        .changes = s->delivery->changes,
        .bytes = s->bytes,
        .invalid = s->delivery->invalid,
    };
    board_update(s->board, &figures, clock_wall_us());
}

bool session_tick(struct session *s, int64_t now_us, struct error *err) {
    s->last_tick_us = now_us;
    return !s->sink.ops->tick || s->sink.ops->tick(s->sink.self, now_us, err);
}

static struct pg_options connection_options(const struct session *s, bool replication) {
    return (struct pg_options){.application_name = s->config->application_name,
                               .replication = replication,
                               .server_options = s->server_options};
}

static void open_standin(struct session *s, int64_t now_us, struct error *err) {
    struct pgwait wait = {.stop_fd = s->stop_fd};
    struct pg_options options = connection_options(s, true);
    s->standin_us = now_us + STANDIN_AGAIN_US;
    s->standin = standin_open(&wait, s->config->database_url, &options, err);
    if (!s->standin) return;
    s->sink.ops->empty(s->sink.self); /* before the first turn confirms anything */
    log_warn(s->log, "feed_stands_in",
             "feed=%s cause=\"commits may wait for %s, and its slot for them\"", s->sink.name,
             s->config->application_name);
}

/* Does the slot wait for commits that wait for us? A sink that can be emptied is, and somebody confirms in its place. */
static void stand_in(struct session *s, int64_t waited_us, int64_t now_us) {
    struct error err = {0};
    bool due = s->sink.ops->empty && waited_us >= STANDIN_AFTER_US && now_us >= s->standin_us;
    if (!s->standin && due) open_standin(s, now_us, &err);
    if (s->standin && !standin_turn(s->standin, &err)) standin_close(&s->standin);
    if (err.code != ERROR_NONE)
        log_warn(s->log, "feed_cannot_stand_in", "feed=%s cause=\"%s\"", s->sink.name, err.message);
}

/* Before the sink has been told of a start it gets no ticks; what is told is why a slot takes long to make. */
static bool attach_turn(void *arg, int64_t waited_us, struct error *err) {
    struct session *s = arg;
    int64_t now_us = clock_mono_us();
    if (!holder_check(s->holder, err)) return false;
    if (!s->tell_blocker_us) return true;
    stand_in(s, waited_us, now_us);
    if (now_us < s->tell_blocker_us) return true;
    s->tell_blocker_us = now_us + BLOCKER_EVERY_US;
    char who[256];
    slot_blocker(s->config->database_url, PQbackendPID(s->conn), who, sizeof who);
    if (!who[0]) return true;
    char cause[400];
    snprintf(cause, sizeof cause, "creating slot \"%s\" waits for %s", s->slot, who);
    board_state(s->board, FEED_CONNECTING, cause);
    log_warn(s->log, "slot_waiting", "feed=%s slot=%s cause=\"%s\"", s->sink.name, s->slot, cause);
    return true;
}

static void publish_snapshot(struct session *s) {
    const struct snapshot_counts *counts = &s->snapshot_counts;
    double seconds = (double)(clock_mono_us() - s->snapshot_began_us) / 1e6;
    struct feed_snapshot_status status = {
        .tables = counts->tables,
        .all_tables = counts->all_tables,
        .rows = counts->rows,
        .rows_per_second = seconds > 0 ? (uint64_t)((double)counts->rows / seconds) : 0,
        .share = counts->share,
        .seconds_left = counts->share > 0 ? seconds * (1 - counts->share) / counts->share : 0};
    if (counts->table)
        snprintf(status.table, sizeof status.table, "%s.%s", counts->schema, counts->table);
    board_snapshot(s->board, &status);
}

static bool snapshot_turn(void *arg, int64_t waited_us, struct error *err) {
    (void)waited_us;
    struct session *s = arg;
    if (!holder_check(s->holder, err)) return false;
    publish_snapshot(s);
    s->delivery->changes = s->changes_before_snapshot + s->snapshot_counts.rows;
    s->bytes = s->bytes_before_snapshot + s->snapshot_counts.bytes;
    s->last_message_us = clock_mono_us();
    session_publish(s);
    return session_tick(s, s->last_message_us, err);
}

/* ---- connecting ---- */

static bool identify_system(struct session *s, struct error *err) {
    if (!lineage_read(&s->wait, s->conn, &s->lineage, err)) return false;
    snprintf(s->database, sizeof s->database, "%s", PQdb(s->conn));
    s->identity.system_identifier = s->lineage.system_identifier;
    s->identity.timeline = s->lineage.timeline;
    s->identity.timeline_lsn = lineage_begin_lsn(&s->lineage);
    s->identity.database = s->database;
    return true;
}

static void set_status_interval(struct session *s, int64_t wal_sender_timeout_ms) {
    int64_t interval_ms = s->config->status_interval_ms;
    if (interval_ms <= 0) interval_ms = DEFAULT_STATUS_INTERVAL_MS;
    if (wal_sender_timeout_ms > 0 && interval_ms > wal_sender_timeout_ms / 4)
        interval_ms = wal_sender_timeout_ms / 4 + 1;
    s->status_every_us = interval_ms * 1000;
    s->silence_us = (wal_sender_timeout_ms > 0 ? wal_sender_timeout_ms : DEFAULT_SILENCE_MS) * 1000;
}

static bool read_server(struct session *s, struct error *err) {
    static const char sql[] =
        "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,"
        " pg_snapshot_xmax(pg_current_snapshot()),"
        " (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout')";
    PGresult *rows = pgwait_query(&s->wait, s->conn, sql, err);
    if (!rows) return false;
    s->identity.server_start_us = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
    s->xid_reference = strtoull(PQgetvalue(rows, 0, 1), NULL, 10);
    set_status_interval(s, strtoll(PQgetvalue(rows, 0, 2), NULL, 10));
    PQclear(rows);
    return true;
}

/* pgoutput would notice a missing publication only with the first change, and then for good. */
static bool check_publication(struct session *s, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SELECT FROM pg_publication WHERE pubname = ");
    pg_quote_literal(&sql, s->config->publication);
    PGresult *rows = pgwait_query(&s->wait, s->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return false;
    bool exists = PQntuples(rows) == 1;
    PQclear(rows);
    return exists || error_set(err, ERROR_NOT_FOUND, false,
                               "publication \"%s\" does not exist in database \"%s\"",
                               s->config->publication, s->database);
}

bool session_connect(struct session *s, struct error *err) {
    struct pg_options options = connection_options(s, true);
    s->conn = pgwait_connect(&s->wait, s->config->database_url, &options, err);
    return s->conn && identify_system(s, err) && read_server(s, err);
}

/* What was refused is not tried again before it seems to be mended: `prepare` may fence a process that works. */
static bool look_first(struct session *s, struct error *err) {
    if (!s->refused || !s->sink.ops->peek) return true;
    return s->sink.ops->peek(s->sink.self, &s->position, err) && session_may_attach(s, err);
}

static bool keeps_notes(const struct session *s) { return s->increment && s->position.keeps_notes; }

static bool stop_done(struct session *s, struct error *err) {
    s->done = true;
    return error_set(err, ERROR_STOPPED, false, "the snapshot is done, and no stream is wanted");
}

static bool is_more_wanted(struct session *s, struct error *err) {
    bool only = s->config->snapshot == FEED_SNAPSHOT_INITIAL_ONLY;
    return !only || !s->position.snapshot_done || stop_done(s, err);
}

/* An interrupted snapshot is no position yet; its stream begins with it. */
static bool load_increment(struct session *s, struct error *err) {
    if (!keeps_notes(s)) return true;
    if (!increment_load(s->increment, &s->position, err)) return false;
    if (!s->position.end_lsn) s->position.end_lsn = increment_resumes(s->increment);
    return true;
}

static bool attach(struct session *s, struct error *err) {
    return session_hold_slot(s, err) && session_connect(s, err) && look_first(s, err) &&
           s->sink.ops->prepare(s->sink.self, &s->position, err) && check_publication(s, err) &&
           load_increment(s, err) && is_more_wanted(s, err) && session_attach_slot(s, err);
}

/* ---- snapshot, START_REPLICATION ---- */

static uint64_t part_bytes(const struct session *s) {
    return s->config->snapshot_part_bytes ? s->config->snapshot_part_bytes : DEFAULT_PART_BYTES;
}

static bool take_snapshot(struct session *s, struct error *err) {
    board_state(s->board, FEED_SNAPSHOTTING, "");
    int64_t began_us = clock_mono_us();
    s->snapshot_began_us = began_us;
    s->changes_before_snapshot = s->delivery->changes;
    s->bytes_before_snapshot = s->bytes;
    struct pgwait wait = {.stop_fd = s->stop_fd, .turn = snapshot_turn, .arg = s};
    struct snapshot_plan plan = {
        .database_url = s->config->database_url,
        .options = connection_options(s, false),
        .publication = s->config->publication,
        .n_patterns = s->config->n_patterns,
        .patterns = s->config->patterns,
        .exported = s->exported_snapshot,
        .consistent_lsn = s->identity.slot_lsn,
        .n_readers = s->config->snapshot_readers,
        .part_bytes =
            s->config->snapshot_part_bytes ? s->config->snapshot_part_bytes : DEFAULT_PART_BYTES,
        .sink = s->sink,
        .state = keeps_notes(s) ? increment_state(s->increment) : NULL,
        .relations = s->delivery->relations,
        .wait = &wait,
        .log = s->log,
    };
    log_info(s->log, "snapshot_started", "feed=%s lsn=" LSN_FMT, s->sink.name,
             LSN_ARG(s->identity.slot_lsn));
    if (!snapshot_run(&plan, &s->snapshot_counts, err)) return false;
    if (!snapshot_turn(s, 0, err)) return false;
    double seconds = (double)(clock_mono_us() - began_us) / 1e6;
    log_info(s->log, "snapshot_done", "feed=%s tables=%llu rows=%llu bytes=%llu seconds=%.3f",
             s->sink.name, (unsigned long long)s->snapshot_counts.tables,
             (unsigned long long)s->snapshot_counts.rows,
             (unsigned long long)s->snapshot_counts.bytes, seconds);
    return true;
}

/* The replication grammar knows 'text' with quotes doubled, and no other escape. */
static void append_option(struct buf *sql, const char *name, const char *value) {
    buf_printf(sql, "%s '", name);
    for (const char *c = value; *c; c++) {
        if (*c == '\'') buf_append_char(sql, '\'');
        buf_append_char(sql, *c);
    }
    buf_append_char(sql, '\'');
}

/* The newest protocol that the server has, and what it may send by that. */
static void append_protocol(const struct session *s, struct buf *sql) {
    int version = PQserverVersion(s->conn);
    int protocol = version >= 160000 ? 4 : version >= 150000 ? 3 : version >= 140000 ? 2 : 1;
    buf_printf(sql, "proto_version '%d', ", protocol);
    if (protocol >= 2 && s->streaming) buf_append_text(sql, "streaming 'on', ");
    if (s->config->two_phase) buf_append_text(sql, "two_phase 'on', ");
}

/* Where the spool cannot be had, the server keeps open transactions itself and sends them at their commits. */
static bool prepare_spool(struct session *s, struct error *err) {
    if (s->config->two_phase && PQserverVersion(s->conn) < 150000)
        return error_set(err, ERROR_CONFIG, false,
                         "cdc.two_phase needs PostgreSQL 15 or newer: turn it off");
    struct spool *spool = s->delivery->spool;
    struct error cause = {.message = "it failed in the last session"};
    s->streaming = s->config->streaming && delivery_wants_open(s->delivery);
    if (!spool) return true;
    bool failed = spool_failed(spool);
    if (spool_open(spool, &cause) && !failed) return true;
    log_warn(s->log, "spool_unusable",
             "feed=%s cause=\"%s\" consequence=\"open transactions come at their commits\"",
             s->sink.name, cause.message);
    s->streaming = false;
    return true;
}

static bool start_replication(struct session *s, struct error *err) {
    struct buf publication = {0};
    pg_quote_ident(&publication, s->config->publication);
    struct buf sql = {0};
    buf_append_text(&sql, "START_REPLICATION SLOT ");
    pg_quote_ident(&sql, s->slot);
    buf_printf(&sql, " LOGICAL " LSN_FMT " (", LSN_ARG(s->start_lsn));
    append_protocol(s, &sql);
    append_option(&sql, "publication_names", buf_text(&publication));
    if (s->config->messages) buf_append_text(&sql, ", messages 'true'");
    buf_append_char(&sql, ')');
    PGresult *result = pgwait_query(&s->wait, s->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    buf_deinit(&publication);
    if (!result) return false;
    bool ok = PQresultStatus(result) == PGRES_COPY_BOTH;
    PQclear(result);
    if (!ok) return error_set(err, ERROR_PROTOCOL, false, "unexpected answer of START_REPLICATION");
    s->stream = stream_open(&s->conn);
    s->streamed = true;
    holder_close(&s->holder);
    standin_close(&s->standin); /* what it has not confirmed waits for us */
    board_state(s->board, FEED_STREAMING, "");
    log_info(s->log, "feed_streaming", "feed=%s slot=%s lsn=" LSN_FMT " publication=%s",
             s->sink.name, s->slot, LSN_ARG(s->start_lsn), s->config->publication);
    return true;
}

static bool start_increment(struct session *s, struct error *err) {
    struct increment_plan plan = {
        .database_url = s->config->database_url,
        .server_options = s->server_options,
        .publication = s->config->publication,
        .chunk_bytes = part_bytes(s),
        .joins = s->config->snapshot != FEED_SNAPSHOT_NEVER,
        .whole = s->config->whole_snapshot,
        .relations = s->delivery->relations,
        .changes = &s->delivery->changes,
        .start_lsn = s->identity.start_lsn,
    };
    return !keeps_notes(s) || increment_start(s->increment, &plan, err);
}

/* Until what has been given is durable. */
static bool settle(struct session *s, struct error *err) {
    while (s->sink.ops->confirmed_lsn(s->sink.self) < s->identity.slot_lsn) {
        if (!pgwait_pause(&s->wait, PGWAIT_TURN_MS, err) || !session_tick(s, clock_mono_us(), err))
            return false;
    }
    return true;
}

/* Beside the stream from the first start on: what there is to be read is listed once. */
static bool plan_increment(struct session *s, struct error *err) {
    if (s->config->snapshot != FEED_SNAPSHOT_INCREMENTAL || !keeps_notes(s) ||
        s->position.snapshot_done || s->position.note)
        return true;
    struct snapshot_choice choice = {.publication = s->config->publication,
                                     .n_patterns = s->config->n_patterns,
                                     .patterns = s->config->patterns,
                                     .sink = &s->sink};
    return increment_plan_all(s->increment, &s->wait, s->conn, &choice, s->start_lsn, err);
}

static bool run_started(struct session *s, struct error *err) {
    if (s->snapshot_due && !take_snapshot(s, err)) return false;
    bool left = s->increment && increment_resumes(s->increment);
    if (s->snapshot_due && s->config->snapshot == FEED_SNAPSHOT_INITIAL_ONLY && !left)
        return settle(s, err) && stop_done(s, err);
    if (!plan_increment(s, err)) return false;
    delivery_new_session(s->delivery, s->xid_reference);
    if (!start_increment(s, err)) return false;
    delivery_skip(s->delivery, s->skip_lsn);
    return prepare_spool(s, err) && start_replication(s, err) && session_stream(s, err);
}

void session_begin(struct session *s) {
    s->wait = (struct pgwait){.stop_fd = s->stop_fd, .turn = attach_turn, .arg = s};
    s->server_options = mem_printf("%s %s", session_settings,
                                   s->config->server_options ? s->config->server_options : "");
}

void session_end(struct session *s) {
    standin_close(&s->standin);
    stream_close(&s->stream);
    holder_close(&s->holder);
    if (s->conn) PQfinish(s->conn);
    s->conn = NULL;
    mem_free(s->server_options);
}

/* It would retain WAL for nobody. The server may need a moment to see that we have left it. */
static void drop_done_slot(struct session *s) {
    enum { TRIES = 20, PAUSE_MS = 100 };
    struct error err = {0};
    struct pg_options options = {.application_name = s->config->application_name};
    struct pgwait wait = {.stop_fd = s->stop_fd};
    PGconn *conn = pgwait_connect(&wait, s->config->database_url, &options, &err);
    struct slot_info slot = {0};
    for (int i = 0; conn && i < TRIES; i++) {
        if (!slot_lookup(&wait, conn, s->config->slot, &slot, &err) || !slot.exists) break;
        if (!slot.active_pid && slot_drop(&wait, conn, s->config->slot, &err)) break;
        if (!pgwait_pause(&wait, PAUSE_MS, &err)) break;
    }
    if (conn) PQfinish(conn);
    if (err.code != ERROR_NONE)
        log_warn(s->log, "slot_left", "feed=%s slot=%s cause=\"%s\"", s->sink.name, s->config->slot,
                 err.message);
}

/* pgoutput looks a publication up as it was when a change was made, so one that was made anew does not help. */
static void explain_publication(const struct session *s, struct error *err) {
    bool stays = !s->config->temporary && !s->config->disposable;
    if (!stays || !s->streamed || err->code != ERROR_NOT_FOUND ||
        !strstr(err->message, "publication"))
        return;
    error_set(err, ERROR_CONFLICT, false,
              "publication \"%s\" was made after changes that are still to come from slot \"%s\", "
              "or made anew, and the server cannot give them by it: they are lost",
              s->config->publication, s->slot);
    attach_choices(s->config->way_on, s->sink.name, err);
}

bool session_run(struct session *s, struct error *err) {
    session_begin(s);
    bool started = false;
    if (attach(s, err)) {
        s->identity.slot = s->slot;
        s->identity.start_lsn = s->skip_lsn > s->start_lsn ? s->skip_lsn : s->start_lsn;
        board_slot(s->board, s->slot);
        started = s->sink.ops->started(s->sink.self, &s->identity, err);
    }
    if (started) {
        run_started(s, err);
        explain_publication(s, err);
        if (s->increment) increment_stop(s->increment);
        session_publish(s);
        if (s->sink.ops->ended) s->sink.ops->ended(s->sink.self, err);
    }
    session_end(s);
    if (s->done) drop_done_slot(s);
    return false;
}

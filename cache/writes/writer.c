#include "cache/writes/writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pgarray.h"
#include "cache/rows/warden.h"
#include "cache/writes/hosts.h"
#include "cache/writes/wire.h"
#include "cache/writes/write_apply.h"
#include "cache/writes/write_judge.h"
#include "cache/writes/write_metrics.h"
#include "cache/writes/write_sql.h"

enum {
    TICK_US = 20 * 1000,
    FIRST_BACKOFF_US = 50 * 1000,
    LAST_BACKOFF_US = 2 * 1000 * 1000,
    LEAVE_EVERY_US =
        1000 * 1000, /* a server that does not write: it may be the only one there is */
};

static const char hello_sql[] =
    "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";

/* The answers that a line waits for, in the order of sending. */
struct expected {
    enum {
        EXPECT_HELLO,
        EXPECT_NOTHING,
        EXPECT_CHANGE,
        EXPECT_ROW,
        EXPECT_STORED,
        EXPECT_COMMIT,
        EXPECT_LSN
    } kind;
    uint32_t op;
    enum key_form form;
};

enum phase {
    PHASE_IDLE,
    PHASE_HELLO,   /* which server is it? */
    PHASE_CHANGES, /* COMMIT was not sent yet */
    PHASE_COMMIT,
    PHASE_ROLLBACK,
};

struct line {
    struct wire *wire;
    uint32_t place;      /* of hosts.h */
    bool stale;          /* its server has refused to write: not for another write */
    int64_t since_us;    /* of connecting */
    int64_t retry_at_us; /* while it is down */
    int64_t backoff_us;
    int64_t server_start_us;
    enum phase phase;
    struct write *write; /* NULL: it was answered, or there is none */
    uint64_t number;     /* of the worker's fillclock */
    bool told;           /* the client has its answer already */
    bool refused;
    bool committed;
    struct buf expected; /* of struct expected */
    size_t answered;     /* bytes of them */
    struct buf stored;   /* of struct write_stored */
};

struct writer {
    struct keyspace *owner;
    struct core *core;
    struct loop *loop;
    struct fillclock *clock;
    struct hosts *hosts;
    int64_t left_us; /* when a server was left that does not write */
    uint32_t n_lines;
    struct line *lines;
    struct write *first, **last; /* waiting */
    struct loop_timer timer;
    bool ticking;
    unsigned seed;
    struct buf sql, literals;
    char cause[512]; /* of the last connection that failed */
    struct write_metrics count;
};

static struct line *line_of(struct writer *writer, const struct wire *wire) {
    for (uint32_t i = 0; i < writer->n_lines; i++) {
        if (writer->lines[i].wire == wire) return &writer->lines[i];
    }
    ASSERT_UNREACHABLE();
}

/* ---- what is under way, for rule 4: the snapshots of its rows are as old as that ---- */

static void enlist(struct writer *writer, struct line *line) {
    line->number = atomic_load(&writer->clock->started);
    atomic_store(&writer->clock->started, line->number + 1);
}

static void delist(struct writer *writer, struct line *line) {
    uint64_t oldest = atomic_load(&writer->clock->started);
    line->number = UINT64_MAX;
    for (uint32_t i = 0; i < writer->n_lines; i++) {
        if (writer->lines[i].number < oldest) oldest = writer->lines[i].number;
    }
    atomic_store(&writer->clock->oldest, oldest);
}

/* ---- the end of a write ---- */

static void tell(struct writer *writer, struct line *line, enum write_outcome outcome) {
    struct write *write = line->write;
    if (line->told) return;
    line->told = true;
    write->outcome = outcome;
    write_count(&writer->count, write, clock_mono_us());
    client_resume(write->ticket, &write->rows);
}

/* The line is free for another write. */
static void let_go(struct writer *writer, struct line *line) {
    struct write_stored *stored = (struct write_stored *)(void *)line->stored.data;
    for (size_t i = 0; i < line->stored.len / sizeof *stored; i++)
        PQclear(stored[i].result);
    line->stored.len = 0;
    line->expected.len = 0;
    line->answered = 0;
    line->phase = PHASE_IDLE;
    delist(writer, line);
    write_destroy(&line->write);
}

/* ---- sending ---- */

static void expect(struct line *line, int kind, uint32_t op, enum key_form form) {
    struct expected expected = {.kind = kind, .op = op, .form = form};
    buf_append(&line->expected, &expected, sizeof expected);
}

static void send_plain(struct line *line, const char *sql, int kind) {
    wire_query(line->wire, sql, 0, NULL);
    expect(line, kind, 0, FORM_ANY);
}

/* The fill's statement, for one row. */
static void send_read(struct writer *writer, struct line *line, int kind, uint32_t i,
                      enum key_form form) {
    const struct write_op *op = &line->write->ops[i];
    const char *parameters[ROWKEY_MAX_COLUMNS];
    writer->sql.len = 0;
    for (uint16_t k = 0; k < op->row.n; k++)
        parameters[k] = op->row.values[k].data;
    struct statement statement = write_reads(op, form);
    statement_compose(&statement, &writer->sql);
    wire_query(line->wire, buf_text(&writer->sql), op->row.n, parameters);
    expect(line, kind, i, form);
}

/* A named query takes any number of keys, and one for none. */
static void send_query(struct writer *writer, struct line *line, uint32_t i) {
    const struct write_op *op = &line->write->ops[i];
    const char *parameters[ROWKEY_MAX_COLUMNS];
    size_t starts[ROWKEY_MAX_COLUMNS];
    uint16_t n = op->row.n ? op->row.n : 1;
    writer->literals.len = 0;
    for (uint16_t k = 0; k < n; k++) {
        starts[k] = writer->literals.len;
        pgarray_begin(&writer->literals);
        pgarray_add(&writer->literals, k < op->row.n ? op->row.values[k] : SLICE(""));
        pgarray_end(&writer->literals);
    }
    for (uint16_t k = 0; k < n; k++)
        parameters[k] = writer->literals.data + starts[k];
    writer->sql.len = 0;
    struct statement statement = write_reads(op, op->form);
    statement_compose(&statement, &writer->sql);
    wire_query(line->wire, buf_text(&writer->sql), n, parameters);
    expect(line, EXPECT_ROW, i, op->form);
}

static void send_op(struct writer *writer, struct line *line, uint32_t i) {
    const struct write_op *op = &line->write->ops[i];
    const char *parameters[WRITE_SQL_MAX_PARAMETERS];
    int n = write_sql_parameters(op, parameters);
    writer->sql.len = 0;
    if (write_changes(op)) {
        write_sql_compose(op, &writer->sql);
        wire_query(line->wire, buf_text(&writer->sql), n, parameters);
        expect(line, EXPECT_CHANGE, i, FORM_ANY);
        return;
    }
    if (op->kind == WRITE_HOLD && op->table->writes) {
        write_sql_compose_hold(op, &writer->sql);
        wire_query(line->wire, buf_text(&writer->sql), n, parameters);
        expect(line, EXPECT_NOTHING, i, FORM_ANY);
    }
    if (op->table->query)
        send_query(writer, line, i);
    else
        send_read(writer, line, EXPECT_ROW, i, op->form);
}

/* The row of a later operation on the same key is the same. */
static bool is_last_of_row(const struct write *write, uint32_t i) {
    for (uint32_t j = i + 1; j < write->n_ops; j++) {
        if (write_changes(&write->ops[j]) && write->ops[j].hash == write->ops[i].hash &&
            slice_equal(write->ops[j].key, write->ops[i].key))
            return false;
    }
    return true;
}

/* Deferred constraints and their triggers come before the rows are read. */
static void send_commit(struct writer *writer, struct line *line) {
    const struct write *write = line->write;
    send_plain(line, "SET CONSTRAINTS ALL IMMEDIATE", EXPECT_NOTHING);
    for (uint32_t i = 0; i < write->n_ops; i++) {
        if (!write_changes(&write->ops[i]) || !is_last_of_row(write, i)) continue;
        send_read(writer, line, EXPECT_STORED, i, FORM_STRING);
        if (write->ops[i].kind != WRITE_DELETE)
            send_read(writer, line, EXPECT_STORED, i, FORM_HASH);
    }
    send_plain(line, "COMMIT", EXPECT_COMMIT);
    /* Which standbys have replayed it is told by where it ends. */
    if (writer->core->config->n_replicas > 0)
        send_plain(line, "SELECT pg_current_wal_insert_lsn()", EXPECT_LSN);
    line->phase = PHASE_COMMIT;
}

static void begin(struct writer *writer, struct line *line, struct write *write) {
    line->write = write;
    line->told = false;
    line->refused = false;
    line->committed = false;
    line->phase = PHASE_CHANGES;
    enlist(writer, line);
    send_plain(line, "BEGIN READ WRITE", EXPECT_NOTHING);
    for (uint32_t i = 0; i < write->n_ops; i++)
        send_op(writer, line, i);
    if (write_needs_no_judgement(write)) send_commit(writer, line);
    wire_sync(line->wire);
}

static void roll_back(struct line *line) {
    line->expected.len = 0;
    line->answered = 0;
    line->phase = PHASE_ROLLBACK;
    send_plain(line, "ROLLBACK", EXPECT_NOTHING);
    wire_sync(line->wire);
}

/* ---- waiting ---- */

static struct line *pick(struct writer *writer, int64_t now_us) {
    struct line *down = NULL;
    bool connecting = false;
    for (uint32_t i = 0; i < writer->n_lines; i++) {
        struct line *line = &writer->lines[i];
        enum wire_state state = wire_state(line->wire);
        if (state == WIRE_READY && line->phase == PHASE_IDLE && !line->stale) return line;
        connecting |= state == WIRE_CONNECTING;
        if (state == WIRE_DOWN && line->phase == PHASE_IDLE && line->retry_at_us <= now_us)
            down = line;
    }
    if (down && !connecting) {
        down->since_us = now_us;
        down->place = hosts_place(writer->hosts);
        wire_connect(down->wire, hosts_conninfo(writer->hosts));
    }
    return NULL;
}

static struct write *take_first(struct writer *writer) {
    struct write *write = writer->first;
    writer->first = write->next;
    if (!writer->first) writer->last = &writer->first;
    write->next = NULL;
    metric_add(writer->count.waiting, -1);
    return write;
}

static void arm(struct writer *writer, int64_t now_us) {
    bool busy = writer->first != NULL;
    for (uint32_t i = 0; i < writer->n_lines; i++) {
        busy |= writer->lines[i].phase != PHASE_IDLE;
        busy |= wire_state(writer->lines[i].wire) == WIRE_CONNECTING;
    }
    if (busy && !writer->ticking) loop_timer_set(writer->loop, &writer->timer, now_us + TICK_US);
    writer->ticking |= busy;
}

static void pump(struct writer *writer) {
    int64_t now_us = clock_mono_us();
    struct line *line;
    while (writer->first && (line = pick(writer, now_us)) != NULL)
        begin(writer, line, take_first(writer));
    arm(writer, now_us);
}

void writer_submit(struct writer *writer, struct write **write) {
    struct write *submitted = *write;
    *write = NULL;
    submitted->begun_us = clock_mono_us();
    submitted->deadline_us = submitted->begun_us + writer->core->config->write_timeout_ms * 1000;
    *writer->last = submitted;
    writer->last = &submitted->next;
    metric_add(writer->count.waiting, 1);
    pump(writer);
}

/* ---- answers ---- */

/* It was the primary once, or is not yet: what the name leads to now may be another, for those that connect, too. */
static void leave_server(struct writer *writer) {
    int64_t now_us = clock_mono_us();
    if (now_us - writer->left_us < LEAVE_EVERY_US) return;
    writer->left_us = now_us;
    for (uint32_t i = 0; i < writer->n_lines; i++)
        writer->lines[i].stale = wire_state(writer->lines[i].wire) != WIRE_DOWN;
}

/* Those that nobody uses; the others when their write is over. */
static void close_stale(struct writer *writer) {
    for (uint32_t i = 0; i < writer->n_lines; i++) {
        struct line *line = &writer->lines[i];
        if (line->stale && line->phase == PHASE_IDLE)
            wire_break(line->wire, "the server does not write");
    }
}

/* A lost connection gives one without a code: what that means is told by `down`. What is committed
 * nothing refuses any more. */
static void take_error(struct writer *writer, struct line *line, const struct expected *expected,
                       const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (!state || line->refused || line->committed || !line->write) return;
    if (expected->kind == EXPECT_COMMIT && (!severity || strcmp(severity, "ERROR") != 0)) return;
    line->refused = true;
    write_refuse_by(line->write, &line->write->ops[expected->op], result);
    if (line->write->reason == WRITE_REASON_READ_ONLY) leave_server(writer);
    /* The table is not what its description says: the next write finds it as it is. */
    if (strcmp(state, "42703") == 0 || strcmp(state, "42P01") == 0)
        warden_poll_soon(writer->core->warden);
}

static void on_result(void *owner, struct wire *wire, PGresult **result) {
    struct writer *writer = owner;
    struct line *line = line_of(writer, wire);
    if (line->answered >= line->expected.len) return;
    struct expected expected;
    memcpy(&expected, line->expected.data + line->answered, sizeof expected);
    line->answered += sizeof expected;
    ExecStatusType status = PQresultStatus(*result);
    if (line->phase == PHASE_ROLLBACK || status == PGRES_PIPELINE_ABORTED) return;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        take_error(writer, line, &expected, *result);
        return;
    }
    struct write_stored stored = {expected.op, expected.form, *result};
    switch (expected.kind) {
    case EXPECT_HELLO: line->server_start_us = strtoll(PQgetvalue(*result, 0, 0), NULL, 10); break;
    case EXPECT_NOTHING: break;
    case EXPECT_CHANGE:
    case EXPECT_ROW:
        write_take_result(line->write, expected.op, *result);
        *result = NULL;
        break;
    case EXPECT_STORED:
        buf_append(&line->stored, &stored, sizeof stored);
        *result = NULL;
        break;
    case EXPECT_LSN:
        if (!lsn_parse(PQgetvalue(*result, 0, 0), &line->write->lsn)) line->write->lsn = 0;
        break;
    case EXPECT_COMMIT: line->committed = strcmp(PQcmdStatus(*result), "COMMIT") == 0; break;
    }
}

static void settle(struct writer *writer, struct line *line) {
    if (line->committed) {
        line->write->server_start_us = line->server_start_us;
        write_apply(writer->core, line->write, (struct write_stored *)(void *)line->stored.data,
                    (uint32_t)(line->stored.len / sizeof(struct write_stored)));
        tell(writer, line, write_is_well(line->write) ? WRITE_DONE : WRITE_REFUSED);
        let_go(writer, line);
        return;
    }
    if (!line->refused)
        write_refuse(line->write, WRITE_REASON_OTHER, "the database rolled it back");
    tell(writer, line, WRITE_REFUSED);
    roll_back(line);
}

static void on_synced(void *owner, struct wire *wire) {
    struct writer *writer = owner;
    struct line *line = line_of(writer, wire);
    switch (line->phase) {
    case PHASE_IDLE: break;
    case PHASE_HELLO:
    case PHASE_ROLLBACK: let_go(writer, line); break;
    case PHASE_COMMIT: settle(writer, line); break;
    case PHASE_CHANGES:
        if (line->refused || !write_is_well(line->write)) {
            tell(writer, line, WRITE_REFUSED);
            roll_back(line);
        } else if (write_is_touched(line->write)) {
            tell(writer, line, WRITE_TOUCHED);
            roll_back(line);
        } else {
            send_commit(writer, line);
            wire_sync(line->wire);
        }
        break;
    }
    close_stale(writer);
    pump(writer);
}

static void on_up(void *owner, struct wire *wire) {
    struct writer *writer = owner;
    struct line *line = line_of(writer, wire);
    line->backoff_us = 0;
    line->since_us = 0;
    hosts_found(writer->hosts);
    writer->cause[0] = '\0';
    metric_add(writer->count.connections, 1);
    line->phase = PHASE_HELLO;
    send_plain(line, hello_sql, EXPECT_HELLO);
    wire_sync(line->wire);
}

static void doubt(struct writer *writer, struct line *line, const char *cause) {
    if (line->told) return;
    write_forget_rows(writer->core, line->write);
    write_refuse(line->write, WRITE_REASON_UNKNOWN,
                 "COMMIT was sent and not answered: it was written, or it was not (%s)", cause);
    tell(writer, line, WRITE_UNKNOWN);
}

/* Half of it and more is drawn by lot: those who lost a server at once do not come back at once. */
static void back_off(struct writer *writer, struct line *line) {
    line->backoff_us = line->backoff_us ? line->backoff_us * 2 : FIRST_BACKOFF_US;
    if (line->backoff_us > LAST_BACKOFF_US) line->backoff_us = LAST_BACKOFF_US;
    line->retry_at_us =
        clock_mono_us() + line->backoff_us / 2 + (int64_t)rand_r(&writer->seed) % line->backoff_us;
}

static void on_down(void *owner, struct wire *wire, const char *cause) {
    struct writer *writer = owner;
    struct line *line = line_of(writer, wire);
    bool was_up = line->since_us == 0;
    if (was_up) metric_add(writer->count.connections, -1);
    line->since_us = 0;
    line->retry_at_us = 0;
    if (!line->stale && (was_up || !hosts_failed(writer->hosts, line->place)))
        back_off(writer, line);
    line->stale = false;
    snprintf(writer->cause, sizeof writer->cause, "%s", cause);
    if (line->phase == PHASE_IDLE || !line->write) {
        line->phase = PHASE_IDLE;
        line->expected.len = line->answered = 0;
        return;
    }
    if (line->phase == PHASE_COMMIT && line->committed) {
        settle(writer, line);
        return;
    }
    if (line->phase == PHASE_COMMIT && !line->refused) {
        doubt(writer, line, cause);
    } else {
        if (!line->refused)
            write_refuse(line->write, WRITE_REASON_UNAVAILABLE, "nothing was written: %s", cause);
        tell(writer, line, WRITE_REFUSED);
    }
    let_go(writer, line);
}

/* ---- time ---- */

static void fail_waiting(struct writer *writer, int64_t now_us) {
    while (writer->first && writer->first->deadline_us <= now_us) {
        struct write *write = take_first(writer);
        write_refuse(write, WRITE_REASON_UNAVAILABLE,
                     "nothing was written: no free connection to PostgreSQL within %lld ms%s%s",
                     (long long)writer->core->config->write_timeout_ms,
                     writer->cause[0] ? ": " : "", writer->cause);
        write->outcome = WRITE_REFUSED;
        write_count(&writer->count, write, now_us);
        client_resume(write->ticket, &write->rows);
        write_destroy(&write);
    }
}

/* A COMMIT that waits, for a standby perhaps, goes on: what it does is applied when it returns. */
static void watch_line(struct writer *writer, struct line *line, int64_t now_us) {
    if (wire_state(line->wire) == WIRE_CONNECTING &&
        now_us - line->since_us > hosts_patience_us(writer->hosts))
        wire_break(line->wire, "connecting to PostgreSQL took too long");
    if (line->phase == PHASE_IDLE || !line->write || line->write->deadline_us > now_us) return;
    char cause[64];
    snprintf(cause, sizeof cause, "no answer within %lld ms",
             (long long)writer->core->config->write_timeout_ms);
    if (line->phase == PHASE_COMMIT)
        doubt(writer, line, cause);
    else
        wire_break(line->wire, cause);
}

static void on_tick(void *arg, int64_t now_us) {
    struct writer *writer = arg;
    writer->ticking = false;
    fail_waiting(writer, now_us);
    for (uint32_t i = 0; i < writer->n_lines; i++)
        watch_line(writer, &writer->lines[i], now_us);
    pump(writer);
}

/* ---- the whole ---- */

struct writer *writer_create(struct keyspace *owner) {
    struct core *core = owner->core;
    struct writer *writer = mem_zalloc(sizeof *writer);
    writer->owner = owner;
    writer->core = core;
    writer->loop = owner->loop;
    writer->clock = &core->fillclocks[CORE_MAX_WORKERS + owner->index];
    writer->hosts = hosts_create(core->config);
    writer->last = &writer->first;
    writer->seed = (unsigned)clock_mono_us() ^ owner->index << 20;
    writer->timer = (struct loop_timer){.fire = on_tick, .arg = writer};
    write_metrics_register(&writer->count, core->metrics);
    writer->n_lines = core->config->write_pool ? core->config->write_pool : 1;
    writer->lines = mem_calloc(writer->n_lines, sizeof *writer->lines);
    struct wire_events events = {on_up, on_down, on_result, on_synced, writer};
    for (uint32_t i = 0; i < writer->n_lines; i++) {
        writer->lines[i].number = UINT64_MAX;
        writer->lines[i].wire = wire_create(writer->loop, &events);
    }
    return writer;
}

void writer_destroy(struct writer **writer) {
    struct writer *old = *writer;
    *writer = NULL;
    if (!old) return;
    if (old->ticking) loop_timer_clear(old->loop, &old->timer);
    for (uint32_t i = 0; i < old->n_lines; i++) {
        struct line *line = &old->lines[i];
        wire_destroy(&line->wire);
        if (line->phase != PHASE_IDLE) let_go(old, line);
        buf_deinit(&line->expected);
        buf_deinit(&line->stored);
    }
    while (old->first) {
        struct write *write = take_first(old);
        write_destroy(&write);
    }
    mem_free(old->lines);
    buf_deinit(&old->sql);
    buf_deinit(&old->literals);
    hosts_destroy(&old->hosts);
    mem_free(old);
}

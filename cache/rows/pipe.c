#include "cache/rows/pipe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"

/* An answer that is to come, in the order in which the server will send them. */
struct expectation {
    struct expectation *next;
    enum {
        EXPECT_IGNORED, /* BEGIN, COMMIT, ROLLBACK, DEALLOCATE */
        EXPECT_PREPARED,
        EXPECT_ROWS,
        EXPECT_PLACE, /* the server's start, and how far it has replayed; before the rows */
        EXPECT_STILL, /* is it a standby; behind them */
        EXPECT_SYNC,
    } kind;
    struct unit *unit; /* NULL: of no unit */
    struct batch *batch;
    uint64_t slot_key; /* EXPECT_PREPARED, EXPECT_ROWS; 0: none */
    PGresult *result;
};

/* A prepared statement of this connection. */
struct prepared {
    uint64_t key; /* of table and form, never 0; 0: a free slot */
    uint64_t version;
    uint64_t name; /* "f<name>" */
    bool confirmed;
};

struct pipe {
    struct loop *loop;
    const struct cache_config *config;
    struct source *source;
    uint64_t source_version;
    int64_t server_start_us; /* of a connection that leads to one server */
    struct pipe_events events;
    enum pipe_state state;
    PGconn *conn;
    struct loop_watch watch;
    bool watching;
    bool broken;        /* sending failed: to be closed from the loop */
    uint32_t in_flight; /* units */
    struct expectation *first, **last;
    struct prepared *prepared; /* open addressing, at most half full */
    uint32_t n_prepared, cap_prepared;
    uint64_t last_name;
    struct buf scratch, literals;
    char cause[512];
};

/* Through a pooler one, since after an error the connection's next statement must be the ROLLBACK. */
bool pipe_has_room(const struct pipe *pipe) {
    return pipe->state == PIPE_READY && !pipe->broken &&
           pipe->in_flight < (source_is_pooled(pipe->source) ? 1u : (uint32_t)PIPE_UNITS);
}

struct pipe *pipe_create(struct loop *loop, const struct cache_config *config,
                         struct source *source, const struct pipe_events *events) {
    struct pipe *pipe = mem_zalloc(sizeof *pipe);
    pipe->loop = loop;
    pipe->config = config;
    pipe->source = source;
    pipe->events = *events;
    pipe->last = &pipe->first;
    return pipe;
}

enum pipe_state pipe_state(const struct pipe *pipe) { return pipe->state; }
uint32_t pipe_in_flight(const struct pipe *pipe) { return pipe->in_flight; }
struct source *pipe_source(const struct pipe *pipe) {
    return pipe->source;
}

bool pipe_is_current(const struct pipe *pipe) {
    return pipe->source_version == source_version(pipe->source);
}

/* ---- what is prepared ---- */

static uint64_t slot_key(const struct batch *batch) {
    const struct statement *statement = &batch->statement;
    const struct table *table = statement->table;
    uint64_t place = statement->unique ? (uint64_t)(statement->unique - table->uniques) + 1 : 0;
    return ((uint64_t)statement->way << 61 | place << 32 | (uint64_t)table->statement << 3 |
            (uint64_t)statement->form) +
           1;
}

static struct prepared *find_slot(struct pipe *pipe, uint64_t key) {
    uint32_t mask = pipe->cap_prepared - 1;
    uint32_t i = (uint32_t)(key * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (pipe->prepared[i].key && pipe->prepared[i].key != key)
        i = (i + 1) & mask;
    return &pipe->prepared[i];
}

static struct prepared *make_slot(struct pipe *pipe, uint64_t key) {
    if (pipe->n_prepared * 2 >= pipe->cap_prepared) {
        struct prepared *old = pipe->prepared;
        uint32_t n_old = pipe->cap_prepared;
        pipe->cap_prepared = n_old ? n_old * 2 : 32;
        pipe->prepared = mem_calloc(pipe->cap_prepared, sizeof *pipe->prepared);
        for (uint32_t i = 0; i < n_old; i++) {
            if (old[i].key) *find_slot(pipe, old[i].key) = old[i];
        }
        mem_free(old);
    }
    struct prepared *slot = find_slot(pipe, key);
    if (slot->key == 0) {
        *slot = (struct prepared){.key = key};
        pipe->n_prepared++;
    }
    return slot;
}

/* ---- closing ---- */

static void stop_watching(struct pipe *pipe) {
    if (!pipe->watching) return;
    loop_unwatch(pipe->loop, &pipe->watch);
    close(pipe->watch.fd);
    pipe->watching = false;
}

static void close_connection(struct pipe *pipe) {
    stop_watching(pipe);
    if (pipe->conn) PQfinish(pipe->conn);
    pipe->conn = NULL;
    pipe->state = PIPE_DOWN;
    pipe->broken = false;
    pipe->in_flight = 0;
    pipe->server_start_us = 0;
    while (pipe->first) {
        struct expectation *old = pipe->first;
        pipe->first = old->next;
        PQclear(old->result);
        mem_free(old);
    }
    pipe->last = &pipe->first;
    mem_free(pipe->prepared);
    pipe->prepared = NULL;
    pipe->n_prepared = 0;
    pipe->cap_prepared = 0;
}

void pipe_destroy(struct pipe **pipe) {
    if (!*pipe) return;
    close_connection(*pipe);
    buf_deinit(&(*pipe)->scratch);
    buf_deinit(&(*pipe)->literals);
    mem_free(*pipe);
    *pipe = NULL;
}

void pipe_break(struct pipe *pipe, const char *cause) {
    /* The cause may lie in the connection that is closed now. */
    snprintf(pipe->cause, sizeof pipe->cause, "%s", cause[0] ? cause : "the connection was lost");
    for (char *c = pipe->cause; *c; c++) {
        if (*c == '\n') *c = c[1] ? ' ' : '\0';
    }
    close_connection(pipe);
    pipe->events.down(pipe->events.owner, pipe, pipe->cause);
}

/* ---- receiving ---- */

static bool send_plain(struct pipe *pipe, const char *sql);
static bool send_sync(struct pipe *pipe, struct unit *unit);

/* The transaction that an error has left open holds one of the pooler's connections. */
static bool end_pooled(struct pipe *pipe, const struct unit *unit) {
    return !unit->error || (send_plain(pipe, "ROLLBACK") && send_sync(pipe, NULL));
}

static void finish_unit(struct pipe *pipe, struct unit *unit) {
    pipe->in_flight--;
    if (unit->server_start_us == 0) unit->server_start_us = pipe->server_start_us;
    if (source_is_pooled(pipe->source) && !end_pooled(pipe, unit)) pipe->broken = true;
    pipe->events.done(pipe->events.owner, pipe, unit);
}

/* A plan that the server will not have any more, or does not know, is made anew with the next use. */
static void forget_plan(struct pipe *pipe, const struct expectation *expected) {
    const char *state = PQresultErrorField(expected->result, PG_DIAG_SQLSTATE);
    if (expected->kind != EXPECT_ROWS || !expected->slot_key || !state) return;
    struct prepared *slot = find_slot(pipe, expected->slot_key);
    bool unknown = strcmp(state, "26000") == 0;
    if (unknown || strcmp(state, "0A000") == 0 || strncmp(state, "XX", 2) == 0) slot->version = 0;
    if (unknown) slot->confirmed = false;
}

static void take_place(struct pipe *pipe, struct unit *unit, const PGresult *result) {
    int64_t server_start_us = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    if (!unit) pipe->server_start_us = server_start_us;
    if (!unit) return;
    unit->server_start_us = server_start_us;
    if (PQgetisnull(result, 0, 1) || !lsn_parse(PQgetvalue(result, 0, 1), &unit->replayed_lsn))
        unit->replayed_lsn = 0;
}

/* A statement is over: its result is its unit's. */
static void take_result(struct pipe *pipe, struct expectation *expected) {
    PGresult *result = expected->result;
    expected->result = NULL;
    ExecStatusType status = PQresultStatus(result);
    if (expected->kind == EXPECT_PREPARED) {
        struct prepared *slot = find_slot(pipe, expected->slot_key);
        slot->confirmed = status == PGRES_COMMAND_OK;
        if (!slot->confirmed) slot->version = 0;
    }
    struct unit *unit = expected->unit;
    if (status == PGRES_FATAL_ERROR) {
        expected->result = result;
        forget_plan(pipe, expected);
        expected->result = NULL;
    }
    if (status == PGRES_TUPLES_OK && expected->kind == EXPECT_ROWS && !expected->batch->result) {
        expected->batch->result = result;
    } else if (status == PGRES_TUPLES_OK && expected->kind == EXPECT_PLACE) {
        take_place(pipe, unit, result);
        PQclear(result);
    } else if (status == PGRES_TUPLES_OK && expected->kind == EXPECT_STILL) {
        unit->is_standby = *PQgetvalue(result, 0, 0) == 't';
        PQclear(result);
    } else if (status == PGRES_FATAL_ERROR && unit && !unit->error) {
        unit->error = result;
    } else {
        PQclear(result);
    }
}

static struct expectation *pop(struct pipe *pipe) {
    struct expectation *first = pipe->first;
    pipe->first = first->next;
    if (!pipe->first) pipe->last = &pipe->first;
    return first;
}

/* One step of libpq's results. False: nothing more is here now. */
static bool receive_one(struct pipe *pipe) {
    if (!pipe->first || PQisBusy(pipe->conn)) return false;
    PGresult *result = PQgetResult(pipe->conn);
    struct expectation *expected = pipe->first;
    if (!result) {
        /* NULL ends a statement; with no result before it there was nothing to read. */
        if (!expected->result) return false;
        take_result(pipe, expected);
        mem_free(pop(pipe));
        return true;
    }
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
        PQclear(expected->result);
        expected->result = result;
        return true;
    }
    PQclear(result);
    ASSERT(expected->kind == EXPECT_SYNC);
    struct unit *unit = expected->unit;
    mem_free(pop(pipe));
    if (unit) finish_unit(pipe, unit);
    return true;
}

static bool flush(struct pipe *pipe) {
    int left = PQflush(pipe->conn);
    if (left < 0) return false;
    loop_watch_events(pipe->loop, &pipe->watch, left ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return true;
}

static void on_ready(void *arg, unsigned events) {
    struct pipe *pipe = arg;
    (void)events;
    if (pipe->broken || !PQconsumeInput(pipe->conn)) {
        pipe_break(pipe, PQerrorMessage(pipe->conn));
        return;
    }
    /* What `done` runs may close the connection. */
    while (pipe->state == PIPE_READY && receive_one(pipe)) {
    }
    if (pipe->state != PIPE_READY) return;
    if (PQstatus(pipe->conn) != CONNECTION_OK || !flush(pipe))
        pipe_break(pipe, PQerrorMessage(pipe->conn));
}

/* ---- connecting ---- */

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

static void on_connecting(void *arg, unsigned events);
static bool send_greeting(struct pipe *pipe);

static bool start_watching(struct pipe *pipe, unsigned events,
                           void (*fire)(void *arg, unsigned events)) {
    stop_watching(pipe);
    /* A descriptor of our own: libpq closes its one as soon as it finds the connection lost. */
    int fd = PQsocket(pipe->conn) < 0 ? -1 : fcntl(PQsocket(pipe->conn), F_DUPFD_CLOEXEC, 0);
    pipe->watch = (struct loop_watch){fd, events, fire, pipe};
    struct error err = {0};
    if (pipe->watch.fd >= 0 && loop_watch(pipe->loop, &pipe->watch, &err)) {
        pipe->watching = true;
        return true;
    }
    if (fd >= 0) close(fd);
    pipe_break(pipe, err.message[0] ? err.message : PQerrorMessage(pipe->conn));
    return false;
}

static void go_on_connecting(struct pipe *pipe) {
    switch (PQconnectPoll(pipe->conn)) {
    case PGRES_POLLING_READING: start_watching(pipe, LOOP_READ, on_connecting); return;
    case PGRES_POLLING_WRITING: start_watching(pipe, LOOP_WRITE, on_connecting); return;
    case PGRES_POLLING_OK: break;
    default: pipe_break(pipe, PQerrorMessage(pipe->conn)); return;
    }
    PQsetNoticeReceiver(pipe->conn, ignore_notice, NULL);
    if (PQsetnonblocking(pipe->conn, 1) != 0 || !PQenterPipelineMode(pipe->conn)) {
        pipe_break(pipe, PQerrorMessage(pipe->conn));
        return;
    }
    if (!start_watching(pipe, LOOP_READ, on_ready)) return;
    if (!send_greeting(pipe)) {
        pipe_break(pipe, PQerrorMessage(pipe->conn));
        return;
    }
    pipe->state = PIPE_READY;
    pipe->events.up(pipe->events.owner, pipe);
}

static void on_connecting(void *arg, unsigned events) {
    (void)events;
    go_on_connecting(arg);
}

void pipe_connect(struct pipe *pipe) {
    ASSERT(pipe->state == PIPE_DOWN);
    pipe->state = PIPE_CONNECTING;
    pipe->scratch.len = 0;
    pipe->source_version = source_conninfo(pipe->source, &pipe->scratch);
    if (pipe->scratch.len == 0) {
        pipe_break(pipe, "no server was found yet");
        return;
    }
    pipe->conn = PQconnectStart(buf_text(&pipe->scratch));
    ASSERT(pipe->conn);
    if (PQstatus(pipe->conn) == CONNECTION_BAD) {
        pipe_break(pipe, PQerrorMessage(pipe->conn));
        return;
    }
    /* As libpq has it: behave as if PQconnectPoll had just asked to write. */
    start_watching(pipe, LOOP_WRITE, on_connecting);
}

/* ---- sending ---- */

static void expect(struct pipe *pipe, struct expectation like) {
    struct expectation *expected = mem_alloc(sizeof *expected);
    *expected = like;
    *pipe->last = expected;
    pipe->last = &expected->next;
}

/* libpq refuses only out of memory or on a dead connection; then on_ready finds the connection broken. */
static bool send_plain(struct pipe *pipe, const char *sql) {
    if (!PQsendQueryParams(pipe->conn, sql, 0, NULL, NULL, NULL, NULL, 0)) return false;
    expect(pipe, (struct expectation){.kind = EXPECT_IGNORED});
    return true;
}

static bool send_sync(struct pipe *pipe, struct unit *unit) {
    if (!PQpipelineSync(pipe->conn)) return false;
    expect(pipe, (struct expectation){.kind = EXPECT_SYNC, .unit = unit});
    return true;
}

#define SERVER_START "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"

static const char place_sql[] = "SELECT " SERVER_START ", pg_last_wal_replay_lsn()";
static const char still_sql[] = "SELECT pg_is_in_recovery()";

static bool prepare_plain(struct pipe *pipe, const char *name, const char *sql) {
    if (!PQsendPrepare(pipe->conn, name, sql, 0, NULL)) return false;
    expect(pipe, (struct expectation){.kind = EXPECT_IGNORED});
    return true;
}

/* A connection leads to one server; a standby is asked with each unit, how far it has got. */
static bool send_greeting(struct pipe *pipe) {
    if (source_is_pooled(pipe->source)) return true;
    if (source_is_standby(pipe->source))
        return prepare_plain(pipe, "place", place_sql) && prepare_plain(pipe, "still", still_sql) &&
               send_sync(pipe, NULL) && flush(pipe);
    if (!PQsendQueryParams(pipe->conn, "SELECT " SERVER_START ", NULL", 0, NULL, NULL, NULL, NULL,
                           0))
        return false;
    expect(pipe, (struct expectation){.kind = EXPECT_PLACE});
    return send_sync(pipe, NULL) && flush(pipe);
}

static bool send_prepared(struct pipe *pipe, const char *name, struct expectation like) {
    if (!PQsendQueryPrepared(pipe->conn, name, 0, NULL, NULL, NULL, 0)) return false;
    expect(pipe, like);
    return true;
}

/* Of a session these are the options that it is begun with (sources.c); a pooler would lend it to others afterwards. */
static bool send_settings(struct pipe *pipe, struct unit *unit) {
    const struct cache_config *config = pipe->config;
    char sql[256];
    int64_t timeout_ms =
        config->statement_timeout_ms ? config->statement_timeout_ms : config->fill_timeout_ms;
    snprintf(sql, sizeof sql,
             "SELECT " SERVER_START
             ", NULL, pg_catalog.set_config('statement_timeout', '%lld', true), "
             "pg_catalog.set_config('jit', 'off', true)",
             (long long)timeout_ms);
    if (!PQsendQueryParams(pipe->conn, sql, 0, NULL, NULL, NULL, NULL, 0)) return false;
    expect(pipe, (struct expectation){.kind = EXPECT_PLACE, .unit = unit});
    return true;
}

static void compose(struct pipe *pipe, const struct batch *batch) {
    pipe->scratch.len = 0;
    statement_compose(&batch->statement, &pipe->scratch);
}

static bool prepare(struct pipe *pipe, struct unit *unit, struct batch *batch,
                    struct prepared *slot) {
    if (slot->confirmed) {
        char deallocate[48];
        snprintf(deallocate, sizeof deallocate, "DEALLOCATE f%llu", (unsigned long long)slot->name);
        if (!send_plain(pipe, deallocate)) return false;
    }
    slot->name = ++pipe->last_name;
    slot->version = batch->statement.table->version;
    slot->confirmed = false;
    char name[24];
    snprintf(name, sizeof name, "f%llu", (unsigned long long)slot->name);
    compose(pipe, batch);
    if (!PQsendPrepare(pipe->conn, name, buf_text(&pipe->scratch), 0, NULL)) return false;
    expect(pipe, (struct expectation){
                     .kind = EXPECT_PREPARED, .unit = unit, .batch = batch, .slot_key = slot->key});
    return true;
}

static bool send_rows(struct pipe *pipe, const struct batch *batch, const struct prepared *slot,
                      int n, const char *const *params) {
    if (slot) {
        char name[24];
        snprintf(name, sizeof name, "f%llu", (unsigned long long)slot->name);
        return PQsendQueryPrepared(pipe->conn, name, n, params, NULL, NULL, 0);
    }
    compose(pipe, batch);
    return PQsendQueryParams(pipe->conn, buf_text(&pipe->scratch), n, NULL, params, NULL, NULL, 0);
}

/* One parameter's value: an array of all rows' values, or the one row's own. NUL-terminated. */
static void put_value(struct buf *literals, const struct batch *batch, uint16_t k) {
    if (batch->statement.way == STATEMENT_ONE) {
        buf_append_slice(literals, batch->fills[0]->row.values[k]);
        buf_append_char(literals, '\0');
        return;
    }
    pgarray_begin(literals);
    for (uint32_t i = 0; i < batch->n_fills; i++)
        pgarray_add(literals,
                    k < batch->fills[i]->row.n ? batch->fills[i]->row.values[k] : SLICE(""));
    pgarray_end(literals);
}

static bool send_batch(struct pipe *pipe, struct unit *unit, struct batch *batch) {
    bool pooled = source_is_pooled(pipe->source);
    struct prepared *slot = pooled ? NULL : make_slot(pipe, slot_key(batch));
    if (slot && slot->version != batch->statement.table->version &&
        !prepare(pipe, unit, batch, slot))
        return false;
    struct buf *literals = &pipe->literals;
    size_t starts[ROWKEY_MAX_COLUMNS];
    uint16_t n_values = batch->fills[0]->row.n;
    literals->len = 0;
    if (n_values == 0) n_values = 1; /* a named query without parameters */
    for (uint16_t k = 0; k < n_values; k++) {
        starts[k] = literals->len;
        put_value(literals, batch, k);
    }
    const char *params[ROWKEY_MAX_COLUMNS];
    for (uint16_t k = 0; k < n_values; k++)
        params[k] = literals->data + starts[k];
    if (!send_rows(pipe, batch, slot, n_values, params)) return false;
    expect(pipe, (struct expectation){.kind = EXPECT_ROWS,
                                      .unit = unit,
                                      .batch = batch,
                                      .slot_key = slot ? slot->key : 0});
    return true;
}

static bool send_batches(struct pipe *pipe, struct unit *unit) {
    for (uint32_t i = 0; i < unit->n_batches; i++) {
        if (!send_batch(pipe, unit, &unit->batches[i])) return false;
    }
    return true;
}

/* TRUNCATE empties a table for older snapshots too. So the tables of several statements are held before the first of them takes the
 * snapshot for all. What a named query reads is not known here. */
static bool send_locks(struct pipe *pipe, struct unit *unit) {
    struct buf sql = {0};
    for (uint32_t i = 0; i < unit->n_batches; i++) {
        const struct table *table = unit->batches[i].statement.table;
        if (table->query || !table->lockable) continue;
        buf_append_text(&sql, sql.len ? ", " : "LOCK TABLE ");
        if (!table->partitioned) buf_append_text(&sql, "ONLY ");
        pg_quote_table(&sql, table->schema, table->name);
    }
    bool sent = true;
    if (sql.len) {
        buf_append_text(&sql, " IN ACCESS SHARE MODE");
        sent = PQsendQueryParams(pipe->conn, buf_text(&sql), 0, NULL, NULL, NULL, NULL, 0);
        if (sent) expect(pipe, (struct expectation){.kind = EXPECT_IGNORED, .unit = unit});
    }
    buf_deinit(&sql);
    return sent;
}

static bool send_pooled(struct pipe *pipe, struct unit *unit) {
    const char *begin = unit->n_batches > 1 ? "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
                                            : "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY";
    bool locked = unit->n_batches > 1;
    return send_plain(pipe, begin) && (!locked || send_locks(pipe, unit)) &&
           send_settings(pipe, unit) && send_batches(pipe, unit) && send_plain(pipe, "COMMIT") &&
           send_sync(pipe, unit) && flush(pipe);
}

/* How far it has replayed, in a transaction of its own: what is read there must not be seen by an older snapshot's rows.
 * And behind the rows whether it is a standby yet: then no commit of its own was among them. */
static bool send_place(struct pipe *pipe, struct unit *unit) {
    return !source_is_standby(pipe->source) ||
           (send_prepared(pipe, "place",
                          (struct expectation){.kind = EXPECT_PLACE, .unit = unit}) &&
            send_sync(pipe, NULL));
}

static bool send_still(struct pipe *pipe, struct unit *unit) {
    return !source_is_standby(pipe->source) ||
           send_prepared(pipe, "still", (struct expectation){.kind = EXPECT_STILL, .unit = unit});
}

/* An error within BEGIN leaves the session in a failed transaction, which the ROLLBACK ends; else it does nothing. */
static bool send_unit(struct pipe *pipe, struct unit *unit) {
    bool transaction = unit->n_batches > 1;
    if (source_is_pooled(pipe->source)) return send_pooled(pipe, unit);
    if (!send_place(pipe, unit)) return false;
    if (transaction && !(send_plain(pipe, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") &&
                         send_locks(pipe, unit)))
        return false;
    if (!send_batches(pipe, unit)) return false;
    if (transaction && !send_plain(pipe, "COMMIT")) return false;
    if (!send_still(pipe, unit) || !send_sync(pipe, unit)) return false;
    if (transaction && !(send_plain(pipe, "ROLLBACK") && send_sync(pipe, NULL))) return false;
    return flush(pipe);
}

void pipe_send(struct pipe *pipe, struct unit *unit) {
    ASSERT(pipe->state == PIPE_READY);
    pipe->in_flight++;
    if (!send_unit(pipe, unit)) {
        /* Half a unit went out: the connection is of no use any more. Told from the loop, not from in here. */
        pipe->broken = true;
        loop_watch_events(pipe->loop, &pipe->watch, LOOP_READ | LOOP_WRITE);
    }
}

#include "cache/writes/wire.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

struct wire {
    struct loop *loop;
    struct wire_events events;
    enum wire_state state;
    PGconn *conn;
    struct loop_watch watch;
    bool watching;
    bool broken;      /* sending failed: to be closed from the loop */
    PGresult *result; /* of the statement that is being answered */
    char cause[512];
};

struct wire *wire_create(struct loop *loop, const struct wire_events *events) {
    struct wire *wire = mem_zalloc(sizeof *wire);
    wire->loop = loop;
    wire->events = *events;
    return wire;
}

enum wire_state wire_state(const struct wire *wire) { return wire->state; }

/* ---- closing ---- */

static void stop_watching(struct wire *wire) {
    if (!wire->watching) return;
    loop_unwatch(wire->loop, &wire->watch);
    close(wire->watch.fd);
    wire->watching = false;
}

static void close_connection(struct wire *wire) {
    stop_watching(wire);
    PQclear(wire->result);
    wire->result = NULL;
    if (wire->conn) PQfinish(wire->conn);
    wire->conn = NULL;
    wire->state = WIRE_DOWN;
    wire->broken = false;
}

void wire_destroy(struct wire **wire) {
    if (!*wire) return;
    close_connection(*wire);
    mem_free(*wire);
    *wire = NULL;
}

void wire_break(struct wire *wire, const char *cause) {
    /* The cause may lie in the connection that is closed now. */
    snprintf(wire->cause, sizeof wire->cause, "%s", cause[0] ? cause : "the connection was lost");
    for (char *c = wire->cause; *c; c++) {
        if (*c == '\n') *c = c[1] ? ' ' : '\0';
    }
    close_connection(wire);
    wire->events.down(wire->events.owner, wire, wire->cause);
}

/* ---- receiving ---- */

/* One step of libpq's results. False: nothing more is here now. */
static bool receive_one(struct wire *wire) {
    if (PQisBusy(wire->conn)) return false;
    PGresult *result = PQgetResult(wire->conn);
    if (!result) {
        /* NULL ends a statement; with no result before it there was nothing to read. */
        if (!wire->result) return false;
        wire->events.result(wire->events.owner, wire, &wire->result);
        PQclear(wire->result);
        wire->result = NULL;
        return true;
    }
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
        PQclear(wire->result);
        wire->result = result;
        return true;
    }
    PQclear(result);
    wire->events.synced(wire->events.owner, wire);
    return true;
}

static bool flush(struct wire *wire) {
    int left = PQflush(wire->conn);
    if (left < 0) return false;
    loop_watch_events(wire->loop, &wire->watch, left ? LOOP_READ | LOOP_WRITE : LOOP_READ);
    return true;
}

static void on_ready(void *arg, unsigned events) {
    struct wire *wire = arg;
    (void)events;
    bool lost = wire->broken || !PQconsumeInput(wire->conn);
    /* What an event runs may close the connection; and what came before the loss counts. */
    while (wire->state == WIRE_READY && receive_one(wire)) {
    }
    if (wire->state != WIRE_READY) return;
    if (lost || PQstatus(wire->conn) != CONNECTION_OK || !flush(wire))
        wire_break(wire, PQerrorMessage(wire->conn));
}

/* ---- connecting ---- */

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

static void on_connecting(void *arg, unsigned events);

static bool start_watching(struct wire *wire, unsigned events,
                           void (*fire)(void *arg, unsigned events)) {
    stop_watching(wire);
    /* A descriptor of our own: libpq closes its one as soon as it finds the connection lost. */
    int fd = PQsocket(wire->conn) < 0 ? -1 : fcntl(PQsocket(wire->conn), F_DUPFD_CLOEXEC, 0);
    wire->watch = (struct loop_watch){fd, events, fire, wire};
    struct error err = {0};
    if (fd >= 0 && loop_watch(wire->loop, &wire->watch, &err)) {
        wire->watching = true;
        return true;
    }
    if (fd >= 0) close(fd);
    wire_break(wire, err.message[0] ? err.message : PQerrorMessage(wire->conn));
    return false;
}

static void go_on_connecting(struct wire *wire) {
    switch (PQconnectPoll(wire->conn)) {
    case PGRES_POLLING_READING: start_watching(wire, LOOP_READ, on_connecting); return;
    case PGRES_POLLING_WRITING: start_watching(wire, LOOP_WRITE, on_connecting); return;
    case PGRES_POLLING_OK: break;
    default: wire_break(wire, PQerrorMessage(wire->conn)); return;
    }
    PQsetNoticeReceiver(wire->conn, ignore_notice, NULL);
    if (PQsetnonblocking(wire->conn, 1) != 0 || !PQenterPipelineMode(wire->conn)) {
        wire_break(wire, PQerrorMessage(wire->conn));
        return;
    }
    if (!start_watching(wire, LOOP_READ, on_ready)) return;
    wire->state = WIRE_READY;
    wire->events.up(wire->events.owner, wire);
}

static void on_connecting(void *arg, unsigned events) {
    (void)events;
    go_on_connecting(arg);
}

void wire_connect(struct wire *wire, const char *conninfo) {
    ASSERT(wire->state == WIRE_DOWN);
    wire->state = WIRE_CONNECTING;
    wire->conn = PQconnectStart(conninfo);
    ASSERT(wire->conn);
    if (PQstatus(wire->conn) == CONNECTION_BAD)
        wire_break(wire, PQerrorMessage(wire->conn));
    else /* as libpq has it: behave as if PQconnectPoll had just asked to write */
        start_watching(wire, LOOP_WRITE, on_connecting);
}

/* ---- sending ---- */

/* Half a conversation went out: the connection is of no use any more. Told from the loop, not from in here. */
static void give_up(struct wire *wire) {
    wire->broken = true;
    loop_watch_events(wire->loop, &wire->watch, LOOP_READ | LOOP_WRITE);
}

void wire_query(struct wire *wire, const char *sql, int n, const char *const *parameters) {
    ASSERT(wire->state == WIRE_READY);
    if (!PQsendQueryParams(wire->conn, sql, n, NULL, parameters, NULL, NULL, 0)) give_up(wire);
}

void wire_sync(struct wire *wire) {
    if (wire->broken || !PQpipelineSync(wire->conn) || !flush(wire)) give_up(wire);
}

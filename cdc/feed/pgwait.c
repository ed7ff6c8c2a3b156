#include "cdc/feed/pgwait.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

bool pgwait_poll(const struct pgwait *wait, int fd, short events, int timeout_ms,
                 struct error *err) {
    struct pollfd fds[2] = {{.fd = wait->stop_fd, .events = POLLIN}, {.fd = fd, .events = events}};
    if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR)
        return error_set(err, ERROR_SYSTEM, true, "poll: %s", strerror(errno));
    if (fds[0].revents) return error_set(err, ERROR_STOPPED, false, "stopped");
    return true;
}

static bool turn(const struct pgwait *wait, int64_t began_us, struct error *err) {
    return !wait->turn || wait->turn(wait->arg, clock_mono_us() - began_us, err);
}

bool pgwait_pause(const struct pgwait *wait, int ms, struct error *err) {
    int64_t began_us = clock_mono_us();
    int64_t left_ms;
    while ((left_ms = ms - (clock_mono_us() - began_us) / 1000) > 0) {
        int timeout_ms = left_ms < PGWAIT_TURN_MS ? (int)left_ms : PGWAIT_TURN_MS;
        if (!pgwait_poll(wait, -1, 0, timeout_ms, err) || !turn(wait, began_us, err)) return false;
    }
    return true;
}

/* The steps of PQconnectPoll under a deadline of our own: libpq's connect_timeout is for its blocking call. */
static bool finish_connect(const struct pgwait *wait, PGconn *conn, int timeout_s,
                           struct error *err) {
    int64_t began_us = clock_mono_us();
    int64_t deadline_us = began_us + (int64_t)timeout_s * 1000000;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (status != PGRES_POLLING_OK) {
        if (status == PGRES_POLLING_FAILED || PQstatus(conn) == CONNECTION_BAD)
            return pg_error(err, conn, NULL, "connecting to PostgreSQL");
        if (clock_mono_us() > deadline_us)
            return error_set(err, ERROR_UNAVAILABLE, true,
                             "connecting to PostgreSQL: no answer within %d s", timeout_s);
        struct pollfd fd = {.fd = PQsocket(conn),
                            .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
        if (!pgwait_poll(wait, fd.fd, fd.events, PGWAIT_TURN_MS, err)) return false;
        if (!turn(wait, began_us, err)) return false;
        if (poll(&fd, 1, 0) > 0) status = PQconnectPoll(conn);
    }
    return true;
}

static void ignore_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

static PGconn *connect_to(const struct pgwait *wait, const char *url,
                          const struct pg_options *options, int timeout_s, struct error *err) {
    char *conninfo = pg_conninfo(url, options, err);
    if (!conninfo) return NULL;
    PGconn *conn = PQconnectStart(conninfo);
    mem_free(conninfo);
    if (!finish_connect(wait, conn, timeout_s, err)) {
        PQfinish(conn);
        return NULL;
    }
    PQsetNoticeReceiver(conn, ignore_notice, NULL);
    return conn;
}

/* One host after the other, each with a time of its own: a machine that is gone does not stand in the way of the next. */
PGconn *pgwait_connect(const struct pgwait *wait, const char *url, const struct pg_options *options,
                       struct error *err) {
    enum { DEFAULT_TIMEOUT_S = 10, ONE_OF_SEVERAL_TIMEOUT_S = 3 };
    struct pg_options one = *options;
    uint32_t n = pg_count_hosts(url);
    int timeout_s = options->connect_timeout_s;
    if (!timeout_s) timeout_s = pg_connect_timeout_s(url);
    if (!timeout_s) timeout_s = n > 1 ? ONE_OF_SEVERAL_TIMEOUT_S : DEFAULT_TIMEOUT_S;
    for (uint32_t i = 1; i <= n; i++) {
        one.host_number = n > 1 ? i : 0;
        PGconn *conn = connect_to(wait, url, &one, timeout_s, err);
        if (conn || err->code == ERROR_STOPPED) return conn;
    }
    return NULL;
}

/* A backend that waits for a lock does not notice that its client went away: tell it. */
static void cancel(PGconn *conn) {
    PGcancel *handle = PQgetCancel(conn);
    char reason[256];
    if (handle) PQcancel(handle, reason, sizeof reason);
    PQfreeCancel(handle);
}

static bool wait_for_result(const struct pgwait *wait, PGconn *conn, const char *what,
                            struct error *err) {
    int64_t began_us = clock_mono_us();
    while (PQisBusy(conn)) {
        if (!pgwait_poll(wait, PQsocket(conn), POLLIN, PGWAIT_TURN_MS, err) ||
            !turn(wait, began_us, err)) {
            cancel(conn);
            return false;
        }
        if (!PQconsumeInput(conn)) return pg_error(err, conn, NULL, what);
    }
    return true;
}

PGresult *pgwait_query(const struct pgwait *wait, PGconn *conn, const char *sql,
                       struct error *err) {
    char what[80];
    snprintf(what, sizeof what, "%.70s%s", sql, strlen(sql) > 70 ? "..." : "");
    if (!PQsendQuery(conn, sql)) {
        pg_error(err, conn, NULL, what);
        return NULL;
    }
    if (!wait_for_result(wait, conn, what, err)) return NULL;
    PGresult *result = PQgetResult(conn);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) return result;
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        pg_error(err, conn, result, what);
        PQclear(result);
        return NULL;
    }
    /* The end of the query: a NULL behind the result. */
    while (wait_for_result(wait, conn, what, err)) {
        PGresult *more = PQgetResult(conn);
        if (!more) return result;
        PQclear(more);
    }
    PQclear(result);
    return NULL;
}

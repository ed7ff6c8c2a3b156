/* pgwait.h: libpq's long waits for a feed: they end early when the feed is stopped, and each turn of waiting
 * somebody is told, who can keep a sink alive or say what is being waited for.
 *
 *     struct pgwait wait = {.stop_fd = fd, .turn = on_turn, .arg = self};
 *     PGconn *conn = pgwait_connect(&wait, url, &options, err);
 *     PGresult *result = pgwait_query(&wait, conn, "CREATE_REPLICATION_SLOT ...", err);
 *
 * Results and errors are those of base/pg.h; a stop gives ERROR_STOPPED and cancels what the server was doing. */
#ifndef FRESHET_CDC_PGWAIT_H
#define FRESHET_CDC_PGWAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/pg.h"

struct pgwait {
    int stop_fd; /* readable: stop. Never read here */
    /* Each turn of a wait (at most PGWAIT_TURN_MS apart), with the time waited so far. May end it by false. NULL:
     * nobody is told. */
    bool (*turn)(void *arg, int64_t waited_us, struct error *err);
    void *arg;
};

enum { PGWAIT_TURN_MS = 40 };

PGconn *pgwait_connect(const struct pgwait *wait, const char *url, const struct pg_options *options,
                       struct error *err);
/* One statement; the result is the caller's. Also for those that begin a COPY: status PGRES_COPY_OUT or
 * PGRES_COPY_BOTH is then a success. */
PGresult *pgwait_query(const struct pgwait *wait, PGconn *conn, const char *sql, struct error *err);

/* Waits so long, with turns. False: a stop. */
bool pgwait_pause(const struct pgwait *wait, int ms, struct error *err) MUST_CHECK;

/* Waits until the descriptor has one of `events` (poll(2)), it is time for a turn, or a stop. False: a stop. */
bool pgwait_poll(const struct pgwait *wait, int fd, short events, int timeout_ms,
                 struct error *err) MUST_CHECK;

#endif

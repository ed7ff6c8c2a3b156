/* wire.h: one non-blocking connection to PostgreSQL in pipeline mode, on a worker's loop, for one conversation at a time:
 * statements go out without waiting, their results come back in order, one a statement, then the end of what was sent.
 *
 *     wire_connect(wire, conninfo);               events.up, or events.down with the cause
 *     wire_query(wire, "BEGIN", 0, NULL);  wire_query(...);  wire_sync(wire);
 *     events.result(owner, wire, &result)         once a statement, an error's statement and those behind it included
 *     events.synced(owner, wire)
 *
 * All on the loop's thread; events never from within wire_query and wire_sync: a connection that fails there is told of
 * from the loop. */
#ifndef FRESHET_CACHE_WIRE_H
#define FRESHET_CACHE_WIRE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/loop.h"

struct wire;

struct wire_events {
    void (*up)(void *owner, struct wire *wire);
    void (*down)(void *owner, struct wire *wire, const char *cause);
    void (*result)(void *owner, struct wire *wire, PGresult **result); /* takes it, or leaves it */
    void (*synced)(void *owner, struct wire *wire);
    void *owner;
};

enum wire_state { WIRE_DOWN, WIRE_CONNECTING, WIRE_READY };

struct wire *wire_create(struct loop *loop, const struct wire_events *events);
void wire_destroy(struct wire **wire);
enum wire_state wire_state(const struct wire *wire);
/* May call `down` at once, as the next. */
void wire_connect(struct wire *wire, const char *conninfo);
void wire_break(struct wire *wire, const char *cause);
/* Texts, NUL-terminated; borrowed for the call. */
void wire_query(struct wire *wire, const char *sql, int n, const char *const *parameters);
void wire_sync(struct wire *wire);

#endif

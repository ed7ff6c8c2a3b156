/* pipe.h: one non-blocking connection to PostgreSQL in pipeline mode, on a worker's loop. It sends units of statements
 * without waiting for their answers, and gives each back once with its results.
 *
 *     struct pipe *pipe = pipe_create(loop, config, source, &events);
 *     pipe_connect(pipe);                            events.up, or events.down with the cause
 *     pipe_send(pipe, unit);                         events.done(owner, pipe, unit); or down: the units in flight were lost
 *     pipe_destroy(&pipe);
 *
 * Statements are prepared once a connection and description of the table, and again when the description has changed or the
 * server will not have the plan any more. Each unit comes back with what its server was: of the primary, when it was started;
 * of a standby also up to where it had replayed before the rows were read, and whether it was one still when they had been.
 *
 * Through a pooler in transaction mode each unit is a transaction that brings its own settings, and nothing is prepared.
 * Everything is called on the loop's thread; events never from within pipe_send. */
#ifndef FRESHET_CACHE_PIPE_H
#define FRESHET_CACHE_PIPE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "cache/rows/batch.h"
#include "cache/rows/flights.h"
#include "cache/rows/sources.h"

struct pipe;

/* What goes out together and is answered together: one batch, or several in one REPEATABLE READ transaction. */
struct unit {
    struct unit *prev, *next; /* the loader's */
    struct pipe *pipe;
    uint64_t number; /* of the worker's fillclock */
    int64_t sent_us;
    uint32_t n_fills;
    struct fill **fills;
    uint32_t n_batches;
    struct batch *batches;
    PGresult *error;         /* the first error; NULL: none */
    int64_t served;          /* source_serves when it was sent: the loader's */
    int64_t server_start_us; /* 0: not told */
    uint64_t replayed_lsn;   /* of a standby */
    bool is_standby;         /* still, behind its rows */
};

struct pipe_events {
    void (*up)(void *owner, struct pipe *pipe);
    /* The units in flight were lost: they are the owner's again, who kept a list of them. */
    void (*down)(void *owner, struct pipe *pipe, const char *cause);
    void (*done)(void *owner, struct pipe *pipe, struct unit *unit);
    void *owner;
};

enum { PIPE_UNITS = 2 }; /* in flight, at most: under load the others gather meanwhile */

enum pipe_state { PIPE_DOWN, PIPE_CONNECTING, PIPE_READY };

struct pipe *pipe_create(struct loop *loop, const struct cache_config *config,
                         struct source *source, const struct pipe_events *events);
void pipe_destroy(struct pipe **pipe);

enum pipe_state pipe_state(const struct pipe *pipe);
uint32_t pipe_in_flight(const struct pipe *pipe);
/* Is there room for another unit: may it go out before the last is back? */
bool pipe_has_room(const struct pipe *pipe);
struct source *pipe_source(const struct pipe *pipe);
/* Does it lead, or has it led, to the server where the source is now? */
bool pipe_is_current(const struct pipe *pipe);
/* May call `down` at once. */
void pipe_connect(struct pipe *pipe);
/* Closes it; `down` is called with that cause. */
void pipe_break(struct pipe *pipe, const char *cause);
void pipe_send(struct pipe *pipe, struct unit *unit);

#endif

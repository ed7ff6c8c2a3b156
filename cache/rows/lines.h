/* lines.h: a worker's connections to the servers that rows are read from: database.pool of them to each at most, made when
 * those that are there have work.
 *
 *     lines = lines_create(core, loop, seed, &events);
 *     if (lines_pick(lines, i, table, now_us, &pipe) == LINES_PICKED) ...    of source i, with room for a unit of that table
 *     lines_sent(lines, pipe, table, now_us);
 *     lines_watch(lines, now_us);                 at intervals while any is wanted
 *
 * One that fails is made again with a jittered backoff; one that leads where its source is not any more is broken.
 *
 * A slow query, or a table that somebody has locked, holds up nobody but those who ask for it: once a statement of it has been in
 * flight for longer than LINES_SLOW_US, it gets a further connection only while more of them are idle than it holds, and goes behind
 * no other's statement; behind a slow one, or one of a named query, goes nothing of others. On the worker's thread. */
#ifndef FRESHET_CACHE_LINES_H
#define FRESHET_CACHE_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "cache/rows/core.h"
#include "cache/rows/pipe.h"
#include "cache/rows/tablemap.h"

struct lines;

struct lines_events {
    void (*up)(void *owner);
    /* The units in flight on it are the owner's again. */
    void (*down)(void *owner, struct pipe *pipe, const char *cause);
    void (*done)(void *owner, struct pipe *pipe, struct unit *unit);
    void *owner;
};

struct lines *lines_create(struct core *core, struct loop *loop, unsigned seed,
                           const struct lines_events *events);
void lines_destroy(struct lines **lines);

enum { LINES_SLOW_US = 1000 };

enum lines_picked {
    LINES_PICKED,
    LINES_FULL,   /* no connection has room for it */
    LINES_SHARED, /* it has its share of them; what is left is for others */
};

enum lines_picked lines_pick(struct lines *lines, uint32_t source, const struct table *table,
                             int64_t now_us, struct pipe **pipe);
void lines_sent(struct lines *lines, const struct pipe *pipe, const struct table *table,
                int64_t now_us);
/* Is any to this source up? And units in flight on them. */
bool lines_are_up(const struct lines *lines, uint32_t source);
uint32_t lines_in_flight(const struct lines *lines, uint32_t source);
bool lines_are_connecting(const struct lines *lines);
void lines_watch(struct lines *lines, int64_t now_us);
/* Why there is none to the primary, or "". */
const char *lines_cause(const struct lines *lines);

#endif

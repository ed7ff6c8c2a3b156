/* loader.h: a worker's few connections to the database, and the rows that wait to be read over them.
 *
 *     loader_submit(loader, fills, n);     to be seen by one snapshot, all of them
 *     loader_pump(loader);                 at the end of a turn: sends what the connections have room for
 *
 * What waits is sent as few statements: all that wait for one table in one form go into one. A connection has at most
 * a few statements in flight; under load the others gather meanwhile, so the statements grow instead of the queue.
 *
 * A connection that fails is made again with a jittered backoff, and its rows are read over another. On the worker's thread. */
#ifndef FRESHET_CACHE_LOADER_H
#define FRESHET_CACHE_LOADER_H

#include "base/error.h"
#include "cache/rows/core.h"
#include "cache/rows/flights.h"

struct loader;

struct loader *loader_create(struct keyspace *owner);
/* Drops what waits and what is in flight; nobody is told. */
void loader_destroy(struct loader **loader);

/* Takes the fills (the array is borrowed). */
void loader_submit(struct loader *loader, struct fill **fills, uint32_t n);
/* The same, to be sent no earlier than not_before_us. */
void loader_submit_at(struct loader *loader, struct fill **fills, uint32_t n,
                      int64_t not_before_us);
void loader_pump(struct loader *loader);

/* Why rows do not come, in a few words. Valid until the next call. */
const char *loader_trouble(struct loader *loader);

#endif

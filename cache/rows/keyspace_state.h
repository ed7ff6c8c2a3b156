/* keyspace_state.h: a worker's side of read-through, shared by keyspace.c, fetch.c, loader.c and fill.c alone. All of it
 * belongs to the worker's thread. */
#ifndef FRESHET_CACHE_KEYSPACE_STATE_H
#define FRESHET_CACHE_KEYSPACE_STATE_H

#include "base/buf.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "cache/rows/ahead.h"
#include "cache/rows/core.h"

struct loader;
struct writer;
struct wait;
struct waiter;
struct worker;

/* Cells that this worker alone writes. */
struct keyspace_metrics {
    struct metric *hits, *negative_hits, *misses, *bypassed, *refused;
};

struct keyspace {
    struct core *core;
    struct worker *worker;
    struct loop *loop;
    uint32_t index;
    struct tablemap *map; /* held; NULL: not known yet */
    struct loader *loader;
    struct writer *writer; /* NULL until something is written through */
    struct keyspace_metrics count;
    struct wait *gathered; /* of this turn, newest first */
    struct wait *renewing; /* refreshes that this turn's reads have found due */
    struct ahead ahead;
    uint64_t random;    /* splitmix64's state */
    struct wait *waits; /* under way */
    struct waiter *waiters;
    uint32_t n_wanted;  /* keys of all waits */
    uint32_t n_soon;    /* waits that no client waits for: fetch_want_soon */
    struct buf failure; /* the last error text that keyspace_read answered with */
    struct buf scratch;
};

#endif

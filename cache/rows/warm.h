/* warm.h: a warm start: the names of the hottest rows go to a file now and then and at a clean stop (cache.warm), and are read from
 * the database again at the next start, at a bounded rate, as if clients asked for them. No stored value is ever trusted:
 * what comes into memory comes by a fill, under all of its rules.
 *
 *     warm = warm_create(core);            NULL where none is configured; the calls below take that
 *     warm_start(warm, err);               a thread of its own: the file is slow
 *     warm_tick(warm, keyspace, now_us);   each worker, about every 100 ms
 *     warm_stop(warm);                     saves; the store is still whole
 *
 * A file that cannot be read, or is none, is a warning and a metric, and the start is a cold one. */
#ifndef FRESHET_CACHE_WARM_H
#define FRESHET_CACHE_WARM_H

#include "base/error.h"
#include "cache/rows/core.h"
#include "cache/rows/keyspace.h"

struct warm;

struct warm *warm_create(struct core *core);
void warm_destroy(struct warm **warm);
bool warm_start(struct warm *warm, struct error *err) MUST_CHECK;
void warm_stop(struct warm *warm);
void warm_tick(struct warm *warm, struct keyspace *keyspace, int64_t now_us);

#endif

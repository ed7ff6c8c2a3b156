/* reaper.h: deletes the rows that have ended by their ttl_column, where a table's configuration asks for it
 * (cache.tables.NAME.delete_expired): few at a time, at a bounded rate, with a connection and a thread of its own.
 *
 *     reaper = reaper_create(core);      NULL: no table asks
 *     reaper_start(reaper, err);  ...  reaper_stop(reaper);
 *
 * A batch is one transaction. It passes over rows that others have locked, so several caches may do this beside each other, and
 * no writer waits for more than a batch. The deletes come back by the change stream, as anybody's. */
#ifndef FRESHET_CACHE_REAPER_H
#define FRESHET_CACHE_REAPER_H

#include <stdbool.h>

#include "base/error.h"
#include "cache/rows/core.h"

struct reaper;

struct reaper *reaper_create(struct core *core);
void reaper_destroy(struct reaper **reaper);
/* Both do nothing with NULL. */
bool reaper_start(struct reaper *reaper, struct error *err) MUST_CHECK;
void reaper_stop(struct reaper *reaper);

#endif

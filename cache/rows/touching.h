/* touching.h: which tables and keys a change of the stream touches: its row's by the primary key, old and new; the unique keys by which it is found from
 * now on; the results of named queries that depend on it.
 *
 *     table = touching_table(touching, map, relation);            NULL: no rows of it are ever kept
 *     touching_change(touching, map, change, &touched);
 *     touching_forget(touching);                                  the stream's relations are another session's
 *
 * What a relation's columns mean is remembered until it, or the map, changes. One thread's. */
#ifndef FRESHET_CACHE_TOUCHING_H
#define FRESHET_CACHE_TOUCHING_H

#include "base/change.h"
#include "cache/rows/core.h"
#include "cache/rows/touched.h"

struct touching;

struct touching *touching_create(const struct core *core);
void touching_destroy(struct touching **touching);
void touching_forget(struct touching *touching);

/* `map` may be NULL: there is none yet. */
const struct table *touching_table(struct touching *touching, const struct tablemap *map,
                                   const struct relation *relation);
/* Notes the table, and the queries that depend on it, as touched whole. */
void touching_whole(const struct table *table, struct touched *touched);
/* Of a row, or a TRUNCATE. */
void touching_change(struct touching *touching, const struct tablemap *map,
                     const struct change *change, struct touched *touched);

#endif

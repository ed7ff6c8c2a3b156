/* fill.h: one row on its way from the database: made of a key, answered by a row of a result, given to who waits.
 *
 *     fill = fill_create(core, owner, map, table, key, hash, form, &row, ...);
 *     fill_answer(core, fill, &read, &snapshot, now_us)      -> FILL_DONE: it is freed; FILL_AGAIN: to be sent again
 *     fill_fail(core, fill, "ERR ...")                       everyone who waits gets the error; it is freed
 *
 * On its owner's thread. */
#ifndef FRESHET_CACHE_FILL_H
#define FRESHET_CACHE_FILL_H

#include "cache/rows/batch.h"
#include "cache/rows/core.h"
#include "cache/rows/flights.h"
#include "cache/rows/keep.h"

/* Copies key and values; holds the map. */
struct fill *fill_create(struct keyspace *owner, struct tablemap *map, const struct table *table,
                         struct slice key, uint64_t hash, enum key_form form,
                         const struct rowkey *row, int64_t deadline_us);
void fill_destroy(struct fill **fill);

/* The table was described anew: finds it in the newer map and reads the key again. False: it is no row any more. */
bool fill_remap(struct fill *fill, struct tablemap *map);

/* Rule 6: who may have the answer of an attempt that was sent before they came: all, if it was kept (it has then seen
 * everything that is applied) and what is applied is fresh enough. */
enum flight_answer fill_shares(const struct core *core, enum keep_outcome outcome, int64_t now_us);

enum fill_next { FILL_DONE, FILL_AGAIN };

enum fill_next fill_answer(struct core *core, struct fill **fill, const struct batch_row *read,
                           const struct pgsnapshot *snapshot, int64_t now_us);
/* Has the standby of which this was read replayed whatever touched the row? */
bool fill_admits(struct core *core, const struct fill *fill, const struct batch_row *read,
                 const struct pgsnapshot *snapshot);
void fill_fail(struct core *core, struct fill **fill, const char *text);

#endif

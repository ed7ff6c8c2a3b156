/* told.h: telling those who keep rows elsewhere (CLIENT TRACKING) or watch them (WATCH) what the store does not tell: changes that
 * take rows out of use without removing them one by one.
 *
 *     tablestate_bump(state);  told_table(core, table);      in this order: who registers later reads past the bump
 *
 * Any thread that holds no shard's lock. Costs one atomic read where nobody tracks or watches. */
#ifndef FRESHET_CACHE_TOLD_H
#define FRESHET_CACHE_TOLD_H

#include "cache/rows/core.h"

/* A table was evicted as a whole. */
void told_table(struct core *core, const struct table *table);
/* The same by its number; a table that is no longer mapped counts as any. */
void told_number(struct core *core, uint32_t number);
/* All tables: the stream began anew. Any key that could be a row's is told. */
void told_all_rows(struct core *core);
/* At intervals, on one thread: once the staleness lease has lapsed, what clients keep at home is as unproven as what is in memory. */
void told_of_lease(struct core *core, int64_t now_us);

#endif

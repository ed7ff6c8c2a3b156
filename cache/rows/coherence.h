/* coherence.h: the change sink of the cache: evicts what committed transactions touched. The evicting half of the rules;
 * keep.h is the installing one.
 *
 *     coherence = coherence_create(core);
 *     struct change_sink sink = coherence_sink(coherence);      its calls come from the feed's one thread
 *
 * A commit is applied in this order: under each key's shard lock the transaction is noted in the recent set and the
 * key's entries go; whole tables are fenced, then get a new generation; then the applied LSN advances, and only that is
 * confirmed to the server. */
#ifndef FRESHET_CACHE_COHERENCE_H
#define FRESHET_CACHE_COHERENCE_H

#include "base/change.h"
#include "cache/rows/core.h"
#include "cache/rows/touched.h"

struct coherence;

struct coherence *coherence_create(struct core *core);
void coherence_destroy(struct coherence **coherence);
struct change_sink coherence_sink(struct coherence *coherence);

/* What a commit does, for own writes too: any thread that holds no lock. */
void coherence_apply(struct core *core, const struct touched *touched, uint64_t xid);
/* What was touched goes, whoever it shows; that no older row is kept after that is not seen to. */
void coherence_evict(struct core *core, const struct touched *touched);
/* Every entry of every table goes, nothing is kept until rule 5 has been passed again. */
void coherence_reset(struct core *core);

#endif

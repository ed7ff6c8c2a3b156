/* forgetting.h: rule 4 of coherence: a transaction leaves the recent set, and a fence its table, once a snapshot sees it
 * and every fill that was in flight when that snapshot came is over. An older one may still bring a row from before.
 *
 *     if (!forgetting_waits(&forgetting)) forgetting_begin(core, &forgetting, &snapshot);     takes the snapshot
 *     forgetting_go_on(core, &forgetting);                                                    as often as one likes
 *
 * The pulse's thread alone; fills are told of by core's fill clocks. */
#ifndef FRESHET_CACHE_FORGETTING_H
#define FRESHET_CACHE_FORGETTING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pgsnapshot.h"
#include "cache/rows/core.h"

/* All zero: nothing waits. */
struct forgetting {
    bool waits; /* for older fills to end */
    struct pgsnapshot snapshot;
    uint64_t after[CORE_CLOCKS]; /* fills begun before the snapshot came, a worker */
};

static inline bool forgetting_waits(const struct forgetting *forgetting) {
    return forgetting->waits;
}
void forgetting_begin(struct core *core, struct forgetting *forgetting,
                      struct pgsnapshot *snapshot);
void forgetting_go_on(struct core *core, struct forgetting *forgetting);
void forgetting_deinit(struct forgetting *forgetting);

#endif

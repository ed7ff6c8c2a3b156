/* pgsnapshot.h: what pg_current_snapshot() prints, "xmin:xmax:xid,xid,...", and the one question put to it.
 *
 *     struct pgsnapshot snapshot;
 *     if (!pgsnapshot_parse(text, &snapshot)) ...            malformed
 *     if (pgsnapshot_sees(&snapshot, xid)) ...
 *     pgsnapshot_deinit(&snapshot);
 *
 * Transaction ids are 64-bit, epoch included. On a primary alone: on a standby the answer would be wrong, since
 * transactions in progress look finished there. */
#ifndef FRESHET_CACHE_PGSNAPSHOT_H
#define FRESHET_CACHE_PGSNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { PGSNAPSHOT_MAX_RUNNING = 1 << 20 };

struct pgsnapshot {
    uint64_t xmin; /* all below are finished */
    uint64_t xmax; /* none from here on is */
    uint32_t n_running;
    uint64_t *running; /* ascending, between the two; owned */
};

/* False: not a snapshot; nothing to deinit then. */
bool pgsnapshot_parse(struct slice text, struct pgsnapshot *snapshot);
void pgsnapshot_deinit(struct pgsnapshot *snapshot);

/* Is the top-level transaction over in this snapshot? Of one that is known to have committed: are its rows seen? */
bool pgsnapshot_sees(const struct pgsnapshot *snapshot, uint64_t xid);

#endif

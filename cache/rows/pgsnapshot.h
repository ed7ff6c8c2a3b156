/* pgsnapshot.h: what pg_current_snapshot() prints, "xmin:xmax:xid,xid,...", and the one question put to it.
 *
 *     struct pgsnapshot snapshot;
 *     if (!pgsnapshot_parse(text, &snapshot)) ...            malformed
 *     if (pgsnapshot_sees(&snapshot, xid)) ...
 *     pgsnapshot_deinit(&snapshot);
 *
 * Transaction ids are 64-bit, epoch included. They are of use on a primary alone: on a standby transactions in progress look
 * finished. There the LSN tells: a commit is visible once it is replayed, and `standby` says that it is to be asked. */
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
    bool standby;      /* the xids are void: what committed up to `lsn` is seen, and maybe more */
    uint64_t lsn;      /* on a primary: all that is seen was committed before it; 0: not known */
    int64_t
        server; /* when the primary was started that this is true to, microseconds; 0: not known */
};

/* False: not a snapshot; nothing to deinit then. */
bool pgsnapshot_parse(struct slice text, struct pgsnapshot *snapshot);
void pgsnapshot_deinit(struct pgsnapshot *snapshot);

/* Is the top-level transaction over in this snapshot? Of one that is known to have committed: are its rows seen? */
bool pgsnapshot_sees(const struct pgsnapshot *snapshot, uint64_t xid);
/* The same of one whose commit ends at `lsn` (0: not known yet), on whichever kind of server the snapshot was taken. */
bool pgsnapshot_shows(const struct pgsnapshot *snapshot, uint64_t xid, uint64_t lsn);

#endif

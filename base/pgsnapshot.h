/* pgsnapshot.h: what pg_current_snapshot() prints, "xmin:xmax:xid,xid,...", and the one question put to it.
 *
 *     struct pgsnapshot snapshot;
 *     if (!pgsnapshot_parse(text, &snapshot)) ...            malformed
 *     if (pgsnapshot_sees(&snapshot, xid)) ...
 *     pgsnapshot_deinit(&snapshot);
 *
 * Transaction ids are 64-bit, epoch included. They are of use on a primary alone: on a standby transactions in progress look
 * finished. There the LSN tells: a commit is visible once it is replayed, and `standby` says that it is to be asked. */
#ifndef FRESHET_BASE_PGSNAPSHOT_H
#define FRESHET_BASE_PGSNAPSHOT_H

#include <stdatomic.h>
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
    /* What was read is of no use any more when *serves is another number than then (of a primary 0: not known yet, which
     * says nothing). NULL: no such thing. */
    const _Atomic int64_t *serves;
    int64_t served;
};

/* False: not a snapshot; nothing to deinit then. */
bool pgsnapshot_parse(struct slice text, struct pgsnapshot *snapshot);
void pgsnapshot_deinit(struct pgsnapshot *snapshot);
/* `copy` is not initialized. */
void pgsnapshot_copy(struct pgsnapshot *copy, const struct pgsnapshot *snapshot);

/* Adds to what it sees the transaction that took it. False: it would have to list too many others. */
bool pgsnapshot_include(struct pgsnapshot *snapshot, uint64_t xid);

/* Is the top-level transaction over in this snapshot? Of one that is known to have committed: are its rows seen? */
bool pgsnapshot_sees(const struct pgsnapshot *snapshot, uint64_t xid);
/* Is the server still the one whose changes we are told of, or a standby of that? */
static inline bool pgsnapshot_is_ours(const struct pgsnapshot *snapshot) {
    if (!snapshot->serves) return true;
    int64_t serves = atomic_load(snapshot->serves);
    return serves == snapshot->served || (serves == 0 && !snapshot->standby);
}

/* As pgsnapshot_sees, of one whose commit ends at `lsn` (0: not known yet), on whichever kind of server the snapshot was taken. */
bool pgsnapshot_shows(const struct pgsnapshot *snapshot, uint64_t xid, uint64_t lsn);

#endif

/* probe.h: a fill that is compared instead of kept or given to somebody: what verify.c sends.
 *
 *     fill->probe = &mine->probe;  loader_submit(loader, &fill, 1);       answered once, on the fill's thread */
#ifndef FRESHET_CACHE_PROBE_H
#define FRESHET_CACHE_PROBE_H

#include "cache/rows/keep.h"

struct probe {
    /* What would have been kept, if the rules admit it, and the snapshot; for the call. NULL: it could not be read. */
    void (*answered)(struct probe *probe, const struct keep_row *row,
                     const struct pgsnapshot *snapshot);
};

#endif

/* snapshot.h: the initial snapshot: every published table that a pattern names, read by COPY in parts, by several connections
 * under the snapshot that the slot's creation exported, and given to the sink as CHANGE_READ.
 *
 *     if (!snapshot_run(&plan, &counts, err)) ...
 *
 * The rows are exactly what was committed before the slot's consistent point; the stream has the rest. Tables come in the
 * order of schema and table name; each row carries its marker, for which one row is kept back.
 *
 * A sink that keeps notes gets each part as a transaction of its own, with a note of what is done (cdc/snapshot/snapshot_state.h): an
 * interrupted snapshot goes on from there, beside the stream (cdc/snapshot/increment.h), since the exported snapshot is gone. For any
 * other it starts over with a new slot. */
#ifndef FRESHET_CDC_SNAPSHOT_H
#define FRESHET_CDC_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/log.h"
#include "base/pg.h"
#include "cdc/decode/relations.h"
#include "cdc/feed/pgwait.h"
#include "cdc/snapshot/snapshot_state.h"

struct snapshot_plan {
    const char *database_url;
    struct pg_options options;
    const char *publication;
    uint32_t n_patterns; /* 0: every table of the publication */
    const char *const *patterns;
    const char *exported;    /* the snapshot's name */
    uint64_t consistent_lsn; /* the slot's */
    uint32_t n_readers;
    uint64_t part_bytes; /* of rows, about */
    struct change_sink sink;
    struct snapshot_state *state; /* what is noted; NULL: the sink keeps no notes */
    struct relations *relations;
    /* Its turn is called at least each PGWAIT_TURN_MS, between rows too: it ticks the sink. */
    const struct pgwait *wait;
    struct log *log;
};

struct snapshot_counts {
    uint64_t tables; /* read */
    uint64_t rows;
    uint64_t bytes;
    uint64_t all_tables;
    double share;               /* of all pages that are read: 0 to 1 */
    const char *schema, *table; /* in hand; NULL: none. Valid while the snapshot runs */
};

/* Calls begin, change, note, commit and snapshot_done of the sink; not the last where tables are left to be read beside the
 * stream (plan.state tells). counts are kept up while it runs. */
bool snapshot_run(const struct snapshot_plan *plan, struct snapshot_counts *counts,
                  struct error *err) MUST_CHECK;

#endif

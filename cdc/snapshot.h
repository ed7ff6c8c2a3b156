/* snapshot.h: the initial snapshot: every published table that a pattern names, read by COPY under the snapshot
 * that the slot's creation exported, given to the sink as one transaction of CHANGE_READ.
 *
 *     if (!snapshot_run(&plan, &counts, err)) ...     interrupted: it starts over with a new slot
 *
 * The rows are exactly what was committed before the slot's consistent point; the stream has the rest. Rows
 * come in the order of schema and table name; each carries its marker, for which one row is kept back. */
#ifndef FRESHET_CDC_SNAPSHOT_H
#define FRESHET_CDC_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/log.h"
#include "base/pg.h"
#include "cdc/pgwait.h"
#include "cdc/relations.h"

struct snapshot_plan {
    const char *database_url;
    struct pg_options options;
    const char *publication;
    uint32_t n_patterns; /* 0: every table of the publication */
    const char *const *patterns;
    const char *exported;    /* the snapshot's name */
    uint64_t consistent_lsn; /* the slot's */
    struct change_sink sink;
    struct relations *relations;
    /* Its turn is called at least each PGWAIT_TURN_MS, between rows too: it ticks the sink. */
    const struct pgwait *wait;
    struct log *log;
};

struct snapshot_counts {
    uint64_t tables;
    uint64_t rows;
    uint64_t bytes;
};

/* Calls begin, change..., commit and snapshot_done of the sink. counts are kept up while it runs. */
bool snapshot_run(const struct snapshot_plan *plan, struct snapshot_counts *counts,
                  struct error *err) MUST_CHECK;

#endif

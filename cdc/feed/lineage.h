/* lineage.h: may a stream go on from a sink's position on this server, with this slot? The one place that says so, for a
 * session and for `freshet check`. Pure, but for lineage_read.
 *
 *     lineage_read(&wait, walsender, &lineage, err)
 *     attach_judge(&question, &answer, err)       what to do with the slot, and where the stream begins; or why not
 *
 * A position is an LSN in one history of one cluster. A promotion begins a new timeline, which shares the history of the old one up
 * to the point where it left it (timeline history file):
 *
 *     timeline 1  ----------------o------ x      o  promoted: timeline 2 begins
 *     timeline 2                  +------------  x  lost with the old primary
 *
 * A position of timeline 1 up to `o` means the same on timeline 2. One beyond it whose last event lies before `o` (the rest
 * was told by keepalives) means `o`. An event beyond `o` was published and never happened: no way of going on is right. */
#ifndef FRESHET_CDC_LINEAGE_H
#define FRESHET_CDC_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "cdc/feed/slot.h"

enum { LINEAGE_MAX_STEPS = 512 };

/* A timeline that ended, and where the next one begins. */
struct lineage_step {
    uint32_t timeline;
    uint64_t end_lsn;
};

struct lineage {
    uint64_t system_identifier;
    uint32_t timeline;
    uint64_t wal_lsn; /* the end of the server's WAL */
    uint32_t n_steps; /* the timelines before this one, the first one first */
    struct lineage_step steps[LINEAGE_MAX_STEPS];
};

/* Reads the lines "1<tab>0/5000000<tab>reason" into steps; comments and empty lines are passed over. False: malformed. */
bool lineage_parse(struct slice file, struct lineage *lineage) MUST_CHECK;
/* Where the server's timeline begins; 0: with the cluster. */
uint64_t lineage_begin_lsn(const struct lineage *lineage);

/* lineage_read.c: asks the server, on a replication connection. */
bool lineage_read(const struct pgwait *wait, PGconn *walsender, struct lineage *lineage,
                  struct error *err) MUST_CHECK;

enum attach_action {
    ATTACH_CREATE,   /* there is no slot, and nothing is lost by that */
    ATTACH_RECREATE, /* the slot that is there is of no use: its sink starts over */
    ATTACH_RESUME,
};

struct attach_question {
    const char *sink; /* names, for messages */
    const char *slot_name;
    const char *database;
    const char *way_on; /* what an operator may choose; NULL: the general words */
    bool snapshot;      /* the sink's initial snapshot is wanted */
    bool
        resumes; /* it was interrupted, and its rest can be read beside the stream, if the slot has that */
    bool when_needed; /* and wanted again where the stream cannot go on from the position */
    bool disposable;  /* nothing is lost with the slot */
    const struct lineage *lineage;
    const struct slot_info *slot;
    const struct change_position *position;
};

struct attach_answer {
    enum attach_action action;
    bool snapshot_due;
    uint64_t start_lsn; /* ATTACH_RESUME */
};

/* False: *err tells what does not fit, and the choices. */
bool attach_judge(const struct attach_question *question, struct attach_answer *answer,
                  struct error *err) MUST_CHECK;

/* Puts behind a refusal what an operator may do; returns false. */
bool attach_choices(const char *way_on, const char *sink, struct error *err);

#endif

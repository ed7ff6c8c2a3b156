/* retry.h: rows that were refused are read again and tried again.
 *
 * A letter's document may be old by now, so its key alone counts: the row is read, and what the sink is given is that row or
 * its removal, at the letter's version: what the sink has of later changes stays, or comes again. The sender's thread. */
#ifndef FRESHET_CONNECTORS_RETRY_H
#define FRESHET_CONNECTORS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "connectors/document/shape.h"
#include "connectors/runtime/batch.h"
#include "connectors/runtime/deadletter.h"

struct retry_plan {
    struct deadletters *letters;
    struct shape *shape;
    /* Reads the rows of the batch (all of whose writes are incomplete), calls retry_settle and applies it. */
    bool (*apply)(void *arg, struct batch *batch, struct error *err);
    void *arg;
};

struct retry_counts {
    uint64_t letters;
    uint64_t refused;    /* once more: they are dead letters again */
    uint64_t unreadable; /* lines that are no letter of such rows */
};

/* All letters that there are. False: cut short; what is left is tried again by the next. */
bool retry_run(const struct retry_plan *plan, struct retry_counts *counts,
               struct error *err) MUST_CHECK;
/* Rows that are gone have become removals. */
void retry_settle(struct batch *batch);

/* A letter's key and version. Pure. */
bool retry_read_letter(struct slice line, struct buf *key, uint64_t *version) MUST_CHECK;

#endif

/* verify_judge.h: does a sink differ from its source under a key, or is it only ahead or behind? Pure.
 *
 *     struct verify_suspect suspect = {0};
 *     verify_judge(&suspect, &look)       look by look, until it is no longer VERDICT_AGAIN
 *
 * A look reads the row in the source, waits until the connector has applied all that was committed by then, and reads the sink's
 * entry. What differs then may still be of a change that is in the sink and was not in the row: one that came later, or one whose
 * commit is streamed and is not visible yet. So it takes two looks that saw the same row and the same entry, where whatever was on
 * its way at the first was over before the second:
 *
 *     row ──► applied ──► entry, after ......... before, row ──► applied ──► entry
 *                           (1)                                                (2)
 *
 * Whoever wrote the entry of (1) had begun by `after`. It is over, and visible to the row of (2), if all transactions of that time
 * have ended (xmin), or if nobody holds the row; and then the row would be another than that of (1), unless it is the entry that
 * is wrong. */
#ifndef FRESHET_CONNECTORS_VERIFY_JUDGE_H
#define FRESHET_CONNECTORS_VERIFY_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "connectors/sink.h"
#include "connectors/source/row_reader.h"

/* So long after its commit was streamed a transaction is visible for certain, where no standby is waited for: the server takes
 * microseconds for it. */
enum { VERIFY_GAP_US = 5000000 };

/* So many looks that differ from one another: the row is changed all the time, and so is the entry, and nothing can be told. */
enum { VERIFY_MAX_MOVES = 6 };

struct verify_look {
    struct reader_moment before; /* the row was read */
    struct reader_moment after;  /* the entry was read */
    struct reader_row row;
    struct sink_entry entry;
    int64_t at_us; /* monotonic; after both */
    /* Where versions are no LSNs: one that is below those of all changes that are to come, and above those of most that are over.
     * 0: they are LSNs. */
    uint64_t floor;
};

struct verify_suspect {
    bool seen;
    uint32_t moves;
    struct verify_look first; /* of those that saw the same */
};

enum verify_verdict {
    VERDICT_EQUAL,
    VERDICT_AGAIN, /* look again */
    VERDICT_MOVED, /* it changes all the time */
    VERDICT_DIFFERS,
};

enum verify_verdict verify_judge(struct verify_suspect *suspect, const struct verify_look *look);

enum verify_kind { VERIFY_MISSING, VERIFY_EXTRA, VERIFY_CHANGED, VERIFY_OLDER, N_VERIFY_KINDS };
const char *verify_kind_name(enum verify_kind kind);
/* Of one that differs. VERIFY_OLDER where the entry's version is known to be from before the row's last change. */
enum verify_kind verify_kind_of(const struct verify_look *look);

/* The version to write the row again with, after VERDICT_DIFFERS: above what is there and below every change that is to come. 0:
 * there is none yet: a transaction that holds the row may have written before. */
uint64_t verify_repair_version(const struct verify_suspect *suspect,
                               const struct verify_look *look);

#endif

/* verify.h: what is in memory, read again in the background and compared with the database. It must agree; if it does not, a
 * rule of coherence was broken, and the count of that must stay 0.
 *
 *     verify_start(verify, rate);  verify_stop(verify);  verify_report(verify, &report);     any thread
 *     verify_tick(verify, keyspace, now_us);                                                 of one worker, about every 100 ms
 *
 * A difference alone proves nothing: the row may have changed a moment ago, and be about to be evicted. So what differs is
 * read once more, as a fill is (rule 4 waits for it); then it is waited until the cache has applied everything that the primary
 * had written by then, and has looked at the catalog; and it counts only if the entry still stands there as it was, and
 * the snapshot sees every applied transaction that touched it. For both are then true to all that is applied, which is all
 * that the newer of the two shows: they could only agree.
 *
 * An entry that is found wrong is logged and taken out. Where the TTL is the only bound a difference is none of that. */
#ifndef FRESHET_CACHE_VERIFY_H
#define FRESHET_CACHE_VERIFY_H

#include "cache/rows/core.h"
#include "cache/rows/keyspace.h"

enum { VERIFY_DEFAULT_RATE = 1000, VERIFY_MAX_RATE = 100000 };

struct verify;

struct verify *verify_create(struct core *core);
/* After the workers: what was on its way has been answered. */
void verify_destroy(struct verify **verify);

/* Begins, or goes on with another rate: entries a second. Over and over: a pass ends when each entry was looked at. */
void verify_start(struct verify *verify, uint32_t rate);
void verify_stop(struct verify *verify);

struct verify_report {
    bool running;
    uint32_t rate;
    uint64_t passes;       /* since the start, with all their differences settled */
    uint64_t pass_checked; /* in the pass under way */
    uint64_t checked;      /* entries compared; all below since the process began */
    uint64_t stale;        /* wrong by the rules */
    uint64_t changed;      /* differed, and were evicted or read anew meanwhile */
    uint64_t by_ttl;       /* differ, where the TTL is the only bound */
    uint64_t
        undecided; /* differed, and it could not be said why: the stream stood still, or the query is not constant */
    uint64_t unread; /* the database did not answer */
};
void verify_report(struct verify *verify, struct verify_report *report);

void verify_tick(struct verify *verify, struct keyspace *keyspace, int64_t now_us);

#endif

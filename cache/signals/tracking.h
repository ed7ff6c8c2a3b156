/* tracking.h: CLIENT TRACKING: who caches which keys at home, and is told when they change (redis.io/docs/manual/client-side-caching).
 *
 *     tracker = tracking_open(tracking, mailbox);          a client's, made when it first turns tracking on
 *     tracker_set(tracker, &options);  tracker_off(tracker);
 *     tracking_remember(tracking, tracker, key, hash, ctx->guard);     before the key is read
 *     tracking_invalidate(tracker, key);                   behind the reply: what it has just read may not be kept
 *     tracker_close(&tracker);                             the client goes
 *
 * Changes come from the store's observer: commands, expiry, eviction, and the commits of any SQL client, which take rows out of
 * memory. So a client may keep of a row what memory keeps of it, and nothing else: a row that was answered without being
 * in memory (its table is not followed yet, a commit is not visible yet, the lease has lapsed) is followed by its own
 * invalidation (tracked.h). Whole-table evictions tell every tracked key of the table; a client in BCAST mode, which has no such
 * list, is told to drop everything.
 *
 * Bounded by `tracking-table-max-keys`: past it keys are forgotten, and who tracked them is told.
 *
 * Messages go through push.h and never overtake the reply of the command that read the key. A tracker is its client's worker's, but
 * for what is said to be anyone's. Locks, all below the store's shards, in this order: the table's (interest.h) or the list's, the
 * broadcasts', the tracker's. */
#ifndef FRESHET_CACHE_TRACKING_H
#define FRESHET_CACHE_TRACKING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/signals/interest.h"
#include "cache/store/store.h"

struct buf;
struct mailbox;
struct settings;
struct tracker;
struct tracking;

struct tracking *tracking_create(struct store *store, const struct settings *settings);
/* Every tracker is closed. */
void tracking_destroy(struct tracking **tracking);

/* --- a client's tracker ------------------------------------------------------------------------------------- */

enum tracker_flag {
    TRACKER_ON = 1 << 0,
    TRACKER_BCAST = 1 << 1,
    TRACKER_OPTIN = 1 << 2,
    TRACKER_OPTOUT = 1 << 3,
    TRACKER_NOLOOP = 1 << 4,
    TRACKER_BROKEN = 1 << 5, /* where it redirects to has gone */
};

/* Takes a reference to the mailbox. */
struct tracker *tracking_open(struct tracking *tracking, struct mailbox *mailbox);
void tracker_close(struct tracker **tracker);

/* Of enum tracker_flag. Any thread. */
uint32_t tracker_flags(const struct tracker *tracker);

struct tracker_options {
    uint32_t flags;           /* BCAST, OPTIN, OPTOUT, NOLOOP */
    struct mailbox *redirect; /* acquired, and taken by the call; NULL: none */
    const struct slice *prefixes;
    uint32_t n_prefixes; /* with BCAST; none: all keys. Those that it has already stay. */
};
/* Turns it on, or changes how. */
void tracker_set(struct tracker *tracker, struct tracker_options *options);
void tracker_off(struct tracker *tracker);
/* The client that it redirects to; 0: none. */
uint64_t tracker_redirect(struct tracker *tracker);
uint32_t tracker_prefixes(const struct tracker *tracker);
struct slice tracker_prefix(const struct tracker *tracker, uint32_t i);

/* --- reads -------------------------------------------------------------------------------------------------- */

/* Unless it is in BCAST mode, where nothing needs to be remembered. */
void tracking_remember(struct tracking *tracking, struct tracker *tracker, struct slice key,
                       uint64_t hash, const struct store_guard *guard);
/* Tells this one alone. */
void tracking_invalidate(struct tracker *tracker, struct slice key);

/* --- changes that the store does not tell: any thread -------------------------------------------------------- */

/* FLUSHALL, after the store is empty. */
void tracking_flushed(struct tracking *tracking);
/* Keys that match are no longer what they were: rows of a table that was evicted as a whole. `prefix`: what all of them begin
 * with, for those in BCAST mode; empty: not known. Holding no lock. */
void tracking_invalidate_matching(struct tracking *tracking, interest_match *match, void *arg,
                                  struct slice prefix);
/* Nobody has to be told of anything. From after a change on: who comes later reads what is new. */
bool tracking_is_idle(const struct tracking *tracking);
/* Forgets keys until the table is within its bound: it was set lower. */
void tracking_trim(struct tracking *tracking);

struct tracking_stats {
    uint64_t clients, keys, items, prefixes; /* as INFO shows them */
};
void tracking_stats(struct tracking *tracking, struct tracking_stats *stats);

#endif

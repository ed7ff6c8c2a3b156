/* transaction.h: MULTI's queue and WATCH's keys of one client, and the table of who watches which keys.
 *
 *     tx = transaction_create(watches, &touched);          at a client's first MULTI or WATCH
 *     transaction_begin(tx);  transaction_queue(tx, ...);  transaction_spoil(tx);
 *     transaction_watch(tx, key, hash);                    then look at the key
 *     if (transaction_is_touched(tx)) ...                  EXEC, holding the watched keys' shards
 *     transaction_end(tx);                                 EXEC, DISCARD: the queue and the watched keys are gone
 *
 * What touches a watched key: whatever changes it, in Redis's sense (a write, EXPIRE, expiry, eviction for memory, FLUSHALL of a key
 * that is there), and for a table's row any commit that touches it, whoever made it: WATCH loads the row, so the
 * commit's eviction is seen; a row that memory cannot hold at that moment is touched at once.
 *
 * A transaction is its client's worker's, but for the mark, which the table's observers set on any thread. */
#ifndef FRESHET_CACHE_TRANSACTION_H
#define FRESHET_CACHE_TRANSACTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/signals/interest.h"
#include "cache/store/store.h"

struct command;
struct transaction;
struct watches;

enum {
    TRANSACTION_MAX_BYTES = 1 << 30, /* queued; as much as one request may have */
};

struct watches *watches_create(struct store *store);
/* Nobody watches any more. */
void watches_destroy(struct watches **watches);
/* Keys that match are no longer what they were: as tracking_invalidate_matching. */
void watches_touch_matching(struct watches *watches, interest_match *match, void *arg);
bool watches_is_idle(const struct watches *watches);

/* *touched, which is to outlive it, is where it notes that a watched key has changed: anyone may look. */
struct transaction *transaction_create(struct watches *watches, _Atomic bool *touched);
void transaction_destroy(struct transaction **tx);

/* --- the queue ---------------------------------------------------------------------------------------------- */

struct queued {
    const struct command *named, *command; /* the row of argv[0]; the subcommand's, or the same */
    uint32_t argc;
    struct slice argv[]; /* owned, as the bytes behind it */
};

bool transaction_is_open(const struct transaction *tx);
void transaction_begin(struct transaction *tx);
/* A command could not be queued: EXEC will abort. */
void transaction_spoil(struct transaction *tx);
bool transaction_is_spoiled(const struct transaction *tx);
/* Copies the arguments. False: the queue is full. */
bool transaction_queue(struct transaction *tx, const struct command *named,
                       const struct command *command, const struct slice *argv, uint32_t argc);
uint32_t transaction_length(const struct transaction *tx);
struct queued *transaction_at(struct transaction *tx, uint32_t i);
/* Forgets queue and watched keys. */
void transaction_end(struct transaction *tx);

/* --- watched keys ------------------------------------------------------------------------------------------- */

/* A key that is watched already stays so. Holding no guard. */
void transaction_watch(struct transaction *tx, struct slice key, uint64_t hash);
void transaction_unwatch(struct transaction *tx);
uint32_t transaction_watched(const struct transaction *tx);
struct slice transaction_watched_at(const struct transaction *tx, uint32_t i, uint64_t *hash);
/* Any thread. */
void transaction_touch(struct transaction *tx);
bool transaction_is_touched(const struct transaction *tx);

#endif

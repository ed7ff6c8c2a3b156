/* interest.h: who is interested in which keys: what WATCH and CLIENT TRACKING have in common.
 *
 *     interest = interest_create(store, &observer);               the observer's `changed` takes what it is told of
 *     interest_add(interest, key, hash, holder, ctx->guard);      then read the key
 *     if (interest_is_change(change)) interest_take(interest, key, hash, tell, arg);
 *
 * A table beside the store, sharded like it: a key need not be in memory for somebody to be interested in it. An interest is
 * for one change: who is told is forgotten, and adds itself again when it reads again.
 *
 * Why no change is missed: an interest is added before the key is read, a change is told after it stands in the store, and both
 * pass the same lock. So a reader either reads the new value, or is in the table when the change is told. The store's
 * shard is observed while any key of it is in the table, and that mark is set under the shard's lock.
 *
 * A holder is the caller's; the table never touches what it points to. Any thread. The locks are leaves below the store's
 * shards. */
#ifndef FRESHET_CACHE_INTEREST_H
#define FRESHET_CACHE_INTEREST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/store/store.h"

struct interest;

struct interest *interest_create(struct store *store, const struct store_observer *observer);
/* Nobody is interested any more, or nobody will ask what became of it: holders are dropped unseen. */
void interest_destroy(struct interest **interest);

/* True: it was not there yet. `guard`: what the caller holds, the key's shard among it; NULL: nothing. */
bool interest_add(struct interest *interest, struct slice key, uint64_t hash, void *holder,
                  const struct store_guard *guard);
/* False: it was not there. */
bool interest_remove(struct interest *interest, struct slice key, uint64_t hash,
                     const void *holder);

/* Tells of a key's holders, under the table's lock: a leaf is all that may be locked in it. They are forgotten then. */
typedef void interest_tell(void *arg, struct slice key, void *const *holders, uint32_t n);

/* From within the observer's `changed`. */
void interest_take(struct interest *interest, struct slice key, uint64_t hash, interest_tell *tell,
                   void *arg);
/* Some key that is there. False: there is none. */
bool interest_take_any(struct interest *interest, interest_tell *tell, void *arg);
/* Takes all keys that match (NULL: all). Holding no guard, or any. */
typedef bool interest_match(void *arg, struct slice key);
void interest_take_matching(struct interest *interest, interest_match *match, interest_tell *tell,
                            void *arg);

/* Asked after a change: who adds an interest later reads what is new. */
bool interest_is_empty(const struct interest *interest);
uint64_t interest_keys(const struct interest *interest);
uint64_t interest_items(const struct interest *interest); /* holders, over all keys */

/* Somebody wants to be told of all keys, or does no more: every shard is observed meanwhile. */
void interest_observe_all(struct interest *interest, bool on);

/* Is the value that a client may have read another one now? Rows that are filled, or read again as they were, and a row's TTL
 * change nothing. */
bool interest_is_change(const struct store_change *change);

#endif

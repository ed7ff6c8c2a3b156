/* recent.h: the recent set: transactions that were applied here and that some snapshot may not see yet.
 *
 * PostgreSQL sends a commit to the change stream before it makes it visible to new snapshots. So a read that begins
 * after an eviction may still see the old row; it must not be stored, and this set is how that is known.
 *
 *     recent_note(recent, key_hash, xid, lsn)          the feed's thread, before the key's entries go
 *     if (recent_blocks(recent, key_hash, &snapshot))  any worker, before it stores what that snapshot saw
 *     recent_forget(recent, &snapshot)                 once no fill that is older than the snapshot is in flight
 *
 * Caller's duty: note-and-evict and check-and-store of one key happen under that key's shard lock of the store. The
 * set has small locks of its own below that one, for its memory's sake.
 *
 * A key is known by its 64-bit hash: two keys of one hash block each other's storing, which costs a read and nothing else.
 * Memory is bounded by max_notes. Past it recent_note says so and the caller fences the whole table: nothing is
 * ever dropped before a snapshot has seen it.
 *
 * A standby may lag behind the snapshot by which a note was dropped. So the set remembers up to which LSN it has dropped
 * any, and blocks every read of a standby that has not got so far; while there is room, notes stay for the standbys' sake. */
#ifndef FRESHET_CACHE_RECENT_H
#define FRESHET_CACHE_RECENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pgsnapshot.h"

struct recent;

struct recent *recent_create(size_t max_notes);
void recent_destroy(struct recent **recent);

/* False: the set is full, nothing was noted. */
/* `lsn`: where the commit ends; 0: not known yet, a second note of the same transaction may tell it. */
bool recent_note(struct recent *recent, uint64_t key_hash, uint64_t xid, uint64_t lsn)
    __attribute__((warn_unused_result));

/* True if a transaction that touched the key is not visible in the snapshot. *xid, if not NULL, is the first found. */
bool recent_blocks(struct recent *recent, uint64_t key_hash, const struct pgsnapshot *snapshot,
                   uint64_t *xid);

/* Is anything noted of the key, whoever may see it? For explanations. */
bool recent_has(struct recent *recent, uint64_t key_hash, uint64_t *xid);

/* Has a standby that has replayed up to `lsn` got past all that touched the key? Before it is asked; recent_blocks judges. */
bool recent_is_past(struct recent *recent, uint64_t key_hash, uint64_t lsn);

/* Drops what the primary's snapshot sees; returns how many are left. */
size_t recent_forget(struct recent *recent, const struct pgsnapshot *snapshot);
/* Notes of commits past this LSN are of use to standbys. UINT64_MAX: there are none. */
void recent_keep_past(struct recent *recent, uint64_t lsn);
/* Drops all: every entry of every table has become invalid. */
void recent_clear(struct recent *recent);
size_t recent_size(const struct recent *recent);
/* Of memory. Any thread. */
size_t recent_bytes(const struct recent *recent);

#endif

/* store.h: the one store of all workers: keys to entries, sharded, bounded, expiring.
 *
 *     hit:    entry = store_peek(store, key, hash, now_ms);              in a reading section, no lock held
 *     write:  store_lock(store, hashes, n, &guard);
 *             old = store_find(store, &guard, key, hash, now_ms);
 *             store_put(store, &guard, &entry);  or  store_remove(...)
 *             store_unlock(store, &guard);
 *
 * Reading sections: a worker is in one from the start of a loop turn to its end (store_reader_enter; store_reader_leave at the
 * end of each turn, also where it does not sleep). An entry that was reachable in the section stays readable until it
 * ends, even if it was replaced; its memory is given back once every reader has left (reclaim.h). Other threads than
 * workers use store_lock, under which the entries of the locked shards are stable too, but for those that the
 * holder's own store_put evicts: after a put, find again. (Between commands an entry may also move.)
 *
 * A guard locks the shards of a command's keys in ascending order, so a command on several keys is atomic. That is the
 * first lock of the lock order; under it only the recent set (recent.h) and the allocator are touched. (store_put may try
 * other shards' locks to evict there, and never waits for one.)
 *
 * Memory: max_memory_bytes is a promise about the resident memory of the process. What the store itself takes (slots of entries,
 * big entries, containers, index, wheels) is counted as it changes; all else (programs, threads, client buffers, what waits for readers to
 * leave, holes in slabs and in the common allocator) is what store_follow is told beyond that, and the limit of the store's own
 * sinks by it, down to half of the bound at the least: a bound that the bare process exceeds is one on the store alone.
 * Past the limit store_put evicts by the policy (evict.h) among what may go, in its own shard's domain while that holds its share, else around
 * the domains. Entries lie in slots of slabs (heap.h); where sizes shift, slabs with few entries left are emptied into others
 * (store_tidy), so that memory goes back whatever came before. Expiry: each shard keeps notes in a wheel (wheel.h).
 *
 * A hit takes no lock and waits for none (index.h): a hash, one line of the shard, one of the directory, the bucket, the entry. */
#ifndef FRESHET_CACHE_STORE_H
#define FRESHET_CACHE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "cache/store/entry.h"
#include "cache/store/evict.h"

struct bucket;
struct store;

enum { STORE_SHARDS = 256 };

struct store_guard {
    uint64_t shards[STORE_SHARDS / 64]; /* a bit a locked shard */
    uint64_t client_id; /* for whom changes are made: set behind store_lock; 0: nobody's */
    int64_t
        now_ms; /* of a command: what store_put replaces and had expired by then, has expired; 0: it is replaced */
};

struct store_config {
    uint64_t max_memory_bytes;
    uint32_t max_readers; /* worker threads */
    uint64_t seed;        /* of the key hash */
};

enum store_removal {
    REMOVED_DELETED,
    REMOVED_EXPIRED,
    REMOVED_EVICTED_MEMORY,
    REMOVED_COMMIT,
    REMOVED_FLUSHED,
    REMOVED_CAUSES
};

/* `metrics` may be NULL. */
struct store *store_create(const struct store_config *config, struct metrics *metrics);
/* No reader is inside, nobody holds a guard. */
void store_destroy(struct store **store);

uint64_t store_hash(const struct store *store, struct slice key);

/* Readers: `reader` is a number below max_readers, one thread each. */
void store_reader_enter(struct store *store, uint32_t reader);
void store_reader_leave(struct store *store, uint32_t reader);
/* Between two commands of a turn, when the reader holds no entry: leaves and enters again where much memory waits for
 * that (a thousand APPENDs to one big string would else keep a thousand copies until the turn's end). */
void store_reader_pause(struct store *store, uint32_t reader);

/* The live entry, or NULL where absent or expired. Marks it as used for the eviction policy. */
const struct entry *store_peek(struct store *store, struct slice key, uint64_t hash,
                               int64_t now_ms);
/* Hints for a following peek, in two steps, for many keys at once: first what leads to the entry, then the entry. */
const struct bucket *store_prefetch(const struct store *store, uint64_t hash);
void store_prefetch_entry(const struct bucket *bucket, uint64_t hash);

/* How much the entry was used of late, 0 to 15, as the eviction policy has it. Any thread that may look at the entry. */
uint32_t store_uses(struct store *store, const struct entry *entry);

/* Locks the shards of these hashes; n may be 0. A thread holds one guard at a time. */
void store_lock(struct store *store, const uint64_t *hashes, uint32_t n, struct store_guard *guard);
void store_lock_all(struct store *store, struct store_guard *guard);
void store_unlock(struct store *store, struct store_guard *guard);
bool store_is_locked(const struct store_guard *guard, uint64_t hash);

/* The live entry of a locked shard; an expired one is removed. Marks it as used. */
struct entry *store_find(struct store *store, const struct store_guard *guard, struct slice key,
                         uint64_t hash, int64_t now_ms);
/* Takes the entry, replacing one of the same key. Its key, hash and expiry are read from it. False: it does not
 * fit under the memory bound at all (it is destroyed, the old one stays). */
bool store_put(struct store *store, const struct store_guard *guard,
               struct entry **entry) MUST_CHECK;
/* The same for one that holds what the old one holds, in another form: nobody is told of a change. */
bool store_put_alike(struct store *store, const struct store_guard *guard,
                     struct entry **entry) MUST_CHECK;
/* False: it was not there. An expired one counts as there; store_find first where that matters. */
bool store_remove(struct store *store, const struct store_guard *guard, struct slice key,
                  uint64_t hash, enum store_removal cause);
/* The value of a found entry, and its expiry, goes to another key of a locked shard, whatever that was; a big container is not
 * copied for it. False: it does not fit in memory, and all stays as it was. */
bool store_rename(struct store *store, const struct store_guard *guard, struct entry *entry,
                  struct slice key, uint64_t hash) MUST_CHECK;
/* Sets the expiry of a found entry; STORE_NEVER: none. Returns the entry that now stands for the key: one that had
 * no room for an expiry is replaced by a copy. */
struct entry *store_set_expiry(struct store *store, const struct store_guard *guard,
                               struct entry *entry, int64_t expire_at_ms);
/* Tells the accounting that a hash changed in place; `old_size` is entry_size() from before. May evict others. */
void store_resized(struct store *store, const struct store_guard *guard, struct entry *entry,
                   size_t old_size);
/* Could something of this size be kept, were all else evicted? */
bool store_fits(const struct store *store, size_t bytes);

/* Removes what is due, up to `budget` entries, in the shards of `part` of `parts`, and gives retired memory back.
 * Returns how many, or the budget where that was not enough to see. Each worker calls it for its part about every 100 ms. Holding no guard, as the following. */
uint32_t store_expire(struct store *store, uint32_t part, uint32_t parts, int64_t now_ms,
                      uint32_t budget);
/* Evicts what is over the limit and empties sparse slabs, up to a budget of entries: with store_expire. */
void store_tend(struct store *store, uint32_t budget);
/* Between a worker's turns, outside of its reading section: empties a slab or two where others were made meanwhile. */
void store_tidy(struct store *store);
/* Another max_memory_bytes; what is beyond it goes with the next ticks. Any thread. */
void store_set_max(struct store *store, uint64_t bytes);
/* What may be evicted (evict.h). Any thread. */
void store_set_scope(struct store *store, enum evict_scope scope);
/* Memory is full of what may not go: nothing more should be put. Rows that find no room are put, and gone at once. */
bool store_is_full(const struct store *store);
/* Tells the process's resident memory, about every 100 ms: the limit of what the store takes follows from it. */
void store_follow(struct store *store, uint64_t resident_bytes);
/* This and the two walks below lock a shard at a time, or none where a guard has locked them all. */
void store_flush(struct store *store, const struct store_guard *guard, enum store_removal cause);
/* Removes every entry for which `match` says so (whole-table eviction's sweep, never the promise itself). Locks one
 * shard after the other, a few hundred entries at a time. `match` runs under the shard's lock. */
typedef bool store_match(const struct entry *entry, void *arg);
uint64_t store_sweep(struct store *store, store_match *match, void *arg, enum store_removal cause);

/* SCAN: from a cursor (0 to begin) visits about `count` live entries and returns the next cursor, 0 at the end. Every
 * entry that is there from begin to end is seen at least once. `visit` runs under the shard's lock. */
typedef void store_visit(const struct entry *entry, void *arg);
uint64_t store_scan(struct store *store, const struct store_guard *guard, uint64_t cursor,
                    uint32_t count, int64_t now_ms, store_visit *visit, void *arg);
/* Any live entry that is not a negative one, or NULL: RANDOMKEY. `random` is the caller's. In a reading section. */
const struct entry *store_random(struct store *store, const struct store_guard *guard,
                                 uint64_t random, int64_t now_ms);

/* --- observers ---------------------------------------------------------------------------------------------
 *
 * Told of what happens to keys: under the shard's lock, once it stands in the index; so who registers an interest in a key
 * and reads it afterwards either reads the new value or is told. A shard that nobody observes pays one branch a write.
 *
 * `settled` follows once, when the locks under which it was told are released, with those shards' bits: one command's
 * changes, or one EXEC's, together. Both take leaf locks alone. A fill of a row is a put like any other: `entry` says. */
enum store_event {
    STORE_CREATED,
    STORE_REPLACED,
    STORE_CHANGED, /* in place, or its expiry */
    STORE_REMOVED,
    STORE_TOUCHED, /* by a commit, as a row that is not in memory */
};

struct store_change {
    enum store_event event;
    enum store_removal cause; /* of STORE_REMOVED and STORE_TOUCHED */
    struct slice key;
    uint32_t hash; /* the low half of store_hash(key) */
    const struct entry
        *entry; /* as it is now, or was when it was removed; for the call; STORE_TOUCHED: NULL */
    const struct entry *old; /* STORE_REPLACED: what stood there */
    uint64_t client_id;      /* whose command did it; 0: time, memory, a commit */
};

struct store_observer {
    void (*changed)(void *self, const struct store_change *change);
    void (*settled)(void *self, const uint64_t shards[STORE_SHARDS / 64]); /* may be NULL */
    void *self;
};

enum { STORE_OBSERVERS = 4 };

/* Before the workers run; returns its number. It is told nothing yet. */
uint32_t store_add_observer(struct store *store, const struct store_observer *observer);
/* Is told of changes in the shard of `hash` from this call's return on. Holding no guard, or one of that shard. */
void store_observe(struct store *store, uint32_t number, uint64_t hash,
                   const struct store_guard *guard);
/* The same for all shards, without a lock: of changes that are under way now it may be told, or not. Under any guard. */
void store_observe_all(struct store *store, uint32_t number, bool on);
/* Tells of a key that is not in the store. */
void store_touch(struct store *store, const struct store_guard *guard, struct slice key,
                 uint64_t hash);
/* Any thread; it may change at once unless the shard's lock is held. */
bool store_is_observed(const struct store *store, uint32_t number, uint64_t hash);
/* From within `changed`: no more of this shard. */
void store_ignore(struct store *store, uint32_t number, uint64_t hash);
/* The number of a key's shard. */
uint32_t store_shard(uint64_t hash);

struct store_stats {
    uint64_t entries; /* negative ones and expired ones not yet removed included */
    uint64_t absent;  /* negative ones */
    uint64_t with_expiry;
    uint64_t bytes;
    uint64_t max_bytes;
    uint64_t slab_bytes; /* of the memory of settled entries, and what of it is in use */
    uint64_t slot_bytes;
    uint64_t retired_bytes; /* big values that were replaced, and wait until no reader sees them */
    uint64_t removed[REMOVED_CAUSES]; /* since the start */
};
void store_stats(struct store *store, struct store_stats *stats);

#endif

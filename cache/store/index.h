/* index.h: from key to entry, by linear hashing over buckets of one cache line. One a shard of the store, and one in each big hash.
 *
 *     directory ─► chunks of 16 buckets      bucket (64 bytes): 7 slots of 8 bytes, and the next bucket of the chain
 *                                            slot: 16 bits of tag, 48 bits of pointer; 0: free
 *
 * Linear hashing (Litwin 1980): buckets are split one at a time, in order, as entries come, and merged as they go. So it
 * grows with no pause and no second table, at an even fill: about 13 bytes an entry at any size, and four of five lookups touch one line
 * of it. Turned down: doubling tables (two tables at once, 2x swings in memory), open addressing over a whole shard
 * (denser, but entries move at each insertion, so readers would have to validate hits as well).
 *
 * Writers hold the owner's lock. index_find may run beside them without one, in a reading section (reclaim.h): a hit
 * is always true at some moment of the call, since a replacement is one atomic store; only a miss has to be sure that nothing was
 * moved meanwhile, for which `moves` is a sequence count, odd while entries move between buckets. So a hit
 * waits for nobody. Memory that a reader may be in goes to the limbo; without one (big hashes, which are read under
 * the lock alone) it is freed at once.
 *
 * The entry keeps 32 bits of its key's hash: 24 choose the bucket (8 are the store's, for the shard), all make the tag. */
#ifndef FRESHET_CACHE_INDEX_H
#define FRESHET_CACHE_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/store/entry.h"

struct limbo;
struct directory;

enum { BUCKET_SLOTS = 7, INDEX_HASH_BITS = 24 };

struct bucket {
    _Alignas(64) _Atomic uint64_t slots[BUCKET_SLOTS];
    struct bucket *_Atomic next;
};

struct index {
    _Atomic uint32_t moves;
    _Atomic uint32_t n_buckets; /* 0: nothing is allocated */
    struct directory *_Atomic directory;
    struct limbo *limbo;
    uint32_t count; /* entries */
    size_t bytes;   /* buckets and directory */
};

void index_init(struct index *index, struct limbo *limbo);
/* Frees the buckets; the entries are the caller's (index_each). */
void index_deinit(struct index *index);

struct entry *index_find(const struct index *index, struct slice key, uint32_t hash);
/* Two steps, both in one reading section: asks memory for the bucket (NULL: there is none), then reads it and asks for the entry. */
const struct bucket *index_prefetch(const struct index *index, uint32_t hash);
void index_prefetch_entry(const struct bucket *bucket, uint32_t hash);

/* Its key is known to be absent. */
void index_insert(struct index *index, struct entry *entry);
/* The new one has the same key. */
void index_replace(struct index *index, struct entry *old, struct entry *entry);
void index_remove(struct index *index, struct entry *entry);
/* Forgets all entries and gives the buckets back. */
void index_clear(struct index *index);

/* Walks in an order that splits and merges leave alone (that of the reversed hash bits): visits the entries of one bucket
 * and returns where to go on, 0 at the end. What is there from begin to end is seen at least once. The visitor
 * may not change the index. */
typedef void index_visit(struct entry *entry, void *arg);
uint32_t index_scan(const struct index *index, uint32_t cursor, index_visit *visit, void *arg);
void index_each(const struct index *index, index_visit *visit, void *arg);

/* The entries of one bucket below index_buckets(), one after the other, under the lock. */
static inline uint32_t index_buckets(const struct index *index) {
    return atomic_load_explicit(&index->n_buckets, memory_order_relaxed);
}

struct index_iter {
    const struct bucket *bucket;
    uint32_t slot;
};
struct index_iter index_bucket(const struct index *index, uint32_t n);
struct entry *index_next(struct index_iter *iter);
/* From the bucket of `hash` on: the entries of that very hash. */
struct index_iter index_bucket_of(const struct index *index, uint32_t hash);
struct entry *index_next_of(struct index_iter *iter, uint32_t hash);
/* Any entry of an index that is not empty, each with the same chance. `random` is the caller's. */
struct entry *index_random(const struct index *index, uint64_t random);

#endif

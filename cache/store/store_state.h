/* store_state.h: what the store is made of; of store.c, store_room.c and store_walk.c alone. */
#ifndef FRESHET_CACHE_STORE_STATE_H
#define FRESHET_CACHE_STORE_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/store/evict.h"
#include "cache/store/heap.h"
#include "cache/store/index.h"
#include "cache/store/reclaim.h"
#include "cache/store/store.h"
#include "cache/store/wheel.h"

_Static_assert(STORE_SHARDS == 1 << (32 - INDEX_HASH_BITS), "entry.hash is shard and bucket");

enum {
    STORE_DOMAINS_MIN = 16, /* of eviction: shards of one number modulo the count */
    STORE_DOMAINS_MAX = 64,
    DOMAIN_BYTES = 128 << 10,
    STORE_REGIONS_MAX = 16, /* of the heap: the same */
    REGION_BYTES = 32 << 20,
    WHEEL_SWEEPS = 4,
};

/* Under its mutex, but for what index_find reads. The counts are written under it, and read by anyone. */
struct shard {
    _Alignas(64) struct index index;
    _Alignas(64) pthread_mutex_t mutex;
    struct limbo limbo;
    size_t entry_bytes;
    uint32_t evict_hand;      /* the next bucket to look for a victim in */
    _Atomic size_t accounted; /* of entry_bytes, index and wheel: what is in store.used */
    uint32_t number;
    _Atomic uint8_t observers; /* a bit each */
    bool told;                 /* since it was locked */
    _Atomic uint64_t entries;
    _Atomic uint64_t absent;
    _Atomic uint64_t timed;
    struct wheel wheel;
};

struct store {
    struct store_config config;
    uint32_t n_domains; /* a power of two: read at each hit, so it lies where nothing is written */
    _Atomic uint64_t max_bytes; /* what config.max_memory_bytes was, until CONFIG SET maxmemory */
    struct store_observer observers[STORE_OBSERVERS];
    uint32_t n_observers;
    struct reclaim *reclaim;
    struct metrics *metrics;
    struct metric *removal_metrics[REMOVED_CAUSES];
    _Alignas(64) _Atomic uint64_t used;
    _Atomic uint64_t
        limit; /* of used: what of max_memory_bytes is left beside all else that is resident */
    _Atomic uint8_t scope;        /* enum evict_scope */
    _Atomic bool stuck;           /* over the limit, and nothing was found that may go */
    _Atomic uint32_t next_victim; /* the domain to evict in, where the own one is below its share */
    _Atomic uint64_t tidied;      /* slabs ever made, when holes were last looked for */
    _Atomic uint32_t next_tidy;   /* region */
    struct heap *heap;
    uint32_t regions;
    struct evict_duel duel;
    struct evict domains[STORE_DOMAINS_MAX];
    _Atomic uint64_t removed[REMOVED_CAUSES];
    struct shard shards[STORE_SHARDS];
};

static inline uint32_t shard_number(uint64_t hash) { return (uint32_t)hash >> INDEX_HASH_BITS; }

static inline struct shard *shard_of(struct store *store, uint64_t hash) {
    return &store->shards[shard_number(hash)];
}

static inline struct evict *domain_of(struct store *store, uint64_t hash) {
    return &store->domains[shard_number(hash) & (store->n_domains - 1)];
}

static inline uint32_t region_of(const struct store *store, uint64_t hash) {
    return shard_number(hash) % store->regions;
}

static inline uint64_t store_used(const struct store *store) {
    return atomic_load_explicit(&store->used, memory_order_relaxed);
}

/* What a removal from a locked shard is made of, where many are removed together; else store_drop. */
void store_detach(struct shard *shard, struct entry *entry);
void store_tell_removed(struct store *store, struct shard *shard, const struct entry *entry,
                        enum store_removal cause, uint64_t client_id);
void store_note_removed(struct store *store, enum store_removal cause, uint64_t n);
/* Brings the store's sum to what the shard takes now. */
void store_account(struct store *store, struct shard *shard);
/* Removes an entry of a locked shard. */
void store_drop(struct store *store, struct shard *shard, struct entry *entry,
                enum store_removal cause, uint64_t client_id);
/* Unlocks and tells who wants to know that it is. */
void store_unlock_shard(struct store *store, struct shard *shard);
/* Evicts others until memory is below the limit, or enough for this call was evicted; never `keep`. */
void store_make_room(struct store *store, const struct store_guard *guard, struct shard *shard,
                     const struct entry *keep);

#endif

/* evict.h: which entry goes when memory is full. One policy a shard, under its lock; evict_touch alone runs without it.
 *
 *     hit:     evict_touch(entry);
 *     writes:  evict_insert, evict_replace, evict_remove tell of every change
 *     full:    victim = evict_victim(evict, index, keep);       the caller removes it
 *
 * The policy: CLOCK with a small count of uses an entry (0 to 3, Smith 1978), over the shard's buckets in place. New entries
 * start at 0, so what is read once goes before what is read again. It takes one byte of the header and no list; a hit writes that
 * byte only until it has reached 3, so hot entries' cache lines stay shared. Queues (S3-FIFO, W-TinyLFU) fit behind the same calls. */
#ifndef FRESHET_CACHE_EVICT_H
#define FRESHET_CACHE_EVICT_H

#include <stdatomic.h>
#include <stdint.h>

#include "cache/entry.h"

struct index;

enum { EVICT_USES_MAX = 3 };

struct evict {
    uint32_t bucket; /* the hand's, and how many of its entries are behind it */
    uint32_t place;
};

void evict_init(struct evict *evict);

/* Uses that race count once: it is an estimate. */
static inline void evict_touch(struct entry *entry) {
    uint8_t uses = atomic_load_explicit(&entry->policy, memory_order_relaxed);
    if (uses < EVICT_USES_MAX)
        atomic_store_explicit(&entry->policy, uses + 1, memory_order_relaxed);
}

void evict_insert(struct evict *evict, struct entry *entry);
void evict_replace(struct evict *evict, const struct entry *old, struct entry *entry);
void evict_remove(struct evict *evict, struct entry *entry);

/* Never `keep` (may be NULL). NULL: there is nothing else. */
struct entry *evict_victim(struct evict *evict, const struct index *index,
                           const struct entry *keep);

/* For OBJECT FREQ and the like. */
static inline uint32_t evict_uses(const struct entry *entry) {
    return atomic_load_explicit(&entry->policy, memory_order_relaxed);
}

#endif

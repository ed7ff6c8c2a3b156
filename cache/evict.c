#include "cache/evict.h"

#include "cache/index.h"

void evict_init(struct evict *evict) { *evict = (struct evict){0}; }

void evict_insert(struct evict *evict, struct entry *entry) {
    (void)evict;
    atomic_store_explicit(&entry->policy, 0, memory_order_relaxed);
}

/* Being written is a use, and the key keeps what it has earned. */
void evict_replace(struct evict *evict, const struct entry *old, struct entry *entry) {
    (void)evict;
    atomic_store_explicit(&entry->policy, atomic_load_explicit(&old->policy, memory_order_relaxed),
                          memory_order_relaxed);
    evict_touch(entry);
}

void evict_remove(struct evict *evict, struct entry *entry) {
    (void)evict;
    (void)entry;
}

/* The hand stands between two entries: behind the first `place` entries of its bucket. */
struct entry *evict_victim(struct evict *evict, const struct index *index,
                           const struct entry *keep) {
    uint32_t n = index_buckets(index);
    /* After so many rounds every count has come down to 0. */
    for (uint64_t left = (uint64_t)n * (EVICT_USES_MAX + 2); left > 0; left--) {
        if (evict->bucket >= n) *evict = (struct evict){0};
        struct index_iter iter = index_bucket(index, evict->bucket);
        struct entry *entry;
        for (uint32_t place = 0; (entry = index_next(&iter)); place++) {
            if (place < evict->place) continue;
            uint8_t uses = atomic_load_explicit(&entry->policy, memory_order_relaxed);
            if (uses == 0 && entry != keep) return entry; /* what follows takes its place */
            if (uses > 0) atomic_store_explicit(&entry->policy, uses - 1, memory_order_relaxed);
            evict->place++;
        }
        evict->bucket++;
        evict->place = 0;
    }
    return NULL;
}

#include "cache/evict.h"

#include "cache/index.h"

void evict_init(struct evict *evict) { evict->hand = 0; }

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

struct entry *evict_victim(struct evict *evict, const struct index *index,
                           const struct entry *keep) {
    uint32_t n = index_buckets(index);
    /* After so many rounds every count has come down to 0. */
    for (uint64_t left = (uint64_t)n * (EVICT_USES_MAX + 1); left > 0; left--) {
        if (evict->hand >= n) evict->hand = 0;
        struct index_iter iter = index_bucket(index, evict->hand);
        struct entry *entry;
        while ((entry = index_next(&iter))) {
            if (entry == keep) continue;
            uint8_t uses = atomic_load_explicit(&entry->policy, memory_order_relaxed);
            if (uses == 0) return entry;
            atomic_store_explicit(&entry->policy, uses - 1, memory_order_relaxed);
        }
        evict->hand++;
    }
    return NULL;
}

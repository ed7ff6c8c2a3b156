/* Walks over the whole store, a shard at a time: flushing it, sweeping what matches out of it, SCAN, any key. */
#include "base/mem.h"
#include "cache/store/store_state.h"

/* Of a walk over all shards, which a guard may have locked already. */
static void enter_shard(struct shard *shard, const struct store_guard *guard) {
    if (!guard) pthread_mutex_lock(&shard->mutex);
}

static void leave_shard(struct store *store, struct shard *shard, const struct store_guard *guard) {
    if (!guard) store_unlock_shard(store, shard);
}

struct entry_list {
    struct entry **entries;
    uint32_t n, cap;
    store_match *match;
    void *arg;
};

static void entry_list_add(struct entry *entry, void *arg) {
    struct entry_list *list = arg;
    if (list->match && !list->match(entry, list->arg)) return;
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->entries = mem_realloc(list->entries, list->cap * sizeof(struct entry *));
    }
    list->entries[list->n++] = entry;
}

static void shard_flush(struct store *store, struct shard *shard, const struct store_guard *guard,
                        enum store_removal cause) {
    uint64_t client_id = guard ? guard->client_id : 0;
    struct entry_list all = {0};
    index_each(&shard->index, entry_list_add, &all);
    for (uint32_t i = 0; i < all.n; i++)
        store_detach(shard, all.entries[i]);
    evict_forget(&store->domains[shard->number % store->n_domains], all.n);
    index_clear(&shard->index);
    wheel_clear(&shard->wheel);
    for (uint32_t i = 0; i < all.n; i++) {
        store_tell_removed(store, shard, all.entries[i], cause, client_id);
        limbo_add(&shard->limbo, all.entries[i], RETIRED_ENTRY);
    }
    limbo_drain(&shard->limbo);
    store_account(store, shard);
    store_note_removed(store, cause, all.n);
    mem_free(all.entries);
}

void store_flush(struct store *store, const struct store_guard *guard, enum store_removal cause) {
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        enter_shard(shard, guard);
        shard_flush(store, shard, guard, cause);
        leave_shard(store, shard, guard);
    }
}

enum { SWEEP_BUCKETS = 64 };

/* One hold of the lock: returns where to go on, 0 at the end of the shard. */
static uint32_t sweep_some(struct store *store, struct shard *shard, uint32_t cursor,
                           struct entry_list *found, enum store_removal cause) {
    found->n = 0;
    pthread_mutex_lock(&shard->mutex);
    uint32_t buckets = 0;
    do
        cursor = index_scan(&shard->index, cursor, entry_list_add, found);
    while (cursor != 0 && ++buckets < SWEEP_BUCKETS);
    for (uint32_t i = 0; i < found->n; i++)
        store_drop(store, shard, found->entries[i], cause, 0);
    store_unlock_shard(store, shard);
    return cursor;
}

uint64_t store_sweep(struct store *store, store_match *match, void *arg, enum store_removal cause) {
    struct entry_list found = {.match = match, .arg = arg};
    uint64_t swept = 0;
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        uint32_t cursor = 0;
        do {
            cursor = sweep_some(store, &store->shards[i], cursor, &found, cause);
            swept += found.n;
        } while (cursor != 0);
    }
    mem_free(found.entries);
    return swept;
}

struct live_visit {
    store_visit *visit;
    void *arg;
    int64_t now_ms;
    uint32_t n;
};

static void visit_live(struct entry *entry, void *arg) {
    struct live_visit *live = arg;
    if (entry_is_expired(entry, live->now_ms)) return;
    live->n++;
    live->visit(entry, live->arg);
}

uint64_t store_scan(struct store *store, const struct store_guard *guard, uint64_t cursor,
                    uint32_t count_wanted, int64_t now_ms, store_visit *visit, void *arg) {
    struct live_visit live = {visit, arg, now_ms, 0};
    if (cursor > UINT32_MAX) return 0;
    uint32_t within = (uint32_t)cursor & ((1u << INDEX_HASH_BITS) - 1);
    for (uint32_t i = shard_number(cursor); i < STORE_SHARDS; i++, within = 0) {
        struct shard *shard = &store->shards[i];
        enter_shard(shard, guard);
        do
            within = index_scan(&shard->index, within, visit_live, &live);
        while (within != 0 && live.n < count_wanted);
        leave_shard(store, shard, guard);
        if (within != 0) return (uint64_t)i << INDEX_HASH_BITS | within;
        if (live.n >= count_wanted && i + 1 < STORE_SHARDS)
            return (uint64_t)(i + 1) << INDEX_HASH_BITS;
    }
    return 0;
}

/* One of the bucket's live entries, or NULL. */
static const struct entry *random_of_bucket(const struct index *index, uint32_t bucket,
                                            uint64_t random, int64_t now_ms) {
    enum { MOST = 32 };
    const struct entry *live[MOST];
    uint32_t n = 0;
    struct index_iter iter = index_bucket(index, bucket);
    struct entry *entry;
    while (n < MOST && (entry = index_next(&iter)))
        if (!entry_is_expired(entry, now_ms) && !entry_is_absent(entry)) live[n++] = entry;
    return n ? live[random % n] : NULL;
}

const struct entry *store_random(struct store *store, const struct store_guard *guard,
                                 uint64_t random, int64_t now_ms) {
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct shard *shard = &store->shards[(i + random) % STORE_SHARDS];
        const struct entry *entry = NULL;
        enter_shard(shard, guard);
        uint32_t n = index_buckets(&shard->index);
        for (uint32_t b = 0; b < n && !entry; b++)
            entry = random_of_bucket(&shard->index, (uint32_t)(b + (random >> 8)) % n, random >> 40,
                                     now_ms);
        leave_shard(store, shard, guard);
        if (entry) return entry;
    }
    return NULL;
}

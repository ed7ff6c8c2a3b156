#include "cache/store/store.h"

#define XXH_INLINE_ALL /* the function that every read begins with */
#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/store_state.h"

uint32_t store_shard(uint64_t hash) { return shard_number(hash); }

bool store_is_locked(const struct store_guard *guard, uint64_t hash) {
    uint32_t n = shard_number(hash);
    return guard->shards[n / 64] >> (n % 64) & 1;
}

static struct shard *locked_shard(struct store *store, const struct store_guard *guard,
                                  uint64_t hash) {
    ASSERT(guard && store_is_locked(guard, hash));
    return shard_of(store, hash);
}

/* For counts that only the holder of the shard's lock writes. */
static void count(_Atomic uint64_t *counter, int64_t n) {
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + (uint64_t)n, memory_order_relaxed);
}

/* --- life --- */

static const char *const removal_labels[REMOVED_CAUSES] = {
    [REMOVED_DELETED] = "cause=\"deleted\"",       [REMOVED_EXPIRED] = "cause=\"expired\"",
    [REMOVED_EVICTED_MEMORY] = "cause=\"memory\"", [REMOVED_COMMIT] = "cause=\"commit\"",
    [REMOVED_FLUSHED] = "cause=\"flushed\"",
};

static double read_entries(void *owner) {
    struct store_stats stats;
    store_stats(owner, &stats);
    return (double)stats.entries;
}

static double read_bytes(void *owner) { return (double)store_used(owner); }

static double read_max_bytes(void *owner) { return (double)((struct store *)owner)->max_bytes; }

static void register_metrics(struct store *store, struct metrics *metrics) {
    for (uint32_t cause = 0; cause < REMOVED_CAUSES; cause++)
        store->removal_metrics[cause] =
            metrics_counter(metrics, "freshet_cache_evictions_total",
                            "Entries that left memory, by cause.", removal_labels[cause]);
    metrics_gauge_fn(metrics, "freshet_cache_entries", "Entries in memory, negative ones included.",
                     NULL, read_entries, store);
    metrics_gauge_fn(metrics, "freshet_cache_memory_bytes", "Bytes that entries and index take.",
                     NULL, read_bytes, store);
    metrics_gauge_fn(metrics, "freshet_cache_memory_limit_bytes",
                     "What entries and index may take at the most (cache.max_memory).", NULL,
                     read_max_bytes, store);
}

/* A region has some slabs that are not full: where memory is little, there are few. */
static uint32_t region_count(uint64_t max_memory_bytes) {
    uint32_t n = 1;
    while (n < STORE_REGIONS_MAX && max_memory_bytes / n > REGION_BYTES)
        n *= 2;
    return n;
}

/* A domain of a dozen entries has no choice. */
static uint32_t domain_count(uint64_t max_memory_bytes) {
    uint32_t n = STORE_DOMAINS_MIN;
    while (n < STORE_DOMAINS_MAX && max_memory_bytes / n > DOMAIN_BYTES)
        n *= 2;
    return n;
}

struct store *store_create(const struct store_config *config, struct metrics *metrics) {
    struct store *store = mem_aligned(64, sizeof *store);
    memset(store, 0, sizeof *store);
    store->config = *config;
    store->reclaim = reclaim_create(config->max_readers);
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        shard->number = i;
        pthread_mutex_init(&shard->mutex, NULL);
        limbo_init(&shard->limbo, store->reclaim);
        index_init(&shard->index, &shard->limbo);
        wheel_init(&shard->wheel);
    }
    store->n_domains = domain_count(config->max_memory_bytes);
    for (uint32_t i = 0; i < store->n_domains; i++)
        evict_init(&store->domains[i], i, &store->duel);
    atomic_init(&store->limit, config->max_memory_bytes);
    atomic_init(&store->max_bytes, config->max_memory_bytes);
    store->regions = region_count(config->max_memory_bytes);
    store->heap = heap_create(store->regions);
    store->metrics = metrics;
    if (metrics) register_metrics(store, metrics);
    return store;
}

static void destroy_entry(struct entry *entry, void *arg) {
    (void)arg;
    entry_destroy(&entry);
}

void store_destroy(struct store **store) {
    struct store *gone = *store;
    *store = NULL;
    if (!gone) return;
    if (gone->metrics) metrics_forget(gone->metrics, gone);
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct shard *shard = &gone->shards[i];
        index_each(&shard->index, destroy_entry, NULL);
        index_deinit(&shard->index);
        limbo_deinit(&shard->limbo);
        wheel_deinit(&shard->wheel);
        pthread_mutex_destroy(&shard->mutex);
    }
    for (uint32_t i = 0; i < gone->n_domains; i++)
        evict_deinit(&gone->domains[i]);
    reclaim_destroy(&gone->reclaim);
    heap_destroy(&gone->heap);
    mem_free(gone);
}

uint64_t store_hash(const struct store *store, struct slice key) {
    return XXH3_64bits_withSeed(key.data, key.len, store->config.seed);
}

/* --- reading --- */

void store_reader_enter(struct store *store, uint32_t reader) {
    reclaim_enter(store->reclaim, reader);
}

void store_reader_leave(struct store *store, uint32_t reader) {
    reclaim_leave(store->reclaim, reader);
}

void store_reader_pause(struct store *store, uint32_t reader) {
    reclaim_pause(store->reclaim, reader);
}

const struct entry *store_peek(struct store *store, struct slice key, uint64_t hash,
                               int64_t now_ms) {
    struct entry *entry = index_find(&shard_of(store, hash)->index, key, (uint32_t)hash);
    if (!entry || entry_is_expired(entry, now_ms)) return NULL;
    evict_touch(domain_of(store, hash), entry);
    return entry;
}

uint32_t store_uses(struct store *store, const struct entry *entry) {
    const struct evict *evict = domain_of(store, entry->hash);
    uint8_t epoch = atomic_load_explicit(&evict->epoch, memory_order_relaxed);
    uint8_t mode = atomic_load_explicit(&evict->mode, memory_order_relaxed);
    return evict_aged_uses(mode, atomic_load_explicit(&entry->policy, memory_order_relaxed), epoch);
}

const struct bucket *store_prefetch(const struct store *store, uint64_t hash) {
    return index_prefetch(&store->shards[shard_number(hash)].index, (uint32_t)hash);
}

void store_prefetch_entry(const struct bucket *bucket, uint64_t hash) {
    index_prefetch_entry(bucket, (uint32_t)hash);
}

/* --- observers --- */

uint32_t store_add_observer(struct store *store, const struct store_observer *observer) {
    ASSERT(store->n_observers < STORE_OBSERVERS);
    store->observers[store->n_observers] = *observer;
    return store->n_observers++;
}

static void set_observed(struct shard *shard, uint32_t number, bool on) {
    uint8_t bit = (uint8_t)(1u << number);
    if (on)
        atomic_fetch_or(&shard->observers, bit);
    else
        atomic_fetch_and(&shard->observers, (uint8_t)~bit);
}

void store_observe(struct store *store, uint32_t number, uint64_t hash,
                   const struct store_guard *guard) {
    struct shard *shard = shard_of(store, hash);
    if (guard) {
        ASSERT(store_is_locked(guard, hash));
        set_observed(shard, number, true);
        return;
    }
    pthread_mutex_lock(&shard->mutex);
    set_observed(shard, number, true);
    pthread_mutex_unlock(&shard->mutex);
}

void store_observe_all(struct store *store, uint32_t number, bool on) {
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        set_observed(&store->shards[i], number, on);
}

bool store_is_observed(const struct store *store, uint32_t number, uint64_t hash) {
    const struct shard *shard = &store->shards[shard_number(hash)];
    return atomic_load_explicit(&shard->observers, memory_order_relaxed) >> number & 1;
}

void store_ignore(struct store *store, uint32_t number, uint64_t hash) {
    set_observed(shard_of(store, hash), number, false);
}

static void tell_all(struct store *store, struct shard *shard, const struct store_change *change) {
    uint8_t observers = atomic_load_explicit(&shard->observers, memory_order_relaxed);
    shard->told = true;
    for (uint32_t i = 0; i < store->n_observers; i++)
        if (observers >> i & 1) store->observers[i].changed(store->observers[i].self, change);
}

static inline bool is_observed(const struct shard *shard) {
    return __builtin_expect(atomic_load_explicit(&shard->observers, memory_order_relaxed) != 0, 0);
}

/* The locks of `told` are released. */
static void settle_all(struct store *store, const uint64_t *told) {
    for (uint32_t i = 0; i < store->n_observers; i++)
        if (store->observers[i].settled)
            store->observers[i].settled(store->observers[i].self, told);
}

/* --- locking --- */

void store_unlock_shard(struct store *store, struct shard *shard) {
    bool told = shard->told;
    shard->told = false;
    pthread_mutex_unlock(&shard->mutex);
    if (__builtin_expect(!told, 1)) return;
    uint32_t number = (uint32_t)(shard - store->shards);
    uint64_t bits[STORE_SHARDS / 64] = {0};
    bits[number / 64] = UINT64_C(1) << (number % 64);
    settle_all(store, bits);
}

void store_lock(struct store *store, const uint64_t *hashes, uint32_t n,
                struct store_guard *guard) {
    *guard = (struct store_guard){0};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t number = shard_number(hashes[i]);
        guard->shards[number / 64] |= UINT64_C(1) << (number % 64);
    }
    for (uint32_t word = 0; word < STORE_SHARDS / 64; word++)
        for (uint64_t bits = guard->shards[word]; bits; bits &= bits - 1)
            pthread_mutex_lock(&store->shards[word * 64 + __builtin_ctzll(bits)].mutex);
}

void store_lock_all(struct store *store, struct store_guard *guard) {
    *guard = (struct store_guard){0};
    memset(guard->shards, 0xff, sizeof guard->shards);
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        pthread_mutex_lock(&store->shards[i].mutex);
}

void store_unlock(struct store *store, struct store_guard *guard) {
    uint64_t told[STORE_SHARDS / 64] = {0};
    bool any = false;
    for (uint32_t word = 0; word < STORE_SHARDS / 64; word++) {
        for (uint64_t bits = guard->shards[word]; bits; bits &= bits - 1) {
            struct shard *shard = &store->shards[word * 64 + __builtin_ctzll(bits)];
            if (__builtin_expect(shard->told, 0)) {
                shard->told = false;
                told[word] |= bits & -bits;
                any = true;
            }
            pthread_mutex_unlock(&shard->mutex);
        }
    }
    *guard = (struct store_guard){0};
    if (__builtin_expect(any, 0)) settle_all(store, told);
}

/* --- writing, under the shard's lock --- */

/* Brings the store's sum to what the shard takes now. */
void store_account(struct store *store, struct shard *shard) {
    size_t now = shard->entry_bytes + shard->index.bytes + shard->wheel.bytes;
    size_t accounted = atomic_load_explicit(&shard->accounted, memory_order_relaxed);
    if (now == accounted) return;
    atomic_fetch_add_explicit(&store->used, now - accounted, memory_order_relaxed);
    atomic_store_explicit(&shard->accounted, now, memory_order_relaxed);
}

void store_note_removed(struct store *store, enum store_removal cause, uint64_t n) {
    atomic_fetch_add_explicit(&store->removed[cause], n, memory_order_relaxed);
    if (store->removal_metrics[cause]) metric_add(store->removal_metrics[cause], (int64_t)n);
}

/* A note holds the hash's lower bits; the shard has the others. */
static uint32_t hash_of_note(const struct shard *shard, const struct wheel_note *note) {
    return shard->number << INDEX_HASH_BITS | (uint32_t)note->hash;
}

static bool has_expiry(const struct entry *entry) { return entry_expiry(entry) != STORE_NEVER; }

/* What every way into the shard has in common, and every way out. */
static void attach(struct shard *shard, struct entry *entry) {
    shard->entry_bytes += entry_size(entry);
    count(&shard->entries, 1);
    if (entry_is_absent(entry)) count(&shard->absent, 1);
    if (has_expiry(entry)) count(&shard->timed, 1);
}

void store_detach(struct shard *shard, struct entry *entry) {
    shard->entry_bytes -= entry_size(entry);
    count(&shard->entries, -1);
    if (entry_is_absent(entry)) count(&shard->absent, -1);
    if (has_expiry(entry)) count(&shard->timed, -1);
}

/* A few notes of the wheel that may be stale. */
static void sweep_wheel(struct shard *shard) {
    struct wheel_note note;
    uint64_t live = atomic_load_explicit(&shard->timed, memory_order_relaxed);
    for (uint32_t n = 0; n < WHEEL_SWEEPS && wheel_sweep(&shard->wheel, live, &note); n++) {
        uint32_t hash = hash_of_note(shard, &note);
        struct index_iter iter = index_bucket_of(&shard->index, hash);
        struct entry *entry;
        while ((entry = index_next_of(&iter, hash))) {
            if (!has_expiry(entry)) continue;
            if (!entry_is_late(entry) && wheel_tick(entry_expiry(entry)) != note.tick) continue;
            entry_set_expiry(entry, entry_expiry(entry), false);
            wheel_add(&shard->wheel, hash, entry_expiry(entry));
            break;
        }
    }
}

/* The entry has an expiry, and is in the index: the sweep looks there. Where the key was timed before, and not for later than now, that note will do: the entry is
 * late for it, and is noted anew when it is due. So a key that is written again and again has one note. */
static void note_expiry(struct shard *shard, struct entry *entry, int64_t before_ms,
                        bool was_late) {
    int64_t at_ms = entry_expiry(entry);
    if (before_ms != STORE_NEVER && wheel_tick(before_ms) <= wheel_tick(at_ms)) {
        entry_set_expiry(entry, at_ms, was_late || wheel_tick(before_ms) != wheel_tick(at_ms));
        return;
    }
    entry_set_expiry(entry, at_ms, false);
    wheel_add(&shard->wheel, entry->hash, at_ms);
    sweep_wheel(shard);
}

void store_tell_removed(struct store *store, struct shard *shard, const struct entry *entry,
                        enum store_removal cause, uint64_t client_id) {
    if (!is_observed(shard)) return;
    struct store_change change = {.event = STORE_REMOVED,
                                  .cause = cause,
                                  .key = entry_key(entry),
                                  .hash = entry->hash,
                                  .entry = entry,
                                  .client_id = client_id};
    tell_all(store, shard, &change);
}

void store_drop(struct store *store, struct shard *shard, struct entry *entry,
                enum store_removal cause, uint64_t client_id) {
    evict_forget(domain_of(store, entry->hash), 1);
    store_detach(shard, entry);
    index_remove(&shard->index, entry);
    store_tell_removed(store, shard, entry, cause, client_id);
    limbo_add(&shard->limbo, entry, RETIRED_ENTRY);
    store_account(store, shard);
    store_note_removed(store, cause, 1);
}

bool store_fits(const struct store *store, size_t bytes) {
    return bytes <= atomic_load_explicit(&store->max_bytes, memory_order_relaxed);
}

struct entry *store_find(struct store *store, const struct store_guard *guard, struct slice key,
                         uint64_t hash, int64_t now_ms) {
    struct shard *shard = locked_shard(store, guard, hash);
    struct entry *entry = index_find(&shard->index, key, (uint32_t)hash);
    if (!entry) return NULL;
    if (entry_is_expired(entry, now_ms)) {
        store_drop(store, shard, entry, REMOVED_EXPIRED, 0);
        return NULL;
    }
    evict_touch(domain_of(store, hash), entry);
    return entry;
}

static void tell_put(struct store *store, struct shard *shard, const struct store_guard *guard,
                     const struct entry *entry, const struct entry *old) {
    if (!is_observed(shard)) return;
    struct store_change change = {.event = old ? STORE_REPLACED : STORE_CREATED,
                                  .key = entry_key(entry),
                                  .hash = entry->hash,
                                  .entry = entry,
                                  .old = old,
                                  .client_id = guard->client_id};
    tell_all(store, shard, &change);
}

static void tell_changed(struct store *store, struct shard *shard, const struct store_guard *guard,
                         const struct entry *entry) {
    if (!is_observed(shard)) return;
    struct store_change change = {.event = STORE_CHANGED,
                                  .key = entry_key(entry),
                                  .hash = entry->hash,
                                  .entry = entry,
                                  .client_id = guard->client_id};
    tell_all(store, shard, &change);
}

void store_touch(struct store *store, const struct store_guard *guard, struct slice key,
                 uint64_t hash) {
    struct shard *shard = locked_shard(store, guard, hash);
    if (!is_observed(shard)) return;
    struct store_change change = {.event = STORE_TOUCHED,
                                  .cause = REMOVED_COMMIT,
                                  .key = key,
                                  .hash = (uint32_t)hash,
                                  .client_id = guard->client_id};
    tell_all(store, shard, &change);
}

/* Moves what the common allocator gave into a slot of the heap. */
static struct entry *settle(struct store *store, struct entry *entry) {
    size_t len = entry_len(entry);
    if (len > HEAP_MOST || entry->flags & ENTRY_SETTLED) return entry;
    struct entry *settled =
        entry_settle(entry, heap_alloc(store->heap, region_of(store, entry->hash), len));
    entry_release(entry);
    return settled;
}

static bool put(struct store *store, const struct store_guard *guard, struct entry **entry,
                bool is_change) {
    struct entry *fresh = *entry;
    *entry = NULL;
    if (!store_fits(store, entry_size(fresh))) {
        entry_destroy(&fresh);
        return false;
    }
    struct shard *shard = locked_shard(store, guard, fresh->hash);
    struct entry *old = index_find(&shard->index, entry_key(fresh), fresh->hash);
    if (old && guard->now_ms && old->kind != ENTRY_ROW && entry_is_expired(old, guard->now_ms)) {
        store_drop(store, shard, old, REMOVED_EXPIRED, 0);
        old = NULL;
    }
    fresh = settle(store, fresh);
    struct evict *evict = domain_of(store, fresh->hash);
    if (old) {
        evict_replace(evict, old, fresh);
        store_detach(shard, old);
        attach(shard, fresh);
        index_replace(&shard->index, old, fresh);
        if (has_expiry(fresh))
            note_expiry(shard, fresh, entry_expiry(old), has_expiry(old) && entry_is_late(old));
        if (is_change) tell_put(store, shard, guard, fresh, old);
        limbo_add(&shard->limbo, old, RETIRED_ENTRY);
    } else {
        evict_insert(evict, fresh);
        attach(shard, fresh);
        index_insert(&shard->index, fresh);
        if (has_expiry(fresh)) note_expiry(shard, fresh, STORE_NEVER, false);
        tell_put(store, shard, guard, fresh, NULL);
    }
    store_account(store, shard);
    store_make_room(store, guard, shard, fresh);
    if (__builtin_expect(store_is_full(store), 0) && fresh->kind == ENTRY_ROW)
        store_drop(store, shard, fresh, REMOVED_EVICTED_MEMORY, 0);
    return true;
}

bool store_put(struct store *store, const struct store_guard *guard, struct entry **entry) {
    return put(store, guard, entry, true);
}

bool store_put_alike(struct store *store, const struct store_guard *guard, struct entry **entry) {
    return put(store, guard, entry, false);
}

bool store_remove(struct store *store, const struct store_guard *guard, struct slice key,
                  uint64_t hash, enum store_removal cause) {
    struct shard *shard = locked_shard(store, guard, hash);
    struct entry *entry = index_find(&shard->index, key, (uint32_t)hash);
    if (!entry) return false;
    store_drop(store, shard, entry, cause, guard->client_id);
    return true;
}

bool store_rename(struct store *store, const struct store_guard *guard, struct entry *entry,
                  struct slice key, uint64_t hash) {
    if (!store_fits(store, entry_size(entry) + key.len)) return false;
    struct shard *shard = locked_shard(store, guard, entry->hash);
    bool is_object = entry->flags & ENTRY_OBJECT;
    struct entry *renamed = entry_create_renamed(entry, key, hash, entry_expiry(entry),
                                                 is_object ? entry_object(entry) : NULL);
    evict_forget(domain_of(store, entry->hash), 1);
    store_detach(shard, entry);
    index_remove(&shard->index, entry);
    store_tell_removed(store, shard, entry, REMOVED_DELETED, guard->client_id);
    limbo_add(&shard->limbo, entry, is_object ? RETIRED_HUSK : RETIRED_ENTRY);
    store_account(store, shard);
    store_note_removed(store, REMOVED_DELETED, 1);
    return store_put(store, guard, &renamed);
}

struct entry *store_set_expiry(struct store *store, const struct store_guard *guard,
                               struct entry *entry, int64_t expire_at_ms) {
    struct shard *shard = locked_shard(store, guard, entry->hash);
    int64_t before_ms = entry_expiry(entry);
    bool was_late = before_ms != STORE_NEVER && entry_is_late(entry);
    if (expire_at_ms == before_ms) return entry;
    store_detach(shard, entry);
    struct entry *old = entry;
    if (entry->flags & ENTRY_TIMED)
        entry_set_expiry(entry, expire_at_ms, false);
    else
        entry = settle(store, entry_move_timed(entry, expire_at_ms));
    attach(shard, entry);
    if (entry != old) index_replace(&shard->index, old, entry);
    if (expire_at_ms != STORE_NEVER) note_expiry(shard, entry, before_ms, was_late);
    tell_changed(store, shard, guard, entry);
    if (entry == old) return entry;
    limbo_add(&shard->limbo, old, RETIRED_HUSK);
    store_account(store, shard);
    store_make_room(store, guard, shard, entry);
    return entry;
}

void store_resized(struct store *store, const struct store_guard *guard, struct entry *entry,
                   size_t old_size) {
    struct shard *shard = locked_shard(store, guard, entry->hash);
    shard->entry_bytes += entry_size(entry) - old_size;
    tell_changed(store, shard, guard, entry);
    store_account(store, shard);
    store_make_room(store, guard, shard, entry);
}

/* --- the whole store --- */

/* What is not expired then was late for its note, or is not of it. */
static bool expire_noted(struct store *store, struct shard *shard, const struct wheel_note *note,
                         int64_t now_ms) {
    uint32_t hash = hash_of_note(shard, note);
    struct index_iter iter = index_bucket_of(&shard->index, hash);
    struct entry *entry;
    while ((entry = index_next_of(&iter, hash))) {
        if (!has_expiry(entry)) continue;
        if (entry_is_expired(entry, now_ms)) {
            store_drop(store, shard, entry, REMOVED_EXPIRED, 0);
            return true; /* another of the same hash has a note of its own */
        }
        if (!entry_is_late(entry)) continue;
        entry_set_expiry(entry, entry_expiry(entry), false);
        wheel_add(&shard->wheel, hash, entry_expiry(entry));
        return false;
    }
    return false;
}

uint32_t store_expire(struct store *store, uint32_t part, uint32_t parts, int64_t now_ms,
                      uint32_t budget) {
    ASSERT(part < parts);
    uint32_t expired = 0, notes = 0;
    for (uint32_t i = part; i < STORE_SHARDS; i += parts) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->mutex);
        struct wheel_note note;
        for (; notes < budget && wheel_due(&shard->wheel, now_ms, &note); notes++)
            expired += expire_noted(store, shard, &note, now_ms);
        store_account(store, shard);
        limbo_drain(&shard->limbo);
        store_unlock_shard(store, shard);
    }
    return notes < budget ? expired : budget;
}

void store_stats(struct store *store, struct store_stats *stats) {
    *stats = (struct store_stats){.bytes = store_used(store),
                                  .max_bytes = store->max_bytes,
                                  .retired_bytes = reclaim_held(store->reclaim)};
    struct heap_stats heap = heap_stats(store->heap, UINT32_MAX);
    stats->slab_bytes = heap.mapped;
    stats->slot_bytes = heap.live;
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct shard *shard = &store->shards[i];
        stats->entries += atomic_load_explicit(&shard->entries, memory_order_relaxed);
        stats->absent += atomic_load_explicit(&shard->absent, memory_order_relaxed);
        stats->with_expiry += atomic_load_explicit(&shard->timed, memory_order_relaxed);
    }
    for (uint32_t cause = 0; cause < REMOVED_CAUSES; cause++)
        stats->removed[cause] = atomic_load_explicit(&store->removed[cause], memory_order_relaxed);
}

/* Room in the store: eviction over shards, slabs that are emptied, and the limit that follows resident memory. */
#include "base/assert.h"
#include "cache/store/store_state.h"

enum {
    DOMAIN_SHARDS_MAX = STORE_SHARDS / STORE_DOMAINS_MIN,
    LEAVING_TRIES = 8,
    EVICT_LEAST = 16,        /* a call */
    HOLES_PART = 32,         /* of the slabs' memory: more is worth moving entries */
    HOLES_REGION = 96 << 10, /* and what a region may always have */
    TIDY_ENTRIES = 2048,     /* to move, a turn: 200 us */
    SPARE_PART = 64,         /* of the bound, for what comes between two looks at resident memory */
    CHUNK_PART = 32,
    LIMIT_STEP_PART = 32,
};

static bool is_held(const struct store_guard *guard, uint32_t number) {
    return guard && guard->shards[number / 64] >> (number % 64) & 1;
}

static enum evict_scope scope_of(const struct store *store) {
    return (enum evict_scope)atomic_load_explicit(&store->scope, memory_order_relaxed);
}

/* --- evicting --- */

static uint32_t domain_shards(const struct store *store) { return STORE_SHARDS / store->n_domains; }

/* A domain's shards that this thread may look into: those of the guard, and those that nobody holds at the moment. */
struct victim_search {
    struct store *store;
    const struct store_guard *guard;
    uint32_t domain;
    bool may[DOMAIN_SHARDS_MAX];  /* look into it */
    bool mine[DOMAIN_SHARDS_MAX]; /* locked by the search */
};

static struct shard *search_enter(struct victim_search *search, uint32_t i) {
    uint32_t number = search->domain + i * search->store->n_domains;
    struct shard *shard = &search->store->shards[number];
    if (search->may[i]) return shard;
    if (!is_held(search->guard, number)) {
        if (pthread_mutex_trylock(&shard->mutex) != 0) return NULL;
        search->mine[i] = true;
    }
    search->may[i] = true;
    return shard;
}

static void search_end(struct victim_search *search) {
    uint32_t shards = domain_shards(search->store);
    for (uint32_t i = 0; i < shards; i++)
        if (search->mine[i])
            store_unlock_shard(
                search->store,
                &search->store->shards[search->domain + i * search->store->n_domains]);
}

/* Whoever is at the window's end and has to go. */
static struct entry *leaving(struct victim_search *search, struct evict *evict,
                             const struct entry *keep, const struct evict_choice *choice) {
    uint32_t hash;
    for (uint32_t tries = 0; tries < LEAVING_TRIES && evict_leaving(evict, &hash); tries++) {
        struct shard *shard = search_enter(search, shard_number(hash) / search->store->n_domains);
        if (!shard) {
            evict_stay(evict, hash);
            continue;
        }
        struct index_iter iter = index_bucket_of(&shard->index, hash);
        struct entry *entry = index_next_of(&iter, hash);
        if (entry == keep && entry) evict_stay(evict, hash);
        if (!entry || entry == keep || !evict_may_go(choice->scope, entry)) continue;
        return evict_is_worse(evict, entry, choice) ? entry : NULL;
    }
    return NULL;
}

static bool evict_in(struct store *store, const struct store_guard *guard, uint32_t domain,
                     uint32_t first, const struct entry *keep) {
    struct victim_search search = {.store = store, .guard = guard, .domain = domain};
    struct evict *evict = &store->domains[domain];
    struct evict_choice choice = {.scope = scope_of(store)};
    evict_begin(evict);
    uint32_t shards = domain_shards(store);
    for (uint32_t i = 0; i < shards && choice.n < EVICT_SAMPLES; i++) {
        struct shard *shard = search_enter(&search, (first + i) % shards);
        if (shard) evict_sample(evict, &shard->index, &shard->evict_hand, keep, &choice);
    }
    struct entry *victim = leaving(&search, evict, keep, &choice);
    if (!victim) victim = choice.victim;
    evict_end(evict, victim);
    if (victim) store_drop(store, shard_of(store, victim->hash), victim, REMOVED_EVICTED_MEMORY, 0);
    search_end(&search);
    return victim != NULL;
}

static uint64_t domain_bytes(struct store *store, uint32_t domain) {
    uint64_t bytes = 0;
    for (uint32_t i = domain; i < STORE_SHARDS; i += store->n_domains)
        bytes += atomic_load_explicit(&store->shards[i].accounted, memory_order_relaxed);
    return bytes;
}

static bool is_over(const struct store *store) {
    return store_used(store) > atomic_load_explicit(&store->limit, memory_order_relaxed);
}

bool store_is_full(const struct store *store) {
    return scope_of(store) != EVICT_ANY && is_over(store) &&
           atomic_load_explicit(&store->stuck, memory_order_relaxed);
}

void store_set_scope(struct store *store, enum evict_scope scope) {
    atomic_store_explicit(&store->scope, (uint8_t)scope, memory_order_relaxed);
    atomic_store_explicit(&store->stuck, false, memory_order_relaxed);
}

/* Whether the last look found none. */
static void note_stuck(struct store *store, bool stuck) {
    if (atomic_load_explicit(&store->stuck, memory_order_relaxed) != stuck)
        atomic_store_explicit(&store->stuck, stuck, memory_order_relaxed);
}

/* One call evicts some more than it brought, but pays no larger debt alone: that is a pause of one client for what all have
 * done. The ticks pay too. */
void store_make_room(struct store *store, const struct store_guard *guard, struct shard *shard,
                     const struct entry *keep) {
    if (!is_over(store)) return;
    uint64_t before = store_used(store);
    uint64_t enough = keep ? 2 * entry_size(keep) : 0;
    uint32_t own = shard->number % store->n_domains, failures = 0;
    for (uint32_t n = 0; is_over(store) && failures < store->n_domains; n++) {
        uint64_t now = store_used(store);
        if (n >= EVICT_LEAST && now < before && before - now >= enough) return;
        uint32_t domain = own;
        if (domain_bytes(store, own) < now / store->n_domains || failures)
            domain = atomic_fetch_add_explicit(&store->next_victim, 1, memory_order_relaxed) %
                     store->n_domains;
        uint32_t first = domain == own ? shard->number / store->n_domains : n;
        failures = evict_in(store, guard, domain, first, keep) ? 0 : failures + 1;
    }
    note_stuck(store, failures > 0 && is_over(store));
}

/* --- emptying slabs --- */

static bool lock_region(struct store *store, uint32_t region) {
    for (uint32_t i = region; i < STORE_SHARDS; i += store->regions)
        pthread_mutex_lock(&store->shards[i].mutex);
    return true;
}

static void unlock_region(struct store *store, uint32_t region) {
    for (uint32_t i = region; i < STORE_SHARDS; i += store->regions)
        store_unlock_shard(store, &store->shards[i]);
}

static bool has_holes(struct heap_stats stats, uint32_t regions) {
    size_t holes = stats.mapped - stats.live;
    return stats.mapped > stats.live && holes > stats.mapped / HOLES_PART &&
           holes > (size_t)regions * HOLES_REGION;
}

/* Moves what lives in a sparse slab of the region into the holes of others. Its memory is free when no reader sees it any
 * more. An entry that is not found is in a limbo already. Returns how many it moved. */
static uint32_t empty_slab(struct store *store, uint32_t region) {
    lock_region(store, region);
    struct slab *slab = heap_sparse(store->heap, region);
    uint32_t cursor = 0, moved = 0;
    struct entry *entry;
    while (slab && (entry = heap_next(slab, &cursor))) {
        struct shard *shard = shard_of(store, entry->hash);
        if (index_find(&shard->index, entry_key(entry), entry->hash) != entry) continue;
        void *block = heap_alloc(store->heap, region, entry_len(entry));
        index_replace(&shard->index, entry, entry_settle(entry, block));
        limbo_add(&shard->limbo, entry, RETIRED_HUSK);
        moved++;
    }
    unlock_region(store, region);
    return moved;
}

/* Up to so many slabs and about so many entries. */
static void tidy(struct store *store, uint64_t slabs, uint32_t entries) {
    uint32_t moved = 0;
    for (uint32_t idle = 0; idle < store->regions && slabs > 0 && moved < entries;) {
        uint32_t region =
            atomic_fetch_add_explicit(&store->next_tidy, 1, memory_order_relaxed) % store->regions;
        uint32_t n = has_holes(heap_stats(store->heap, region), 1) ? empty_slab(store, region) : 0;
        idle = n ? 0 : idle + 1;
        slabs -= n > 0;
        moved += n;
    }
}

void store_tidy(struct store *store) {
    uint64_t made = heap_slabs_made(store->heap);
    uint64_t seen = atomic_load_explicit(&store->tidied, memory_order_relaxed);
    if (__builtin_expect(made == seen, 1)) return;
    atomic_store_explicit(&store->tidied, made, memory_order_relaxed);
    if (has_holes(heap_stats(store->heap, UINT32_MAX), store->regions))
        tidy(store, 2 * (made - seen), TIDY_ENTRIES);
}

/* --- ticks --- */

void store_tend(struct store *store, uint32_t budget) {
    static const struct store_guard none;
    uint32_t failures = 0;
    for (uint32_t n = 0; n < budget && is_over(store) && failures < store->n_domains; n++) {
        uint32_t domain = atomic_fetch_add_explicit(&store->next_victim, 1, memory_order_relaxed) %
                          store->n_domains;
        failures = evict_in(store, &none, domain, n, NULL) ? 0 : failures + 1;
    }
    note_stuck(store, failures == store->n_domains);
    if (has_holes(heap_stats(store->heap, UINT32_MAX), store->regions)) tidy(store, budget, budget);
}

void store_set_max(struct store *store, uint64_t bytes) {
    uint64_t limit = atomic_load_explicit(&store->limit, memory_order_relaxed);
    uint64_t max = atomic_exchange_explicit(&store->max_bytes, bytes, memory_order_relaxed);
    /* The same part of it as before, until store_follow has looked. */
    uint64_t beside = max > limit ? max - limit : 0;
    uint64_t fresh = beside < bytes / 2 ? bytes - beside : bytes - bytes / 2;
    atomic_store_explicit(&store->limit, fresh, memory_order_relaxed);
}

/* Of a small bound a chunk that comes between two looks, ready to be used, is a good part. */
static uint64_t chunk_to_come(uint64_t max) {
    uint64_t most = max / CHUNK_PART;
    return most < HEAP_CHUNK_BYTES ? most : HEAP_CHUNK_BYTES;
}

void store_follow(struct store *store, uint64_t resident_bytes) {
    uint64_t max = atomic_load_explicit(&store->max_bytes, memory_order_relaxed),
             used = store_used(store);
    if (resident_bytes) resident_bytes += max / SPARE_PART + chunk_to_come(max);
    uint64_t beside = resident_bytes > used ? resident_bytes - used : 0;
    uint64_t wanted = beside < max / 2 ? max - beside : max - max / 2;
    uint64_t limit = atomic_load_explicit(&store->limit, memory_order_relaxed);
    uint64_t step = max / LIMIT_STEP_PART;
    if (wanted > limit + step) wanted = limit + step;
    atomic_store_explicit(&store->limit, wanted, memory_order_relaxed);
}

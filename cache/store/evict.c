#include "cache/store/evict.h"

#include <math.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/index.h"

enum {
    GHOST_WAYS = 4,
    WINDOW_PERCENT = 2,
    WINDOW_LEAST = 16, /* room of the ring */
    MEAN_USES = 10,
    MEAN_SHIFT = 10, /* the mean follows about as many samples */
    AGE_OLDEST = 12, /* from there on ages are no longer told apart: the epoch comes round at 16 */
    FALLEN_USES = 10,
    FALLEN_SHIFT = 8, /* the share follows about as many victims */
    FALLEN_MANY = (1 << 16) * 2 / 100,
    DUEL_LOOK = 128,     /* misses from one look to the next */
    DUEL_MEMORY = 16384, /* misses: then they count half */
};

/* What an entry can be worth at the most by the epochs since its last use, where popularity moves. */
static const uint8_t moving_limit[16] = {15, 8, 6, 4, 2, 1};

uint32_t evict_aged_uses(uint8_t mode, uint8_t byte, uint8_t epoch) {
    uint32_t age = (uint32_t)(epoch - (byte >> 4)) & 15;
    uint32_t uses = byte & 15;
    if (mode == EVICT_STEADY) return uses >> age;
    return uses < moving_limit[age] ? uses : moving_limit[age];
}

static uint8_t epoch_of(const struct evict *evict) {
    return atomic_load_explicit(&evict->epoch, memory_order_relaxed);
}

static uint8_t mode_of(const struct evict *evict) {
    return atomic_load_explicit(&evict->mode, memory_order_relaxed);
}

/* Uses first, then the time since the last. */
static int32_t worth_of(const struct evict *evict, uint8_t byte) {
    uint8_t epoch = epoch_of(evict);
    uint32_t age = (uint32_t)(epoch - (byte >> 4)) & 15;
    return (int32_t)(evict_aged_uses(mode_of(evict), byte, epoch) * 16) - (int32_t)age;
}

static uint8_t byte_of(const struct entry *entry) {
    return atomic_load_explicit(&entry->policy, memory_order_relaxed);
}

static void set_byte(struct entry *entry, uint32_t uses, uint8_t epoch) {
    atomic_store_explicit(&entry->policy, (uint8_t)(uses | (epoch & 15u) << 4),
                          memory_order_relaxed);
}

void evict_deinit(struct evict *evict) {
    mem_free(evict->window);
    mem_free(evict->ghosts);
    pthread_mutex_destroy(&evict->mutex);
}

/* --- which way of ageing --- */

/* By how much the other way has to be better: 1 in 100, two standard deviations of the counts, and what the keys of
 * domains of so many entries make for a difference by themselves. */
static double duel_margin(uint32_t misses, uint32_t entries) {
    return misses * (0.01 + 0.4 / sqrt(entries + 1.0)) + 2 * sqrt(2.0 * misses);
}

static void duel_note(struct evict *evict) {
    struct evict_duel *duel = evict->duel;
    if (!evict->leads) return;
    atomic_fetch_add_explicit(&duel->misses[evict->leads_fresh], 1, memory_order_relaxed);
    uint32_t misses[] = {atomic_load_explicit(&duel->misses[0], memory_order_relaxed),
                         atomic_load_explicit(&duel->misses[1], memory_order_relaxed)};
    uint32_t sum = misses[0] + misses[1];
    if (sum % DUEL_LOOK) return;
    bool fresh = atomic_load_explicit(&duel->fresh, memory_order_relaxed);
    if (misses[!fresh] < misses[fresh] - duel_margin(misses[fresh], evict->entries))
        atomic_store_explicit(&duel->fresh, !fresh, memory_order_relaxed);
    for (uint32_t i = 0; sum > DUEL_MEMORY && i < 2; i++)
        atomic_store_explicit(&duel->misses[i], misses[i] / 2, memory_order_relaxed);
}

static uint8_t mode_now(const struct evict *evict) {
    if (evict->leads ? evict->leads_fresh
                     : atomic_load_explicit(&evict->duel->fresh, memory_order_relaxed))
        return EVICT_FRESH;
    return evict->fallen > FALLEN_MANY ? EVICT_MIDDLE : EVICT_STEADY;
}

void evict_init(struct evict *evict, uint32_t number, struct evict_duel *duel) {
    bool leads = number >= EVICT_LEADERS;
    *evict = (struct evict){.leads = leads, .leads_fresh = leads && number % 2, .duel = duel};
    atomic_init(&evict->mode, mode_now(evict));
    pthread_mutex_init(&evict->mutex, NULL);
}

static void advance(struct evict *evict) {
    atomic_store_explicit(&evict->epoch, (epoch_of(evict) + 1) & 15, memory_order_relaxed);
    evict->insertions = 0;
}

static void end_epoch_if_due(struct evict *evict) {
    uint8_t mode = mode_now(evict);
    atomic_store_explicit(&evict->mode, mode, memory_order_relaxed);
    if (mode == EVICT_STEADY) {
        if (evict->mean <= MEAN_USES << 16) return;
        evict->mean /= 2;
        advance(evict);
    } else {
        uint64_t quarters = mode == EVICT_MIDDLE ? 7 : 1;
        if (evict->insertions > quarters * evict->entries / 4) advance(evict);
    }
}

/* --- ghosts --- */

static void resize(struct evict *evict, void **memory, size_t old_bytes, size_t bytes) {
    *memory = mem_realloc(*memory, bytes);
    size_t now = atomic_load_explicit(&evict->bytes, memory_order_relaxed);
    atomic_store_explicit(&evict->bytes, now + bytes - old_bytes, memory_order_relaxed);
}

static uint16_t *ghost_set(const struct evict *evict, uint32_t hash) {
    return evict->ghosts + (size_t)(hash & (evict->ghost_sets - 1)) * GHOST_WAYS;
}

static uint32_t ghost_tag(uint32_t hash) { return (hash * UINT32_C(0x9E3779B1)) >> 24; }

static void ghost_add(struct evict *evict, const struct entry *entry) {
    if (evict->ghost_sets * GHOST_WAYS * 2 <= evict->entries) {
        uint32_t sets = 1; /* as many ghosts as entries, or up to half of that: then anew */
        while (sets * GHOST_WAYS < evict->entries)
            sets *= 2;
        size_t bytes = (size_t)sets * GHOST_WAYS * sizeof *evict->ghosts;
        void *memory = evict->ghosts;
        resize(evict, &memory, (size_t)evict->ghost_sets * GHOST_WAYS * sizeof *evict->ghosts,
               bytes);
        evict->ghosts = memory;
        evict->ghost_sets = sets;
        memset(evict->ghosts, 0, bytes);
    }
    uint32_t uses = evict_aged_uses(mode_of(evict), byte_of(entry), epoch_of(evict));
    if (uses == 0) uses = 1;
    uint16_t *set = ghost_set(evict, entry->hash);
    uint32_t way = GHOST_WAYS - 1;
    int32_t least = INT32_MAX;
    for (uint32_t i = 0; i < GHOST_WAYS; i++) { /* the oldest of the least worthy; 0 is free */
        int32_t worth = set[i] ? worth_of(evict, (uint8_t)set[i]) : INT32_MIN;
        if (worth > least) continue;
        least = worth;
        way = i;
    }
    for (; way > 0; way--)
        set[way] = set[way - 1];
    set[0] = (uint16_t)(ghost_tag(entry->hash) << 8 | (uint32_t)epoch_of(evict) << 4 | uses);
}

/* Its uses, aged; 0: unknown. */
static uint32_t ghost_take(struct evict *evict, uint32_t hash) {
    if (evict->ghost_sets == 0) return 0;
    uint16_t *set = ghost_set(evict, hash);
    for (uint32_t i = 0; i < GHOST_WAYS; i++) {
        if (set[i] == 0 || (uint32_t)set[i] >> 8 != ghost_tag(hash)) continue;
        uint32_t uses = evict_aged_uses(mode_of(evict), (uint8_t)set[i], epoch_of(evict));
        set[i] = 0;
        return uses;
    }
    return 0;
}

/* --- the window --- */

static bool window_is_over(const struct evict *evict) {
    return evict->window_len > 1 + (uint64_t)evict->entries * WINDOW_PERCENT / 100;
}

static uint32_t window_pop(struct evict *evict) {
    uint32_t hash = evict->window[evict->window_head];
    evict->window_head = (evict->window_head + 1) % evict->window_cap;
    evict->window_len--;
    return hash;
}

static void window_push(struct evict *evict, uint32_t hash) {
    if (evict->window_len == evict->window_cap) {
        uint32_t cap = evict->window_cap ? evict->window_cap * 2 : WINDOW_LEAST;
        void *memory = evict->window;
        resize(evict, &memory, evict->window_cap * sizeof hash, cap * sizeof hash);
        evict->window = memory;
        /* what stood before the head goes behind the old end */
        memcpy(evict->window + evict->window_cap, evict->window, evict->window_head * sizeof hash);
        evict->window_cap = cap;
    }
    evict->window[(evict->window_head + evict->window_len++) % evict->window_cap] = hash;
}

bool evict_leaving(struct evict *evict, uint32_t *hash) {
    if (!window_is_over(evict)) return false;
    *hash = window_pop(evict);
    return true;
}

void evict_stay(struct evict *evict, uint32_t hash) { window_push(evict, hash); }

/* --- changes --- */

void evict_insert(struct evict *evict, struct entry *entry) {
    pthread_mutex_lock(&evict->mutex);
    uint32_t uses = ghost_take(evict, entry->hash);
    set_byte(entry, uses < EVICT_USES_MAX ? uses + 1 : uses, epoch_of(evict));
    evict->entries++;
    evict->insertions++;
    while (window_is_over(evict) && evict->window_len > 4 + evict->entries / 32)
        window_pop(evict); /* memory is not full: it stays without a trial */
    window_push(evict, entry->hash);
    if (evict->ghost_sets) { /* memory was full once: time passes */
        end_epoch_if_due(evict);
        duel_note(evict);
    }
    pthread_mutex_unlock(&evict->mutex);
}

void evict_replace(struct evict *evict, const struct entry *old, struct entry *entry) {
    atomic_store_explicit(&entry->policy, byte_of(old), memory_order_relaxed);
    evict_touch(evict, entry);
}

void evict_forget(struct evict *evict, uint32_t n) {
    pthread_mutex_lock(&evict->mutex);
    ASSERT(evict->entries >= n);
    evict->entries -= n;
    pthread_mutex_unlock(&evict->mutex);
}

/* --- choosing --- */

void evict_begin(struct evict *evict) { pthread_mutex_lock(&evict->mutex); }

void evict_end(struct evict *evict, const struct entry *victim) {
    if (victim) ghost_add(evict, victim);
    pthread_mutex_unlock(&evict->mutex);
}

static void look_at(struct evict *evict, struct entry *entry, struct evict_choice *choice) {
    uint8_t epoch = epoch_of(evict);
    uint8_t byte = byte_of(entry);
    uint32_t uses = evict_aged_uses(mode_of(evict), byte, epoch);
    evict->mean += (uint32_t)(((int32_t)(uses << 16) - (int32_t)evict->mean) >> MEAN_SHIFT);
    if (((uint32_t)(epoch - (byte >> 4)) & 15) > AGE_OLDEST)
        set_byte(entry, uses, (uint8_t)(epoch - AGE_OLDEST));
    int32_t worth = worth_of(evict, byte);
    choice->n++;
    if (choice->victim && worth >= choice->worth) return;
    choice->victim = entry;
    choice->worth = worth;
}

bool evict_sample(struct evict *evict, const struct index *index, uint32_t *hand,
                  const struct entry *keep, struct evict_choice *choice) {
    enum { MOST = 64 };
    struct entry *seen[MOST];
    uint32_t n = 0, buckets = index_buckets(index);
    for (uint32_t b = 0; b < buckets && n < EVICT_SAMPLES; b++) {
        if (*hand >= buckets) *hand = 0;
        struct index_iter iter = index_bucket(index, (*hand)++);
        struct entry *entry;
        while (n < MOST && (entry = index_next(&iter))) {
            __builtin_prefetch(entry); /* their lines come side by side */
            seen[n++] = entry;
        }
    }
    const struct entry *before = choice->victim;
    for (uint32_t i = 0; i < n; i++)
        if (seen[i] != keep && evict_may_go(choice->scope, seen[i]))
            look_at(evict, seen[i], choice);
    return choice->victim != before;
}

bool evict_is_worse(struct evict *evict, const struct entry *leaving,
                    const struct evict_choice *choice) {
    if (!choice->victim || worth_of(evict, byte_of(leaving)) <= choice->worth) return true;
    int32_t fallen = evict_uses(choice->victim) >= FALLEN_USES ? 1 << 16 : 0;
    evict->fallen += (uint32_t)((fallen - (int32_t)evict->fallen) >> FALLEN_SHIFT);
    return false;
}

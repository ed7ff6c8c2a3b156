/* evict.h: which entry goes when memory is full.
 *
 * The policy: frequency with a short window and a memory of what left (after W-TinyLFU, Einziger 2017, and S3-FIFO, Yang 2023), by
 * samples instead of lists, so that a hit writes at most the entry's one byte and takes no lock:
 *
 *     the byte: | epoch of the last use (4 bits) | uses (4 bits) |
 *
 * - A new entry passes a FIFO window of 2% of the entries; at its end it has to beat the least used of a dozen others, or goes.
 * - What is evicted leaves two bytes in a ghost table (a tag, uses, epoch): when it comes back it has not lost its past.
 * - Uses age with the epochs, in one of three ways. STEADY halves them an epoch, and an epoch is over when the entries' mean has
 *   grown to 10: long memory, for popularity that stays. MIDDLE and FRESH bound them by the time since the last use, with epochs
 *   of 7/4 and 1/4 of the entries in insertions: for popularity that moves. Which is right is seen, not set. STEADY becomes MIDDLE
 *   where some of those that newcomers drive out were hot at their last use: where popularity stays next to none is. Whether
 *   FRESH is better than both is tried: of 64 domains three lead that way and three without it, and the others follow those with
 *   fewer insertions, which are their misses (set dueling, Qureshi 2007), if the difference is more than chance, and more
 *   than the keys that leaders happen to have. In fewer domains, which a small store has, nobody leads: it would cost too much.
 *
 * A domain is a few shards of the store that choose their victims together; so a cache of a thousand entries still has a choice.
 * Entries do not weigh by their cost: whoever misses a plain key asks a database then, as a row's miss does.
 *
 *     hit:     evict_touch(evict, entry);                                   no lock
 *     writes:  evict_insert, evict_replace, evict_forget tell of changes    under the shard's lock; the domain has its own below it
 *     full:    evict_begin(evict);
 *              evict_sample(evict, index, &hand, keep, &choice);            of one shard after the other, until choice.n suffices
 *              hash = evict_leaving(evict, ...)                             and who is at the window's end, if one is
 *              evict_end(evict, victim);                                    remembers it; the caller removes it
 *
 * Figures beside LRU, S3-FIFO and Redis's two: `make bench-evict`. */
#ifndef FRESHET_CACHE_EVICT_H
#define FRESHET_CACHE_EVICT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/store/entry.h"

struct index;

enum { EVICT_USES_MAX = 15, EVICT_SAMPLES = 12, EVICT_LEADERS = 58 };

enum evict_mode { EVICT_STEADY, EVICT_MIDDLE, EVICT_FRESH };

/* What may go at all. */
enum evict_scope {
    EVICT_ANY,
    EVICT_TIMED, /* what has an expiry, and rows: the database has them */
    EVICT_ROWS,
};

static inline bool evict_may_go(enum evict_scope scope, const struct entry *entry) {
    return scope == EVICT_ANY || entry->kind == ENTRY_ROW ||
           (scope == EVICT_TIMED && entry_expiry(entry) != STORE_NEVER);
}

/* What all domains share. */
struct evict_duel {
    _Atomic uint32_t misses[2]; /* of those that lead, plain and fresh */
    _Atomic bool fresh;         /* it won */
};

struct evict {
    _Alignas(64) _Atomic uint8_t epoch; /* counts modulo 16 */
    _Atomic uint8_t mode;
    bool leads, leads_fresh;
    struct evict_duel *duel;
    _Alignas(64) pthread_mutex_t mutex; /* of all that follows */
    uint32_t entries;
    uint32_t insertions; /* in this epoch */
    uint32_t mean;       /* of the uses that samples saw, in 1/65536 */
    uint32_t
        fallen; /* the share of once hot ones among those that newcomers drove out, in 1/65536 */
    uint32_t *window; /* a ring of hashes; who was removed meanwhile is not found any more */
    uint32_t window_cap, window_head, window_len;
    uint16_t *ghosts; /* sets of four, the youngest first */
    uint32_t ghost_sets;
    _Atomic size_t bytes;
};

/* The least worthy so far. */
struct evict_choice {
    enum evict_scope scope;
    struct entry *victim;
    int32_t worth;
    uint32_t n;     /* seen */
    uint32_t shard; /* the caller's: where the victim is */
};

/* From number EVICT_LEADERS on domains lead: the odd ones fresh. A duel begins zeroed: what is still unknown is taken to stay. */
void evict_init(struct evict *evict, uint32_t number, struct evict_duel *duel);
void evict_deinit(struct evict *evict);

uint32_t evict_aged_uses(uint8_t mode, uint8_t byte, uint8_t epoch);

/* Uses that race count once: it is an estimate. */
static inline void evict_touch(const struct evict *evict, struct entry *entry) {
    uint8_t epoch = atomic_load_explicit(&evict->epoch, memory_order_relaxed);
    uint8_t byte = atomic_load_explicit(&entry->policy, memory_order_relaxed);
    uint32_t uses = byte & 15;
    if (__builtin_expect(byte >> 4 != epoch, 0))
        uses =
            evict_aged_uses(atomic_load_explicit(&evict->mode, memory_order_relaxed), byte, epoch);
    else if (uses == EVICT_USES_MAX)
        return;
    if (uses < EVICT_USES_MAX) uses++;
    atomic_store_explicit(&entry->policy, (uint8_t)(uses | epoch << 4), memory_order_relaxed);
}

void evict_insert(struct evict *evict, struct entry *entry);
/* Being written is a use, and the key keeps what it has earned. */
void evict_replace(struct evict *evict, const struct entry *old, struct entry *entry);
/* n entries were removed, not by this policy. */
void evict_forget(struct evict *evict, uint32_t n);

/* Locks and unlocks the domain. Between them the caller may try other shards' locks, and waits for none. */
void evict_begin(struct evict *evict);
void evict_end(struct evict *evict, const struct entry *victim); /* NULL: none was found */

/* Looks at a few entries of one shard from the hand on; never at `keep` (may be NULL). True if it found a worse one. */
bool evict_sample(struct evict *evict, const struct index *index, uint32_t *hand,
                  const struct entry *keep, struct evict_choice *choice);
/* Takes the hash at the window's end, if the window is over its size. */
bool evict_leaving(struct evict *evict, uint32_t *hash);
/* Back to the window's beginning: it could not be looked at. */
void evict_stay(struct evict *evict, uint32_t hash);
/* The one at the window's end: does it have to go rather than the choice? If not, the choice has to. */
bool evict_is_worse(struct evict *evict, const struct entry *leaving,
                    const struct evict_choice *choice);

/* For OBJECT FREQ and the like: 0 to 15. */
static inline uint32_t evict_uses(const struct entry *entry) {
    return atomic_load_explicit(&entry->policy, memory_order_relaxed) & 15;
}

#endif

#include "cache/store/reclaim.h"

#include <time.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/entry.h"
#include "cache/store/freer.h"

enum {
    KIND_MASK = 7,
    OUTSIDE = 0,
    DRAIN_EVERY = 64,
    DRAIN_BYTES = 8 << 10,
    BIG_BYTES = 64 << 10,
    WAITS = 100,
    WAIT_US = 100
};

struct reader {
    _Alignas(64) _Atomic uint64_t epoch; /* OUTSIDE or the epoch in which it entered */
};

struct reclaim {
    _Alignas(64) _Atomic uint64_t epoch;
    _Atomic size_t held;
    struct freer *freer;
    uint32_t max_readers;
    struct reader readers[];
};

struct reclaim *reclaim_create(uint32_t max_readers) {
    size_t size = sizeof(struct reclaim) + max_readers * sizeof(struct reader);
    struct reclaim *reclaim = mem_aligned(64, size);
    atomic_init(&reclaim->epoch, 1);
    atomic_init(&reclaim->held, 0);
    reclaim->freer = freer_create();
    reclaim->max_readers = max_readers;
    for (uint32_t i = 0; i < max_readers; i++)
        atomic_init(&reclaim->readers[i].epoch, OUTSIDE);
    return reclaim;
}

void reclaim_destroy(struct reclaim **reclaim) {
    if (*reclaim) freer_destroy(&(*reclaim)->freer);
    mem_free(*reclaim);
    *reclaim = NULL;
}

/* Sequential consistency is what it rests on: the noted epoch must be out before the first pointer is read, or a writer
 * could look at this reader in between and free what it is about to see. */
void reclaim_enter(struct reclaim *reclaim, uint32_t reader) {
    ASSERT(reader < reclaim->max_readers);
    atomic_exchange(&reclaim->readers[reader].epoch, atomic_load(&reclaim->epoch));
}

void reclaim_leave(struct reclaim *reclaim, uint32_t reader) {
    atomic_store_explicit(&reclaim->readers[reader].epoch, OUTSIDE, memory_order_release);
}

/* The oldest epoch that a reader is in; UINT64_MAX where none is inside. */
static uint64_t oldest_reader(struct reclaim *reclaim) {
    uint64_t oldest = UINT64_MAX;
    for (uint32_t i = 0; i < reclaim->max_readers; i++) {
        uint64_t epoch = atomic_load(&reclaim->readers[i].epoch);
        if (epoch != OUTSIDE && epoch < oldest) oldest = epoch;
    }
    return oldest;
}

void reclaim_pause(struct reclaim *reclaim, uint32_t reader) {
    size_t held = reclaim_held(reclaim);
    if (held <= RECLAIM_HELD_MUCH) return;
    reclaim_leave(reclaim, reader);
    if (held > RECLAIM_HELD_VERY_MUCH) {
        uint64_t now = atomic_fetch_add(&reclaim->epoch, 1);
        for (int i = 0; i < WAITS && oldest_reader(reclaim) <= now; i++)
            nanosleep(&(struct timespec){.tv_nsec = WAIT_US * 1000L}, NULL);
    }
    reclaim_enter(reclaim, reader);
}

void limbo_init(struct limbo *limbo, struct reclaim *reclaim) {
    *limbo = (struct limbo){.reclaim = reclaim};
}

size_t reclaim_held(const struct reclaim *reclaim) {
    return atomic_load_explicit(&reclaim->held, memory_order_relaxed);
}

/* Counting the big ones alone keeps the shared counter out of the way of the many small ones. */
static size_t held_size(const struct entry *entry) {
    return entry->value_len >= BIG_BYTES ? entry->value_len : 0;
}

static void retired_free(struct reclaim *reclaim, struct retired item) {
    void *thing = (void *)(item.thing & ~(uintptr_t)KIND_MASK);
    enum retired_kind kind = item.thing & KIND_MASK;
    if (kind == RETIRED_ENTRY) {
        struct entry *entry = thing;
        size_t held = held_size(entry);
        if (held) atomic_fetch_sub_explicit(&reclaim->held, held, memory_order_relaxed);
        if (freer_wants(entry))
            freer_take(reclaim->freer, &entry);
        else
            entry_destroy(&entry);
    } else if (kind == RETIRED_HUSK) {
        entry_release(thing);
    } else {
        mem_free(thing);
    }
}

void limbo_deinit(struct limbo *limbo) {
    for (uint32_t i = limbo->first; i < limbo->n; i++)
        retired_free(limbo->reclaim, limbo->items[i]);
    mem_free(limbo->items);
    *limbo = (struct limbo){0};
}

void limbo_add(struct limbo *limbo, void *thing, enum retired_kind kind) {
    size_t held = kind == RETIRED_ENTRY ? held_size(thing) : 0;
    if (held) held += atomic_fetch_add_explicit(&limbo->reclaim->held, held, memory_order_relaxed);
    if (kind != RETIRED_MEMORY) limbo->bytes_since_drain += entry_len(thing);
    if (++limbo->since_drain >= DRAIN_EVERY || limbo->bytes_since_drain >= DRAIN_BYTES ||
        held > RECLAIM_HELD_MUCH)
        limbo_drain(limbo);
    if (limbo->n == limbo->cap) {
        limbo->cap = limbo->cap ? limbo->cap * 2 : 16;
        limbo->items = mem_realloc(limbo->items, limbo->cap * sizeof *limbo->items);
    }
    limbo->items[limbo->n++] =
        (struct retired){(uintptr_t)thing | kind, atomic_load(&limbo->reclaim->epoch)};
}

void limbo_drain(struct limbo *limbo) {
    limbo->since_drain = 0;
    limbo->bytes_since_drain = 0;
    if (limbo->first == limbo->n) return;
    atomic_fetch_add(&limbo->reclaim->epoch, 1); /* who enters from now on sees none of it */
    uint64_t oldest = oldest_reader(limbo->reclaim);
    while (limbo->first < limbo->n && limbo->items[limbo->first].epoch < oldest)
        retired_free(limbo->reclaim, limbo->items[limbo->first++]);

    uint32_t left = limbo->n - limbo->first;
    if (left == 0 && limbo->cap > 1024) { /* a flush or a burst made it big */
        mem_free(limbo->items);
        *limbo = (struct limbo){.reclaim = limbo->reclaim};
    } else if (limbo->first >= left) {
        memmove(limbo->items, limbo->items + limbo->first, left * sizeof *limbo->items);
        limbo->first = 0;
        limbo->n = left;
    }
}

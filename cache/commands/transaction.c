#include "cache/commands/transaction.h"

#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/commands/command.h"

struct watches {
    struct interest *interest; /* holders: transactions */
};

struct watched {
    uint64_t hash;
    struct slice key; /* owned bytes */
};

struct transaction {
    struct watches *watches;
    _Atomic bool *touched; /* the client's */
    bool open;
    bool spoiled;
    struct queued **queue;
    uint32_t n_queued, cap_queued;
    size_t queued_bytes;
    struct watched *watched;
    uint32_t n_watched, cap_watched;
};

/* --- the table --- */

static void touch_all(void *arg, struct slice key, void *const *holders, uint32_t n) {
    (void)arg;
    (void)key;
    for (uint32_t i = 0; i < n; i++)
        transaction_touch(holders[i]);
}

static void on_change(void *self, const struct store_change *change) {
    struct watches *watches = self;
    if (!interest_is_change(change)) return;
    interest_take(watches->interest, change->key, change->hash, touch_all, NULL);
}

struct watches *watches_create(struct store *store) {
    struct watches *watches = mem_zalloc(sizeof *watches);
    struct store_observer observer = {.changed = on_change, .self = watches};
    watches->interest = interest_create(store, &observer);
    return watches;
}

void watches_destroy(struct watches **watches) {
    struct watches *old = *watches;
    *watches = NULL;
    if (!old) return;
    ASSERT(interest_keys(old->interest) == 0);
    interest_destroy(&old->interest);
    mem_free(old);
}

void watches_touch_matching(struct watches *watches, interest_match *match, void *arg) {
    interest_take_matching(watches->interest, match, touch_all, arg);
}

bool watches_is_idle(const struct watches *watches) { return interest_is_empty(watches->interest); }

/* --- a client's --- */

struct transaction *transaction_create(struct watches *watches, _Atomic bool *touched) {
    struct transaction *tx = mem_zalloc(sizeof *tx);
    tx->watches = watches;
    tx->touched = touched;
    return tx;
}

void transaction_destroy(struct transaction **tx) {
    struct transaction *old = *tx;
    *tx = NULL;
    if (!old) return;
    transaction_end(old);
    mem_free(old->queue);
    mem_free(old->watched);
    mem_free(old);
}

bool transaction_is_open(const struct transaction *tx) { return tx->open; }
void transaction_begin(struct transaction *tx) { tx->open = true; }
void transaction_spoil(struct transaction *tx) { tx->spoiled = true; }
bool transaction_is_spoiled(const struct transaction *tx) { return tx->spoiled; }
uint32_t transaction_length(const struct transaction *tx) { return tx->n_queued; }
struct queued *transaction_at(struct transaction *tx, uint32_t i) {
    return tx->queue[i];
}

/* One allocation: | struct queued | slices | bytes | */
bool transaction_queue(struct transaction *tx, const struct command *named,
                       const struct command *command, const struct slice *argv, uint32_t argc) {
    size_t size = sizeof(struct queued) + argc * sizeof(struct slice);
    for (uint32_t i = 0; i < argc; i++)
        size += argv[i].len;
    if (tx->queued_bytes + size > TRANSACTION_MAX_BYTES) return false;
    if (tx->n_queued == tx->cap_queued) {
        tx->cap_queued = tx->cap_queued ? 2 * tx->cap_queued : 8;
        tx->queue = mem_realloc(tx->queue, tx->cap_queued * sizeof(struct queued *));
    }
    struct queued *queued = mem_alloc(size);
    *queued = (struct queued){named, command, argc};
    char *at = (char *)(queued->argv + argc);
    for (uint32_t i = 0; i < argc; i++) {
        if (argv[i].len) memcpy(at, argv[i].data, argv[i].len);
        queued->argv[i] = slice_make(at, argv[i].len);
        at += argv[i].len;
    }
    tx->queue[tx->n_queued++] = queued;
    tx->queued_bytes += size;
    return true;
}

void transaction_end(struct transaction *tx) {
    for (uint32_t i = 0; i < tx->n_queued; i++)
        mem_free(tx->queue[i]);
    tx->n_queued = 0;
    tx->queued_bytes = 0;
    tx->open = false;
    tx->spoiled = false;
    transaction_unwatch(tx);
}

/* --- watched keys --- */

/* One that has been touched stays so whatever else it watches. */
void transaction_watch(struct transaction *tx, struct slice key, uint64_t hash) {
    if (transaction_is_touched(tx)) return;
    if (!interest_add(tx->watches->interest, key, hash, tx, NULL)) return;
    if (tx->n_watched == tx->cap_watched) {
        tx->cap_watched = tx->cap_watched ? 2 * tx->cap_watched : 4;
        tx->watched = mem_realloc(tx->watched, tx->cap_watched * sizeof tx->watched[0]);
    }
    tx->watched[tx->n_watched++] = (struct watched){hash, slice_make(mem_slicedup(key), key.len)};
}

void transaction_unwatch(struct transaction *tx) {
    for (uint32_t i = 0; i < tx->n_watched; i++) {
        struct watched *watched = &tx->watched[i];
        char *bytes;
        interest_remove(tx->watches->interest, watched->key, watched->hash, tx);
        memcpy(&bytes, &watched->key.data, sizeof bytes); /* ours, though the slice is const */
        mem_free(bytes);
    }
    tx->n_watched = 0;
    atomic_store(tx->touched, false);
}

uint32_t transaction_watched(const struct transaction *tx) { return tx->n_watched; }

struct slice transaction_watched_at(const struct transaction *tx, uint32_t i, uint64_t *hash) {
    *hash = tx->watched[i].hash;
    return tx->watched[i].key;
}

void transaction_touch(struct transaction *tx) { atomic_store(tx->touched, true); }
bool transaction_is_touched(const struct transaction *tx) { return atomic_load(tx->touched); }

#include "cdc/snapshot/window.h"

#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/mem.h"

enum { MIN_SLOTS = 256 /* a power of two */, LAST_XIDS = 8192, ARENA_BYTES = 64 * 1024 };

struct touched {
    struct slice key; /* data NULL: a free slot */
    uint64_t hash;
    bool lacks; /* the last change left some of the row's values out */
    uint64_t
        xid; /* the last one: it saw those before it, so none of them is unseen where it is seen */
};

struct window {
    bool open;
    bool full;
    uint64_t max_bytes;
    uint64_t all_xid; /* of the last truncate; 0: none */
    struct arena *keys;
    struct touched *slots; /* open addressing, at most half full */
    uint32_t n_slots;
    uint32_t n_touched;
    uint64_t last[LAST_XIDS]; /* a ring: the transactions delivered last */
    uint64_t n_passed;        /* in all */
    uint64_t n_before;        /* of them before the window was opened */
};

struct window *window_create(uint64_t max_bytes) {
    struct window *window = mem_zalloc(sizeof *window);
    window->max_bytes = max_bytes;
    window->keys = arena_create(ARENA_BYTES);
    return window;
}

void window_destroy(struct window **window) {
    struct window *self = *window;
    if (!self) return;
    arena_destroy(&self->keys);
    mem_free(self->slots);
    mem_free(self);
    *window = NULL;
}

void window_close(struct window *window) {
    arena_reset(window->keys);
    mem_free(window->slots);
    window->slots = NULL;
    window->n_slots = window->n_touched = 0;
    window->all_xid = 0;
    window->open = window->full = false;
}

void window_open(struct window *window) {
    window_close(window);
    window->n_slots = MIN_SLOTS;
    window->slots = mem_calloc(MIN_SLOTS, sizeof *window->slots);
    window->n_before = window->n_passed;
    window->open = true;
}

bool window_is_open(const struct window *window) { return window->open; }
bool window_is_full(const struct window *window) { return window->full; }

static struct touched *place(const struct window *window, struct slice key, uint64_t hash) {
    for (uint64_t at = hash;; at++) {
        struct touched *slot = &window->slots[at & (window->n_slots - 1)];
        if (!slot->key.data || (slot->hash == hash && slice_equal(slot->key, key))) return slot;
    }
}

static void grow(struct window *window) {
    struct touched *old = window->slots;
    uint32_t n_old = window->n_slots;
    window->n_slots *= 2;
    window->slots = mem_calloc(window->n_slots, sizeof *window->slots);
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i].key.data) *place(window, old[i].key, old[i].hash) = old[i];
    }
    mem_free(old);
}

void window_touch(struct window *window, uint64_t xid, struct slice key, bool lacks) {
    if (!window->open || window->full) return;
    uint64_t hash = XXH3_64bits(key.data, key.len);
    struct touched *slot = place(window, key, hash);
    if (slot->key.data) {
        slot->xid = xid;
        slot->lacks = lacks;
        return;
    }
    uint64_t bytes =
        arena_used(window->keys) + key.len + (uint64_t)window->n_slots * sizeof *window->slots;
    if (bytes > window->max_bytes) {
        window->full = true;
        return;
    }
    *slot = (struct touched){
        .key = arena_dup(window->keys, key), .hash = hash, .xid = xid, .lacks = lacks};
    if (++window->n_touched * 2 > window->n_slots) grow(window);
}

void window_touch_all(struct window *window, uint64_t xid) {
    if (window->open) window->all_xid = xid;
}

void window_give_up(struct window *window) { window->full = true; }

void window_passed(struct window *window, uint64_t xid) {
    if (xid) window->last[window->n_passed++ % LAST_XIDS] = xid;
}

bool window_hides(const struct window *window, const struct pgsnapshot *snapshot) {
    uint64_t first = window->n_passed > LAST_XIDS ? window->n_passed - LAST_XIDS : 0;
    for (uint64_t i = first; i < window->n_before; i++) {
        if (!pgsnapshot_sees(snapshot, window->last[i % LAST_XIDS])) return true;
    }
    return false;
}

bool window_overtook(const struct window *window, struct slice key,
                     const struct pgsnapshot *snapshot, bool *lacks) {
    *lacks = false;
    if (window->all_xid && !pgsnapshot_sees(snapshot, window->all_xid)) return true;
    const struct touched *slot = place(window, key, XXH3_64bits(key.data, key.len));
    *lacks = slot->lacks;
    return slot->key.data && !pgsnapshot_sees(snapshot, slot->xid);
}

#include "cache/rows/held.h"

#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* The keys from `first` on were touched by this subtransaction, up to the next part. */
struct part {
    uint64_t subxid;
    size_t first;
};

struct open {
    uint64_t xid;
    uint64_t map_version;
    size_t bytes; /* as it counts in the sum */
    struct touched touched;
    size_t n_parts, cap_parts;
    struct part *parts;
};

struct held {
    size_t max_keys, max_bytes;
    size_t n_open, cap_open;
    struct open *open; /* few: the server streams only what is large */
    struct open *at;   /* between begin and end */
    size_t n_before;   /* its keys at the begin */
    _Atomic size_t bytes, count;
};

struct held *held_create(size_t max_keys, size_t max_bytes) {
    struct held *held = mem_zalloc(sizeof *held);
    held->max_keys = max_keys;
    held->max_bytes = max_bytes;
    return held;
}

static void forget(struct held *held, struct open *open) {
    mem_free(open->parts);
    atomic_fetch_sub(&held->bytes, open->bytes);
    atomic_fetch_sub(&held->count, 1);
    *open = held->open[--held->n_open];
}

void held_clear(struct held *held) {
    while (held->n_open > 0) {
        touched_deinit(&held->open[0].touched);
        forget(held, &held->open[0]);
    }
}

void held_destroy(struct held **held) {
    if (!*held) return;
    held_clear(*held);
    mem_free((*held)->open);
    mem_free(*held);
    *held = NULL;
}

static struct open *find(struct held *held, uint64_t xid) {
    for (size_t i = 0; i < held->n_open; i++) {
        if (held->open[i].xid == xid) return &held->open[i];
    }
    return NULL;
}

static struct open *make(struct held *held, uint64_t xid, uint64_t map_version) {
    if (held->n_open == held->cap_open) {
        held->cap_open = held->cap_open ? held->cap_open * 2 : 8;
        held->open = mem_realloc(held->open, held->cap_open * sizeof *held->open);
    }
    struct open *open = &held->open[held->n_open++];
    *open = (struct open){.xid = xid, .map_version = map_version};
    open->touched.max_keys = held->max_keys;
    atomic_fetch_add(&held->count, 1);
    return open;
}

static void begin_part(struct open *open, uint64_t subxid) {
    if (open->n_parts > 0 && open->parts[open->n_parts - 1].subxid == subxid) return;
    if (open->n_parts == open->cap_parts) {
        open->cap_parts = open->cap_parts ? open->cap_parts * 2 : 4;
        open->parts = mem_realloc(open->parts, open->cap_parts * sizeof *open->parts);
    }
    open->parts[open->n_parts++] = (struct part){subxid, open->touched.n_keys};
}

/* Its tables instead of its keys. */
static void give_up(struct open *open) {
    touched_give_up_keys(&open->touched);
    open->n_parts = 0;
}

struct touched *held_begin(struct held *held, uint64_t xid, uint64_t subxid, uint64_t map_version) {
    ASSERT(!held->at);
    struct open *open = find(held, xid);
    if (!open) open = make(held, xid, map_version);
    if (open->map_version != map_version) {
        give_up(open);
        open->map_version = map_version;
    }
    begin_part(open, subxid);
    held->at = open;
    held->n_before = open->touched.n_keys;
    return &open->touched;
}

static void count_bytes(struct held *held, struct open *open) {
    size_t bytes = touched_bytes(&open->touched) + open->cap_parts * sizeof *open->parts;
    atomic_fetch_add(&held->bytes, bytes - open->bytes);
    open->bytes = bytes;
}

static struct open *largest(struct held *held) {
    struct open *best = &held->open[0];
    for (size_t i = 1; i < held->n_open; i++) {
        if (held->open[i].bytes > best->bytes) best = &held->open[i];
    }
    return best;
}

void held_end(struct held *held) {
    struct open *open = held->at;
    held->at = NULL;
    if (open->touched.n_keys < held->n_before) { /* it has just given up its keys */
        open->parts[0] = (struct part){open->parts[open->n_parts - 1].subxid, 0};
        open->n_parts = 1;
    }
    count_bytes(held, open);
    if (atomic_load(&held->bytes) <= held->max_bytes) return;
    open = largest(held);
    give_up(open);
    mem_free(open->parts);
    open->parts = NULL;
    open->cap_parts = 0;
    touched_trim(&open->touched);
    count_bytes(held, open);
}

/* Takes out the keys of one subtransaction. Tables stay: what they were touched by is not known. */
static void drop_part(struct open *open, uint64_t subxid) {
    struct touched *touched = &open->touched;
    size_t p = 0;
    while (p < open->n_parts && open->parts[p].subxid != subxid)
        p++;
    if (p == open->n_parts) return;
    size_t n_parts = p;
    size_t n_keys = open->parts[p].first;
    for (; p < open->n_parts; p++) {
        struct part part = open->parts[p];
        size_t end = p + 1 < open->n_parts ? open->parts[p + 1].first : touched->n_keys;
        if (part.subxid == subxid) continue;
        memmove(touched->keys + n_keys, touched->keys + part.first,
                (end - part.first) * sizeof *touched->keys);
        open->parts[n_parts++] = (struct part){part.subxid, n_keys};
        n_keys += end - part.first;
    }
    touched->n_keys = n_keys;
    open->n_parts = n_parts;
    /* Keys stand in the order of their texts. */
    const struct touched_key *last = n_keys ? &touched->keys[n_keys - 1] : NULL;
    touched->bytes.len = last ? last->at + last->len : 0;
}

void held_abort(struct held *held, uint64_t xid, uint64_t subxid) {
    struct open *open = find(held, xid);
    if (!open) return;
    if (xid != subxid) {
        drop_part(open, subxid);
        return;
    }
    touched_deinit(&open->touched);
    forget(held, open);
}

bool held_take(struct held *held, uint64_t xid, uint64_t map_version, struct touched *touched) {
    struct open *open = find(held, xid);
    if (!open) return false;
    if (open->map_version != map_version) give_up(open);
    *touched = open->touched;
    forget(held, open);
    return true;
}

size_t held_bytes(const struct held *held) { return atomic_load(&held->bytes); }
size_t held_count(const struct held *held) { return atomic_load(&held->count); }

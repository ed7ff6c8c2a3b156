#include "cache/rows/recent.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"

enum { SHARDS = 64, FIRST_SLOTS = 64 };

struct note {
    uint64_t key_hash;
    uint64_t xid; /* 0: a free slot; no transaction that writes has this id */
    uint64_t lsn; /* 0: not known yet */
};

/* Open addressing with linear probing, at most half full; a key may stand there once a transaction. */
struct shard {
    _Alignas(64) pthread_mutex_t mutex;
    struct note *slots;
    size_t n_slots; /* a power of two, or 0 */
    size_t n_notes;
};

struct recent {
    size_t max_notes;
    _Atomic size_t n_notes;
    _Atomic size_t n_slots;       /* of all shards */
    _Atomic uint64_t dropped_lsn; /* no note of a commit past it was ever dropped */
    _Atomic uint64_t keep_past_lsn;
    struct shard shards[SHARDS];
};

struct recent *recent_create(size_t max_notes) {
    struct recent *recent = mem_aligned(64, sizeof *recent);
    *recent = (struct recent){.max_notes = max_notes, .keep_past_lsn = UINT64_MAX};
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&recent->shards[i].mutex, NULL);
    return recent;
}

void recent_destroy(struct recent **recent) {
    if (!*recent) return;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&(*recent)->shards[i].mutex);
        mem_free((*recent)->shards[i].slots);
    }
    mem_free(*recent);
    *recent = NULL;
}

static struct shard *shard_of(struct recent *recent, uint64_t key_hash) {
    return &recent->shards[key_hash >> 58]; /* the top bits; the slots go by the low ones */
}

static void insert(struct shard *shard, struct note note) {
    size_t mask = shard->n_slots - 1;
    size_t i = note.key_hash & mask;
    while (shard->slots[i].xid) {
        if (shard->slots[i].key_hash == note.key_hash && shard->slots[i].xid == note.xid) {
            if (note.lsn) shard->slots[i].lsn = note.lsn;
            return;
        }
        i = (i + 1) & mask;
    }
    shard->slots[i] = note;
    shard->n_notes++;
}

/* Which notes a snapshot lets go. */
struct drop {
    const struct pgsnapshot *snapshot;
    uint64_t keep_past_lsn;
};

static bool is_dropped(const struct drop *drop, const struct note *note) {
    return drop && pgsnapshot_sees(drop->snapshot, note->xid) && note->lsn <= drop->keep_past_lsn;
}

/* Moves what stays into a table of the right size. */
static void rebuild(struct recent *recent, struct shard *shard, size_t n_slots,
                    const struct drop *drop) {
    struct note *old = shard->slots;
    size_t n_old = shard->n_slots;
    atomic_fetch_add(&recent->n_slots, n_slots - n_old);
    shard->slots = mem_calloc(n_slots, sizeof *shard->slots);
    shard->n_slots = n_slots;
    shard->n_notes = 0;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].xid && !is_dropped(drop, &old[i])) insert(shard, old[i]);
    }
    mem_free(old);
}

bool recent_note(struct recent *recent, uint64_t key_hash, uint64_t xid, uint64_t lsn) {
    if (atomic_load(&recent->n_notes) >= recent->max_notes) return false;
    struct shard *shard = shard_of(recent, key_hash);
    pthread_mutex_lock(&shard->mutex);
    if (shard->n_notes * 2 >= shard->n_slots)
        rebuild(recent, shard, shard->n_slots ? shard->n_slots * 2 : FIRST_SLOTS, NULL);
    size_t before = shard->n_notes;
    insert(shard, (struct note){key_hash, xid, lsn});
    atomic_fetch_add(&recent->n_notes, shard->n_notes - before);
    pthread_mutex_unlock(&shard->mutex);
    return true;
}

/* The first note of the key that the snapshot (NULL: any) does not see. */
static bool find(struct recent *recent, uint64_t key_hash, const struct pgsnapshot *snapshot,
                 uint64_t *xid) {
    if (atomic_load(&recent->n_notes) == 0) return false;
    struct shard *shard = shard_of(recent, key_hash);
    bool found = false;
    pthread_mutex_lock(&shard->mutex);
    size_t mask = shard->n_slots - 1;
    for (size_t i = key_hash & mask; shard->n_slots && shard->slots[i].xid; i = (i + 1) & mask) {
        const struct note *note = &shard->slots[i];
        if (note->key_hash != key_hash) continue;
        if (snapshot && pgsnapshot_shows(snapshot, note->xid, note->lsn)) continue;
        if (xid) *xid = note->xid;
        found = true;
        break;
    }
    pthread_mutex_unlock(&shard->mutex);
    return found;
}

bool recent_blocks(struct recent *recent, uint64_t key_hash, const struct pgsnapshot *snapshot,
                   uint64_t *xid) {
    if (find(recent, key_hash, snapshot, xid)) return true;
    /* Looked at after the notes: who drops one raises this first. */
    if (!snapshot->standby || snapshot->lsn >= atomic_load(&recent->dropped_lsn)) return false;
    if (xid) *xid = 0;
    return true;
}

bool recent_is_past(struct recent *recent, uint64_t key_hash, uint64_t lsn) {
    const struct pgsnapshot standby = {.standby = true, .lsn = lsn};
    return !recent_blocks(recent, key_hash, &standby, NULL);
}

bool recent_has(struct recent *recent, uint64_t key_hash, uint64_t *xid) {
    return find(recent, key_hash, NULL, xid);
}

static void raise(_Atomic uint64_t *to, uint64_t lsn) {
    uint64_t now = atomic_load(to);
    while (now < lsn && !atomic_compare_exchange_weak(to, &now, lsn)) {
    }
}

void recent_keep_past(struct recent *recent, uint64_t lsn) {
    atomic_store(&recent->keep_past_lsn, lsn);
}

size_t recent_forget(struct recent *recent, const struct pgsnapshot *snapshot) {
    bool roomy = atomic_load(&recent->n_notes) < recent->max_notes / 2;
    struct drop drop = {snapshot, roomy ? atomic_load(&recent->keep_past_lsn) : UINT64_MAX};
    for (size_t s = 0; s < SHARDS; s++) {
        struct shard *shard = &recent->shards[s];
        pthread_mutex_lock(&shard->mutex);
        size_t stay = 0;
        uint64_t dropped_lsn = 0;
        for (size_t i = 0; i < shard->n_slots; i++) {
            const struct note *note = &shard->slots[i];
            bool dropped = note->xid && is_dropped(&drop, note);
            stay += note->xid && !dropped;
            /* What the snapshot sees ends before its LSN: true also of a commit whose own is not known. */
            uint64_t lsn = note->lsn ? note->lsn : snapshot->lsn;
            if (dropped && lsn > dropped_lsn) dropped_lsn = lsn;
        }
        raise(&recent->dropped_lsn, dropped_lsn);
        size_t dropped = shard->n_notes - stay;
        if (dropped > 0) {
            size_t n_slots = FIRST_SLOTS;
            while (n_slots < stay * 4)
                n_slots *= 2;
            rebuild(recent, shard, n_slots, &drop);
            atomic_fetch_sub(&recent->n_notes, dropped);
        }
        pthread_mutex_unlock(&shard->mutex);
    }
    return recent_size(recent);
}

void recent_clear(struct recent *recent) {
    atomic_store(&recent->dropped_lsn, 0); /* the horizon of each table will lie past it */
    for (size_t s = 0; s < SHARDS; s++) {
        struct shard *shard = &recent->shards[s];
        pthread_mutex_lock(&shard->mutex);
        atomic_fetch_sub(&recent->n_notes, shard->n_notes);
        mem_free(shard->slots);
        shard->slots = NULL;
        atomic_fetch_sub(&recent->n_slots, shard->n_slots);
        shard->n_slots = 0;
        shard->n_notes = 0;
        pthread_mutex_unlock(&shard->mutex);
    }
}

size_t recent_size(const struct recent *recent) { return atomic_load(&recent->n_notes); }

size_t recent_bytes(const struct recent *recent) {
    return sizeof *recent + atomic_load(&recent->n_slots) * sizeof(struct note);
}

#include "cache/store/index.h"

#include <sched.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/reclaim.h"

enum {
    CHUNK_BUCKETS = 16,
    SPLIT_ABOVE_PERCENT =
        95, /* of 7 slots a bucket: one key in five is in the second bucket of its chain */
    MERGE_BELOW_PERCENT = 35,
    HASH_MASK = (1 << INDEX_HASH_BITS) - 1,
};

#define POINTER_MASK ((UINT64_C(1) << 48) - 1)

struct chunk {
    struct bucket buckets[CHUNK_BUCKETS];
};

struct directory {
    uint32_t cap;
    struct chunk *_Atomic chunks[];
};

static uint64_t tag_of(uint32_t hash) {
    return (uint64_t)((hash * UINT32_C(0x9E3779B1)) >> 16) << 48;
}

static struct entry *slot_entry(uint64_t slot) {
    return (struct entry *)(uintptr_t)(slot & POINTER_MASK);
}

/* The entry of a slot with this tag, else NULL: one comparison, also for a free slot. */
static inline struct entry *slot_match(uint64_t slot, uint64_t tag) {
    uint64_t pointer = slot ^ tag;
    return pointer <= POINTER_MASK ? (struct entry *)(uintptr_t)pointer : NULL;
}

static uint64_t slot_of(struct entry *entry) {
    uint64_t pointer = (uint64_t)(uintptr_t)entry;
    ASSERT((pointer & ~POINTER_MASK) == 0);
    return tag_of(entry->hash) | pointer;
}

/* The highest power of two that is not above n. */
static uint32_t level_of(uint32_t n) { return UINT32_C(1) << (31 - __builtin_clz(n)); }

static uint32_t bucket_number(uint32_t hash, uint32_t n_buckets) {
    uint32_t level = level_of(n_buckets);
    uint32_t number = hash & (2 * level - 1) & HASH_MASK;
    return number < n_buckets ? number : number & (level - 1);
}

/* NULL where a reader's n_buckets is older than the directory (the index shrank meanwhile). */
static struct bucket *bucket_at(const struct index *index, uint32_t number) {
    struct directory *directory = atomic_load_explicit(&index->directory, memory_order_acquire);
    if (!directory || number / CHUNK_BUCKETS >= directory->cap) return NULL;
    struct chunk *chunk =
        atomic_load_explicit(&directory->chunks[number / CHUNK_BUCKETS], memory_order_acquire);
    return chunk ? &chunk->buckets[number % CHUNK_BUCKETS] : NULL;
}

static void release(struct index *index, void *memory) {
    if (index->limbo)
        limbo_add(index->limbo, memory, RETIRED_MEMORY);
    else
        mem_free(memory);
}

/* --- reading --- */

/* Slots are read sequentially consistent, which is free on reads: reclaim.h rests on it. */
static struct entry *chain_find(const struct bucket *bucket, struct slice key, uint64_t tag) {
    for (; bucket; bucket = atomic_load(&bucket->next)) {
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            struct entry *entry = slot_match(atomic_load(&bucket->slots[i]), tag);
            if (entry && slice_equal(entry_key(entry), key)) return entry;
        }
    }
    return NULL;
}

struct entry *index_find(const struct index *index, struct slice key, uint32_t hash) {
    uint64_t tag = tag_of(hash);
    for (;;) {
        uint32_t moves = atomic_load_explicit(&index->moves, memory_order_acquire);
        uint32_t n = atomic_load_explicit(&index->n_buckets, memory_order_acquire);
        if (n > 0) {
            struct entry *entry = chain_find(bucket_at(index, bucket_number(hash, n)), key, tag);
            if (entry) return entry;
        }
        bool moved = atomic_load_explicit(&index->moves, memory_order_acquire) != moves;
        if (!moved && !(moves & 1)) return NULL;
        if (moves & 1)
            sched_yield(); /* a split takes less than 1 us, unless its thread has lost the core */
    }
}

const struct bucket *index_prefetch(const struct index *index, uint32_t hash) {
    uint32_t n = atomic_load_explicit(&index->n_buckets, memory_order_acquire);
    const struct bucket *bucket = n > 0 ? bucket_at(index, bucket_number(hash, n)) : NULL;
    __builtin_prefetch(bucket);
    return bucket;
}

void index_prefetch_entry(const struct bucket *bucket, uint32_t hash) {
    uint64_t tag = tag_of(hash);
    for (uint32_t i = 0; bucket && i < BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&bucket->slots[i], memory_order_relaxed);
        const char *entry = (const char *)slot_match(slot, tag);
        if (!entry) continue;
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 64);
        return;
    }
}

/* --- growing and shrinking, under the lock --- */

static void moves_begin(struct index *index) { atomic_fetch_add(&index->moves, 1); }
static void moves_end(struct index *index) { atomic_fetch_add(&index->moves, 1); }

static struct bucket *bucket_create(struct index *index) {
    struct bucket *bucket = mem_aligned(64, sizeof *bucket);
    memset(bucket, 0, sizeof *bucket);
    index->bytes += sizeof *bucket;
    return bucket;
}

static void directory_grow(struct index *index, uint32_t chunks) {
    struct directory *old = atomic_load_explicit(&index->directory, memory_order_relaxed);
    uint32_t old_cap = old ? old->cap : 0;
    if (chunks <= old_cap) return;
    uint32_t cap = old_cap ? old_cap * 2 : 1;
    struct directory *directory = mem_zalloc(sizeof *directory + cap * sizeof(struct chunk *));
    directory->cap = cap;
    for (uint32_t i = 0; i < old_cap; i++)
        atomic_init(&directory->chunks[i],
                    atomic_load_explicit(&old->chunks[i], memory_order_relaxed));
    atomic_store(&index->directory, directory);
    index->bytes += (cap - old_cap) * sizeof(struct chunk *);
    if (old) release(index, old);
}

/* Makes sure that there is memory for bucket `number`. */
static struct bucket *bucket_ensure(struct index *index, uint32_t number) {
    directory_grow(index, number / CHUNK_BUCKETS + 1);
    struct directory *directory = atomic_load_explicit(&index->directory, memory_order_relaxed);
    struct chunk *_Atomic *place = &directory->chunks[number / CHUNK_BUCKETS];
    if (!atomic_load_explicit(place, memory_order_relaxed)) {
        struct chunk *chunk = mem_aligned(64, sizeof *chunk);
        memset(chunk, 0, sizeof *chunk);
        index->bytes += sizeof *chunk;
        atomic_store(place, chunk);
    }
    return bucket_at(index, number);
}

/* Puts the slot into the chain's first free place. */
static void chain_add(struct index *index, struct bucket *bucket, uint64_t slot) {
    for (;;) {
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) != 0) continue;
            atomic_store(&bucket->slots[i], slot);
            return;
        }
        struct bucket *next = atomic_load_explicit(&bucket->next, memory_order_relaxed);
        if (!next) {
            next = bucket_create(index);
            atomic_store(&bucket->next, next);
        }
        bucket = next;
    }
}

static bool bucket_is_empty(const struct bucket *bucket) {
    for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
        if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) != 0) return false;
    return true;
}

/* Unlinks the overflow buckets that hold nothing. A reader that is in one still finds its way on. */
static void chain_trim(struct index *index, struct bucket *bucket) {
    struct bucket *next;
    while ((next = atomic_load_explicit(&bucket->next, memory_order_relaxed))) {
        if (!bucket_is_empty(next)) {
            bucket = next;
            continue;
        }
        atomic_store(&bucket->next, atomic_load_explicit(&next->next, memory_order_relaxed));
        index->bytes -= sizeof *next;
        release(index, next);
    }
}

/* Takes entries from the end of the chain into free places before it, so that most chains are one bucket. Readers may
 * see an entry twice, never not at all but under an odd `moves`. */
static void chain_compact(struct index *index, struct bucket *head) {
    struct bucket *to = head;
    uint32_t hole = 0;
    for (struct bucket *from = atomic_load(&head->next); from; from = atomic_load(&from->next)) {
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&from->slots[i], memory_order_relaxed);
            if (slot == 0) continue;
            while (to != from &&
                   atomic_load_explicit(&to->slots[hole], memory_order_relaxed) != 0) {
                if (++hole < BUCKET_SLOTS) continue;
                hole = 0;
                to = atomic_load_explicit(&to->next, memory_order_relaxed);
            }
            if (to == from) break;
            atomic_store(&to->slots[hole], slot);
            atomic_store(&from->slots[i], 0);
        }
    }
    chain_trim(index, head);
}

/* The next bucket in order is split: bucket n - level keeps what has the level's bit clear, the new bucket n gets the rest. */
static void split(struct index *index) {
    uint32_t n = index_buckets(index);
    uint32_t level = level_of(n);
    if (n >= HASH_MASK) return;
    struct bucket *fresh = bucket_ensure(index, n);
    struct bucket *head = bucket_at(index, n - level);
    moves_begin(index);
    for (struct bucket *b = head; b; b = atomic_load(&b->next)) {
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
            if (slot && slot_entry(slot)->hash & level) chain_add(index, fresh, slot);
        }
    }
    atomic_store(&index->n_buckets, n + 1);
    for (struct bucket *b = head; b; b = atomic_load(&b->next)) {
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
            if (slot && slot_entry(slot)->hash & level) atomic_store(&b->slots[i], 0);
        }
    }
    chain_compact(index, head);
    moves_end(index);
}

/* The inverse: the last bucket's entries go back to the one that it was split from. */
static void merge(struct index *index) {
    uint32_t last = index_buckets(index) - 1;
    struct bucket *source = bucket_at(index, last);
    struct bucket *target = bucket_at(index, last - level_of(last));
    moves_begin(index);
    for (struct bucket *b = source; b; b = atomic_load(&b->next)) {
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&b->slots[i], memory_order_relaxed);
            if (slot) chain_add(index, target, slot);
        }
    }
    atomic_store(&index->n_buckets, last);
    for (struct bucket *b = source; b; b = atomic_load(&b->next))
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
            atomic_store(&b->slots[i], 0);
    chain_trim(index, source);
    moves_end(index);
    if (last % CHUNK_BUCKETS == 0) {
        struct directory *directory = atomic_load(&index->directory);
        struct chunk *chunk = atomic_exchange(&directory->chunks[last / CHUNK_BUCKETS], NULL);
        index->bytes -= sizeof *chunk;
        release(index, chunk);
    }
}

static uint64_t fill_percent(const struct index *index) {
    return (uint64_t)index->count * 100 / BUCKET_SLOTS / index_buckets(index);
}

/* --- writing, under the lock --- */

void index_init(struct index *index, struct limbo *limbo) {
    memset(index, 0, sizeof *index);
    index->limbo = limbo;
}

void index_insert(struct index *index, struct entry *entry) {
    uint64_t slot = slot_of(entry);
    uint32_t n = index_buckets(index);
    if (n == 0) {
        bucket_ensure(index, 0);
        atomic_store(&index->n_buckets, n = 1);
    }
    chain_add(index, bucket_at(index, bucket_number(entry->hash, n)), slot);
    index->count++;
    if (fill_percent(index) > SPLIT_ABOVE_PERCENT) split(index);
}

static _Atomic uint64_t *find_slot(const struct index *index, struct entry *entry) {
    uint64_t wanted = slot_of(entry);
    struct bucket *bucket = bucket_at(index, bucket_number(entry->hash, index_buckets(index)));
    for (; bucket; bucket = atomic_load_explicit(&bucket->next, memory_order_relaxed))
        for (uint32_t i = 0; i < BUCKET_SLOTS; i++)
            if (atomic_load_explicit(&bucket->slots[i], memory_order_relaxed) == wanted)
                return &bucket->slots[i];
    ASSERT_UNREACHABLE();
}

void index_replace(struct index *index, struct entry *old, struct entry *entry) {
    atomic_store(find_slot(index, old), slot_of(entry));
}

void index_remove(struct index *index, struct entry *entry) {
    atomic_store(find_slot(index, entry), 0);
    index->count--;
    uint32_t n = index_buckets(index);
    chain_trim(index, bucket_at(index, bucket_number(entry->hash, n)));
    if (n > 1 && fill_percent(index) < MERGE_BELOW_PERCENT) merge(index);
}

void index_clear(struct index *index) {
    struct directory *directory = atomic_load_explicit(&index->directory, memory_order_relaxed);
    uint32_t n = index_buckets(index);
    moves_begin(index);
    atomic_store(&index->n_buckets, 0);
    atomic_store(&index->directory, NULL);
    moves_end(index);
    for (uint32_t i = 0; directory && i < directory->cap; i++) {
        struct chunk *chunk = atomic_load_explicit(&directory->chunks[i], memory_order_relaxed);
        if (!chunk) continue;
        for (uint32_t b = 0; b < CHUNK_BUCKETS && i * CHUNK_BUCKETS + b < n; b++) {
            struct bucket *next = atomic_load(&chunk->buckets[b].next);
            while (next) {
                struct bucket *gone = next;
                next = atomic_load(&gone->next);
                release(index, gone);
            }
        }
        release(index, chunk);
    }
    if (directory) release(index, directory);
    index->count = 0;
    index->bytes = 0;
}

void index_deinit(struct index *index) {
    index->limbo = NULL; /* whoever ends it knows that nobody reads */
    index_clear(index);
}

/* --- walking, under the lock --- */

struct index_iter index_bucket(const struct index *index, uint32_t n) {
    return (struct index_iter){bucket_at(index, n), 0};
}

struct entry *index_next(struct index_iter *iter) {
    while (iter->bucket) {
        while (iter->slot < BUCKET_SLOTS) {
            uint64_t slot =
                atomic_load_explicit(&iter->bucket->slots[iter->slot++], memory_order_relaxed);
            if (slot) return slot_entry(slot);
        }
        iter->bucket = atomic_load_explicit(&iter->bucket->next, memory_order_relaxed);
        iter->slot = 0;
    }
    return NULL;
}

/* A bucket by chance, and one of PLACES places in it by chance: where that place is free, another try. So an entry in a
 * full bucket has no smaller chance than one that is alone in its own. (A chain of more is as good as unheard of.) */
struct entry *index_random(const struct index *index, uint64_t random) {
    enum { PLACES = 4 * BUCKET_SLOTS };
    ASSERT(index->count > 0);
    for (;; random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407)) {
        uint32_t low = (uint32_t)(random >> 32);
        struct index_iter iter = index_bucket(index, low % index_buckets(index));
        uint64_t place = (random * UINT64_C(0x9E3779B97F4A7C15) >> 32) % PLACES;
        struct entry *entry = index_next(&iter);
        while (entry && place-- > 0)
            entry = index_next(&iter);
        if (entry) return entry;
    }
}

struct index_iter index_bucket_of(const struct index *index, uint32_t hash) {
    uint32_t n = index_buckets(index);
    return (struct index_iter){n ? bucket_at(index, bucket_number(hash, n)) : NULL, 0};
}

struct entry *index_next_of(struct index_iter *iter, uint32_t hash) {
    uint64_t tag = tag_of(hash);
    for (; iter->bucket; iter->slot = 0) {
        while (iter->slot < BUCKET_SLOTS) {
            uint64_t slot =
                atomic_load_explicit(&iter->bucket->slots[iter->slot++], memory_order_relaxed);
            if (slot && (slot & ~POINTER_MASK) == tag && slot_entry(slot)->hash == hash)
                return slot_entry(slot);
        }
        iter->bucket = atomic_load_explicit(&iter->bucket->next, memory_order_relaxed);
    }
    return NULL;
}

static uint32_t reverse_bits(uint32_t value) {
    uint32_t reversed = 0;
    for (uint32_t i = 0; i < INDEX_HASH_BITS; i++)
        reversed |= (value >> i & 1) << (INDEX_HASH_BITS - 1 - i);
    return reversed;
}

/* In the order of reversed hash bits each bucket is one run of hashes, a split cuts a run in two, and a merge joins two:
 *
 *     n = 4:  |  0  |  2  |  1  |  3  |         n = 5:  | 0 | 4 |  2  |  1  |  3  |
 */
uint32_t index_scan(const struct index *index, uint32_t cursor, index_visit *visit, void *arg) {
    uint32_t n = index_buckets(index);
    if (n == 0 || cursor > HASH_MASK) return 0;
    uint32_t number = bucket_number(reverse_bits(cursor), n);
    struct index_iter iter = index_bucket(index, number);
    struct entry *entry;
    while ((entry = index_next(&iter)))
        visit(entry, arg);

    uint32_t level = level_of(n);
    bool narrow =
        number >= level || number + level < n; /* split already: one bit more is its own */
    uint32_t bits = (uint32_t)__builtin_ctz(level) + (narrow ? 1 : 0);
    uint32_t width = UINT32_C(1) << (INDEX_HASH_BITS - bits);
    uint32_t begin = cursor & ~(width - 1);
    uint32_t next = begin + width;
    return next > HASH_MASK ? 0 : next;
}

void index_each(const struct index *index, index_visit *visit, void *arg) {
    for (uint32_t b = 0; b < index_buckets(index); b++) {
        struct index_iter iter = index_bucket(index, b);
        struct entry *entry;
        while ((entry = index_next(&iter)))
            visit(entry, arg);
    }
}

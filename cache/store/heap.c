#include "cache/store/heap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/mem.h"

#if defined(__has_feature) && !defined(__SANITIZE_ADDRESS__)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* as gcc says it */
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)     ((void)0)
#define ASAN_UNPOISON_MEMORY_REGION(at, size)   ((void)0)
#define __lsan_register_root_region(at, size)   ((void)0)
#define __lsan_unregister_root_region(at, size) ((void)0)
#endif

enum {
    CHUNK_SLABS = HEAP_CHUNK_BYTES / HEAP_SLAB_BYTES,
    STEP = 8,
    FINE_MOST = 512, /* up to here a class a step */
    FINE_CLASSES = FINE_MOST / STEP,
    COARSE_CLASSES = 64, /* beyond, a sixteenth more each: 16 a doubling, 4 doublings */
    CLASSES = FINE_CLASSES + COARSE_CLASSES,
    SPARE_SLABS = 8, /* free ones: a small heap has a spare chunk made when no more are left */
    SPARE_FROM =
        48, /* chunks: from there on there is one all the time, and one more for each as many */
    SPARE_MOST = 4,
    LOOK_AT = 64, /* slabs of a class, for a sparse one */
};

struct chunk {
    struct chunk *next, **link; /* among those with free slabs */
    char *memory;
    uint32_t free; /* a bit a slab */
};

struct slab {
    struct region *region;
    struct chunk *chunk;
    struct slab *next, **link; /* among the class's that have free slots; NULL: in no list */
    uint32_t slot_bytes;
    uint16_t class, n, used, words;
    uint16_t hint;   /* no word before it has a free slot */
    bool leaving;    /* gets no new blocks */
    uint64_t bits[]; /* 1: in use */
};

struct class {
    struct slab *partial, **last;
    uint32_t free_slots; /* in partial ones */
};

struct region {
    _Alignas(64) pthread_mutex_t mutex;
    struct heap *heap;
    _Atomic size_t mapped, live;
    struct class classes[CLASSES];
};

struct heap {
    pthread_mutex_t mutex; /* of the chunks; taken last */
    pthread_cond_t wanted; /* a spare */
    pthread_t maker;       /* runs from the first chunk on */
    struct chunk *spares;
    uint32_t n_spares, n_chunks, n_free; /* slabs */
    bool making, ending;
    struct chunk *with_free, **last;
    uint32_t n_regions;
    _Atomic uint64_t slabs_made;
    struct region regions[];
};

/* --- sizes --- */

static uint32_t class_of(size_t size) {
    if (size <= FINE_MOST) return (uint32_t)((size ? size + STEP - 1 : STEP) / STEP - 1);
    uint32_t top = 63 - (uint32_t)__builtin_clzll(size - 1); /* 9 and up */
    return FINE_CLASSES + (top - 9) * 16 + (uint32_t)((size - 1) >> (top - 4) & 15);
}

static uint32_t class_bytes(uint32_t class) {
    if (class < FINE_CLASSES) return class ? (class + 1) * STEP : 16;
    uint32_t coarse = class - FINE_CLASSES, top = 9 + coarse / 16;
    return (1u << top) + ((coarse % 16 + 1) << (top - 4));
}

/* --- chunks --- */

static void chunk_link(struct heap *heap, struct chunk *chunk) {
    chunk->next = NULL;
    chunk->link = heap->last;
    *heap->last = chunk;
    heap->last = &chunk->next;
}

static void chunk_unlink(struct heap *heap, struct chunk *chunk) {
    *chunk->link = chunk->next;
    if (chunk->next)
        chunk->next->link = chunk->link;
    else
        heap->last = chunk->link;
}

static struct chunk *chunk_map(bool huge) {
    size_t size = 2 * (size_t)HEAP_CHUNK_BYTES;
    char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(mapped != MAP_FAILED);
    size_t skip = (size_t)HEAP_CHUNK_BYTES - ((uintptr_t)mapped & (HEAP_CHUNK_BYTES - 1));
    if (skip < HEAP_CHUNK_BYTES) munmap(mapped, skip);
    skip %= HEAP_CHUNK_BYTES;
    munmap(mapped + skip + HEAP_CHUNK_BYTES, HEAP_CHUNK_BYTES - skip);
    struct chunk *chunk = mem_zalloc(sizeof *chunk);
    chunk->memory = mapped + skip;
    chunk->free = UINT32_MAX;
    (void)madvise(chunk->memory, HEAP_CHUNK_BYTES, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    __lsan_register_root_region(chunk->memory, HEAP_CHUNK_BYTES);
    return chunk;
}

static void chunk_unmap(struct chunk *chunk) {
    __lsan_unregister_root_region(chunk->memory, HEAP_CHUNK_BYTES);
    ASAN_UNPOISON_MEMORY_REGION(chunk->memory, HEAP_CHUNK_BYTES);
    munmap(chunk->memory, HEAP_CHUNK_BYTES);
    mem_free(chunk);
}

static uint32_t spares_wanted(const struct heap *heap) {
    uint32_t n = heap->n_chunks / SPARE_FROM;
    if (n == 0) return heap->n_chunks > 0 && heap->n_free <= SPARE_SLABS ? 1 : 0;
    return n < SPARE_MOST ? n : SPARE_MOST;
}

/* The kernel zeroes a huge page when it is first touched, which takes half a millisecond and more: not in a command's time. */
static void *make_spares(void *arg) {
    struct heap *heap = arg;
    pthread_mutex_lock(&heap->mutex);
    while (!heap->ending) {
        if (heap->n_spares >= spares_wanted(heap)) {
            pthread_cond_wait(&heap->wanted, &heap->mutex);
            continue;
        }
        pthread_mutex_unlock(&heap->mutex);
        struct chunk *chunk = chunk_map(true);
#ifdef MADV_POPULATE_WRITE
        (void)madvise(chunk->memory, HEAP_CHUNK_BYTES, MADV_POPULATE_WRITE);
#endif
        pthread_mutex_lock(&heap->mutex);
        chunk->next = heap->spares;
        heap->spares = chunk;
        heap->n_spares++;
    }
    pthread_mutex_unlock(&heap->mutex);
    return NULL;
}

static struct chunk *take_spare(struct heap *heap) {
    struct chunk *chunk = heap->spares;
    if (!chunk) return NULL;
    heap->spares = chunk->next;
    heap->n_spares--;
    return chunk;
}

/* Where no spare is ready, as at first, or where the maker is behind: small pages, which come one by one. */
static struct chunk *chunk_create(struct heap *heap) {
    struct chunk *chunk = take_spare(heap);
    if (!chunk) chunk = chunk_map(false);
    heap->n_chunks++;
    heap->n_free += CHUNK_SLABS;
    if (!heap->making) heap->making = pthread_create(&heap->maker, NULL, make_spares, heap) == 0;
    chunk_link(heap, chunk);
    return chunk;
}

static void chunk_destroy(struct heap *heap, struct chunk *chunk) {
    chunk_unlink(heap, chunk);
    heap->n_chunks--;
    heap->n_free -= CHUNK_SLABS;
    chunk_unmap(chunk);
    /* One stays, as long as there is a heap: it may well be wanted again. */
    uint32_t enough = heap->n_chunks / SPARE_FROM;
    if (enough == 0 && heap->n_chunks > 0) enough = 1;
    while (heap->n_spares > enough)
        chunk_unmap(take_spare(heap));
}

static struct slab *slab_memory(struct heap *heap, struct chunk **from) {
    pthread_mutex_lock(&heap->mutex);
    struct chunk *chunk = heap->with_free ? heap->with_free : chunk_create(heap);
    uint32_t place = (uint32_t)__builtin_ctz(chunk->free);
    chunk->free &= chunk->free - 1;
    heap->n_free--;
    if (!chunk->free) chunk_unlink(heap, chunk);
    if (heap->making && heap->n_spares < spares_wanted(heap)) pthread_cond_signal(&heap->wanted);
    pthread_mutex_unlock(&heap->mutex);
    *from = chunk;
    return (struct slab *)(void *)(chunk->memory + (size_t)place * HEAP_SLAB_BYTES);
}

/* The kernel's background thread would fill the hole of a chunk on huge pages again: such a chunk has none from then on. */
static void slab_memory_free(struct heap *heap, struct chunk *chunk, struct slab *slab) {
    ASAN_UNPOISON_MEMORY_REGION(slab, HEAP_SLAB_BYTES);
    pthread_mutex_lock(&heap->mutex);
    if (!chunk->free) {
        chunk_link(heap, chunk);
        (void)madvise(chunk->memory, HEAP_CHUNK_BYTES, MADV_NOHUGEPAGE);
    }
    (void)madvise(slab, HEAP_SLAB_BYTES, MADV_DONTNEED);
    chunk->free |= UINT32_C(1) << ((char *)slab - chunk->memory) / HEAP_SLAB_BYTES;
    heap->n_free++;
    if (chunk->free == UINT32_MAX) chunk_destroy(heap, chunk);
    pthread_mutex_unlock(&heap->mutex);
}

/* --- slabs, under the region's lock --- */

static void partial_link(struct class *class, struct slab *slab) {
    slab->next = NULL;
    slab->link = class->last;
    *class->last = slab;
    class->last = &slab->next;
    class->free_slots += slab->n - slab->used;
}

static void partial_unlink(struct class *class, struct slab *slab) {
    *slab->link = slab->next;
    if (slab->next)
        slab->next->link = slab->link;
    else
        class->last = slab->link;
    slab->link = NULL;
    class->free_slots -= slab->n - slab->used;
}

static char *slot_at(const struct slab *slab, uint32_t slot) {
    return (char *)(uintptr_t)slab + HEAP_SLAB_BYTES - (size_t)(slab->n - slot) * slab->slot_bytes;
}

static struct slab *slab_create(struct region *region, uint32_t class) {
    struct chunk *chunk;
    struct slab *slab = slab_memory(region->heap, &chunk);
    uint32_t slot_bytes = class_bytes(class);
    uint32_t n = HEAP_SLAB_BYTES / slot_bytes;
    while (sizeof *slab + (n + 63) / 64 * 8 + (size_t)n * slot_bytes > HEAP_SLAB_BYTES)
        n--;
    *slab = (struct slab){.region = region,
                          .chunk = chunk,
                          .slot_bytes = slot_bytes,
                          .class = (uint16_t) class,
                          .n = (uint16_t)n,
                          .words = (uint16_t)((n + 63) / 64)};
    for (uint32_t i = 0; i < slab->words; i++)
        slab->bits[i] = 0;
    if (n % 64) slab->bits[slab->words - 1] = ~UINT64_C(0) << n % 64; /* no such slots */
    ASAN_POISON_MEMORY_REGION(slot_at(slab, 0), (size_t)n * slot_bytes);
    partial_link(&region->classes[class], slab);
    atomic_fetch_add_explicit(&region->mapped, HEAP_SLAB_BYTES, memory_order_relaxed);
    atomic_fetch_add_explicit(&region->heap->slabs_made, 1, memory_order_relaxed);
    return slab;
}

static void slab_destroy(struct slab *slab) {
    struct region *region = slab->region;
    if (slab->link) partial_unlink(&region->classes[slab->class], slab);
    atomic_fetch_sub_explicit(&region->mapped, HEAP_SLAB_BYTES, memory_order_relaxed);
    slab_memory_free(region->heap, slab->chunk, slab);
}

void *heap_alloc(struct heap *heap, uint32_t region_number, size_t size) {
    ASSERT(size <= HEAP_MOST && region_number < heap->n_regions);
    struct region *region = &heap->regions[region_number];
    uint32_t number = class_of(size);
    pthread_mutex_lock(&region->mutex);
    struct class *class = &region->classes[number];
    struct slab *slab = class->partial ? class->partial : slab_create(region, number);
    while (slab->bits[slab->hint] == UINT64_MAX)
        slab->hint++;
    uint32_t bit = (uint32_t)__builtin_ctzll(~slab->bits[slab->hint]);
    slab->bits[slab->hint] |= UINT64_C(1) << bit;
    char *block = slot_at(slab, slab->hint * 64u + bit);
    class->free_slots--;
    slab->used++;
    if (slab->used == slab->n) partial_unlink(class, slab);
    atomic_fetch_add_explicit(&region->live, slab->slot_bytes, memory_order_relaxed);
    ASAN_UNPOISON_MEMORY_REGION(block, slab->slot_bytes);
    pthread_mutex_unlock(&region->mutex);
    return block;
}

static struct slab *slab_of(const void *block) {
    return (struct slab *)((uintptr_t)block & ~(uintptr_t)(HEAP_SLAB_BYTES - 1));
}

void heap_free(void *block) {
    struct slab *slab = slab_of(block);
    struct region *region = slab->region;
    pthread_mutex_lock(&region->mutex);
    struct class *class = &region->classes[slab->class];
    size_t at = (size_t)((char *)block - slot_at(slab, 0));
    uint32_t slot = (uint32_t)(at / slab->slot_bytes);
    ASSERT(at % slab->slot_bytes == 0 && slab->bits[slot / 64] >> slot % 64 & 1);
    ASAN_POISON_MEMORY_REGION(block, slab->slot_bytes);
    slab->bits[slot / 64] &= ~(UINT64_C(1) << slot % 64);
    if (slab->hint > slot / 64) slab->hint = (uint16_t)(slot / 64);
    atomic_fetch_sub_explicit(&region->live, slab->slot_bytes, memory_order_relaxed);
    bool was_full = slab->used == slab->n;
    slab->used--;
    if (slab->link)
        class->free_slots++;
    else if (was_full && !slab->leaving)
        partial_link(class, slab);
    if (slab->used == 0) slab_destroy(slab);
    pthread_mutex_unlock(&region->mutex);
}

size_t heap_block_size(const void *block) { return slab_of(block)->slot_bytes; }

/* --- emptying --- */

/* The class with the most that could be had: its free slots must hold a whole slab's blocks, or nothing is won. */
static struct class *wasteful(struct region *region) {
    struct class *most = NULL;
    size_t most_bytes = 0;
    for (uint32_t i = 0; i < CLASSES; i++) {
        struct class *class = &region->classes[i];
        size_t bytes = (size_t) class->free_slots * class_bytes(i);
        if (bytes < HEAP_SLAB_BYTES + HEAP_SLAB_BYTES / 4 || bytes <= most_bytes) continue;
        most = class;
        most_bytes = bytes;
    }
    return most;
}

struct slab *heap_sparse(struct heap *heap, uint32_t region_number) {
    struct region *region = &heap->regions[region_number];
    pthread_mutex_lock(&region->mutex);
    struct class *class = wasteful(region);
    struct slab *sparse = NULL;
    uint32_t looked = 0;
    for (struct slab *slab = class ? class->partial : NULL; slab && looked < LOOK_AT;
         slab = slab->next, looked++)
        if (!sparse || slab->used < sparse->used) sparse = slab;
    if (sparse && class->free_slots - (sparse->n - sparse->used) < sparse->used) sparse = NULL;
    if (sparse) {
        partial_unlink(class, sparse);
        sparse->leaving = true;
    }
    pthread_mutex_unlock(&region->mutex);
    return sparse;
}

void *heap_next(struct slab *slab, uint32_t *cursor) {
    for (; *cursor < slab->n; ++*cursor)
        if (slab->bits[*cursor / 64] >> *cursor % 64 & 1) return slot_at(slab, (*cursor)++);
    return NULL;
}

/* --- life --- */

struct heap *heap_create(uint32_t regions) {
    struct heap *heap = mem_aligned(64, sizeof *heap + regions * sizeof(struct region));
    memset(heap, 0, sizeof *heap + regions * sizeof(struct region));
    pthread_mutex_init(&heap->mutex, NULL);
    pthread_cond_init(&heap->wanted, NULL);
    heap->last = &heap->with_free;
    heap->n_regions = regions;
    for (uint32_t i = 0; i < regions; i++) {
        struct region *region = &heap->regions[i];
        region->heap = heap;
        pthread_mutex_init(&region->mutex, NULL);
        for (uint32_t c = 0; c < CLASSES; c++)
            region->classes[c].last = &region->classes[c].partial;
    }
    return heap;
}

void heap_destroy(struct heap **heap) {
    struct heap *gone = *heap;
    *heap = NULL;
    if (!gone) return;
    for (uint32_t i = 0; i < gone->n_regions; i++) {
        ASSERT(heap_stats(gone, i).mapped == 0);
        pthread_mutex_destroy(&gone->regions[i].mutex);
    }
    if (gone->making) {
        pthread_mutex_lock(&gone->mutex);
        gone->ending = true;
        pthread_cond_signal(&gone->wanted);
        pthread_mutex_unlock(&gone->mutex);
        pthread_join(gone->maker, NULL);
    }
    for (struct chunk *spare; (spare = take_spare(gone));)
        chunk_unmap(spare);
    pthread_cond_destroy(&gone->wanted);
    pthread_mutex_destroy(&gone->mutex);
    mem_free(gone);
}

struct heap_stats heap_stats(const struct heap *heap, uint32_t region) {
    struct heap_stats stats = {0};
    for (uint32_t i = 0; i < heap->n_regions; i++) {
        if (region != UINT32_MAX && region != i) continue;
        stats.mapped += atomic_load_explicit(&heap->regions[i].mapped, memory_order_relaxed);
        stats.live += atomic_load_explicit(&heap->regions[i].live, memory_order_relaxed);
    }
    return stats;
}

uint64_t heap_slabs_made(const struct heap *heap) {
    return atomic_load_explicit(&heap->slabs_made, memory_order_relaxed);
}

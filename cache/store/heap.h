/* heap.h: memory of the store's entries: slabs of equal slots, which can be emptied and given back.
 *
 *     void *block = heap_alloc(heap, region, size);      size at most HEAP_MOST; 8-byte steps while small, a sixteenth later
 *     heap_free(block);
 *     slab = heap_sparse(heap, region);                  worth emptying, or NULL
 *     while ((block = heap_next(slab, &cursor))) ...     the caller moves what lives: heap_alloc, copy, and heap_free later
 *
 * Why not the allocator of everything else: its steps of 16 bytes and more cost a tenth of a small entry; and where the
 * sizes of values shift, the holes of the old sizes stay with it, so that a bound on resident memory could not be kept.
 *
 *     chunk (2 MiB, huge pages where there are) ─► 32 slabs of 64 KiB:  | struct slab, a bit a slot | slot | slot | ...
 *
 * A thread of the heap's own makes the next chunks ready, since a huge page costs its first user half a millisecond; a chunk that it had
 * no time for is of small pages.
 *
 * A region is a part of the store (some shards); each has its lock, the last in the lock order beside the chunks' own. A sparse
 * slab gets no new blocks from then on, and goes back to the system with its last block. heap_sparse and heap_next: while
 * nobody else is in the region (its shards are locked). */
#ifndef FRESHET_CACHE_HEAP_H
#define FRESHET_CACHE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap;
struct slab;

enum { HEAP_MOST = 8 << 10, HEAP_SLAB_BYTES = 64 << 10, HEAP_CHUNK_BYTES = 2 << 20 };

struct heap *heap_create(uint32_t regions);
/* All blocks were freed. */
void heap_destroy(struct heap **heap);

void *heap_alloc(struct heap *heap, uint32_t region, size_t size);
void heap_free(void *block);
/* Of its slot. */
size_t heap_block_size(const void *block);

struct slab *heap_sparse(struct heap *heap, uint32_t region);
/* From cursor 0 on; NULL at the end. */
void *heap_next(struct slab *slab, uint32_t *cursor);

struct heap_stats {
    size_t mapped; /* slabs in use */
    size_t live;   /* slots in use */
};
/* How many slabs were taken in all: grows where holes may have come about. */
uint64_t heap_slabs_made(const struct heap *heap);
/* Any thread; region UINT32_MAX: all. */
struct heap_stats heap_stats(const struct heap *heap, uint32_t region);

#endif

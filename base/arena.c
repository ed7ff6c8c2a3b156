#include "base/arena.h"

#include <stdint.h>
#include <string.h>

#include "base/mem.h"

enum { ARENA_ALIGN = 16 };

struct block {
    struct block *next;
    size_t cap;
    size_t used;
    _Alignas(ARENA_ALIGN) char data[];
};

struct arena {
    struct block *head; /* the block in use; older and oversized ones follow */
    size_t block_bytes;
    size_t used;
};

static struct block *block_create(size_t cap) {
    struct block *block = mem_alloc(sizeof *block + cap);
    *block = (struct block){.cap = cap};
    return block;
}

struct arena *arena_create(size_t block_bytes) {
    struct arena *arena = mem_alloc(sizeof *arena);
    *arena = (struct arena){.head = block_create(block_bytes), .block_bytes = block_bytes};
    return arena;
}

static void free_chain(struct block *block) {
    while (block) {
        struct block *next = block->next;
        mem_free(block);
        block = next;
    }
}

void arena_destroy(struct arena **arena) {
    if (!*arena) return;
    free_chain((*arena)->head);
    mem_free(*arena);
    *arena = NULL;
}

void arena_reset(struct arena *arena) {
    struct block *keep = NULL;
    struct block *block = arena->head;
    while (block) {
        struct block *next = block->next;
        if (!keep && block->cap == arena->block_bytes) {
            keep = block;
        } else {
            mem_free(block);
        }
        block = next;
    }
    if (!keep) keep = block_create(arena->block_bytes);
    keep->next = NULL;
    keep->used = 0;
    arena->head = keep;
    arena->used = 0;
}

void *arena_alloc(struct arena *arena, size_t size) {
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    arena->used += size;
    struct block *head = arena->head;
    if (head->cap - head->used < size) {
        if (size > arena->block_bytes / 4) { /* oversized: its own block, behind the head */
            struct block *own = block_create(size);
            own->used = size;
            own->next = head->next;
            head->next = own;
            return own->data;
        }
        struct block *fresh = block_create(arena->block_bytes);
        fresh->next = head;
        arena->head = head = fresh;
    }
    void *at = head->data + head->used;
    head->used += size;
    return at;
}

void *arena_zalloc(struct arena *arena, size_t size) {
    return memset(arena_alloc(arena, size), 0, size);
}

struct slice arena_dup(struct arena *arena, struct slice slice) {
    char *copy = arena_alloc(arena, slice.len + 1);
    if (slice.len) memcpy(copy, slice.data, slice.len);
    copy[slice.len] = '\0';
    return slice_make(copy, slice.len);
}

char *arena_strdup(struct arena *arena, const char *text) {
    size_t len = strlen(text) + 1;
    return memcpy(arena_alloc(arena, len), text, len);
}

size_t arena_used(const struct arena *arena) { return arena->used; }

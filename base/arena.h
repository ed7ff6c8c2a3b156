/* arena.h: memory for one batch or one transaction, given back all at once.
 *
 *     struct arena *arena = arena_create(64 * 1024);
 *     struct row *row = arena_alloc(arena, sizeof *row);
 *     arena_reset(arena);           all of it is free again, the first block kept
 *     arena_destroy(&arena);
 *
 * One thread. Allocations are aligned to 16 bytes. */
#ifndef FRESHET_BASE_ARENA_H
#define FRESHET_BASE_ARENA_H

#include <stddef.h>

#include "base/slice.h"

struct arena;

struct arena *arena_create(size_t block_bytes);
void arena_destroy(struct arena **arena);
void arena_reset(struct arena *arena);
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
/* Copies that live as long as the arena; both are NUL-terminated. */
char *arena_strdup(struct arena *arena, const char *text);
struct slice arena_dup(struct arena *arena, struct slice slice);
/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *arena);

#endif

#include "base/hugepages.h"

#include <jemalloc/jemalloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/mem.h"

#pragma weak mallctl

/* jemalloc hands the table back to each hook: what stands around it is ours. */
struct huge_hooks {
    extent_hooks_t table;
    extent_hooks_t *original;
};

static void *alloc_extent(extent_hooks_t *table, void *new_addr, size_t size, size_t alignment,
                          bool *zero, bool *commit, unsigned arena) {
    struct huge_hooks *hooks = (struct huge_hooks *)(void *)table;
    void *extent =
        hooks->original->alloc(hooks->original, new_addr, size, alignment, zero, commit, arena);
    /* A hint: a kernel without huge pages refuses it, and nothing is lost. */
    if (extent) (void)madvise(extent, size, MADV_HUGEPAGE);
    return extent;
}

/* Whatever mem_return_within says: a huge page that is given back in part is small ones from then on. */
static void keep_decay(unsigned arena) {
    ssize_t decay_ms = 0;
    size_t size = sizeof decay_ms;
    char name[64];
    snprintf(name, sizeof name, "arena.%u.dirty_decay_ms", arena);
    if (mallctl("opt.dirty_decay_ms", &decay_ms, &size, NULL, 0) == 0)
        (void)mallctl(name, NULL, NULL, &decay_ms, sizeof decay_ms);
}

void hugepages_for_thread(void) {
    if (!mallctl) return;
    extent_hooks_t *original = NULL;
    size_t size = sizeof original;
    if (mallctl("arena.0.extent_hooks", (void *)&original, &size, NULL, 0) != 0) return;
    struct huge_hooks *hooks = mem_alloc(sizeof *hooks);
    hooks->table = *original;
    hooks->table.alloc = alloc_extent;
    hooks->original = original;

    extent_hooks_t *table = &hooks->table;
    unsigned arena = 0;
    size = sizeof arena;
    if (mallctl("arenas.create", &arena, &size, (void *)&table, sizeof table) != 0) {
        mem_free(hooks);
        return;
    }
    (void)mallctl("thread.arena", NULL, NULL, &arena, sizeof arena);
    keep_decay(arena);
}

/* mem.h: allocation that cannot fail: out of memory aborts, since every request was bounded before.
 * mem_free(NULL) is allowed. The allocator underneath is jemalloc in release builds. */
#ifndef FRESHET_BASE_MEM_H
#define FRESHET_BASE_MEM_H

#include <stddef.h>

#include "base/slice.h"

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
/* n * size zeroed bytes; aborts where the product overflows. */
void *mem_calloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
/* size bytes at an address that is a multiple of `align` (a power of two). Freed by mem_free. */
void *mem_aligned(size_t align, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *text) __attribute__((returns_nonnull));
/* A NUL-terminated copy of the slice's bytes. */
char *mem_slicedup(struct slice slice) __attribute__((returns_nonnull));
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
void mem_free(void *ptr);

/* Has the allocator return to the system what was freed some seconds ago. It does so itself as a thread allocates; a process
 * that has become idle (after a flush, say) would keep it. To be called about once a second. */
void mem_give_back(void);

/* The same within about this time, by the threads themselves as they allocate, in the place of jemalloc's ten seconds (or what
 * MALLOC_CONF says): for a process that allocates and frees megabytes a second, which would hold ten seconds' worth of
 * unevenness. Once, before there are threads. Not for threads of hugepages.h. */
void mem_return_within(int ms);

/* Bytes of the process that are in memory; 0: unknown, or a sanitizer's allocator makes it meaningless. */
size_t mem_resident(void);

/* What the allocator has given out, the pages that it lies in, and those of its that are in memory; zeros where a sanitizer's is used. */
struct mem_allocator {
    size_t allocated, active, resident;
};
void mem_allocator(struct mem_allocator *seen);
/* Its own report in words, piece by piece. */
void mem_allocator_report(void (*write)(void *arg, const char *text), void *arg);

#endif

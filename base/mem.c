#include "base/mem.h"

#include <jemalloc/jemalloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { JEMALLOC_DECAY_MS = 10000 };

#pragma weak mallctl /* absent where a sanitizer's allocator is used */
#pragma weak malloc_stats_print

static _Noreturn void mem_exhausted(size_t size) {
    fprintf(stderr, "out_of_memory bytes=%zu\n", size);
    abort();
}

void *mem_alloc(size_t size) {
    void *ptr = malloc(size ? size : 1);
    if (!ptr) mem_exhausted(size);
    return ptr;
}

void *mem_zalloc(size_t size) { return mem_calloc(1, size); }

void *mem_calloc(size_t n, size_t size) {
    if (size && n > SIZE_MAX / size) mem_exhausted(SIZE_MAX);
    void *ptr = calloc(n ? n : 1, size ? size : 1);
    if (!ptr) mem_exhausted(n * size);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size) {
    void *grown = realloc(ptr, size ? size : 1);
    if (!grown) mem_exhausted(size);
    return grown;
}

void *mem_aligned(size_t align, size_t size) {
    void *ptr = aligned_alloc(align, (size + align - 1) & ~(align - 1));
    if (!ptr) mem_exhausted(size);
    return ptr;
}

char *mem_strdup(const char *text) { return mem_slicedup(slice_from(text)); }

char *mem_slicedup(struct slice slice) {
    char *copy = mem_alloc(slice.len + 1);
    if (slice.len) memcpy(copy, slice.data, slice.len);
    copy[slice.len] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...) {
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0) mem_exhausted(0);
    va_end(args);
    return text;
}

void mem_free(void *ptr) { free(ptr); }

#define TEXT_OF_(number) #number
#define TEXT_OF(number)  TEXT_OF_(number)

void mem_give_back(void) {
    if (mallctl) (void)mallctl("arena." TEXT_OF(MALLCTL_ARENAS_ALL) ".decay", NULL, NULL, NULL, 0);
}

void mem_return_within(int ms) {
    ssize_t configured = 0;
    size_t size = sizeof configured;
    if (!mallctl || mallctl("opt.dirty_decay_ms", &configured, &size, NULL, 0) != 0) return;
    if (configured != JEMALLOC_DECAY_MS) return; /* somebody has chosen */
    ssize_t decay_ms = ms;
    (void)mallctl("arenas.dirty_decay_ms", NULL, NULL, &decay_ms, sizeof decay_ms);
    (void)mallctl("arena.0.dirty_decay_ms", NULL, NULL, &decay_ms, sizeof decay_ms);
}

size_t mem_resident(void) {
    FILE *statm = mallctl ? fopen("/proc/self/statm", "re") : NULL;
    if (!statm) return 0;
    long total = 0, resident = 0;
    int n = fscanf(statm, "%ld %ld", &total, &resident);
    fclose(statm);
    return n == 2 ? (size_t)resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static size_t read_stat(const char *name) {
    size_t value = 0, size = sizeof value;
    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

void mem_allocator(struct mem_allocator *seen) {
    uint64_t epoch = 1;
    *seen = (struct mem_allocator){0};
    /* the figures are those of the last epoch: a new one begins */
    if (!mallctl || mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) != 0) return;
    seen->allocated = read_stat("stats.allocated");
    seen->active = read_stat("stats.active");
    seen->resident = read_stat("stats.resident");
}

void mem_allocator_report(void (*write)(void *arg, const char *text), void *arg) {
    if (malloc_stats_print)
        malloc_stats_print(write, arg, NULL);
    else
        write(arg, "Stats not supported for the current allocator");
}

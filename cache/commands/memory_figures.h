/* memory_figures.h: what INFO and MEMORY STATS tell of memory. */
#ifndef FRESHET_CACHE_MEMORY_FIGURES_H
#define FRESHET_CACHE_MEMORY_FIGURES_H

#include <stdint.h>

#include "base/mem.h"

struct roster;
struct store_stats;

/* Bytes. Entries lie in memory of the store's own, beside the allocator's. */
struct memory_figures {
    uint64_t used;     /* entries and index */
    uint64_t resident; /* the process's */
    uint64_t peak;     /* the most that was ever resident */
    struct mem_allocator allocator;
    uint64_t clients_most_in, clients_most_out; /* in one client's buffers */
    uint64_t clients;                           /* in those of all */
};

void memory_figures_read(const struct store_stats *store, struct roster *roster, int64_t now_ms,
                         struct memory_figures *figures);

/* 0 where `below` is. */
double memory_ratio(uint64_t above, uint64_t below);

#endif

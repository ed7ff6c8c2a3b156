/* names.h: a hash table of things that have a name, which embed a struct named. Owned by whoever owns the table.
 *
 *     struct topic { struct named named; ... };
 *     names_init(&table, seed);
 *     struct topic *topic = (struct topic *)names_find(&table, name);
 *     names_add(&table, &topic->named);              its name must live as long; there is none of that name yet
 *     names_remove(&table, &topic->named);
 *
 * Chains, doubled when as many things as buckets are in it; the memory goes when the last thing has gone. */
#ifndef FRESHET_CACHE_NAMES_H
#define FRESHET_CACHE_NAMES_H

#include <stdint.h>

#include "base/slice.h"

struct named {
    struct named *next; /* in its bucket */
    uint64_t hash;
    struct slice name;
};

struct names {
    struct named **buckets;
    uint32_t n_buckets; /* a power of two, or 0 */
    uint32_t n;
    uint64_t seed; /* names come from clients */
};

void names_init(struct names *names, uint64_t seed);
/* The things are the caller's. */
void names_deinit(struct names *names);
struct named *names_find(const struct names *names, struct slice name);
void names_add(struct names *names, struct named *thing);
void names_remove(struct names *names, struct named *thing);
/* Walks: NULL begins, NULL ends; what it returned last may be removed before the next call only if `names_next` was called first. */
struct named *names_next(const struct names *names, const struct named *after);

#endif

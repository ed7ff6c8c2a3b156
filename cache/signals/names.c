#include "cache/signals/names.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"

enum { FIRST_BUCKETS = 4 };

void names_init(struct names *names, uint64_t seed) { *names = (struct names){.seed = seed}; }

void names_deinit(struct names *names) {
    mem_free(names->buckets);
    names_init(names, names->seed);
}

static uint64_t hash_of(const struct names *names, struct slice name) {
    return XXH3_64bits_withSeed(name.data, name.len, names->seed);
}

static struct named **bucket(const struct names *names, uint64_t hash) {
    return &names->buckets[hash & (names->n_buckets - 1)];
}

struct named *names_find(const struct names *names, struct slice name) {
    if (names->n == 0) return NULL;
    uint64_t hash = hash_of(names, name);
    for (struct named *thing = *bucket(names, hash); thing; thing = thing->next)
        if (thing->hash == hash && slice_equal(thing->name, name)) return thing;
    return NULL;
}

static void push(struct names *names, struct named *thing) {
    struct named **head = bucket(names, thing->hash);
    thing->next = *head;
    *head = thing;
}

static void grow(struct names *names) {
    struct names old = *names;
    names->n_buckets = old.n_buckets ? 2 * old.n_buckets : FIRST_BUCKETS;
    names->buckets = mem_calloc(names->n_buckets, sizeof(struct named *));
    for (uint32_t i = 0; i < old.n_buckets; i++) {
        for (struct named *thing = old.buckets[i], *next; thing; thing = next) {
            next = thing->next;
            push(names, thing);
        }
    }
    mem_free(old.buckets);
}

void names_add(struct names *names, struct named *thing) {
    if (names->n == names->n_buckets) grow(names);
    thing->hash = hash_of(names, thing->name);
    push(names, thing);
    names->n++;
}

void names_remove(struct names *names, struct named *thing) {
    struct named **at = bucket(names, thing->hash);
    while (*at && *at != thing)
        at = &(*at)->next;
    ASSERT(*at);
    *at = thing->next;
    if (--names->n == 0) names_deinit(names);
}

struct named *names_next(const struct names *names, const struct named *after) {
    if (names->n == 0) return NULL;
    if (after && after->next) return after->next;
    uint64_t i = after ? (after->hash & (names->n_buckets - 1)) + 1 : 0;
    for (; i < names->n_buckets; i++)
        if (names->buckets[i]) return names->buckets[i];
    return NULL;
}

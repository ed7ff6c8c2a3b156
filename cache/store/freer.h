/* freer.h: a thread that gives back what takes long to give back: containers of many elements, of which each is a block of memory of its own (a
 * million take a tenth of a second and more). Whoever deletes, evicts or expires one under a lock only hands it over.
 *
 *     freer_take(freer, &entry);        any thread; nobody can see the entry any more
 *
 * The thread is made with the first one. */
#ifndef FRESHET_CACHE_FREER_H
#define FRESHET_CACHE_FREER_H

#include <stdbool.h>

#include "cache/store/entry.h"

struct freer;

struct freer *freer_create(void);
/* Once all that was taken is freed. */
void freer_destroy(struct freer **freer);

/* Does it take long? */
bool freer_wants(const struct entry *entry);
void freer_take(struct freer *freer, struct entry **entry);

#endif

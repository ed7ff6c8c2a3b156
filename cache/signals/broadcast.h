/* broadcast.h: CLIENT TRACKING's BCAST mode: prefixes, who asked for them, and what has changed under them.
 *
 *     broadcasts_note(broadcasts, key, hash, client_id);      under the key's shard lock
 *     broadcasts_send(broadcasts, shards);                    once the locks of those shards are released
 *
 * What one command, or one EXEC, has changed is told in one message a prefix, each key once. Messages leave under the lock, so
 * what was noted before the call has been sent when it returns, whoever's call has done it. Any thread; the mutex is a leaf, but
 * for the trackers' own. */
#ifndef FRESHET_CACHE_BROADCAST_H
#define FRESHET_CACHE_BROADCAST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/store/store.h"

struct broadcasts;
struct tracker;

struct broadcasts *broadcasts_create(void);
void broadcasts_destroy(struct broadcasts **broadcasts);

/* A prefix that it has already is left as it is. The tracker's owner. */
void broadcasts_add(struct broadcasts *broadcasts, struct tracker *tracker, struct slice prefix);
/* From all its prefixes. */
void broadcasts_remove(struct broadcasts *broadcasts, struct tracker *tracker);

/* Does anybody broadcast; is something noted? One atomic read each. */
uint32_t broadcasts_count(const struct broadcasts *broadcasts);
bool broadcasts_pending(const struct broadcasts *broadcasts);
/* Different prefixes. */
uint32_t broadcasts_prefixes(struct broadcasts *broadcasts);

void broadcasts_note(struct broadcasts *broadcasts, struct slice key, uint64_t hash,
                     uint64_t client_id);
void broadcasts_send(struct broadcasts *broadcasts, const uint64_t shards[STORE_SHARDS / 64]);

/* Could a key that begins with `start` fall under one of its prefixes? */
bool broadcasts_overlap(struct broadcasts *broadcasts, const struct tracker *tracker,
                        struct slice start);

#endif

/* links.h: which other keys hold a row's entry: from the row's canonical key to the keys that clients asked for it by.
 *
 * A row may be asked for by several texts (`users:42`, `users:042`, `users:id=42`; a timestamp in any time zone), and
 * the entry stands under the text that was asked. A change names the row by its canonical key; the links lead from
 * there to the others, and to the keys of unique columns (`users:email=a@b.c`): a change need not tell the old values of
 * those. A row that is absent under a unique key has no key of its own; its links hang at the unique key's canonical text.
 *
 *     links_add(links, canonical_hash, key)        under the shard locks of both keys, before the entry is put
 *     links_take(links, canonical_hash, &keys)     after the change was noted under the canonical key's shard lock
 *
 * Bounded by max_links: past it links_add says no, and the row is answered without being kept. A link outlives an entry
 * that expired or was evicted for memory; pruning drops those. Any thread; small locks of its own. */
#ifndef FRESHET_CACHE_LINKS_H
#define FRESHET_CACHE_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct links;

struct links *links_create(size_t max_links);
void links_destroy(struct links **links);

/* False: full. A link that is there already is left as it is. */
bool links_add(struct links *links, uint64_t canonical_hash, struct slice key)
    __attribute__((warn_unused_result));
/* Removes the links of a row and appends their keys as packed names (a 32-bit length, the bytes). Returns how many. */
size_t links_take(struct links *links, uint64_t canonical_hash, struct buf *keys);
/* Reads one off the front of what links_take gave; false at the end. */
bool links_next(struct slice *packed, struct slice *key);

/* Pruning: copies the links of one of LINKS_PARTS parts (a 64-bit hash, a 32-bit length, the bytes each); the caller
 * takes both keys' shard locks, looks whether the key still holds an entry, and removes the link where it does not. */
enum { LINKS_PARTS = 64 };
void links_copy(struct links *links, uint32_t part, struct buf *copies);
bool links_next_copy(struct slice *packed, uint64_t *canonical_hash, struct slice *key);
void links_remove(struct links *links, uint64_t canonical_hash, struct slice key);
void links_clear(struct links *links);
size_t links_size(const struct links *links);
/* Of memory. Any thread. */
size_t links_bytes(const struct links *links);

#endif

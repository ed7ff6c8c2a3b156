/* held.h: what transactions have touched that are still open, by their ids, until they commit or abort.
 *
 *     struct touched *touched = held_begin(held, xid, subxid, map_version);      one change of it has come
 *     touched_key(touched, ...);  held_end(held);                                both in the same breath
 *     held_abort(held, xid, subxid);                                             the keys of that part go; of xid: all
 *     if (held_take(held, xid, map_version, &touched)) ...                       it commits; the caller's to deinit
 *
 * Memory is bounded: a transaction that touches more than max_keys rows, and the largest one where all together hold more
 * than max_bytes, is known by its tables from then on. Nothing is ever forgotten before its end.
 *
 * A key's text is of the table map in force when its change came. Where the commit comes under another, which may have
 * keys that were not noted then, the tables are touched as a whole.
 *
 * The feed's thread; held_bytes and held_count any. */
#ifndef FRESHET_CACHE_HELD_H
#define FRESHET_CACHE_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/rows/touched.h"

struct held;

struct held *held_create(size_t max_keys, size_t max_bytes);
void held_destroy(struct held **held);
/* The session is over: what was open comes anew, or never. */
void held_clear(struct held *held);

/* Valid until held_end. */
struct touched *held_begin(struct held *held, uint64_t xid, uint64_t subxid, uint64_t map_version);
void held_end(struct held *held);
void held_abort(struct held *held, uint64_t xid, uint64_t subxid);
/* False: nothing of it was held. `*touched` is overwritten. */
bool held_take(struct held *held, uint64_t xid, uint64_t map_version, struct touched *touched);

size_t held_bytes(const struct held *held);
size_t held_count(const struct held *held);

#endif

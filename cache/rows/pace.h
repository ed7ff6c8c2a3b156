/* pace.h: how often one key is read from the database (cache.min_refill_interval). A key that many read and many change is
 * evicted all the time; its next fill then waits until the interval is over, and who wants the row waits for that fill. So
 * every answer is as fresh as without it, and only comes later.
 *
 *     due_us = pace_claim(pace, hash, now_us);      send the fill then; now_us: at once
 *
 * Keys are remembered by their hashes in a table of fixed size: one that is forgotten is read at once. NULL: no interval. Any
 * thread; its locks are leaves. */
#ifndef FRESHET_CACHE_PACE_H
#define FRESHET_CACHE_PACE_H

#include <stdint.h>

struct pace;

/* NULL where interval_us is 0. */
struct pace *pace_create(int64_t interval_us);
void pace_destroy(struct pace **pace);

/* When the next fill of the key may go out. Those who ask while one is yet to go out are told its time: they go together. */
int64_t pace_claim(struct pace *pace, uint64_t hash, int64_t now_us);

#endif

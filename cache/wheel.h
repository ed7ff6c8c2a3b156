/* wheel.h: a hierarchical timing wheel (Varghese and Lauck 1987): adding, removing and expiring cost O(1) an entry.
 *
 *     wheel_add(wheel, entry);                       after its expiry is set; wheel_remove before it changes
 *     while ((entry = wheel_due(wheel, now_ms)))     what is due, one after the other, until the caller has enough
 *         wheel_remove(wheel, entry);
 *
 *     level 0: 16 slots of 64 ms    level 1: 16 of 1 s    level 2: 16 of 16 s    ...    level 5: 16 of 18 h    far: beyond
 *
 * An entry lies in the level of the highest digit in which its tick differs from the present one, and moves down one or more
 * levels when the present reaches its slot there: at most once a level. It is due up to one tick after its expiry, never
 * before. Links are inside the entries (entry.h). One owner at a time (a shard, under its lock). */
#ifndef FRESHET_CACHE_WHEEL_H
#define FRESHET_CACHE_WHEEL_H

#include <stdint.h>

#include "cache/entry.h"

enum { WHEEL_TICK_BITS = 6, WHEEL_DIGIT_BITS = 4, WHEEL_SLOTS = 16, WHEEL_LEVELS = 6 };

struct wheel {
    uint64_t tick; /* the last that was handled */
    uint32_t count;
    struct entry *due;
    struct entry *far;
    struct entry *slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel);
/* The entry is timed and its expiry is not STORE_NEVER. */
void wheel_add(struct wheel *wheel, struct entry *entry);
/* Nothing happens where it is in no wheel. */
void wheel_remove(struct wheel *wheel, struct entry *entry);
/* An entry that is due, still in the wheel; NULL where there is none. Time may jump, also backwards. */
struct entry *wheel_due(struct wheel *wheel, int64_t now_ms);

#endif

/* wheel.h: a hierarchical timing wheel (Varghese and Lauck 1987): adding and expiring cost O(1) an entry, and 9 bytes of memory.
 *
 *     wheel_add(wheel, hash, expire_at_ms);                 an entry of that hash will be due
 *     while (wheel_due(wheel, now_ms, &note)) ...           what may be due, until the caller has enough: it looks the hash up
 *     if (wheel_sweep(wheel, live, &note)) ...              now and then: should the note stay? then wheel_add again
 *
 *     level 0: 16 slots of 64 ms    level 1: 16 of 1 s    level 2: 16 of 16 s    ...    level 5: 16 of 18 h    far: beyond
 *
 * It holds notes, not entries: a hash and when. Nothing is removed: when an entry goes or its time changes, its note stays and
 * is found stale when due, or by the sweep, which runs while more than half of the notes are stale. So an entry pays 8 bytes for
 * its expiry and a note, instead of the links of a list. A note lies in the level of the highest digit in which its tick
 * differs from the present one, and moves down when the present reaches its slot there. It is due up to one tick after its
 * time, never before. One owner at a time (a shard, under its lock). */
#ifndef FRESHET_CACHE_WHEEL_H
#define FRESHET_CACHE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WHEEL_TICK_BITS = 6, WHEEL_DIGIT_BITS = 4, WHEEL_SLOTS = 16, WHEEL_LEVELS = 6 };

struct wheel_note {
    uint64_t hash : 24; /* the lower bits, those within a shard */
    uint64_t tick : 40; /* of 64 ms */
};

struct wheel_chunk;

struct wheel {
    uint64_t tick; /* the last that was handled */
    uint32_t notes;
    uint32_t swept; /* the slot that the sweep comes to next */
    size_t bytes;
    struct wheel_chunk *due, *far, *sweeping;
    struct wheel_chunk *slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel);
void wheel_deinit(struct wheel *wheel);
/* The tick by which something that expires then is due: equal ones need one note. */
uint64_t wheel_tick(int64_t expire_at_ms);
void wheel_add(struct wheel *wheel, uint32_t hash, int64_t expire_at_ms);
/* Takes a note whose time has come. Time may jump, also backwards. */
bool wheel_due(struct wheel *wheel, int64_t now_ms, struct wheel_note *note);
/* Takes some note, where more than half cannot be of the `live` entries with an expiry. */
bool wheel_sweep(struct wheel *wheel, uint64_t live, struct wheel_note *note);
/* All entries are gone. */
void wheel_clear(struct wheel *wheel);

#endif

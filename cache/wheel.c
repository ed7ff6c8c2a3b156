#include "cache/wheel.h"

#include <string.h>

#include "base/assert.h"

enum {
    DIGIT_MASK = WHEEL_SLOTS - 1,
    LONG_JUMP_TICKS = 1 << 16, /* 70 minutes */
    BACK_JUMP_TICKS =
        1 << 6, /* 4 s: more than callers' clocks differ when each keeps its turn's time */
};

/* Rounded up: when the tick comes, the expiry has passed. */
static uint64_t tick_of_expiry(int64_t expire_at_ms) {
    if (expire_at_ms <= 0) return 0;
    return ((uint64_t)expire_at_ms + (1 << WHEEL_TICK_BITS) - 1) >> WHEEL_TICK_BITS;
}

static void push(struct entry **list, struct entry *entry) {
    struct entry_timing *timing = entry_timing(entry);
    timing->next = *list;
    timing->link = list;
    if (*list) entry_timing(*list)->link = &timing->next;
    *list = entry;
}

static void unlink_entry(struct entry *entry) {
    struct entry_timing *timing = entry_timing(entry);
    *timing->link = timing->next;
    if (timing->next) entry_timing(timing->next)->link = timing->link;
    timing->next = NULL;
    timing->link = NULL;
}

static void place(struct wheel *wheel, struct entry *entry) {
    uint64_t tick = tick_of_expiry(entry_expiry(entry));
    if (tick <= wheel->tick) {
        push(&wheel->due, entry);
        return;
    }
    uint32_t level = (uint32_t)(63 - __builtin_clzll(tick ^ wheel->tick)) / WHEEL_DIGIT_BITS;
    if (level >= WHEEL_LEVELS)
        push(&wheel->far, entry);
    else
        push(&wheel->slots[level][tick >> (level * WHEEL_DIGIT_BITS) & DIGIT_MASK], entry);
}

static void place_all(struct wheel *wheel, struct entry **list) {
    struct entry *entry = *list;
    *list = NULL;
    while (entry) {
        struct entry *next = entry_timing(entry)->next;
        place(wheel, entry);
        entry = next;
    }
}

/* The present is one tick further: the slots that begin with it come down, and its own slot is due. */
static void advance(struct wheel *wheel) {
    uint64_t tick = ++wheel->tick;
    if ((tick & ((UINT64_C(1) << (WHEEL_LEVELS * WHEEL_DIGIT_BITS)) - 1)) == 0)
        place_all(wheel, &wheel->far);
    for (uint32_t level = WHEEL_LEVELS; level-- > 0;) {
        uint32_t shift = level * WHEEL_DIGIT_BITS;
        if ((tick & ((UINT64_C(1) << shift) - 1)) == 0)
            place_all(wheel, &wheel->slots[level][tick >> shift & DIGIT_MASK]);
    }
}

/* After a long sleep or when the clock was set it is cheaper to place everything anew than to walk each tick. */
static void jump(struct wheel *wheel, uint64_t tick) {
    struct entry *far = wheel->far;
    struct entry *due = wheel->due;
    wheel->far = NULL;
    wheel->due = NULL;
    wheel->tick = tick;
    place_all(wheel, &far);
    place_all(wheel, &due);
    struct entry *slots[WHEEL_LEVELS][WHEEL_SLOTS];
    memcpy(slots, wheel->slots, sizeof slots);
    memset(wheel->slots, 0, sizeof wheel->slots);
    for (uint32_t level = 0; level < WHEEL_LEVELS; level++)
        for (uint32_t slot = 0; slot < WHEEL_SLOTS; slot++)
            place_all(wheel, &slots[level][slot]);
}

void wheel_init(struct wheel *wheel) { memset(wheel, 0, sizeof *wheel); }

void wheel_add(struct wheel *wheel, struct entry *entry) {
    ASSERT(entry->flags & ENTRY_TIMED && !entry_timing(entry)->link);
    ASSERT(entry_expiry(entry) != STORE_NEVER);
    place(wheel, entry);
    wheel->count++;
}

void wheel_remove(struct wheel *wheel, struct entry *entry) {
    if (!(entry->flags & ENTRY_TIMED) || !entry_timing(entry)->link) return;
    unlink_entry(entry);
    wheel->count--;
}

struct entry *wheel_due(struct wheel *wheel, int64_t now_ms) {
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms >> WHEEL_TICK_BITS : 0;
    if (wheel->count == 0 && now > wheel->tick) wheel->tick = now;
    if (now > wheel->tick + LONG_JUMP_TICKS || now + BACK_JUMP_TICKS < wheel->tick)
        jump(wheel, now);
    while (!wheel->due && wheel->tick < now)
        advance(wheel);
    /* what was added behind the present tick need not have expired by this caller's clock */
    return wheel->due && entry_is_expired(wheel->due, now_ms) ? wheel->due : NULL;
}

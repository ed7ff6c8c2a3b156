#include "cache/store/wheel.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    DIGIT_MASK = WHEEL_SLOTS - 1,
    LONG_JUMP_TICKS = 1 << 16, /* 70 minutes */
    BACK_JUMP_TICKS =
        1 << 6, /* 4 s: more than callers' clocks differ when each keeps its turn's time */
    CHUNK_NOTES = 14,
    SWEEP_FROM = 64, /* so many stale ones are nobody's business */
};

#define TICK_MAX ((UINT64_C(1) << 40) - 1)

_Static_assert(sizeof(struct wheel_note) == 8, "what an expiry costs");

struct wheel_chunk {
    struct wheel_chunk *next;
    uint32_t n;
    struct wheel_note notes[CHUNK_NOTES];
};

/* Rounded up: when the tick comes, the expiry has passed. */
uint64_t wheel_tick(int64_t expire_at_ms) {
    if (expire_at_ms <= 0) return 0;
    uint64_t tick = ((uint64_t)expire_at_ms + (1 << WHEEL_TICK_BITS) - 1) >> WHEEL_TICK_BITS;
    return tick < TICK_MAX ? tick : TICK_MAX;
}

static void push(struct wheel *wheel, struct wheel_chunk **list, struct wheel_note note) {
    struct wheel_chunk *chunk = *list;
    if (!chunk || chunk->n == CHUNK_NOTES) {
        chunk = mem_alloc(sizeof *chunk);
        chunk->next = *list;
        chunk->n = 0;
        *list = chunk;
        wheel->bytes += sizeof *chunk;
    }
    chunk->notes[chunk->n++] = note;
}

static bool pop(struct wheel *wheel, struct wheel_chunk **list, struct wheel_note *note) {
    struct wheel_chunk *chunk = *list;
    if (!chunk) return false;
    *note = chunk->notes[--chunk->n];
    if (chunk->n == 0) {
        *list = chunk->next;
        wheel->bytes -= sizeof *chunk;
        mem_free(chunk);
    }
    return true;
}

static void place(struct wheel *wheel, struct wheel_note note) {
    struct wheel_chunk **list = &wheel->due;
    if (note.tick > wheel->tick) {
        uint32_t level =
            (uint32_t)(63 - __builtin_clzll((uint64_t)note.tick ^ wheel->tick)) / WHEEL_DIGIT_BITS;
        list = level >= WHEEL_LEVELS
                   ? &wheel->far
                   : &wheel->slots[level]
                                  [(uint64_t)note.tick >> (level * WHEEL_DIGIT_BITS) & DIGIT_MASK];
    }
    push(wheel, list, note);
}

static void place_all(struct wheel *wheel, struct wheel_chunk **list) {
    struct wheel_chunk *taken = *list;
    *list = NULL;
    struct wheel_note note;
    while (pop(wheel, &taken, &note))
        place(wheel, note);
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
    struct wheel_chunk *lists[2 + WHEEL_LEVELS * WHEEL_SLOTS] = {wheel->far, wheel->due};
    memcpy(&lists[2], wheel->slots, sizeof wheel->slots);
    wheel->far = NULL;
    wheel->due = NULL;
    memset(wheel->slots, 0, sizeof wheel->slots);
    wheel->tick = tick;
    for (uint32_t i = 0; i < sizeof lists / sizeof *lists; i++)
        place_all(wheel, &lists[i]);
}

void wheel_init(struct wheel *wheel) { memset(wheel, 0, sizeof *wheel); }

void wheel_clear(struct wheel *wheel) {
    struct wheel_chunk **lists[] = {&wheel->due, &wheel->far, &wheel->sweeping};
    struct wheel_note note;
    for (uint32_t i = 0; i < sizeof lists / sizeof *lists; i++)
        while (pop(wheel, lists[i], &note))
            continue;
    for (uint32_t i = 0; i < WHEEL_LEVELS * WHEEL_SLOTS; i++)
        while (pop(wheel, &wheel->slots[i / WHEEL_SLOTS][i % WHEEL_SLOTS], &note))
            continue;
    wheel->notes = 0;
}

void wheel_deinit(struct wheel *wheel) { wheel_clear(wheel); }

void wheel_add(struct wheel *wheel, uint32_t hash, int64_t expire_at_ms) {
    place(wheel, (struct wheel_note){hash & ((1u << 24) - 1), wheel_tick(expire_at_ms)});
    wheel->notes++;
}

bool wheel_due(struct wheel *wheel, int64_t now_ms, struct wheel_note *note) {
    uint64_t now = now_ms > 0 ? (uint64_t)now_ms >> WHEEL_TICK_BITS : 0;
    if (wheel->sweeping) place_all(wheel, &wheel->sweeping); /* it may hold what is due */
    if (wheel->notes == 0 && now > wheel->tick) wheel->tick = now;
    if (now > wheel->tick + LONG_JUMP_TICKS || now + BACK_JUMP_TICKS < wheel->tick)
        jump(wheel, now);
    while (!wheel->due && wheel->tick < now)
        advance(wheel);
    /* what was added behind the present tick need not be due by this caller's clock */
    if (!wheel->due || wheel->due->notes[wheel->due->n - 1].tick > now) return false;
    pop(wheel, &wheel->due, note);
    wheel->notes--;
    return true;
}

bool wheel_sweep(struct wheel *wheel, uint64_t live, struct wheel_note *note) {
    if (wheel->notes <= 2 * live + SWEEP_FROM) return false;
    for (uint32_t tries = 0; !wheel->sweeping && tries <= WHEEL_LEVELS * WHEEL_SLOTS; tries++) {
        uint32_t at = wheel->swept++ % (WHEEL_LEVELS * WHEEL_SLOTS + 1);
        struct wheel_chunk **list = at == WHEEL_LEVELS * WHEEL_SLOTS
                                        ? &wheel->far
                                        : &wheel->slots[at / WHEEL_SLOTS][at % WHEEL_SLOTS];
        wheel->sweeping = *list;
        *list = NULL;
    }
    if (!pop(wheel, &wheel->sweeping, note)) return false;
    wheel->notes--;
    return true;
}

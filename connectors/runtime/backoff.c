#include "connectors/runtime/backoff.h"

void backoff_init(struct backoff *backoff, uint64_t seed) {
    *backoff = (struct backoff){.state = seed};
}

void backoff_reset(struct backoff *backoff) { backoff->tries = 0; }

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). */
static uint64_t next_random(struct backoff *backoff) {
    uint64_t z = backoff->state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

int64_t backoff_next_us(struct backoff *backoff) {
    uint64_t whole_us = (uint64_t)BACKOFF_FIRST_MS * 1000;
    for (uint32_t i = 0; i < backoff->tries && whole_us < (uint64_t)BACKOFF_MAX_MS * 1000; i++)
        whole_us *= 2;
    if (whole_us > (uint64_t)BACKOFF_MAX_MS * 1000) whole_us = (uint64_t)BACKOFF_MAX_MS * 1000;
    backoff->tries++;
    return (int64_t)(whole_us / 2 + next_random(backoff) % (whole_us / 2 + 1));
}

/* backoff.h: how long to wait before the next try: doubling, capped, jittered so that many do not knock at once.
 *
 *     struct backoff backoff; backoff_init(&backoff, seed);
 *     int64_t wait_us = backoff_next_us(&backoff);    after a failure
 *     backoff_reset(&backoff);                        after a success */
#ifndef FRESHET_CONNECTORS_BACKOFF_H
#define FRESHET_CONNECTORS_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 15000 };

struct backoff {
    uint64_t state; /* of the generator */
    uint32_t tries;
};

void backoff_init(struct backoff *backoff, uint64_t seed);
/* Between half of and the whole of FIRST * 2^tries, at the most MAX. */
int64_t backoff_next_us(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);

#endif

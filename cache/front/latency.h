/* latency.h: spikes by event, as Redis's latency monitor keeps them: of each event the worst of each second, the last 160 of
 * them. Events here: "command", "fast-command". Any thread; its lock is a leaf. */
#ifndef FRESHET_CACHE_LATENCY_H
#define FRESHET_CACHE_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum { LATENCY_SAMPLES = 160, LATENCY_EVENTS = 8 };

struct latency;

struct latency_sample {
    int64_t wall_s;
    int64_t ms;
};

struct latency_event {
    char name[24];
    uint32_t n; /* samples, the oldest first */
    struct latency_sample samples[LATENCY_SAMPLES];
    int64_t worst_ms;
};

struct latency *latency_create(void);
void latency_destroy(struct latency **latency);
void latency_note(struct latency *latency, const char *event, int64_t wall_s, int64_t ms);
/* The ith event, copied; false: there are fewer. */
bool latency_event(struct latency *latency, uint32_t i, struct latency_event *event);
/* One event's, or with an empty name all; returns how many. */
uint32_t latency_reset(struct latency *latency, struct slice name);

#endif

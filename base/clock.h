/* clock.h: the only place that reads a clock. Modules take `now` as a parameter. */
#ifndef FRESHET_BASE_CLOCK_H
#define FRESHET_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Monotonic microseconds: for timeouts, leases, rates. Meaningless across processes. */
static inline int64_t clock_mono_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Microseconds since 1970-01-01 UTC: for what users see and for TTLs given as a time. */
static inline int64_t clock_wall_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

#endif

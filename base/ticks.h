/* ticks.h: the cheapest clock of the machine, for spans of one thread: the processor's own counter where there is a steady one, else
 * monotonic nanoseconds. What a tick is in microseconds is found out by comparison with the monotonic clock (command_stats.h). */
#ifndef FRESHET_BASE_TICKS_H
#define FRESHET_BASE_TICKS_H

#include <stdint.h>
#include <time.h>

static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
#endif
}

#endif

/* ahead.h: when a row that memory answers is read again before it has to be. Two reasons: its TTL ends soon, and who reads it is
 * spared the wait (cache.early_refresh, the XFetch of "Optimal Probabilistic Cache Stampede Prevention", Vattani, Chierichetti and
 * Lowenstein, VLDB 2015: one of many readers goes ahead of the others, the earlier the longer a fill takes); or its TTL has ended,
 * and it stays for a while more until it is refreshed (cache.stale_while_revalidate).
 *
 * Neither has to do with coherence: a row that a commit has touched is not there to be answered. Pure. */
#ifndef FRESHET_CACHE_AHEAD_H
#define FRESHET_CACHE_AHEAD_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

struct ahead {
    uint32_t eagerness;   /* XFetch's beta; 0: only what has ended is refreshed */
    int64_t stale_for_ms; /* what an entry's life has beyond its TTL */
};

enum { AHEAD_FURTHEST = 20 /* fills' time, times the eagerness: further ahead nobody goes */ };

/* Can it be due at all? For the hot path. left_ms: until the entry's end. */
static inline bool ahead_may_be_due(const struct ahead *ahead, int64_t left_ms, uint32_t fill_ms) {
    return left_ms <= ahead->stale_for_ms + (int64_t)fill_ms * ahead->eagerness * AHEAD_FURTHEST;
}

/* `chance`: even between 0 and 1, another one each time. */
static inline bool ahead_is_due(const struct ahead *ahead, int64_t left_ms, uint32_t fill_ms,
                                double chance) {
    double early_ms = (double)fill_ms * ahead->eagerness * -log(chance > 1e-9 ? chance : 1e-9);
    return (double)(left_ms - ahead->stale_for_ms) <= early_ms;
}

#endif

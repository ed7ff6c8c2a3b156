/* output_limits.h: how much a client may leave unread before it is closed, by class, as Redis's client-output-buffer-limit
 * words it: "normal 67108864 0 0 slave 0 0 0 pubsub 33554432 8388608 60": class, hard limit, soft limit, seconds for which the
 * soft one may be passed. 0: none. Any thread reads; CONFIG SET writes. */
#ifndef FRESHET_CACHE_OUTPUT_LIMITS_H
#define FRESHET_CACHE_OUTPUT_LIMITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum output_class {
    OUTPUT_NORMAL,
    OUTPUT_REPLICA, /* accepted and shown; there is none here */
    OUTPUT_PUBSUB,  /* subscribed to something */
    OUTPUT_CLASSES
};

struct output_limit {
    _Atomic uint64_t hard_bytes;
    _Atomic uint64_t soft_bytes;
    _Atomic int64_t soft_seconds;
};

struct output_limits {
    struct output_limit of[OUTPUT_CLASSES];
    /* The normal class was set in Redis's words: then a single reply that is larger closes too. With cache.client_output_limit
     * alone it goes to who reads it. */
    _Atomic bool strict;
};

/* Redis's defaults, but for `normal`, which has none there. */
void output_limits_init(struct output_limits *limits, uint64_t normal_hard_bytes);
/* Sets the classes that `text` names, or with apply false only says whether it could. NULL where it is right, else why not, and
 * nothing has changed. */
const char *output_limits_set(struct output_limits *limits, struct slice text, bool apply);
/* As CONFIG GET prints them. */
void output_limits_format(const struct output_limits *limits, struct buf *out);

static inline uint64_t output_limits_hard(const struct output_limits *limits,
                                          enum output_class class) {
    return atomic_load_explicit(&limits->of[class].hard_bytes, memory_order_relaxed);
}
static inline uint64_t output_limits_soft(const struct output_limits *limits,
                                          enum output_class class) {
    return atomic_load_explicit(&limits->of[class].soft_bytes, memory_order_relaxed);
}
static inline bool output_limits_are_strict(const struct output_limits *limits) {
    return atomic_load_explicit(&limits->strict, memory_order_relaxed);
}
static inline int64_t output_limits_soft_us(const struct output_limits *limits,
                                            enum output_class class) {
    return atomic_load_explicit(&limits->of[class].soft_seconds, memory_order_relaxed) * 1000000;
}

#endif

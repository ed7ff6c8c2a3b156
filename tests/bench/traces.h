/* traces.h: requests for keys as caches see them, the same in every run. Keys are numbers from 0 on; `shared` ones are asked for again.
 *
 *     struct trace trace;
 *     trace_create(&trace, "zipf-1.0", 100000, 2000000);   the name: one of trace_names
 *     ... trace.keys[i], all below trace.universe ...
 *     trace_destroy(&trace); */
#ifndef FRESHET_BENCH_TRACES_H
#define FRESHET_BENCH_TRACES_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct trace {
    uint32_t *keys;
    uint32_t n;
    uint32_t universe;
};

/* Popularity by Zipf's law; the same between scans of a tenth of all keys; with its hottest keys moved to other places twenty
 * times; drifting all the time; with three or five of ten requests for keys that are never asked for again. */
static const char *const trace_names[] = {"zipf-0.8", "zipf-1.0",   "scans",     "shifting",
                                          "drifting", "one-hit-30", "one-hit-50"};
enum { TRACES = sizeof trace_names / sizeof *trace_names };

static uint64_t trace_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D) >> 8;
}

static double *trace_zipf(uint32_t n, double exponent) {
    double *below = malloc(n * sizeof *below), sum = 0;
    for (uint32_t i = 0; i < n; i++)
        below[i] = sum += pow(i + 1, -exponent);
    for (uint32_t i = 0; i < n; i++)
        below[i] /= sum;
    return below;
}

static uint32_t trace_draw(const double *below, uint32_t n, uint64_t *state) {
    double x = (double)(trace_random(state) >> 3) / 9007199254740992.0;
    uint32_t low = 0, high = n - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (below[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline void trace_create(struct trace *trace, const char *name, uint32_t shared,
                                uint32_t n) {
    uint64_t state = UINT64_C(88172645463325252);
    int flat = strcmp(name, "zipf-0.8") == 0 || strcmp(name, "one-hit-50") == 0;
    double *below = trace_zipf(shared, flat ? 0.8 : 1.0);
    uint32_t fresh = shared, scanned = 0, offset = 0;
    uint32_t wonders = strcmp(name, "one-hit-30") == 0   ? 3
                       : strcmp(name, "one-hit-50") == 0 ? 5
                                                         : 0;
    int scans = strcmp(name, "scans") == 0, shifts = strcmp(name, "shifting") == 0;
    int drifts = strcmp(name, "drifting") == 0;
    *trace = (struct trace){malloc(n * sizeof *trace->keys), n, 0};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t key;
        if (shifts && i % (n / 20) == 0) offset = (uint32_t)(trace_random(&state) % shared);
        if (drifts) offset = (uint32_t)((uint64_t)i * shared / n / 2);
        if (scans && i % (shared * 6ull / 10) >= shared / 2)
            key = scanned++ % shared;
        else if (wonders && trace_random(&state) % 10 < wonders)
            key = fresh++;
        else {
            key = trace_draw(below, shared, &state);
            if (shifts) key = (uint32_t)((key * UINT64_C(7919) + offset) % shared);
            if (drifts) key = (key + offset) % shared;
        }
        trace->keys[i] = key;
    }
    trace->universe = fresh;
    free(below);
}

static inline void trace_destroy(struct trace *trace) { free(trace->keys); }

#endif

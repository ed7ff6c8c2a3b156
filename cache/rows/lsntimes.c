#include "cache/rows/lsntimes.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/mem.h"

enum { MAX_SAMPLES = 256, SAMPLES_A_SPAN = 128 };

struct sample {
    int64_t taken_us;
    uint64_t lsn;
};

struct lsntimes {
    pthread_mutex_t mutex;
    int64_t apart_us; /* all but the newest two are at least so far apart */
    uint32_t first, n;
    struct sample samples[MAX_SAMPLES]; /* a ring; LSNs and times ascend */
};

struct lsntimes *lsntimes_create(int64_t span_us) {
    struct lsntimes *times = mem_zalloc(sizeof *times);
    times->apart_us = span_us / SAMPLES_A_SPAN;
    pthread_mutex_init(&times->mutex, NULL);
    return times;
}

void lsntimes_destroy(struct lsntimes **times) {
    if (!*times) return;
    pthread_mutex_destroy(&(*times)->mutex);
    mem_free(*times);
    *times = NULL;
}

static struct sample *at(struct lsntimes *times, uint32_t i) {
    return &times->samples[(times->first + i) % MAX_SAMPLES];
}

/* A sample may be replaced by a later one with a later LSN: standbys then seem older than they are, never younger. */
static bool is_superfluous(struct lsntimes *times) {
    uint32_t n = times->n;
    return n >= 2 && at(times, n - 1)->taken_us - at(times, n - 2)->taken_us < times->apart_us;
}

void lsntimes_add(struct lsntimes *times, int64_t taken_us, uint64_t insert_lsn) {
    pthread_mutex_lock(&times->mutex);
    if (is_superfluous(times)) times->n--;
    if (times->n == MAX_SAMPLES) {
        times->first = (times->first + 1) % MAX_SAMPLES;
        times->n--;
    }
    *at(times, times->n++) = (struct sample){taken_us, insert_lsn};
    pthread_mutex_unlock(&times->mutex);
}

void lsntimes_clear(struct lsntimes *times) {
    pthread_mutex_lock(&times->mutex);
    times->n = 0;
    pthread_mutex_unlock(&times->mutex);
}

int64_t lsntimes_at(struct lsntimes *times, uint64_t lsn) {
    pthread_mutex_lock(&times->mutex);
    uint32_t i = times->n;
    while (i > 0 && at(times, i - 1)->lsn > lsn)
        i--;
    int64_t fresh_at_us = i > 0 ? at(times, i - 1)->taken_us : 0;
    pthread_mutex_unlock(&times->mutex);
    return fresh_at_us;
}

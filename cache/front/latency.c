#include "cache/front/latency.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"

struct latency {
    pthread_mutex_t lock;
    struct latency_event events[LATENCY_EVENTS];
    uint32_t n;
};

struct latency *latency_create(void) {
    struct latency *latency = mem_zalloc(sizeof *latency);
    pthread_mutex_init(&latency->lock, NULL);
    return latency;
}

void latency_destroy(struct latency **latency) {
    if (!*latency) return;
    pthread_mutex_destroy(&(*latency)->lock);
    mem_free(*latency);
    *latency = NULL;
}

/* NULL: there are too many. */
static struct latency_event *find_or_add(struct latency *latency, const char *name) {
    for (uint32_t i = 0; i < latency->n; i++)
        if (strcmp(latency->events[i].name, name) == 0) return &latency->events[i];
    if (latency->n == LATENCY_EVENTS) return NULL;
    struct latency_event *event = &latency->events[latency->n++];
    *event = (struct latency_event){0};
    snprintf(event->name, sizeof event->name, "%s", name);
    return event;
}

static void add_sample(struct latency_event *event, int64_t wall_s, int64_t ms) {
    struct latency_sample *last = event->n ? &event->samples[event->n - 1] : NULL;
    if (ms > event->worst_ms) event->worst_ms = ms;
    if (last && last->wall_s == wall_s) {
        if (ms > last->ms) last->ms = ms;
        return;
    }
    if (event->n == LATENCY_SAMPLES)
        memmove(&event->samples[0], &event->samples[1], --event->n * sizeof event->samples[0]);
    event->samples[event->n++] = (struct latency_sample){wall_s, ms};
}

void latency_note(struct latency *latency, const char *name, int64_t wall_s, int64_t ms) {
    pthread_mutex_lock(&latency->lock);
    struct latency_event *event = find_or_add(latency, name);
    if (event) add_sample(event, wall_s, ms);
    pthread_mutex_unlock(&latency->lock);
}

bool latency_event(struct latency *latency, uint32_t i, struct latency_event *event) {
    pthread_mutex_lock(&latency->lock);
    bool there = i < latency->n;
    if (there) *event = latency->events[i];
    pthread_mutex_unlock(&latency->lock);
    return there;
}

uint32_t latency_reset(struct latency *latency, struct slice name) {
    uint32_t removed = 0;
    pthread_mutex_lock(&latency->lock);
    for (uint32_t i = latency->n; i-- > 0;) {
        if (name.len && !slice_equal_nocase(name, slice_from(latency->events[i].name))) continue;
        memmove(&latency->events[i], &latency->events[i + 1],
                (--latency->n - i) * sizeof latency->events[0]);
        removed++;
    }
    pthread_mutex_unlock(&latency->lock);
    return removed;
}

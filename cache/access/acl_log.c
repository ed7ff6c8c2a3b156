#include "cache/access/acl_log.h"

#include "base/mem.h"

enum { JOINED_MS = 60 * 1000, LOOKED_AT = 10, TEXT_MAX = 4096 };

/* A key may be as long as its client likes. */
static struct slice cut(struct slice text) {
    return slice_make(text.data, text.len < TEXT_MAX ? text.len : TEXT_MAX);
}

static struct slice own(struct slice text) {
    text = cut(text);
    char *copy = mem_alloc(text.len + 1);
    if (text.len) memcpy(copy, text.data, text.len);
    return slice_make(copy, text.len);
}

/* The texts are the log's own, const to those who read them. */
static void give_back(struct slice text) { mem_free((void *)(uintptr_t)text.data); }

static void drop(struct acl_event *event) {
    give_back(event->object);
    give_back(event->user);
    give_back(event->client);
}

static bool is_alike(const struct acl_event *a, const struct acl_event *b) {
    int64_t apart = a->at_ms > b->at_ms ? a->at_ms - b->at_ms : b->at_ms - a->at_ms;
    return a->reason == b->reason && strcmp(a->context, b->context) == 0 && apart <= JOINED_MS &&
           slice_equal(a->object, cut(b->object)) && slice_equal(a->user, b->user);
}

/* Moves the event at `at` to the end, where the newest is. */
static struct acl_event *renew(struct acl_log *log, uint32_t at) {
    struct acl_event event = log->events[at];
    memmove(&log->events[at], &log->events[at + 1], (log->n - at - 1) * sizeof event);
    log->events[log->n - 1] = event;
    return &log->events[log->n - 1];
}

void acl_log_add(struct acl_log *log, const struct acl_event *event, uint64_t max_len) {
    for (uint32_t back = 1; back <= LOOKED_AT && back <= log->n; back++) {
        if (!is_alike(&log->events[log->n - back], event)) continue;
        struct acl_event *same = renew(log, log->n - back);
        same->count++;
        same->at_ms = event->at_ms;
        give_back(same->client);
        same->client = own(event->client);
        return;
    }
    if (log->n == log->cap) {
        log->cap = log->cap ? 2 * log->cap : 16;
        log->events = mem_realloc(log->events, log->cap * sizeof log->events[0]);
    }
    struct acl_event *fresh = &log->events[log->n++];
    *fresh = *event;
    fresh->count = 1;
    fresh->object = own(event->object);
    fresh->user = own(event->user);
    fresh->client = own(event->client);
    while (log->n > max_len) {
        drop(&log->events[0]);
        log->n--;
        memmove(&log->events[0], &log->events[1], log->n * sizeof log->events[0]);
    }
}

void acl_log_clear(struct acl_log *log) {
    for (uint32_t i = 0; i < log->n; i++)
        drop(&log->events[i]);
    mem_free(log->events);
    *log = (struct acl_log){0};
}

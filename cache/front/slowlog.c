#include "cache/front/slowlog.h"

#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"

/* An entry and its texts are one allocation: argv follows the struct, the bytes follow argv. */
struct node {
    struct node *next; /* the older one */
    struct slow_entry entry;
    struct slice argv[];
};

struct slowlog {
    pthread_mutex_t lock;
    struct node *newest;
    uint32_t n;
    uint64_t next_id;
};

struct slowlog *slowlog_create(void) {
    struct slowlog *log = mem_zalloc(sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

static void drop_behind(struct slowlog *log, struct node **place) {
    while (*place) {
        struct node *node = *place;
        *place = node->next;
        mem_free(node);
        log->n--;
    }
}

void slowlog_destroy(struct slowlog **log) {
    if (!*log) return;
    drop_behind(*log, &(*log)->newest);
    pthread_mutex_destroy(&(*log)->lock);
    mem_free(*log);
    *log = NULL;
}

static struct slice put(char **at, struct slice text, const char *tail) {
    size_t tail_len = strlen(tail);
    char *start = *at;
    if (text.len) memcpy(start, text.data, text.len);
    memcpy(start + text.len, tail, tail_len);
    *at = start + text.len + tail_len;
    return slice_make(start, text.len + tail_len);
}

/* Redis's words for what is left out. */
static struct slice put_argument(char **at, const struct slow_entry *entry, uint32_t i) {
    char more[64];
    struct slice text = entry->argv[i];
    if (i == SLOWLOG_MAX_ARGS - 1 && entry->argc > SLOWLOG_MAX_ARGS) {
        snprintf(more, sizeof more, "... (%u more arguments)", entry->argc - SLOWLOG_MAX_ARGS + 1);
        return put(at, SLICE(""), more);
    }
    if (text.len <= SLOWLOG_MAX_TEXT) return put(at, text, "");
    snprintf(more, sizeof more, "... (%zu more bytes)", text.len - SLOWLOG_MAX_TEXT);
    return put(at, slice_make(text.data, SLOWLOG_MAX_TEXT), more);
}

void slowlog_add(struct slowlog *log, const struct slow_entry *entry, uint64_t max_len) {
    uint32_t argc = entry->argc < SLOWLOG_MAX_ARGS ? entry->argc : SLOWLOG_MAX_ARGS;
    size_t bytes = entry->client.len + entry->name.len;
    for (uint32_t i = 0; i < argc; i++)
        bytes +=
            (entry->argv[i].len < SLOWLOG_MAX_TEXT ? entry->argv[i].len : SLOWLOG_MAX_TEXT) + 64;
    struct node *node = mem_alloc(sizeof *node + argc * sizeof node->argv[0] + bytes);
    char *at = (char *)&node->argv[argc];
    node->entry = *entry;
    node->entry.client = put(&at, entry->client, "");
    node->entry.name = put(&at, entry->name, "");
    for (uint32_t i = 0; i < argc; i++)
        node->argv[i] = put_argument(&at, entry, i);
    node->entry.argv = node->argv;
    node->entry.argc = argc;

    pthread_mutex_lock(&log->lock);
    node->entry.id = log->next_id++;
    node->next = log->newest;
    log->newest = node;
    log->n++;
    struct node **place = &log->newest;
    for (uint64_t kept = 0; kept < max_len && *place; kept++)
        place = &(*place)->next;
    drop_behind(log, place);
    pthread_mutex_unlock(&log->lock);
}

uint32_t slowlog_length(struct slowlog *log) {
    pthread_mutex_lock(&log->lock);
    uint32_t n = log->n;
    pthread_mutex_unlock(&log->lock);
    return n;
}

void slowlog_clear(struct slowlog *log) {
    pthread_mutex_lock(&log->lock);
    drop_behind(log, &log->newest);
    pthread_mutex_unlock(&log->lock);
}

uint32_t slowlog_each(struct slowlog *log, uint32_t max, slowlog_visit *visit, void *arg) {
    uint32_t n = 0;
    pthread_mutex_lock(&log->lock);
    for (const struct node *node = log->newest; node && n < max; node = node->next, n++)
        visit(&node->entry, arg);
    pthread_mutex_unlock(&log->lock);
    return n;
}

#include "cache/rows/flights.h"

#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { PARTS = 64, BUCKETS = 256 };

struct part {
    _Alignas(64) pthread_mutex_t mutex;
    struct fill *buckets[BUCKETS];
};

struct flights {
    struct part parts[PARTS];
};

struct rowvalue *rowvalue_create(int kind, enum key_form form, int64_t expire_at_ms,
                                 struct slice bytes) {
    struct rowvalue *value = mem_alloc(sizeof *value + bytes.len + 1);
    atomic_init(&value->refs, 1);
    value->kind = kind;
    value->form = form;
    value->expire_at_ms = expire_at_ms;
    value->len = bytes.len;
    if (bytes.len > 0) memcpy(value->bytes, bytes.data, bytes.len);
    value->bytes[bytes.len] = '\0';
    return value;
}

struct rowvalue *rowvalue_ref(struct rowvalue *value) {
    atomic_fetch_add(&value->refs, 1);
    return value;
}

void rowvalue_release(struct rowvalue **value) {
    struct rowvalue *old = *value;
    *value = NULL;
    if (old && atomic_fetch_sub(&old->refs, 1) == 1) mem_free(old);
}

struct flights *flights_create(void) {
    struct flights *flights = mem_aligned(64, sizeof *flights);
    memset(flights, 0, sizeof *flights);
    for (size_t i = 0; i < PARTS; i++)
        pthread_mutex_init(&flights->parts[i].mutex, NULL);
    return flights;
}

void flights_destroy(struct flights **flights) {
    if (!*flights) return;
    for (size_t i = 0; i < PARTS; i++)
        pthread_mutex_destroy(&(*flights)->parts[i].mutex);
    mem_free(*flights);
    *flights = NULL;
}

static struct part *lock_part(struct flights *flights, uint64_t hash) {
    struct part *part = &flights->parts[hash >> 58];
    pthread_mutex_lock(&part->mutex);
    return part;
}

static struct fill **bucket_of(struct part *part, uint64_t hash) {
    return &part->buckets[hash % BUCKETS];
}

static struct fill *find(struct part *part, struct slice key, uint64_t hash, enum key_form form) {
    struct fill *fill = *bucket_of(part, hash);
    while (fill && (fill->hash != hash || fill->form != form || !slice_equal(fill->key, key)))
        fill = fill->chain;
    return fill;
}

bool flights_has(struct flights *flights, struct slice key, uint64_t hash, enum key_form form) {
    struct part *part = lock_part(flights, hash);
    bool has = find(part, key, hash, form) != NULL;
    pthread_mutex_unlock(&part->mutex);
    return has;
}

/* The next attempt to be sent, whether one is under way or not. */
static void add_waiter(struct fill *fill, struct waiter *waiter) {
    waiter->first_attempt = fill->attempt + 1;
    waiter->next = fill->waiters;
    fill->waiters = waiter;
}

bool flights_enter(struct flights *flights, struct fill *fill, struct waiter *waiter) {
    struct part *part = lock_part(flights, fill->hash);
    struct fill *there = find(part, fill->key, fill->hash, fill->form);
    bool joined = there && !fill->grouped;
    add_waiter(joined ? there : fill, waiter);
    if (!there) {
        struct fill **bucket = bucket_of(part, fill->hash);
        fill->chain = *bucket;
        *bucket = fill;
        fill->registered = true;
    }
    pthread_mutex_unlock(&part->mutex);
    return !joined;
}

void flights_sent(struct flights *flights, struct fill *fill) {
    struct part *part = lock_part(flights, fill->hash);
    fill->attempt++;
    pthread_mutex_unlock(&part->mutex);
}

static void unregister(struct part *part, struct fill *fill) {
    struct fill **at = bucket_of(part, fill->hash);
    while (*at && *at != fill)
        at = &(*at)->chain;
    ASSERT(*at);
    *at = fill->chain;
    fill->registered = false;
}

static bool is_answered(const struct fill *fill, const struct waiter *waiter,
                        enum flight_answer answer) {
    if (answer == FLIGHT_LAST) return true;
    if (waiter->own && fill->of_standby) return false;
    if (waiter->first_attempt <= fill->attempt) return true;
    return answer == FLIGHT_SHARED && !waiter->own;
}

bool flights_settle(struct flights *flights, struct fill *fill, enum flight_answer answer,
                    struct waiter **ready) {
    struct part *part = lock_part(flights, fill->hash);
    *ready = NULL;
    for (struct waiter **at = &fill->waiters; *at;) {
        struct waiter *waiter = *at;
        if (!is_answered(fill, waiter, answer)) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter->next = *ready;
        *ready = waiter;
    }
    bool finished = fill->waiters == NULL;
    if (finished && fill->registered) unregister(part, fill);
    pthread_mutex_unlock(&part->mutex);
    return finished;
}

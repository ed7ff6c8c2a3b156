#include "cache/signals/tracking.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cache/front/settings.h"
#include "cache/signals/broadcast.h"
#include "cache/signals/tracker.h"

struct tracking {
    const struct settings *settings;
    struct interest *interest; /* who tracks which key: trackers, a reference each */
    struct broadcasts *broadcasts;
    pthread_mutex_t mutex; /* over the list: a leaf */
    struct tracker *trackers;
    _Atomic uint64_t n_clients; /* that are on */
};

/* --- life --- */

static void on_change(void *self, const struct store_change *change);
static void on_settled(void *self, const uint64_t shards[STORE_SHARDS / 64]);

struct tracking *tracking_create(struct store *store, const struct settings *settings) {
    struct tracking *tracking = mem_zalloc(sizeof *tracking);
    struct store_observer observer = {on_change, on_settled, tracking};
    tracking->settings = settings;
    tracking->interest = interest_create(store, &observer);
    tracking->broadcasts = broadcasts_create();
    pthread_mutex_init(&tracking->mutex, NULL);
    return tracking;
}

static void forget(void *arg, struct slice key, void *const *holders, uint32_t n) {
    (void)arg;
    (void)key;
    for (uint32_t i = 0; i < n; i++)
        tracker_release(holders[i]);
}

void tracking_destroy(struct tracking **tracking) {
    struct tracking *old = *tracking;
    *tracking = NULL;
    if (!old) return;
    ASSERT(!old->trackers);
    interest_take_matching(old->interest, NULL, forget, NULL);
    interest_destroy(&old->interest);
    broadcasts_destroy(&old->broadcasts);
    pthread_mutex_destroy(&old->mutex);
    mem_free(old);
}

struct tracker *tracking_open(struct tracking *tracking, struct mailbox *mailbox) {
    struct tracker *tracker = tracker_create(tracking, mailbox);
    pthread_mutex_lock(&tracking->mutex);
    tracker->next = tracking->trackers;
    if (tracker->next) tracker->next->previous = tracker;
    tracking->trackers = tracker;
    pthread_mutex_unlock(&tracking->mutex);
    return tracker;
}

void tracker_close(struct tracker **tracker) {
    struct tracker *old = *tracker;
    *tracker = NULL;
    if (!old) return;
    struct tracking *tracking = old->tracking;
    tracker_off(old);
    pthread_mutex_lock(&tracking->mutex);
    if (old->next) old->next->previous = old->previous;
    if (old->previous)
        old->previous->next = old->next;
    else
        tracking->trackers = old->next;
    pthread_mutex_unlock(&tracking->mutex);
    tracker_release(old);
}

void tracker_set(struct tracker *tracker, struct tracker_options *options) {
    struct tracking *tracking = tracker->tracking;
    uint32_t before = tracker_flags(tracker);
    if (!(before & TRACKER_ON)) atomic_fetch_add(&tracking->n_clients, 1);
    tracker_redirect_to(tracker, options->redirect);
    options->redirect = NULL;
    tracker_set_flags(tracker, options->flags | TRACKER_ON);
    if (!(options->flags & TRACKER_BCAST)) return;
    if (options->n_prefixes == 0) broadcasts_add(tracking->broadcasts, tracker, SLICE(""));
    for (uint32_t i = 0; i < options->n_prefixes; i++)
        broadcasts_add(tracking->broadcasts, tracker, options->prefixes[i]);
    if (!(before & TRACKER_BCAST)) interest_observe_all(tracking->interest, true);
}

void tracker_off(struct tracker *tracker) {
    struct tracking *tracking = tracker->tracking;
    uint32_t before = tracker_flags(tracker);
    if (!(before & TRACKER_ON)) return;
    atomic_fetch_sub(&tracking->n_clients, 1);
    tracker_set_flags(tracker, 0);
    if (!(before & TRACKER_BCAST)) return;
    broadcasts_remove(tracking->broadcasts, tracker);
    interest_observe_all(tracking->interest, false);
}

/* --- reads --- */

static void invalidate_for(void *arg, struct slice key, void *const *holders, uint32_t n) {
    const uint64_t *client_id = arg;
    trackers_tell((struct tracker *const *)holders, n, key, *client_id);
    forget(NULL, key, holders, n);
}

static void invalidate(void *arg, struct slice key, void *const *holders, uint32_t n) {
    (void)arg;
    uint64_t nobody = 0;
    invalidate_for(&nobody, key, holders, n);
}

void tracking_trim(struct tracking *tracking) {
    uint64_t max = (uint64_t)setting(tracking->settings, SETTING_TRACKING_MAX_KEYS);
    while (max != 0 && interest_keys(tracking->interest) > max)
        if (!interest_take_any(tracking->interest, invalidate, NULL)) return;
}

void tracking_remember(struct tracking *tracking, struct tracker *tracker, struct slice key,
                       uint64_t hash, const struct store_guard *guard) {
    if (tracker_flags(tracker) & TRACKER_BCAST) return;
    tracker_acquire(tracker);
    if (!interest_add(tracking->interest, key, hash, tracker, guard)) tracker_release(tracker);
    tracking_trim(tracking);
}

void tracking_invalidate(struct tracker *tracker, struct slice key) {
    uint32_t flags = tracker_flags(tracker);
    if (flags & TRACKER_BCAST && !tracker_broadcasts(tracker, key)) return;
    if (flags & TRACKER_ON) tracker_tell(tracker, key);
}

/* --- changes --- */

static void on_change(void *self, const struct store_change *change) {
    struct tracking *tracking = self;
    /* Everybody will be told at once, when all is gone. */
    if (change->event == STORE_REMOVED && change->cause == REMOVED_FLUSHED) return;
    if (!interest_is_change(change)) return;
    if (broadcasts_count(tracking->broadcasts))
        broadcasts_note(tracking->broadcasts, change->key, change->hash, change->client_id);
    uint64_t client_id = change->client_id;
    interest_take(tracking->interest, change->key, change->hash, invalidate_for, &client_id);
}

static void on_settled(void *self, const uint64_t shards[STORE_SHARDS / 64]) {
    struct tracking *tracking = self;
    if (broadcasts_pending(tracking->broadcasts)) broadcasts_send(tracking->broadcasts, shards);
}

static void tell_everything_gone(struct tracking *tracking, bool bcast_only, struct slice prefix) {
    pthread_mutex_lock(&tracking->mutex);
    for (struct tracker *tracker = tracking->trackers; tracker; tracker = tracker->next) {
        uint32_t flags = tracker_flags(tracker);
        if (!(flags & TRACKER_ON)) continue;
        if (bcast_only && (!(flags & TRACKER_BCAST) ||
                           !broadcasts_overlap(tracking->broadcasts, tracker, prefix)))
            continue;
        tracker_tell_all(tracker);
    }
    pthread_mutex_unlock(&tracking->mutex);
}

void tracking_flushed(struct tracking *tracking) {
    /* First forgotten, then told: who registers in between, and reads, is told after its reply. */
    interest_take_matching(tracking->interest, NULL, forget, NULL);
    tell_everything_gone(tracking, false, (struct slice){0});
}

void tracking_invalidate_matching(struct tracking *tracking, interest_match *match, void *arg,
                                  struct slice prefix) {
    interest_take_matching(tracking->interest, match, invalidate, arg);
    if (broadcasts_count(tracking->broadcasts)) tell_everything_gone(tracking, true, prefix);
}

bool tracking_is_idle(const struct tracking *tracking) {
    return interest_is_empty(tracking->interest) && broadcasts_count(tracking->broadcasts) == 0;
}

void tracking_stats(struct tracking *tracking, struct tracking_stats *stats) {
    *stats = (struct tracking_stats){
        .clients = atomic_load(&tracking->n_clients),
        .keys = interest_keys(tracking->interest),
        .items = interest_items(tracking->interest),
        .prefixes = broadcasts_prefixes(tracking->broadcasts),
    };
}

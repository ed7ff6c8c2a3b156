/* tracker.h: one client's part in CLIENT TRACKING, as tracking.c (the table), tracker.c (its messages) and broadcast.c (BCAST)
 * share it. tracking.h is what others see. */
#ifndef FRESHET_CACHE_TRACKER_H
#define FRESHET_CACHE_TRACKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "cache/signals/tracking.h"

struct tracker {
    struct tracking *tracking;
    struct tracker *next, *previous; /* of all: under the tracking's mutex */
    _Atomic uint32_t references;     /* the client's, and one a tracked key */
    _Atomic uint32_t flags;
    uint64_t client_id;
    struct mailbox *mailbox;
    pthread_mutex_t mutex; /* over redirect: a leaf */
    struct mailbox *redirect;
    /* The broadcasts', under their mutex; read by the owner alone without it. */
    struct slice *prefixes; /* owned bytes */
    uint32_t n_prefixes;
};

struct tracker *tracker_create(struct tracking *tracking, struct mailbox *mailbox);
void tracker_acquire(struct tracker *tracker);
void tracker_release(struct tracker *tracker);
void tracker_set_flags(struct tracker *tracker, uint32_t flags);
void tracker_redirect_to(struct tracker *tracker, struct mailbox *redirect);

/* What messages carry: any thread, in any leaf. `client_id` made the change: who has said NOLOOP is not told of its own. Trackers that
 * are off, or in BCAST mode, are passed over. */
void trackers_tell(struct tracker *const *trackers, uint32_t n, struct slice key,
                   uint64_t client_id);
/* This one, whatever its mode. */
void tracker_tell(struct tracker *tracker, struct slice key);
/* A whole RESP array of keys. */
void trackers_send(struct tracker *const *trackers, uint32_t n, struct slice keys);
/* Everything: a null in the place of the keys. */
void tracker_tell_all(struct tracker *tracker);

/* Owner: does one of its prefixes cover the key? */
bool tracker_broadcasts(const struct tracker *tracker, struct slice key);

#endif

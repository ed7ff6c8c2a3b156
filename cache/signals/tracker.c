#include "cache/signals/tracker.h"

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cache/front/client.h"
#include "cache/front/push.h"

/* --- life --- */

struct tracker *tracker_create(struct tracking *tracking, struct mailbox *mailbox) {
    struct tracker *tracker = mem_zalloc(sizeof *tracker);
    tracker->tracking = tracking;
    tracker->references = 1;
    tracker->client_id = mailbox_client_id(mailbox);
    tracker->mailbox = mailbox_acquire(mailbox);
    pthread_mutex_init(&tracker->mutex, NULL);
    return tracker;
}

void tracker_acquire(struct tracker *tracker) {
    atomic_fetch_add_explicit(&tracker->references, 1, memory_order_relaxed);
}

void tracker_release(struct tracker *tracker) {
    if (atomic_fetch_sub_explicit(&tracker->references, 1, memory_order_acq_rel) != 1) return;
    mailbox_release(&tracker->mailbox);
    mailbox_release(&tracker->redirect);
    pthread_mutex_destroy(&tracker->mutex);
    mem_free(tracker);
}

uint32_t tracker_flags(const struct tracker *tracker) {
    return atomic_load_explicit(&tracker->flags, memory_order_relaxed);
}

void tracker_set_flags(struct tracker *tracker, uint32_t flags) {
    atomic_store_explicit(&tracker->flags, flags, memory_order_relaxed);
}

void tracker_redirect_to(struct tracker *tracker, struct mailbox *redirect) {
    pthread_mutex_lock(&tracker->mutex);
    struct mailbox *old = tracker->redirect;
    tracker->redirect = redirect;
    pthread_mutex_unlock(&tracker->mutex);
    mailbox_release(&old);
}

uint64_t tracker_redirect(struct tracker *tracker) {
    pthread_mutex_lock(&tracker->mutex);
    uint64_t id = tracker->redirect ? mailbox_client_id(tracker->redirect) : 0;
    pthread_mutex_unlock(&tracker->mutex);
    return id;
}

uint32_t tracker_prefixes(const struct tracker *tracker) { return tracker->n_prefixes; }

struct slice tracker_prefix(const struct tracker *tracker, uint32_t i) {
    return tracker->prefixes[i];
}

static bool begins_with(struct slice key, struct slice prefix) {
    return key.len >= prefix.len && (!prefix.len || memcmp(key.data, prefix.data, prefix.len) == 0);
}

bool tracker_broadcasts(const struct tracker *tracker, struct slice key) {
    for (uint32_t i = 0; i < tracker->n_prefixes; i++)
        if (begins_with(key, tracker->prefixes[i])) return true;
    return false;
}

/* --- messages --- */

#define INVALIDATE ">2\r\n$10\r\ninvalidate\r\n"
#define MESSAGE    "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"

/* A RESP2 client takes messages only as a subscriber. */
static bool is_subscriber(struct client *client, const struct push *push) {
    (void)push;
    return client_protocol(client) == 3 || client_modes(client) & CLIENT_SUBSCRIBED;
}

/* Its own connection cannot be told under RESP2; the one that it redirects to can. */
static struct push *make(bool redirected, struct slice keys) {
    struct slice resp2 = redirected ? SLICE(MESSAGE) : (struct slice){0};
    return push_create(resp2, SLICE(INVALIDATE), keys, (struct slice){0},
                       redirected ? is_subscriber : NULL);
}

static struct push *make_null(bool redirected) {
    struct slice resp2 = redirected ? SLICE(MESSAGE "$-1\r\n") : (struct slice){0};
    return push_create(resp2, SLICE(INVALIDATE "_\r\n"), SLICE(""), (struct slice){0},
                       redirected ? is_subscriber : NULL);
}

/* The client learns that its invalidations have nowhere to go; only RESP3 has words for it. */
static void tell_broken(struct tracker *tracker, const struct mailbox *redirect) {
    struct buf text = {0};
    buf_append_text(&text, ">2\r\n$21\r\ntracking-redir-broken\r\n:");
    buf_append_u64(&text, mailbox_client_id(redirect));
    buf_append_text(&text, "\r\n");
    atomic_fetch_or_explicit(&tracker->flags, TRACKER_BROKEN, memory_order_relaxed);
    struct push *push =
        push_create((struct slice){0}, buf_slice(&text), SLICE(""), (struct slice){0}, NULL);
    push_send(&tracker->mailbox, 1, &push);
    buf_deinit(&text);
}

/* Where its messages go, acquired; NULL: nowhere. */
static struct mailbox *address(struct tracker *tracker, bool *redirected) {
    pthread_mutex_lock(&tracker->mutex);
    struct mailbox *redirect = tracker->redirect ? mailbox_acquire(tracker->redirect) : NULL;
    pthread_mutex_unlock(&tracker->mutex);
    *redirected = redirect != NULL;
    if (!redirect) return mailbox_acquire(tracker->mailbox);
    if (!mailbox_is_closed(redirect)) return redirect;
    tell_broken(tracker, redirect);
    mailbox_release(&redirect);
    return NULL;
}

/* One push for all that are told in the same way. */
struct mailing {
    struct mailbox **to;
    uint32_t n;
};

static void send_mailing(struct mailing *mailing, bool redirected, struct slice keys) {
    if (mailing->n > 0) {
        struct push *push = make(redirected, keys);
        push_send(mailing->to, mailing->n, &push);
    }
    for (uint32_t i = 0; i < mailing->n; i++)
        mailbox_release(&mailing->to[i]);
    mem_free(mailing->to);
}

void trackers_send(struct tracker *const *trackers, uint32_t n, struct slice keys) {
    struct mailing mailings[2] = {{mem_calloc(n + 1, sizeof(struct mailbox *)), 0},
                                  {mem_calloc(n + 1, sizeof(struct mailbox *)), 0}};
    for (uint32_t i = 0; i < n; i++) {
        bool redirected;
        struct mailbox *to = address(trackers[i], &redirected);
        struct mailing *mailing = &mailings[redirected];
        if (to) mailing->to[mailing->n++] = to;
    }
    send_mailing(&mailings[false], false, keys);
    send_mailing(&mailings[true], true, keys);
}

static void append_array_of_one(struct buf *out, struct slice key) {
    buf_append_text(out, "*1\r\n$");
    buf_append_u64(out, key.len);
    buf_append_text(out, "\r\n");
    buf_append_slice(out, key);
    buf_append_text(out, "\r\n");
}

static bool is_told(const struct tracker *tracker, uint64_t client_id) {
    uint32_t flags = tracker_flags(tracker);
    if (!(flags & TRACKER_ON) || flags & TRACKER_BCAST) return false;
    return !(flags & TRACKER_NOLOOP && tracker->client_id == client_id);
}

void trackers_tell(struct tracker *const *trackers, uint32_t n, struct slice key,
                   uint64_t client_id) {
    struct tracker **told = mem_calloc(n + 1, sizeof(struct tracker *));
    uint32_t n_told = 0;
    for (uint32_t i = 0; i < n; i++)
        if (is_told(trackers[i], client_id)) told[n_told++] = trackers[i];
    if (n_told > 0) {
        struct buf keys = {0};
        append_array_of_one(&keys, key);
        trackers_send(told, n_told, buf_slice(&keys));
        buf_deinit(&keys);
    }
    mem_free(told);
}

void tracker_tell(struct tracker *tracker, struct slice key) {
    struct buf keys = {0};
    append_array_of_one(&keys, key);
    trackers_send(&tracker, 1, buf_slice(&keys));
    buf_deinit(&keys);
}

void tracker_tell_all(struct tracker *tracker) {
    bool redirected;
    struct mailbox *to = address(tracker, &redirected);
    if (!to) return;
    struct push *push = make_null(redirected);
    push_send(&to, 1, &push);
    mailbox_release(&to);
}

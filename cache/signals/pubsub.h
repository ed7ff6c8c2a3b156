/* pubsub.h: who is subscribed to what, of all clients of the process.
 *
 *     struct subscriptions of = {0};                                     a client's
 *     pubsub_subscribe(pubsub, &of, client_mailbox(client), PUBSUB_CHANNEL, name);
 *     n = pubsub_publish(pubsub, PUBSUB_CHANNEL, name, message);         any thread, any lock held but its own
 *     pubsub_unsubscribe(pubsub, &of, PUBSUB_CHANNEL, name);
 *     pubsub_forget(pubsub, &of);                                        the client goes
 *
 * A topic is a channel, a pattern or a shard channel that somebody is subscribed to. A subscription belongs to both its client
 * and its topic: the client's side is its worker's, without a lock; the topic's side is under one lock for all, which
 * publishers share. It is a leaf: under it only the allocator and push_send are touched. */
#ifndef FRESHET_CACHE_PUBSUB_H
#define FRESHET_CACHE_PUBSUB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/signals/names.h"

struct client;
struct mailbox;
struct pubsub;
struct push;

enum pubsub_kind { PUBSUB_CHANNEL, PUBSUB_PATTERN, PUBSUB_SHARD, PUBSUB_KINDS };

/* Of one client; zeroed to begin with. The client's worker's. */
struct subscriptions {
    struct names of[PUBSUB_KINDS];
};

static inline uint32_t subscriptions_count(const struct subscriptions *of, enum pubsub_kind kind) {
    return of->of[kind].n;
}
static inline bool subscriptions_has(const struct subscriptions *of, enum pubsub_kind kind,
                                     struct slice name) {
    return names_find(&of->of[kind], name) != NULL;
}

struct pubsub *pubsub_create(void);
/* Nobody is subscribed any more. */
void pubsub_destroy(struct pubsub **pubsub);

/* False: it was subscribed already. */
bool pubsub_subscribe(struct pubsub *pubsub, struct subscriptions *of, struct mailbox *mailbox,
                      enum pubsub_kind kind, struct slice name);
/* False: it was not subscribed. */
bool pubsub_unsubscribe(struct pubsub *pubsub, struct subscriptions *of, enum pubsub_kind kind,
                        struct slice name);
void pubsub_forget(struct pubsub *pubsub, struct subscriptions *of);

/* To the subscribers of the channel, and of the patterns that match it; or to those of the shard channel. Returns how many
 * messages were sent. Cheap where nobody is subscribed to anything. */
uint32_t pubsub_publish(struct pubsub *pubsub, enum pubsub_kind kind, struct slice channel,
                        struct slice message);
bool pubsub_is_silent(const struct pubsub *pubsub); /* nobody is subscribed to anything */

/* For PUBSUB: topics of a kind (under the lock: `visit` only copies), subscribers of one, number of topics. */
typedef void pubsub_visit(struct slice name, uint32_t subscribers, void *arg);
void pubsub_each(struct pubsub *pubsub, enum pubsub_kind kind, pubsub_visit *visit, void *arg);
uint32_t pubsub_subscribers(struct pubsub *pubsub, enum pubsub_kind kind, struct slice name);
uint32_t pubsub_topics(const struct pubsub *pubsub, enum pubsub_kind kind);

#endif

#include "cache/signals/pubsub.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cache/commands/cmd.h"
#include "cache/front/client.h"
#include "cache/front/push.h"
#include "cache/front/reply.h"
#include "cache/values/glob.h"

/* mailboxes[i] is subscriptions[i]'s: beside each other, since push_send takes an array. */
struct topic {
    struct named named; /* the name's bytes lie behind the struct */
    struct mailbox **mailboxes;
    struct subscription **subscriptions;
    uint32_t n, cap;
};

struct subscription {
    struct named named; /* the topic's bytes: it lives as long */
    struct topic *topic;
    uint32_t at; /* in the topic's arrays; under the lock */
};

struct pubsub {
    pthread_rwlock_t lock;
    struct names topics[PUBSUB_KINDS];
    _Atomic uint32_t n_topics[PUBSUB_KINDS]; /* for those who ask without the lock */
};

struct pubsub *pubsub_create(void) {
    struct pubsub *pubsub = mem_zalloc(sizeof *pubsub);
    /* else a stream of publishers would keep a subscriber out for good */
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&pubsub->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        names_init(&pubsub->topics[kind], cmd_random_seed());
    return pubsub;
}

void pubsub_destroy(struct pubsub **pubsub) {
    if (!*pubsub) return;
    ASSERT(pubsub_is_silent(*pubsub));
    pthread_rwlock_destroy(&(*pubsub)->lock);
    mem_free(*pubsub);
    *pubsub = NULL;
}

/* --- subscribing ------------------------------------------------------------------------------------------- */

/* Caller holds the lock for writing. */
static struct topic *topic_make(struct pubsub *pubsub, enum pubsub_kind kind, struct slice name) {
    struct topic *topic = mem_zalloc(sizeof *topic + name.len);
    char *bytes = (char *)(topic + 1);
    if (name.len) memcpy(bytes, name.data, name.len);
    topic->named.name = slice_make(bytes, name.len);
    names_add(&pubsub->topics[kind], &topic->named);
    atomic_fetch_add_explicit(&pubsub->n_topics[kind], 1, memory_order_relaxed);
    return topic;
}

static void topic_drop(struct pubsub *pubsub, enum pubsub_kind kind, struct topic *topic) {
    names_remove(&pubsub->topics[kind], &topic->named);
    atomic_fetch_sub_explicit(&pubsub->n_topics[kind], 1, memory_order_relaxed);
    mem_free(topic->mailboxes);
    mem_free(topic->subscriptions);
    mem_free(topic);
}

static void topic_enter(struct topic *topic, struct subscription *subscription,
                        struct mailbox *mailbox) {
    if (topic->n == topic->cap) {
        topic->cap = topic->cap ? 2 * topic->cap : 1;
        topic->mailboxes = mem_realloc(topic->mailboxes, topic->cap * sizeof topic->mailboxes[0]);
        topic->subscriptions =
            mem_realloc(topic->subscriptions, topic->cap * sizeof topic->subscriptions[0]);
    }
    subscription->at = topic->n;
    topic->mailboxes[topic->n] = mailbox;
    topic->subscriptions[topic->n++] = subscription;
}

/* The last one takes the place. */
static void topic_leave(struct topic *topic, const struct subscription *subscription) {
    uint32_t at = subscription->at;
    topic->n--;
    topic->mailboxes[at] = topic->mailboxes[topic->n];
    topic->subscriptions[at] = topic->subscriptions[topic->n];
    topic->subscriptions[at]->at = at;
}

bool pubsub_subscribe(struct pubsub *pubsub, struct subscriptions *of, struct mailbox *mailbox,
                      enum pubsub_kind kind, struct slice name) {
    if (subscriptions_has(of, kind, name)) return false;
    struct subscription *subscription = mem_zalloc(sizeof *subscription);
    pthread_rwlock_wrlock(&pubsub->lock);
    struct topic *topic = (struct topic *)names_find(&pubsub->topics[kind], name);
    if (!topic) topic = topic_make(pubsub, kind, name);
    topic_enter(topic, subscription, mailbox);
    pthread_rwlock_unlock(&pubsub->lock);
    subscription->topic = topic;
    subscription->named.name = topic->named.name;
    of->of[kind].seed = pubsub->topics[kind].seed;
    names_add(&of->of[kind], &subscription->named);
    return true;
}

static void end(struct pubsub *pubsub, struct subscriptions *of, enum pubsub_kind kind,
                struct subscription *subscription) {
    struct topic *topic = subscription->topic;
    names_remove(&of->of[kind], &subscription->named);
    pthread_rwlock_wrlock(&pubsub->lock);
    topic_leave(topic, subscription);
    if (topic->n == 0) topic_drop(pubsub, kind, topic);
    pthread_rwlock_unlock(&pubsub->lock);
    mem_free(subscription);
}

bool pubsub_unsubscribe(struct pubsub *pubsub, struct subscriptions *of, enum pubsub_kind kind,
                        struct slice name) {
    struct subscription *subscription = (struct subscription *)names_find(&of->of[kind], name);
    if (!subscription) return false;
    end(pubsub, of, kind, subscription);
    return true;
}

void pubsub_forget(struct pubsub *pubsub, struct subscriptions *of) {
    for (int kind = 0; kind < PUBSUB_KINDS; kind++) {
        struct named *next = names_next(&of->of[kind], NULL);
        while (next) {
            struct subscription *subscription = (struct subscription *)next;
            next = names_next(&of->of[kind], next);
            end(pubsub, of, (enum pubsub_kind)kind, subscription);
        }
    }
}

/* --- publishing -------------------------------------------------------------------------------------------- */

static bool wants(struct client *client, const struct push *push, enum pubsub_kind kind) {
    struct subscriptions *of = client_subscriptions(client);
    return of && subscriptions_has(of, kind, push_topic(push));
}
static bool wants_channel(struct client *client, const struct push *push) {
    return wants(client, push, PUBSUB_CHANNEL);
}
static bool wants_pattern(struct client *client, const struct push *push) {
    return wants(client, push, PUBSUB_PATTERN);
}
static bool wants_shard(struct client *client, const struct push *push) {
    return wants(client, push, PUBSUB_SHARD);
}

/* The kinds' words, and how many parts a message has. */
static const struct {
    const char *resp2, *resp3;
    push_wanted *wanted;
} forms[PUBSUB_KINDS] = {
    {"*3\r\n$7\r\nmessage\r\n", ">3\r\n$7\r\nmessage\r\n", wants_channel},
    {"*4\r\n$8\r\npmessage\r\n", ">4\r\n$8\r\npmessage\r\n", wants_pattern},
    {"*3\r\n$8\r\nsmessage\r\n", ">3\r\n$8\r\nsmessage\r\n", wants_shard},
};

/* Caller holds the lock. */
static uint32_t send(const struct topic *topic, enum pubsub_kind kind, struct slice channel,
                     struct slice message) {
    struct buf tail = {0};
    struct reply reply = {.out = &tail, .protocol = 2};
    if (kind == PUBSUB_PATTERN) reply_bulk(&reply, topic->named.name);
    reply_bulk(&reply, channel);
    reply_bulk(&reply, message);
    struct push *push = push_create(slice_from(forms[kind].resp2), slice_from(forms[kind].resp3),
                                    buf_slice(&tail), topic->named.name, forms[kind].wanted);
    buf_deinit(&tail);
    push_send(topic->mailboxes, topic->n, &push);
    return topic->n;
}

static uint32_t send_to_patterns(struct pubsub *pubsub, struct slice channel,
                                 struct slice message) {
    uint32_t sent = 0;
    const struct names *patterns = &pubsub->topics[PUBSUB_PATTERN];
    for (struct named *at = NULL; (at = names_next(patterns, at));)
        if (glob_match(at->name, channel))
            sent += send((struct topic *)at, PUBSUB_PATTERN, channel, message);
    return sent;
}

uint32_t pubsub_publish(struct pubsub *pubsub, enum pubsub_kind kind, struct slice channel,
                        struct slice message) {
    ASSERT(kind != PUBSUB_PATTERN);
    if (pubsub_is_silent(pubsub)) return 0;
    pthread_rwlock_rdlock(&pubsub->lock);
    const struct topic *topic = (struct topic *)names_find(&pubsub->topics[kind], channel);
    uint32_t sent = topic ? send(topic, kind, channel, message) : 0;
    if (kind == PUBSUB_CHANNEL) sent += send_to_patterns(pubsub, channel, message);
    pthread_rwlock_unlock(&pubsub->lock);
    return sent;
}

bool pubsub_is_silent(const struct pubsub *pubsub) {
    for (int kind = 0; kind < PUBSUB_KINDS; kind++)
        if (pubsub_topics(pubsub, (enum pubsub_kind)kind)) return false;
    return true;
}

/* --- asking ------------------------------------------------------------------------------------------------- */

void pubsub_each(struct pubsub *pubsub, enum pubsub_kind kind, pubsub_visit *visit, void *arg) {
    pthread_rwlock_rdlock(&pubsub->lock);
    for (struct named *at = NULL; (at = names_next(&pubsub->topics[kind], at));)
        visit(at->name, ((struct topic *)at)->n, arg);
    pthread_rwlock_unlock(&pubsub->lock);
}

uint32_t pubsub_subscribers(struct pubsub *pubsub, enum pubsub_kind kind, struct slice name) {
    pthread_rwlock_rdlock(&pubsub->lock);
    const struct topic *topic = (struct topic *)names_find(&pubsub->topics[kind], name);
    uint32_t n = topic ? topic->n : 0;
    pthread_rwlock_unlock(&pubsub->lock);
    return n;
}

uint32_t pubsub_topics(const struct pubsub *pubsub, enum pubsub_kind kind) {
    return atomic_load_explicit(&pubsub->n_topics[kind], memory_order_relaxed);
}

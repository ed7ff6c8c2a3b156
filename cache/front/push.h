/* push.h: text for a client that has not asked for it now: pub/sub messages, invalidations, MONITOR's lines.
 *
 *     struct push *push = push_create(SLICE("*3\r\n"), SLICE(">3\r\n"), tail, topic, still_subscribed);
 *     push_send(&mailbox, 1, &push);                     any thread, any lock held: it only enqueues
 *
 * A mailbox stands for one client and outlives it while it is referenced, so nobody needs to be told when a client goes:
 * what is sent to it then is dropped. Pushes of one sending thread arrive in the order of sending. Each is composed by the
 * receiver's worker, between two batches of the receiver: never inside a reply. A sender that pushes to its own client sees
 * the push behind the reply of the running command.
 *
 * Bounded: what waits on the way to a client counts against the hard limit of the pubsub class (limits.h), what it has not
 * read against its own class; one that passes it is closed and counted. The sender never waits.
 *
 * push_send takes no lock (loop_post is a compare-and-swap), so it is allowed under a shard guard and in any leaf. */
#ifndef FRESHET_CACHE_PUSH_H
#define FRESHET_CACHE_PUSH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct card;
struct client;
struct mailbox;
struct output_limits;
struct push;
struct worker;

/* --- addresses ---------------------------------------------------------------------------------------------- */

/* A client's is client_mailbox (client.h); another's by its id roster_mailbox (roster.h). */

struct mailbox *mailbox_acquire(struct mailbox *mailbox);
void mailbox_release(struct mailbox **mailbox); /* any thread, as mailbox_acquire */
uint64_t mailbox_client_id(const struct mailbox *mailbox);
/* Any thread: its client has gone (a false may be old by the time it is read). */
bool mailbox_is_closed(const struct mailbox *mailbox);

/* For roster.c, under its lock: as the first asks for it, and as the client goes. */
struct mailbox *mailbox_create(const struct card *card);
void mailbox_close(struct mailbox *mailbox);

/* --- what is sent ------------------------------------------------------------------------------------------- */

/* Asked on the receiver's worker right before delivery: does it still want it (still subscribed, still monitoring)? */
typedef bool push_wanted(struct client *client, const struct push *push);

/* Copies all three: a RESP2 client gets `resp2` + `tail`, a RESP3 client `resp3` + `tail`. A head with data NULL: clients of that
 * protocol get nothing. `topic` is for `wanted` alone (push_topic). `wanted` NULL: always. */
struct push *push_create(struct slice resp2, struct slice resp3, struct slice tail,
                         struct slice topic, push_wanted *wanted);
struct slice push_topic(const struct push *push);

/* Sends to n clients; the push is taken, the mailboxes are borrowed for the call. */
void push_send(struct mailbox *const *to, uint32_t n, struct push **push);

#endif

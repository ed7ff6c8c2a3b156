/* client_state.h: a client's inside, shared by client.c (its life, reading, waiting), client_run.c (parsing and running) and
 * client_write.c alone. All of it belongs to the worker's thread. */
#ifndef FRESHET_CACHE_CLIENT_STATE_H
#define FRESHET_CACHE_CLIENT_STATE_H

#include "base/buf.h"
#include "base/loop.h"
#include "cache/access/acl.h"
#include "cache/front/client.h"
#include "cache/front/output_limits.h"
#include "cache/front/resp.h"
#include "cache/front/roster.h"
#include "cache/front/stream.h"
#include "cache/front/worker_state.h"
#include "cache/signals/pubsub.h"

enum waiting { WAIT_NONE, WAIT_ROWS, WAIT_EVENT };

/*   query:  0 ........................ len       what was read and not run: a half request, or what waits its turn
 *   out:    0 .... sent .............. len       what was composed and not taken by the socket                   */
struct client {
    struct card card;
    struct worker *worker;
    struct stream stream;
    struct loop_watch watch; /* of the stream's descriptor */
    uint8_t protocol;
    uint8_t waiting;
    bool closing;          /* once the replies are sent; nothing more is run */
    bool draining;         /* nothing more is read; closing follows when what is here has run */
    bool dead;             /* now: the peer has gone, or broke a limit */
    bool in_backlog;       /* query holds requests that can run */
    bool full;             /* the socket took less than it was given: no more until it says so */
    bool pushed;           /* out holds pushes that the turn's end sends */
    uint32_t modes;        /* of enum client_mode */
    int64_t soft_since_us; /* beyond the soft output limit since then; 0: it is not */
    uint64_t min_lsn;
    struct acl_session session;
    const _Atomic uint64_t *acl_version;
    struct subscriptions subscriptions;
    struct transaction *transaction;
    struct tracker *tracker;

    struct buf query;
    uint64_t received; /* bytes, from the beginning */
    uint64_t ahead;    /* of them, those whose keys were looked at ahead of their time */
    /* Of the half request in query; NULL where it is parsed from its start. */
    struct resp_parser *parser;
    struct buf out;
    size_t sent;
    int64_t progress_us; /* when the socket last took something */

    uint64_t wait;           /* the ticket's number; 0: none was given in this run */
    struct keywait *keywait; /* what it waits for, where that is a key */
    int64_t deadline_us;
    struct loop_timer timer;
};

/* A wait begins (1), or ends (-1). */
static inline void client_count_wait(struct client *client, int64_t n) {
    metric_bump(client->worker->metrics.waiting, n);
    if (client->waiting == WAIT_EVENT) metric_bump(client->worker->metrics.blocked, n);
}

/* Bytes that are being parsed and run: the worker's read buffer or the client's query. */
struct span {
    const char *bytes;
    size_t len;
    size_t at; /* the first request that was not run */
};

static inline struct span client_own_span(struct client *client) {
    return (struct span){client->query.data, client->query.len, 0};
}

/* Why a run is a second one. */
struct rerun {
    struct fetched_rows *fetched;
    bool woken;
    bool timed_out;
    int64_t deadline_us;
};

/* --- client.c ----------------------------------------------------------------------------------------------- */

/* Reads once and runs what came: the client may be gone afterwards. */
void client_read(struct client *client);

/* --- client_run.c ------------------------------------------------------------------------------------------- */

/* Runs the span's requests, the first of them for the reason `why` (NULL: none ran before), until bytes or quantum end, or the
 * client stops; keeps the rest, sends, and closes a client that is done: it may be gone afterwards. */
void client_run(struct client *client, struct span *span, const struct rerun *why);
/* Has the loop watch for what the client can go on with now. */
void client_listen(struct client *client);
/* Sends, sets what to listen for, and closes a client that is done. */
void client_finish(struct client *client);
/* Gives back what a half request has taken. */
void client_drop_parser(struct client *client);

/* --- client_write.c ----------------------------------------------------------------------------------------- */

/* Where the next reply is composed: behind what is unsent already. */
static inline struct buf *client_replies(struct client *client) {
    return client->out.len ? &client->out : &client->worker->replies;
}
void client_send(struct client *client);
static inline enum output_class client_output_class(const struct client *client) {
    return client->modes & CLIENT_SUBSCRIBED ? OUTPUT_PUBSUB : OUTPUT_NORMAL;
}
/* A single reply may be larger than the hard limit, and goes to who reads it. */
bool client_past_hard_limit(const struct client *client);
/* Has it been beyond its class's soft limit for as long as that allows? Asked once a second. */
bool client_past_soft_limit(struct client *client, int64_t now_us);
static inline size_t client_unsent(const struct client *client) {
    const struct worker *worker = client->worker;
    return client->out.len - client->sent + worker->replies.len + worker->splices.bytes;
}
void client_drop_replies(struct worker *worker);
/* What is not worth a look at the limits. */
enum { CLIENT_SMALL_OUTPUT = 16 * 1024 };
bool client_check_output_limit(struct client *client);
/* Before another reply is composed: a client that does not read is not answered without end. False: it is dead. */
static inline bool client_within_output_limit(struct client *client) {
    return client_unsent(client) <= CLIENT_SMALL_OUTPUT || client_check_output_limit(client);
}

#endif

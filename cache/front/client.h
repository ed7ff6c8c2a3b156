/* client.h: one connection: what it sent and was not run yet, what it was not sent yet, and the command that waits.
 *
 * A client belongs to its worker: every call is for that worker's thread, but client_wake.
 *
 * A command that cannot answer yet composes nothing and returns; its client is then neither parsed nor read. The slices of
 * ctx->argv are good for one run: who keeps a key of it copies the bytes. Two reasons to wait:
 *
 *   rows     keyspace_read answered READ_PENDING: the loader has kept client_ticket(ctx), fetches, and calls
 *            client_resume(ticket, rows).
 *   an event the command has called client_block(ctx, deadline_us) and left client_ticket(ctx) where the event
 *            happens; whoever makes it happen calls client_wake(ticket) on any thread.
 *
 * Either way the same function runs again, with ctx->fetched or ctx->woken set, or at the deadline with ctx->timed_out,
 * and may wait again. A ticket is good for one wait of one client: a late one, or one of a client that has gone, is
 * found out and does nothing; so nobody needs to be told when a client goes. */
#ifndef FRESHET_CACHE_CLIENT_H
#define FRESHET_CACHE_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/commands/command.h"

struct acl_session;
struct card;
struct client;
struct consistency;
struct fetched_rows;
struct keywait;
struct mailbox;
struct subscriptions;
struct tracker;
struct transaction;
struct transport;
struct worker;

/* Names one wait; copied freely, outlives the client, never the worker. */
struct client_ticket {
    struct worker *worker;
    uint32_t slot;
    uint64_t wait; /* never 0, never used again in this worker */
};

/* The ticket of this run of the command; the same for all calls in one run. */
struct client_ticket client_ticket(struct command_context *ctx);

/* Waits for client_wake or until deadline_us (monotonic; 0: none). The command returns at once, having composed nothing. */
void client_block(struct command_context *ctx, int64_t deadline_us);

enum client_resumed {
    RESUMED_DONE,    /* it has answered */
    RESUMED_WAITING, /* it waits again, on a new ticket */
    RESUMED_GONE,    /* there is no such wait any more */
};

/* Runs the waiting command again, at once, and what the client had sent behind it. `fetched` is borrowed for the call.
 * Never from inside a command's function (keyspace_read and below): a rows wait that needs nothing is answered there. */
enum client_resumed client_resume(struct client_ticket ticket, struct fetched_rows *fetched);

/* Who waits on it; NULL: it has gone, or waits no more. */
struct client *client_of(struct client_ticket ticket);

/* Any thread: has the worker run the waiting command again (ctx->woken). */
void client_wake(struct client_ticket ticket);

/* --- the connection's state, for the commands that read or change it --------------------------------------- */

/* Process-wide unique, ascending: CLIENT ID. */
uint64_t client_id(const struct client *client);
struct card *client_card(struct client *client);

/* Its user (acl.h), for the client's worker. */
struct acl_session *client_session(struct client *client);
/* Logged in, with all rights, as of the last change of any user: nothing is to be checked. */
bool client_is_cleared(const struct client *client);

/* 2 or 3; holds from the next reply on: who composes one in the same run sets ctx->reply->protocol too. */
uint8_t client_protocol(const struct client *client);
void client_set_protocol(struct client *client, uint8_t protocol);

/* Nothing more is read; closed once the replies so far are sent. */
void client_close_after_reply(struct client *client);
/* Closed with no further word: what it sends is no RESP. Logged and counted as a protocol error. */
void client_abandon(struct client *client, const char *reason);

/* What the connection asks of all its reads of rows; RESET ends it. */
const struct consistency *client_consistency(const struct client *client);
void client_set_consistency(struct client *client, const struct consistency *asked);

/* What makes a client unusual; one test of the word keeps it off the usual path (gate.h). */
enum client_mode {
    CLIENT_SUBSCRIBED = 1 << 0, /* to something */
    CLIENT_MONITORS = 1 << 1,
    CLIENT_REPLY_OFF = 1 << 2,
    CLIENT_REPLY_SKIP = 1 << 3,      /* this command is not answered */
    CLIENT_REPLY_SKIP_NEXT = 1 << 4, /* the one after this */
    CLIENT_PAUSED = 1 << 5,          /* its command waits for the end of CLIENT PAUSE */
    CLIENT_UNBLOCKED = 1 << 6,       /* by CLIENT UNBLOCK ... ERROR */
    CLIENT_IN_MULTI = 1 << 8,        /* what it sends is queued */
    CLIENT_TRACKS = 1 << 9,          /* CLIENT TRACKING is on */
    CLIENT_CACHING = 1 << 10,        /* CLIENT CACHING was said of the next command */
    CLIENT_ASKS = 1 << 11,           /* for rows of another freshness than configured */
    CLIENT_MODES = (1 << 16) - 1,    /* above are the process's: gate.h */
    CLIENT_QUEUED_WRITES = 1 << 7,   /* among the commands between MULTI and EXEC are writes */
};
uint32_t client_modes(const struct client *client);
void client_set_mode(struct client *client, uint32_t modes, bool on);
/* RESET: subscribed to nothing, monitors nothing, is answered. */
void client_reset_modes(struct client *client);

/* MULTI and WATCH (transaction.h), CLIENT TRACKING (tracking.h): NULL until it first uses them. */
struct transaction *client_transaction(const struct client *client);
void client_set_transaction(struct client *client, struct transaction *tx);
struct tracker *client_tracker(const struct client *client);
void client_set_tracker(struct client *client, struct tracker *tracker);

/* Where others send it pushes (push.h); borrowed: lives as long as the client. */
struct mailbox *client_mailbox(struct client *client);

/* What it is subscribed to (pubsub.h), to read and to change. */
struct subscriptions *client_subscriptions(struct client *client);
/* They have changed. */
void client_note_subscriptions(struct client *client);

/* Puts text behind what the client is still to be sent, to go out at the turn's end; closes one that has passed its limit then.
 * Outside of its commands: push.c's. */
void client_push(struct client *client, struct slice head, struct slice tail);

/* Its wait for keys, or NULL; the client's, given up by keywaits.h alone. */
struct keywait *client_keywait(const struct client *client);
void client_set_keywait(struct client *client, struct keywait *wait);

/* --- for the worker ----------------------------------------------------------------------------------------- */

/* Takes the descriptor; transport NULL: plain (stream.h). NULL: there were too many clients, which it was told, and it is closed. */
struct client *client_open(struct worker *worker, uint32_t slot, int fd,
                           const struct transport *transport);
void client_close(struct client *client);
/* Goes on with requests that a turn's quantum has left over, if there are any. */
void client_continue(struct client *client);
/* Sends what client_push has left. The client may be gone afterwards. */
void client_flush(struct client *client);
/* It has left too much unread: counted, logged, and dead. */
void client_overrun(struct client *client);
/* CLIENT UNBLOCK: ends the wait for an event, if it is in one: as its deadline would, or with an error. */
void client_unblock(struct client *client, bool error);
/* Once a second: closes one that has held more than the output limit for too long. */
void client_tick(struct client *client, int64_t now_us);
/* Stops reading, and closes once what was asked is answered. */
void client_drain(struct client *client);

#endif

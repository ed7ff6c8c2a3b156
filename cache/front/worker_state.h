/* worker_state.h: a worker's inside, shared by worker.c and client.c alone. All of it belongs to the worker's thread,
 * but n_clients. */
#ifndef FRESHET_CACHE_WORKER_STATE_H
#define FRESHET_CACHE_WORKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "cache/commands/command.h"
#include "cache/front/account.h"
#include "cache/front/reply.h"
#include "cache/front/resp.h"
#include "cache/front/worker.h"

enum { WORKER_READ_BYTES = 64 * 1024 };

/* Cells that this worker alone writes. */
struct worker_metrics {
    struct metric *connections;
    struct metric *rejected;
    struct metric *clients;
    struct metric *waiting;
    struct metric *blocked; /* of these, for an event */
    struct metric *commands;
    struct metric *error_replies;
    struct metric *bytes_in;
    struct metric *bytes_out;
    struct metric *reads; /* of sockets, that brought something */
    struct metric *sends;
    struct metric *protocol_errors;
    struct metric *output_limit_closes;
    struct metric *pushes;
};

struct worker {
    struct worker_deps deps;
    uint32_t index;
    struct loop *loop;
    pthread_t thread;
    bool started;
    struct keyspace *keyspace;
    struct loader *loader;
    struct worker_metrics metrics;
    int64_t now_ms; /* wall clock of this turn */

    /* Clients by slot, and the slots that are free. */
    struct client **clients;
    uint32_t *free_slots;
    uint32_t n_slots;
    uint32_t n_free;
    _Atomic uint32_t n_clients; /* with those that were handed over and not met yet */
    uint64_t last_wait;
    bool draining;

    /* Slots of clients that still had requests after their quantum; a client may have gone since. */
    uint32_t *backlog;
    uint32_t n_backlog;
    uint32_t backlog_cap;

    /* Slots of clients that were pushed something in this turn; a client may have gone since. */
    uint32_t *pushed;
    uint32_t n_pushed;
    uint32_t pushed_cap;

    /* Shared by the clients: used within one batch of one of them. */
    struct account account; /* of what has run */
    bool is_running_client;
    char *read_bytes;
    struct buf replies;
    struct splices splices; /* of replies */
    struct resp_parser parser;
    struct slice *argv;
    uint32_t argv_cap;
    struct last_name {
        char text[16];
        uint32_t len;
        const struct command *named; /* NULL: there is none of that name */
    } last_name;
    struct buf hashes;

    struct loop_timer expire_timer;
    struct loop_timer tick_timer;
    struct loop_timer again_timer; /* due at once: the backlog is not empty */
    struct loop_timer drain_timer;

    /* Worker 0's: for the rates that INFO shows. */
    int64_t sampled_us;
    int64_t sampled_commands, sampled_in, sampled_out;
};

/* Puts the slot's client at the backlog's end. */
void worker_backlog(struct worker *worker, uint32_t slot);
/* The turn's end flushes the slot's client. */
void worker_pushed(struct worker *worker, uint32_t slot);
/* The client of a slot has gone. */
void worker_release_slot(struct worker *worker, uint32_t slot);

#endif

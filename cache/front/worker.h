/* worker.h: one thread that serves clients: its loop, its clients, its buffers.
 *
 *     struct worker *worker = worker_create(&deps, index, err);
 *     readthrough attaches its loader here: before the thread runs
 *     worker_start(worker, err);
 *     worker_adopt(worker, fd, transport);  any thread: a new connection
 *     worker_drain(worker, deadline_us);   any thread: replies on the way are sent, then the loop ends
 *     worker_join(worker); worker_destroy(&worker);
 *
 * A turn of the loop is one reading section of the store. A batch of a client is one read, the commands in it run in
 * order, and one write. The clients of a worker share its read and reply buffers; only what could not be parsed
 * or sent at once is kept in memory of the client's own, so an idle client costs its struct alone. */
#ifndef FRESHET_CACHE_WORKER_H
#define FRESHET_CACHE_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/loop.h"

struct account;
struct acl;
struct cache_config;
struct command_stats;
struct command_table;
struct keyspace;
struct keywaits;
struct latency;
struct loader;
struct log;
struct gate;
struct metrics;
struct notify;
struct output_limits;
struct pubsub;
struct roster;
struct server_info;
struct settings;
struct slowlog;
struct store;
struct transport;
struct tracking;
struct watches;
struct worker;

/* Shared by all workers; borrowed, and outlives them. */
struct worker_deps {
    const struct cache_config *config;
    struct server_info *info; /* what INFO and HELLO tell: server_info.h */
    const struct command_table *commands;
    struct store *store;
    struct roster *roster;
    struct pubsub *pubsub;
    struct notify *notify;
    struct keywaits *keywaits;
    struct watches *watches;   /* WATCH: transaction.h */
    struct tracking *tracking; /* CLIENT TRACKING: tracking.h */
    struct output_limits *limits;
    struct gate *gate;
    struct log *log;
    struct metrics *metrics;
    uint32_t n_workers;
    struct settings *settings; /* what CONFIG SET changes: settings.h */
    struct acl *acl;
    struct command_stats *stats;
    struct slowlog *slowlog;
    struct latency *latency;
};

struct worker *worker_create(const struct worker_deps *deps, uint32_t index, struct error *err);
void worker_destroy(struct worker **worker);
bool worker_start(struct worker *worker, struct error *err) MUST_CHECK;
/* transport NULL: plain (stream.h); else it outlives the worker. */
void worker_adopt(struct worker *worker, int fd, const struct transport *transport);
/* Any thread: closes the client that has this slot and id, if it is still there. */
void worker_kill(struct worker *worker, uint32_t slot, uint64_t client_id);
/* Any thread, under any lock: ends the client's wait for an event as its deadline would, or with an error. */
void worker_unblock(struct worker *worker, uint32_t slot, uint64_t client_id, bool error);
/* Any thread, under any lock: closes the client for what it has not read (output_limits.h). */
void worker_overrun(struct worker *worker, uint32_t slot, uint64_t client_id);
/* Any thread: clients, with those that it was handed and has not met yet. */
uint32_t worker_load(const struct worker *worker);
void worker_drain(struct worker *worker, int64_t deadline_us);
void worker_join(struct worker *worker);

/* For the wing's other parts, on the worker's thread or before it runs. */
/* NULL: it has gone. */
struct client *worker_client(struct worker *worker, uint32_t slot, uint64_t client_id);
struct account *worker_account(struct worker *worker);
uint32_t worker_index(const struct worker *worker);
struct loop *worker_loop(struct worker *worker);
const struct worker_deps *worker_deps(const struct worker *worker);
int64_t worker_now_ms(const struct worker *worker); /* wall clock of this turn */

/* Read-through's objects of this worker; NULL until attached. The worker hands the keyspace to each command. */
void worker_attach(struct worker *worker, struct keyspace *keyspace, struct loader *loader);
struct loader *worker_loader(const struct worker *worker);

#endif

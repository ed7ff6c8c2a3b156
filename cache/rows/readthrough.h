/* readthrough.h: the part of the cache that stands between the store and PostgreSQL: which keys are rows, how a missing
 * row is read, what may be kept of it, and what a committed transaction takes out again.
 *
 *     cache.c     rt = readthrough_create(&config, &deps, err);      the store exists already
 *                 readthrough_attach(rt, worker);                    each worker, before it runs
 *                 readthrough_start(rt, err);  ...  readthrough_stop(rt);
 *                 readthrough_detach(rt, worker);                    each worker, after it was joined
 *                 readthrough_destroy(&rt);
 *     worker.c    keyspace_end_turn(keyspace);     at the end of each loop turn, in the reading section, replies sent
 *
 * A command whose run left ctx->n_pending > 0 has a client that waits for client_ticket(ctx) (client.h): the keyspace
 * gathers what the turn's commands miss, sends it as few queries at the end of the turn, and calls
 * client_resume(ticket, rows) from the worker's loop when all rows of that ticket are here, or with their failures when
 * the deadline has passed. It always does so, once, while the worker runs.
 *
 * A database need not be configured, nor be up: plain keys are served all the same. */
#ifndef FRESHET_CACHE_READTHROUGH_H
#define FRESHET_CACHE_READTHROUGH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/metrics.h"
#include "cache/cache.h"
#include "cache/commands/command.h"
#include "cache/store/store.h"

struct readthrough;
struct keyspace;
struct tracking;
struct watches;
struct worker;

struct readthrough_deps {
    struct log *log;
    struct metrics *metrics;
    struct store *store; /* outlives the readthrough, as the next two */
    struct watches *watches;
    struct tracking *tracking;
};

/* The configuration and its strings are borrowed and must outlive it. NULL on a configuration that cannot work. */
struct readthrough *readthrough_create(const struct cache_config *config,
                                       const struct readthrough_deps *deps, struct error *err);
/* After every keyspace is detached and the feed has stopped. */
void readthrough_destroy(struct readthrough **rt);

/* Starts the control thread; returns at once, whether the database is up or not. */
bool readthrough_start(struct readthrough *rt, struct error *err) MUST_CHECK;
void readthrough_stop(struct readthrough *rt);

/* What cache_sink hands out: valid from create to destroy. */
struct change_sink readthrough_sink(struct readthrough *rt);

/* Any thread, the next five. `*why` is one line, valid until the calling thread asks again. */
bool readthrough_ready(struct readthrough *rt, const char **why);
json_t *readthrough_status(struct readthrough *rt); /* a new reference */
/* As of cache.h. */
bool readthrough_verify(struct readthrough *rt, uint32_t rate, struct error *err) MUST_CHECK;
json_t *readthrough_verification(struct readthrough *rt);
/* Lines "name:value\r\n" for INFO's section on Freshet. */
void readthrough_info(struct readthrough *rt, struct buf *out);

/* Makes the keyspace of a worker and hands it over by worker_attach; ends its waits and frees it. */
void readthrough_attach(struct readthrough *rt, struct worker *worker);
void readthrough_detach(struct readthrough *rt, struct worker *worker);

/* About every 100 ms, of one worker. */
void keyspace_tick(struct keyspace *keyspace, int64_t now_us);
/* Sends the queries that the turn's misses gathered. On the worker's thread. */
void keyspace_end_turn(struct keyspace *keyspace);

#endif

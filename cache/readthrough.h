/* readthrough.h: the part of the cache that stands between the store and PostgreSQL: which keys are rows, how a missing
 * row is read, what may be kept of it, and what a committed transaction takes out again.
 *
 *     cache.c     rt = readthrough_create(&config, &deps, err);      the store exists already
 *                 readthrough_start(rt, err);  ...  readthrough_stop(rt);  readthrough_destroy(&rt);
 *     worker.c    keyspace = keyspace_attach(rt, loop, worker);      before loop_run; goes into command_context
 *                 keyspace_end_turn(keyspace);                       at the end of each loop turn, before replies go out
 *                 keyspace_detach(&keyspace);                        after loop_run has returned
 *
 *     dispatcher  command->run(&ctx);
 *                 if (ctx.n_pending > 0) {
 *                     drop what was composed; hold back the client's further commands;
 *                     rows = keyspace_fetch(&ctx, resume, client);
 *                 }
 *                 resume(client, rows):  ctx.fetched = rows; command->run(&ctx) as before (it may even pend again);
 *                                        fetched_rows_release(&rows);
 *                 client closes while it waits:  fetched_rows_release(&rows), and resume is not called.
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
#include "cache/command.h"
#include "cache/store.h"

struct readthrough;
struct keyspace;
struct fetched_rows;

struct readthrough_deps {
    struct log *log;
    struct metrics *metrics;
    struct store *store; /* outlives the readthrough */
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

/* Any thread, the next three. `*why` is one line, valid until the calling thread asks again. */
bool readthrough_ready(struct readthrough *rt, const char **why);
json_t *readthrough_status(struct readthrough *rt); /* a new reference */
/* Lines "name:value\r\n" for INFO's section on Freshet. */
void readthrough_info(struct readthrough *rt, struct buf *out);

/* On the worker's thread, or before it runs. `worker` is a number below the configured workers (store_config.max_readers). */
struct keyspace *keyspace_attach(struct readthrough *rt, struct loop *loop, uint32_t worker);
void keyspace_detach(struct keyspace **keyspace);
/* Sends the queries that the turn's misses gathered. */
void keyspace_end_turn(struct keyspace *keyspace);

/* Starts to fetch what the run that just ended was missing (ctx->n_pending > 0). Called after the command's locks are
 * released and before ctx->argv changes; ctx is not kept. `resume` is called once, from the worker's loop and never from
 * within this call: when all rows are here, or with their failures when the deadline has passed. */
struct fetched_rows *keyspace_fetch(struct command_context *ctx,
                                    void (*resume)(void *arg, struct fetched_rows *rows),
                                    void *arg);
/* Gives the rows back, or gives up waiting for them. NULL is allowed. */
void fetched_rows_release(struct fetched_rows **rows);

#endif

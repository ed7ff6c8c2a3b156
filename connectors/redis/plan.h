/* plan.h: what a batch comes to in a Redis: for each row what goes, what is put, and what is remembered of it.
 *
 *     struct plan *plan = plan_create(layout, ttl_ms);
 *     plan_begin(plan, batch);                      where each row is to stand
 *     if (!plan_look_up(plan, ledger, err)) ...     where it stands now, and what is in its way
 *     ledger_begin(ledger); plan_append(plan, ledger); ledger_commit(ledger, ...);
 *     plan_end(plan, batch, &replies);              outcomes
 *
 * All that goes does so before anything is put, so that rows may exchange a key within a batch. One thread. */
#ifndef FRESHET_CONNECTORS_REDIS_PLAN_H
#define FRESHET_CONNECTORS_REDIS_PLAN_H

#include "connectors/redis/layout.h"
#include "connectors/redis/ledger.h"
#include "connectors/runtime/batch.h"

struct plan;

/* Borrows the layout. `ttl_ms` 0: none. */
struct plan *plan_create(const struct layout *layout, int64_t ttl_ms);
void plan_destroy(struct plan **plan);

/* The writes that are pending. */
void plan_begin(struct plan *plan, struct batch *batch);
bool plan_is_empty(const struct plan *plan);
/* Some row is to be a dead letter: the position is not to pass it before that is on disk. */
bool plan_has_refused(const struct plan *plan);
/* Asks for each row's entry: what is older than it is a WRITE_STALE. Keys that should be sets and are something else refuse
 * their rows. Not needed where nothing was ever written. */
bool plan_look_up(struct plan *plan, struct ledger *ledger, struct error *err) MUST_CHECK;
void plan_append(struct plan *plan, struct batch *batch, struct ledger *ledger);
/* After the commit; `replies` of plan_append's commands, from the first. */
void plan_end(struct plan *plan, struct batch *batch, const struct replies *replies);

/* What a layout's rows are remembered as. */
enum entry_kind plan_entry_kind(const struct layout *layout);
/* A row as JSON; several of a query's, where the shape says so, as an array. */
void plan_append_document(struct buf *out, const struct shape *shape, const struct write *write);

#endif

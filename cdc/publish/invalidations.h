/* invalidations.h: the publisher's side of <prefix>.invalidations: for each transaction what it touched, and heartbeats,
 * as base/invalidation.h has them, by the publisher's output and so in its very transactions.
 *
 *     invalidations_start(inv, &identity, since_lsn);                       at a session's start
 *     invalidations_change(inv, tx, change, catalog_table, err)  ...        in a transaction
 *     invalidations_commit(inv, tx, err)
 *     if (invalidations_due(inv, now_us)) invalidations_beat(inv, wal_end_lsn, now_us, err)    between two
 *
 * The feed's thread. */
#ifndef FRESHET_CDC_INVALIDATIONS_H
#define FRESHET_CDC_INVALIDATIONS_H

#include "base/catalog.h"
#include "base/change.h"
#include "cdc/output/output.h"
#include "cdc/publish/publisher.h"
#include "cdc/shape/shape.h"

struct invalidations;

/* All of it must outlive the object. */
struct invalidations *invalidations_create(const struct publisher_config *config,
                                           const struct publisher_deps *deps,
                                           const struct output_ops *output_ops, void *output);
void invalidations_destroy(struct invalidations **invalidations);

/* Everything up to since_lsn was written by earlier sessions, or was there before them all. */
void invalidations_start(struct invalidations *inv, const struct feed_identity *identity,
                         uint64_t since_lsn);
/* Which columns are unique may have changed: they are read anew from the catalog tables that come with changes. */
void invalidations_columns_changed(struct invalidations *inv);

/* Does the relation need its catalog_table at the next change? Of one that is known already it is not looked at. */
bool invalidations_knows(struct invalidations *inv, const struct relation *relation);
/* `table` NULL: not in the catalog (any more): all columns of the identity are carried. `shape`: of its events, or NULL; where
 * it hides a column that would be carried, each change is one of the whole table. */
bool invalidations_change(struct invalidations *inv, const struct transaction *tx,
                          const struct change *change, const struct catalog_table *table,
                          const struct table_shape *shape, struct error *err) MUST_CHECK;
bool invalidations_commit(struct invalidations *inv, const struct transaction *tx,
                          struct error *err) MUST_CHECK;

/* Has nothing been written for an interval? */
bool invalidations_due(const struct invalidations *inv, int64_t now_us);
/* Everything up to end_lsn has been written; no transaction is open. */
bool invalidations_beat(struct invalidations *inv, uint64_t end_lsn, int64_t now_us,
                        struct error *err) MUST_CHECK;

#endif

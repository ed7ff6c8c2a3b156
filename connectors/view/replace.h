/* replace.h: the state of keys replaced by the rows that a batch has of them: one DELETE, one INSERT.
 *
 *     replace_rows(target, batch, from, to, &sqlstate, err)       within a transaction of the target
 *
 * Writes that are not pending are left out. Of counts and sums the rows are what they come to, not deltas (groupkey.h). Every column of the shape goes as one array of texts, which the target casts to
 * its own columns' types. Outcomes are the caller's. */
#ifndef FRESHET_CONNECTORS_VIEW_REPLACE_H
#define FRESHET_CONNECTORS_VIEW_REPLACE_H

#include "connectors/runtime/batch.h"
#include "connectors/view/viewtable.h"

/* False: the transaction is broken, up to a savepoint of the caller's. `sqlstate` says why, where the server has. */
bool replace_rows(struct viewtable *target, struct batch *batch, size_t from, size_t to,
                  char sqlstate[6], struct error *err) MUST_CHECK;

#endif

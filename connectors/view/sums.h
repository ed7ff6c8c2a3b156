/* sums.h: deltas of counts and sums, added to the rows of their groups; a group whose rows are all gone, goes.
 *
 *     sums_add(target, batch, from, to, sqlstate, err)       within a transaction of the target, as replace_rows
 */
#ifndef FRESHET_CONNECTORS_VIEW_SUMS_H
#define FRESHET_CONNECTORS_VIEW_SUMS_H

#include "connectors/runtime/batch.h"
#include "connectors/view/viewtable.h"

bool sums_add(struct viewtable *target, struct batch *batch, size_t from, size_t to,
              char sqlstate[6], struct error *err) MUST_CHECK;

#endif

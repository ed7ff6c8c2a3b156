/* described.h: what PostgreSQL says of the named queries: may they be run, of which types are their parameters, which columns
 * have their results?
 *
 *     queries = described_load(conn, &plan, NULL, arena, &locked, err);      one for each of the configuration's; blocking
 *
 * Nothing is run: each is prepared, as it stands, and as the fills will ask it (named.h). */
#ifndef FRESHET_CACHE_DESCRIBED_H
#define FRESHET_CACHE_DESCRIBED_H

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/error.h"
#include "cache/rows/tablemap.h"

/* Why a result of that many columns has not this shape; NULL: it has. */
const char *described_misfit(enum cache_shape shape, int n_columns);

/* Of the plan: its configuration and its types. NULL: the connection is lost. The results lie in the arena. A query of which
 * somebody has a table locked is not waited for: what `before` (of another arena; NULL: nothing) says of it holds on, and *locked
 * is set. */
const struct tablemap_query *described_load(PGconn *conn, const struct tablemap_plan *plan,
                                            const struct tablemap_query *before,
                                            struct arena *arena, bool *locked, struct error *err);

#endif

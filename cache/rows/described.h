/* described.h: what PostgreSQL says of the named queries: may they be run, and of which types are their parameters?
 *
 *     queries = described_load(conn, config, arena, err);      one for each of config->queries; blocking, control thread
 */
#ifndef FRESHET_CACHE_DESCRIBED_H
#define FRESHET_CACHE_DESCRIBED_H

#include <libpq-fe.h>

#include "base/arena.h"
#include "base/error.h"
#include "cache/rows/tablemap.h"

/* NULL: the connection is lost. The results lie in the arena. */
const struct tablemap_query *described_load(PGconn *conn, const struct cache_config *config,
                                            struct arena *arena, struct error *err);

#endif

/* aggregate_source.h: the source of a table of counts and sums by group: each change of a row is what it adds to its group, and
 * takes from the one that it leaves.
 *
 *     aggregate: { by: [user_id, status], orders: count, paid: count paid_at, total: sum total }
 *
 * `count` counts rows, `count COLUMN` those where it is not NULL, `sum COLUMN` adds integers and numerics, a NULL as 0. One plain
 * `count` must be there: a group without rows goes. The columns that it reads must be in the table's replica identity, or a row
 * that goes would not tell what it takes along.
 *
 * Its writes are deltas (shape->deltas), each once; only a sink that keeps the position with its data may have them. */
#ifndef FRESHET_CONNECTORS_VIEW_AGGREGATE_SOURCE_H
#define FRESHET_CONNECTORS_VIEW_AGGREGATE_SOURCE_H

#include "base/error.h"
#include "connectors/connector.h"
#include "connectors/source.h"
#include "connectors/source/source_database.h"

struct aggregate_source_config {
    struct source_database database;
    const char *table;
    uint32_t n_aggregates;
    const struct connector_aggregate *aggregates; /* must outlive the source */
};

struct aggregate_source;

struct aggregate_source *aggregate_source_create(const struct aggregate_source_config *config,
                                                 struct error *err);
void aggregate_source_destroy(struct aggregate_source **source);
/* Has the table the columns that it reads, as it wants them? Else *entry is the aggregate that it has not; NULL: none of them. */
bool aggregate_source_fits(const struct aggregate_source_config *config,
                           const struct catalog_table *table, const char **entry,
                           struct error *err) MUST_CHECK;
struct source aggregate_source_as_source(struct aggregate_source *source);

#endif

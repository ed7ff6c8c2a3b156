/* query_source.h: the source of a connector that keeps the results of a named query: for each key the rows that its SQL gives.
 *
 *     struct query_source *source = query_source_create(&config, err);
 *     runtime ... query_source_as_source(source) ...
 *     query_source_destroy(&source);
 *
 * A row's columns are the key's parameters, then the result's; a result's column of a parameter's name is that parameter.
 * What touches a key is told by depends_on, of each table one of:
 *
 *     orders: [user_id]                    its rows have the parameters in these columns
 *     products: SELECT DISTINCT o.user_id FROM orders o JOIN order_items i ... WHERE i.product_id = {id}
 *                                          a query for the keys, with columns of the changed row in braces
 *     settings: all                        any change touches every key
 *
 * All keys there are, for the load and for `all`, are those that the columns of the first kind have: without a row in any of these
 * tables there is no result, where depends_on is complete.
 *
 * Nothing is kept: touched keys are computed anew, in a snapshot that sees what has touched them, and that may see more;
 * then that comes later in the stream, and touches them again.
 *
 * Connections as those of a table's source; and one for a walk. */
#ifndef FRESHET_CONNECTORS_QUERY_SOURCE_H
#define FRESHET_CONNECTORS_QUERY_SOURCE_H

#include "base/error.h"
#include "connectors/connector.h"
#include "connectors/source.h"
#include "connectors/source/source_database.h"

struct query_source_config {
    struct source_database database;
    const struct connector_query *query; /* must outlive the source */
};

struct query_source;

struct query_source *query_source_create(const struct query_source_config *config,
                                         struct error *err);
void query_source_destroy(struct query_source **source);
struct source query_source_as_source(struct query_source *source);

#endif

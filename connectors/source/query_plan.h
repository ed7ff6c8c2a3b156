/* query_plan.h: a named query as the database has it: its shape, what touches it, and the statements that read it.
 *
 *     struct query_plan *plan = query_plan_create(query, catalog, conn, err);
 *     query_plan_release(&plan);
 *
 * Immutable and counted: the feed's thread makes one at each session's start, the sender's uses it. */
#ifndef FRESHET_CONNECTORS_QUERY_PLAN_H
#define FRESHET_CONNECTORS_QUERY_PLAN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/namedquery.h"
#include "connectors/connector.h"
#include "connectors/document/shape.h"

enum dependency_kind {
    DEPENDS_COLUMNS, /* they hold the parameters' values */
    DEPENDS_SQL,     /* it gives them, for these columns' values */
    DEPENDS_ALL,
};

struct dependency {
    enum dependency_kind kind;
    char *schema;
    char *table;
    uint16_t n_columns; /* of the table; in the order of the parameters, or of the SQL's $1... */
    char **columns;
    /* Gives the parameters as texts, once each. Of DEPENDS_COLUMNS: where the columns are of other types than the parameters;
     * NULL: their texts are the same. */
    char *sql;
};

struct query_plan {
    _Atomic int references;
    struct named_key key;
    struct shape *shape;
    uint32_t n_dependencies;
    struct dependency *dependencies;
    /* Of the sender's thread. (ordinal, result's columns...) of the keys in $1::text[], ...; result column i is the shape's
     * columns[from[i]]. */
    char *rows_sql;
    uint16_t n_results;
    uint16_t *from;
    char *all_sql; /* of all keys, as texts */
};

/* Must outlive it: the query. NULL: it cannot be kept, *err says why. */
struct query_plan *query_plan_create(const struct connector_query *query,
                                     const struct catalog *catalog, PGconn *conn,
                                     struct error *err);
struct query_plan *query_plan_acquire(struct query_plan *plan);
void query_plan_release(struct query_plan **plan);
/* The dependencies on this table; NULL: none. */
const struct dependency *query_plan_find(const struct query_plan *plan, const char *schema,
                                         const char *table);

#endif

/* publication.h: a publication that never breaks the application's writes: it names the tables that have a
 * replica identity in force, publishes via the partition root, and is never FOR ALL TABLES.
 *
 *     publication_ensure(conn, &plan, &changed, err)      makes it, or adds and drops tables by name
 *     publication_sql(conn, &plan, &sql, err)             the SQL that would, for a role that may not */
#ifndef FRESHET_BASE_PUBLICATION_H
#define FRESHET_BASE_PUBLICATION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/catalog.h"
#include "base/error.h"

struct publication_table {
    const struct catalog_table *table;
    /* Column list (15+), as places in table->columns; 0: all columns. Must hold the replica identity. */
    uint16_t n_columns;
    const uint16_t *columns;
};

struct publication_plan {
    const char *name;
    uint32_t n_tables;
    const struct publication_table *tables;
};

/* Brings the publication to the plan: *changed tells whether anything had to be done. An ERROR_REFUSED carries
 * the SQL that an owner should run. */
bool publication_ensure(PGconn *conn, const struct publication_plan *plan, bool *changed,
                        struct error *err) MUST_CHECK;

/* Appends the statements (each ending in ";\n") that would bring it to the plan; nothing where it is so. */
bool publication_sql(PGconn *conn, const struct publication_plan *plan, struct buf *sql,
                     struct error *err) MUST_CHECK;

#endif

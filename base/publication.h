/* publication.h: a publication that never breaks the application's writes: it names the tables that have a
 * replica identity in force, publishes via the partition root, and is never FOR ALL TABLES.
 *
 *     publication_ensure(conn, &plan, &changed, err)      makes it, or adds and drops tables by name
 *     publication_sql(conn, &plan, &sql, err)             the SQL that would, for a role that may not
 *     publication_load(conn, name, err)                   what is there now
 *
 * Blocking; the connection must be in no transaction. Two processes may ensure the same one at once. */
#ifndef FRESHET_BASE_PUBLICATION_H
#define FRESHET_BASE_PUBLICATION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/catalog.h"
#include "base/error.h"

struct publication_table {
    const struct catalog_table *table; /* publishable: catalog_table_publishable() */
    /* Column list (15+), as places in table->columns; 0: all columns. Must hold the replica identity. */
    uint16_t n_columns;
    const uint16_t *columns;
    const char *row_filter; /* SQL (15+); NULL: all rows */
    bool exact;             /* whoever has narrowed it otherwise: it is as the plan says */
};

struct publication_plan {
    const char *name;
    uint32_t n_tables;
    const struct publication_table *tables;
    /* Other processes rely on it too: tables that the plan lacks stay while they do no harm, and a column list
     * only grows. False: its tables become the plan's. */
    bool shared;
    /* All rows and at least the plan's columns must come: row filters and narrower column lists are taken
     * away. False: what a user has set on a table that is in stays, but for `exact` ones. */
    bool unfiltered;
};

/* Brings the publication to the plan: *changed tells whether anything had to be done. An ERROR_REFUSED carries
 * the SQL that an owner should run. */
bool publication_ensure(PGconn *conn, const struct publication_plan *plan, bool *changed,
                        struct error *err) MUST_CHECK;

/* Appends the statements (each ending in ";\n") that would bring it to the plan; nothing where it is so. */
bool publication_sql(PGconn *conn, const struct publication_plan *plan, struct buf *sql,
                     struct error *err) MUST_CHECK;

struct publication_member {
    uint32_t oid;           /* of the table */
    const char *row_filter; /* as the server words it; NULL: none */
    uint16_t n_columns;     /* of the column list; 0: all */
    const int16_t *attnums;
};

struct publication {
    bool exists;
    bool all_tables; /* FOR ALL TABLES */
    bool schemas;    /* FOR TABLES IN SCHEMA (15+) */
    bool inserts, updates, deletes, truncates;
    bool via_root;
    uint32_t n_members; /* named ones, in the order of their OIDs */
    const struct publication_member *members;
    struct arena *arena; /* owns all of it */
};

/* NULL on error. */
struct publication *publication_load(PGconn *conn, const char *name, struct error *err);
void publication_destroy(struct publication **publication);
const struct publication_member *publication_find(const struct publication *publication,
                                                  uint32_t oid);

/* Does somebody narrow the table in it beyond what the plan asks? Appends what to be told: rows, columns. */
bool publication_narrows(const struct publication *publication,
                         const struct publication_table *planned, struct buf *what);

#endif

/* catalog.h: the tables of a database as PostgreSQL's catalog describes them at one moment. Immutable once loaded.
 *
 *     struct catalog *catalog = catalog_load(conn, err);
 *     const struct catalog_table *table = catalog_find(catalog, "public", "users");
 *
 * System schemas, temporary tables and partitions (their root stands for them) are left out. Tables come in
 * the order of schema, then name. */
#ifndef FRESHET_BASE_CATALOG_H
#define FRESHET_BASE_CATALOG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct catalog_column {
    const char *name;
    int16_t attnum;
    uint32_t type_oid;
    int32_t typmod;
    const char *type_name; /* format_type(): "character varying(20)" */
    /* Of the type itself; for a domain, of its base type, all the way down. */
    uint32_t base_type_oid;
    int32_t base_typmod;
    const char *base_type_name; /* pg_type.typname of the base type: "int4", "_text", "hstore" */
    char base_typtype;          /* b, c, e, r, m, p */
    uint32_t element_type_oid;  /* of an array, else 0 */
    bool not_null;              /* its own, or its domain's */
    bool generated;
    bool selectable;         /* the connected role may SELECT it */
    bool in_identity;        /* part of the replica identity */
    const char *default_sql; /* pg_get_expr of the default, or NULL */
};

struct catalog_index {
    const char *name;
    bool primary;
    bool usable_as_key; /* unique, valid, immediate, no predicate, no expressions */
    /* Why a row cannot be asked for by its columns, as in "its unique index %s is partial"; NULL: it can. At most one row
     * of a snapshot has given values of them, by the equality that `=` means. */
    const char *unaskable;
    bool replica_identity;
    bool nulls_not_distinct;
    uint16_t n_columns;
    const uint16_t
        *columns; /* places in catalog_table.columns, in the index's order; key columns only */
    uint16_t
        n_mentioned; /* those, and what its expressions and its predicate mention; in the table's order */
    const uint16_t *mentioned;
};

struct catalog_table {
    uint32_t oid;
    const char *schema;
    const char *name;
    /* pg_class.relkind: r, p (partitioned), f, v, m. Read an `r` with FROM ONLY: rows of tables that inherit
     * from it are published under their own names. */
    char kind;
    char replica_identity; /* d, n, f, i */
    bool unlogged;
    bool row_security_active; /* for the connected role */
    bool readable;            /* the connected role may SELECT columns of it at least */
    bool selectable;          /* ... and all of it */
    bool owned;               /* the connected role may add it to a publication */
    /* Of a partitioned table: every partition has a replica identity in force. True for all others. */
    bool partitions_identified;
    /* PostgreSQL 18 and newer: its replica identity has a generated column. A publication that does not publish those (ours
     * do not) would refuse its UPDATE and DELETE. */
    bool identity_generated;
    double estimated_rows;
    uint16_t n_columns;
    const struct catalog_column *columns; /* in attnum order, dropped ones left out */
    uint16_t n_indexes;                   /* unique ones alone */
    const struct catalog_index *indexes;
    const struct catalog_index
        *primary_key; /* NULL: none. Deferrable ones have usable_as_key false */
    /* Over everything that a cached row depends on: columns and their types (labels of enums, fields of
     * composites), keys, identity, rights, policies, partitions, a view's rule and the table's file, which a rewrite such as
     * ALTER COLUMN ... TYPE ... USING replaces. Differs after any DDL that matters, also after one that was undone. */
    uint64_t fingerprint;
};

struct catalog {
    const char *database;
    int server_version; /* PQserverVersion: 150018 */
    uint32_t n_tables;
    const struct catalog_table *tables;
    const uint32_t *by_oid; /* places in tables, in the order of their OIDs */
    struct arena *arena;    /* owns all of it */
};

/* NULL on error. Reads one snapshot, in a transaction of its own unless one is open. */
struct catalog *catalog_load(PGconn *conn, struct error *err);
/* The same without default_sql, for which the server locks the tables: it waits for nobody who has one locked. */
struct catalog *catalog_load_shapes(PGconn *conn, struct error *err);
/* Of this one table alone, be it a partition: n_tables is 1, or 0 where it is gone. */
struct catalog *catalog_load_table(PGconn *conn, uint32_t oid, struct error *err);
void catalog_destroy(struct catalog **catalog);
const struct catalog_table *catalog_find(const struct catalog *catalog, const char *schema,
                                         const char *name);
const struct catalog_table *catalog_find_oid(const struct catalog *catalog, uint32_t oid);

/* Can this table's UPDATE and DELETE be published without making them fail? (A primary key that is not
 * deferrable, or another replica identity in force; of a partitioned table also in each partition, now and
 * for partitions to come.) */
bool catalog_table_publishable(const struct catalog_table *table);

#endif

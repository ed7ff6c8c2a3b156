/* snapshot_tables.h: which tables and columns an initial snapshot reads: those of the publication that a
 * pattern names, described as pgoutput will describe them, so that the stream's Relation messages find nothing
 * new.
 *
 *     struct snapshot_tables *tables = snapshot_tables_load(wait, conn, publication, n, patterns, err); */
#ifndef FRESHET_CDC_SNAPSHOT_TABLES_H
#define FRESHET_CDC_SNAPSHOT_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cdc/pgwait.h"
#include "cdc/relations.h"

struct snapshot_table {
    struct relation_draft draft;
    const char *schema;
    const char *name;
    bool partitioned;       /* a root: its partitions are read through it */
    bool row_security;      /* in force for our role */
    const char *row_filter; /* the publication's; "": none */
};

struct snapshot_tables {
    struct arena *arena; /* owns all of it */
    uint32_t n;
    struct snapshot_table *tables; /* by schema, then name */
};

/* Within a transaction on `conn`. NULL on error. */
struct snapshot_tables *snapshot_tables_load(const struct pgwait *wait, PGconn *conn,
                                             const char *publication, uint32_t n_patterns,
                                             const char *const *patterns, struct error *err);
void snapshot_tables_destroy(struct snapshot_tables **tables);

/* COPY (SELECT ...) TO STDOUT for one of them. */
void snapshot_tables_copy_sql(const struct snapshot_table *table, struct buf *sql);

#endif

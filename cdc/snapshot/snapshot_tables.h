/* snapshot_tables.h: which tables and columns a snapshot reads: those of the publication that a pattern names, described as
 * pgoutput will describe them, so that the stream's Relation messages find nothing new.
 *
 *     struct snapshot_choice choice = {.publication = "freshet", .n_patterns = n, .patterns = patterns};
 *     struct snapshot_tables *tables = snapshot_tables_load(wait, conn, &choice, err); */
#ifndef FRESHET_CDC_SNAPSHOT_TABLES_H
#define FRESHET_CDC_SNAPSHOT_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cdc/decode/relations.h"
#include "cdc/feed/pgwait.h"

struct snapshot_table {
    struct relation_draft draft;
    const char *schema;
    const char *name;
    bool partitioned;       /* a root: its partitions are read through it */
    bool row_security;      /* in force for our role */
    bool toasts;            /* an update may leave values of it out of the stream */
    const char *row_filter; /* the publication's, and the sink's; "": none */
    uint32_t n_pages;       /* of its longest file */
    double estimated_rows;  /* as of its last ANALYZE; 0: unknown */
    const char *filenode;   /* another one after a rewrite, of any of its files */
};

struct snapshot_choice {
    const char *publication;
    uint32_t n_patterns; /* 0: every table of the publication */
    const char *const *patterns;
    const char *schema; /* this table alone; NULL: the patterns count */
    const char *name;
    const struct change_sink *sink; /* which may want some of the rows alone; NULL: nobody does */
};

struct snapshot_tables {
    struct arena *arena; /* owns all of it */
    uint32_t n;
    struct snapshot_table *tables; /* by schema, then name */
};

/* Within a transaction on `conn`. NULL on error. */
struct snapshot_tables *snapshot_tables_load(const struct pgwait *wait, PGconn *conn,
                                             const struct snapshot_choice *choice,
                                             struct error *err);
void snapshot_tables_destroy(struct snapshot_tables **tables);

/* COPY (SELECT its columns WHERE the row filter and `condition`, if there are any) TO STDOUT; `tail` (" ORDER BY ...") may be "". */
void snapshot_tables_copy_sql(const struct snapshot_table *table, const char *condition,
                              const char *tail, struct buf *sql);
/* FROM [ONLY] table [WHERE ...], of the same. */
void snapshot_tables_from_sql(const struct snapshot_table *table, const char *condition,
                              struct buf *sql);

/* The tables that a publication lists one by one: those may join it later than they were made. */
struct snapshot_members {
    struct arena *arena; /* owns all of it */
    uint32_t n;
    struct snapshot_member {
        uint32_t oid;
        const char *schema;
        const char *name;
    } * members;
};

/* NULL on error. */
struct snapshot_members *snapshot_members_load(const struct pgwait *wait, PGconn *conn,
                                               const char *publication, struct error *err);
void snapshot_members_destroy(struct snapshot_members **members);

#endif

/* chunk_sql.h: the SQL by which a chunk of a table is chosen. Pure.
 *
 *     chunk_sql_keys(oid, &sql)                                  its key: name and type of each column, in order
 *     chunk_sql_bound(&choice, n_rows, &sql)                     the key of the n-th row from here; none: fewer are left
 *     chunk_sql_copy(&choice, &sql)                              COPY of the rows up to there */
#ifndef FRESHET_CDC_CHUNK_SQL_H
#define FRESHET_CDC_CHUNK_SQL_H

#include "base/buf.h"
#include "cdc/snapshot/snapshot_state.h"
#include "cdc/snapshot/snapshot_tables.h"

struct chunk_key {
    uint32_t n; /* 0: none */
    char **names;
    char **types; /* as format_type() writes them */
};

struct chunk_choice {
    const struct snapshot_table *table;
    const struct snapshot_task *task;
    const struct chunk_key *key;
    const char *exported; /* what an interrupted snapshot saw, whose rest this is; NULL: no such */
    char *const *bound;   /* key's columns; NULL: to the end */
    uint32_t from_page, to_page; /* without a key */
};

void chunk_sql_keys(uint32_t oid, struct buf *sql);
void chunk_sql_bound(const struct chunk_choice *choice, uint32_t n_rows, struct buf *sql);
void chunk_sql_copy(const struct chunk_choice *choice, struct buf *sql);

#endif

/* statement.h: the SQL that reads rows of a table by a key, primary or unique: one statement for any number of keys.
 *
 *     SELECT k.i, <snapshot, in the first row>, <row is there>, <identity of each key column>, <the row in its form>
 *     FROM ROWS FROM (unnest($1::text[]), ...) WITH ORDINALITY AS k(v1, ..., i)
 *     LEFT JOIN LATERAL (SELECT ... FROM table WHERE key = k.v1::type ... LIMIT 1) t ON true
 *
 * For one key alone, which has no need of arrays, and is planned and run in half the time:
 *
 *     ... FROM (SELECT $1::text AS v1, ..., 1 AS i) AS k LEFT JOIN LATERAL ...
 *
 * One row comes for each key asked, in the order of asking, whether its row is there or not; so absent ones too have been
 * seen by the snapshot. The texts are cast by PostgreSQL, which alone knows what they mean.
 *
 * For many keys whose texts are what PostgreSQL itself would print of their values, so that they can be told apart here, a scan of the index that
 * takes all of them at once, at a third of the cost; the rows that are there come in any order, at least one of NULLs:
 *
 *     SELECT s.s, r.key, <the row in its form> FROM (SELECT <snapshot> AS s OFFSET 0) AS s LEFT JOIN table AS r ON r.key = ANY ($1::type[])
 *
 * Pure. */
#ifndef FRESHET_CACHE_STATEMENT_H
#define FRESHET_CACHE_STATEMENT_H

#include "base/buf.h"
#include "cache/rows/keyspace.h"
#include "cache/rows/tablemap.h"

/* In which form the key of a table is read for one who wants it in that one (or any). A named query has one form alone. */
static inline enum key_form statement_form(const struct table *table, enum key_form wanted) {
    static const enum key_form forms[] = {
        [SHAPE_ROWS] = FORM_STRING, [SHAPE_ROW] = FORM_STRING, [SHAPE_VALUE] = FORM_STRING,
        [SHAPE_HASH] = FORM_HASH,   [SHAPE_LIST] = FORM_LIST,  [SHAPE_ZSET] = FORM_ZSET};
    if (table->query) return forms[table->query->shape];
    return wanted == FORM_HASH ? FORM_HASH : FORM_STRING;
}

/* What TYPE says of it. */
static inline enum entry_kind statement_kind(const struct table *table) {
    switch (statement_form(table, FORM_ANY)) {
    case FORM_HASH: return ENTRY_HASH;
    case FORM_LIST: return ENTRY_LIST;
    case FORM_ZSET: return ENTRY_ZSET;
    case FORM_ANY:
    case FORM_STRING: break;
    }
    return ENTRY_STRING;
}

/* Can it be read like that at all? A row is no list; a result is what its shape says. */
static inline bool statement_fits(const struct table *table, enum key_form wanted) {
    return wanted == FORM_ANY || statement_form(table, wanted) == wanted;
}

enum statement_way {
    STATEMENT_EACH, /* any number of keys, one row of the result for each */
    STATEMENT_ONE,  /* one key; its parameters are the values as they are. Not of a named query */
    STATEMENT_ANY,  /* any number of keys of one column, whose values are plain (rowkey.h) */
};

struct statement {
    const struct table *table;
    const struct unique_key *unique; /* NULL: by the primary key */
    enum key_form form;
    enum statement_way way;
    bool
        whole; /* FORM_STRING: the row's JSON is the server's, in one column, even where it could be composed here */
};

/* May plain values of its primary key be asked for in that way? The plan of a generic array leaves no partition out. */
static inline bool statement_takes_any(const struct table *table) {
    return !table->query && table->n_keys == 1 && !table->partitioned;
}

/* Columns of the result. */
enum {
    STATEMENT_ORDINAL,
    STATEMENT_SNAPSHOT,
    STATEMENT_PRESENT,
    STATEMENT_IDENTITY, /* of the primary key: n_keys of them; asked for by a unique key NULL where the row is absent */

    STATEMENT_ANY_SNAPSHOT = 0, /* in each row */
    STATEMENT_ANY_KEY = 1,      /* NULL: there is no row at all */
};

/* Behind those: asked for by a unique key, the identities of the values asked; then the row: one column of JSON, or all
 * readable columns; then what it has left, of a table with left_sql; then the guard. */
static inline int statement_snapshot_at(const struct statement *statement) {
    return statement->way == STATEMENT_ANY ? STATEMENT_ANY_SNAPSHOT : STATEMENT_SNAPSHOT;
}
static inline int statement_asked_at(const struct statement *statement) {
    return STATEMENT_IDENTITY + statement->table->n_keys;
}
static inline int statement_row_at(const struct statement *statement) {
    if (statement->way == STATEMENT_ANY) return STATEMENT_ANY_KEY + 1;
    return statement_asked_at(statement) + (statement->unique ? statement->unique->n_columns : 0);
}

/* Is the row's JSON to be composed of its columns? */
static inline bool statement_is_spread(const struct statement *statement) {
    return statement->form == FORM_STRING && statement->table->json && !statement->whole;
}

/* How many columns the row itself takes. */
static inline int statement_row_columns(const struct statement *statement) {
    return statement->form == FORM_STRING && !statement_is_spread(statement)
               ? 1
               : statement->table->n_columns;
}
static inline int statement_left_at(const struct statement *statement) {
    return statement_row_at(statement) + statement_row_columns(statement);
}

/* A row's JSON is composed of the columns that were described; the server's own would have a column that was added since. So the
 * table's columns as they are stand at the end of the result, as NULLs. */
static inline bool statement_is_guarded(const struct statement *statement) {
    return statement_is_spread(statement) && statement->table->all_columns;
}
static inline int statement_guard_at(const struct statement *statement) {
    return statement_left_at(statement) + (statement->table->left_sql ? 1 : 0);
}

/* Appends the SQL, NUL-terminated. */
void statement_compose(const struct statement *statement, struct buf *sql);

#endif

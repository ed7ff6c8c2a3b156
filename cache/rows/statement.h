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
 * seen by the snapshot. The texts are cast by PostgreSQL, which alone knows what they mean. Pure. */
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

/* Columns of the result. */
enum {
    STATEMENT_ORDINAL,
    STATEMENT_SNAPSHOT,
    STATEMENT_PRESENT,
    STATEMENT_IDENTITY, /* of the primary key: n_keys of them; asked for by a unique key NULL where the row is absent */
};

/* Behind those: asked for by a unique key, the identities of the values asked; then the row: one column of JSON, or all
 * readable columns; then what it has left, of a table with left_sql. */
static inline int statement_asked_at(const struct table *table) {
    return STATEMENT_IDENTITY + table->n_keys;
}
static inline int statement_row_at(const struct table *table, const struct unique_key *unique) {
    return statement_asked_at(table) + (unique ? unique->n_columns : 0);
}

/* How many columns the row itself takes. */
static inline int statement_row_columns(const struct table *table, enum key_form form) {
    return form == FORM_STRING ? 1 : table->n_columns;
}

/* Appends the SQL, NUL-terminated. `unique` NULL: by the primary key. */
void statement_compose(const struct table *table, const struct unique_key *unique,
                       enum key_form form, struct buf *sql);

/* The same for a single key: its parameters are the values as they are. Not of a named query. */
void statement_compose_one(const struct table *table, const struct unique_key *unique,
                           enum key_form form, struct buf *sql);

/* A text[] literal: begin, then each value, then end (which terminates it with a NUL). */
void statement_array_begin(struct buf *literal);
void statement_array_add(struct buf *literal, struct slice value);
void statement_array_end(struct buf *literal);

#endif

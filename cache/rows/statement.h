/* statement.h: the SQL that reads rows of a table by primary key: one statement for any number of keys.
 *
 *     SELECT k.i, <snapshot, in the first row>, <row is there>, <identity of each key column>, <the row in its form>
 *     FROM ROWS FROM (unnest($1::text[]), ...) WITH ORDINALITY AS k(v1, ..., i)
 *     LEFT JOIN LATERAL (SELECT ... FROM table WHERE key = k.v1::type ... LIMIT 1) t ON true
 *
 * One row comes for each key asked, in the order of asking, whether its row is there or not; so absent ones too have been
 * seen by the snapshot. The texts are cast by PostgreSQL, which alone knows what they mean. Pure. */
#ifndef FRESHET_CACHE_STATEMENT_H
#define FRESHET_CACHE_STATEMENT_H

#include "base/buf.h"
#include "cache/rows/keyspace.h"
#include "cache/rows/tablemap.h"

/* Columns of the result. */
enum {
    STATEMENT_ORDINAL,
    STATEMENT_SNAPSHOT,
    STATEMENT_PRESENT,
    STATEMENT_IDENTITY, /* n_keys of them; then the row: one column of JSON, or all readable columns;
                         then what it has left, of a table with left_sql */
};

/* How many columns the row itself takes. */
uint16_t statement_row_columns(const struct table *table, enum key_form form);

/* Appends the SQL, NUL-terminated. */
void statement_compose(const struct table *table, enum key_form form, struct buf *sql);

/* A text[] literal: begin, then each value, then end (which terminates it with a NUL). */
void statement_array_begin(struct buf *literal);
void statement_array_add(struct buf *literal, struct slice value);
void statement_array_end(struct buf *literal);

#endif

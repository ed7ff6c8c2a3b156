/* named.h: named queries of the configuration: from a key's parameters to a result, over the same way as rows of tables.
 *
 * To the table map, the fills and the store a named query is a table: its parameters are its key columns, its result is the
 * one row of a key, in its JSON form. What a change of a table touches of it is its dependents' business (tablemap.h).
 *
 *     named_compose(table, &sql);                       the statement that answers any number of keys (of a `single` one: one)
 *
 * Pure. */
#ifndef FRESHET_CACHE_NAMED_H
#define FRESHET_CACHE_NAMED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/namedquery.h"
#include "cache/cache.h"

struct table;

struct named_query {
    enum cache_shape shape;
    const char *sql;
    uint64_t max_result_bytes; /* a bigger one is answered, and not stored */
    bool single;               /* its SQL takes one key's parameters a statement */
    uint16_t n_columns;        /* of its result */
    const char *const *columns;
};

/* A hash of two columns: each row is a field and its value. Of any other number: the columns of the first row. */
static inline bool named_has_pairs(const struct named_query *query) {
    return query->n_columns == 2;
}

/* The result's columns are those of statement.h. Appends the SQL, NUL-terminated. */
void named_compose(const struct table *table, struct buf *sql);

#endif

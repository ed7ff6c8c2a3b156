/* batch.h: rows of one table by one key in one form, which one statement reads; and where in its result each of them is.
 *
 *     switch (batch_place(&batch)) ...                      once, when the result is here
 *     row = batch_row(&batch, i);  if (batch_row_is_there(&row)) ...
 *
 * On the loader's thread. */
#ifndef FRESHET_CACHE_BATCH_H
#define FRESHET_CACHE_BATCH_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "cache/rows/statement.h"

struct fill;

struct batch {
    struct statement statement; /* its table lies in a map that the fills hold */
    uint32_t n_fills;
    struct fill **fills; /* into the unit's own array */
    PGresult *result;    /* NULL: there is none */
    int32_t *places;     /* of STATEMENT_ANY: the result's row of each fill, or -1 */
};

enum batch_placed { /* the later, the worse */
                    BATCH_PLACED,
                    BATCH_STRANGE, /* there is a row that nobody has asked for in the text that its key has */
                    BATCH_CHANGED, /* the table is not as it was described: other columns, or of other types */
                    BATCH_TORN, /* rows are missing */
};

/* STATEMENT_ONE, EACH or ANY, for fills that may share a statement. */
enum statement_way batch_way(struct fill *const *fills, uint32_t n);
enum batch_placed batch_place(struct batch *batch);
/* Frees result and places. */
void batch_deinit(struct batch *batch);

/* What the database has said of one fill. */
struct batch_row {
    const struct statement *statement;
    const PGresult *result;
    int place; /* -1: there is no such row */
};

static inline struct batch_row batch_row(const struct batch *batch, uint32_t i) {
    return (struct batch_row){&batch->statement, batch->result,
                              batch->places ? batch->places[i] : (int)i};
}

static inline struct slice batch_row_field(const struct batch_row *row, int column) {
    return slice_make(PQgetvalue(row->result, row->place, column),
                      (size_t)PQgetlength(row->result, row->place, column));
}

static inline bool batch_row_is_there(const struct batch_row *row) {
    if (row->statement->way == STATEMENT_ANY) return row->place >= 0;
    return *PQgetvalue(row->result, row->place, STATEMENT_PRESENT) == 't';
}

#endif

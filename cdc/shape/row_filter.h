/* row_filter.h: `where` of cdc.shape: which rows of a table are published.
 *
 *     row_filter_pushable(where, table)                                may it stand in a publication?
 *     struct row_filter *filter = row_filter_create(where, &relation, table);
 *     switch (row_filter_test(filter, conn, row, whole, err)) ...      else we ask the server, row by row
 *
 * A publication's filter may name columns of the replica identity alone: with others the application's own UPDATE and
 * DELETE would fail. What cannot stand there is evaluated by a SELECT over the row's values, so that it means what it
 * means in SQL; that is a round trip a row. The feed's thread. */
#ifndef FRESHET_CDC_ROW_FILTER_H
#define FRESHET_CDC_ROW_FILTER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/change.h"

/* Does the text name the column? (In doubt it does.) */
bool row_filter_mentions(const char *where, const char *column);

/* True: comparisons of columns of the replica identity with literals, joined by AND, OR, NOT; of types of PostgreSQL's
 * own. What else a publication would take is not worth a wrong guess. */
bool row_filter_pushable(const char *where, const struct catalog_table *table);

enum row_verdict {
    ROW_IN,
    ROW_OUT,
    ROW_UNKNOWN,     /* a value that the filter needs is not in the stream */
    ROW_UNDECIDABLE, /* *err: the expression failed on this row */
    ROW_BROKEN,      /* *err: the connection did */
};

struct row_filter;

/* `table` as the catalog has it; both need not outlive the call. `serial`: another one for each filter of a connection. */
struct row_filter *row_filter_create(const char *where, const struct relation *relation,
                                     const struct catalog_table *table, uint64_t serial);
void row_filter_destroy(struct row_filter **filter);
/* `identity_only`: the row has the identity's columns alone. `whole`: where its unchanged values are, or NULL. */
enum row_verdict row_filter_test(struct row_filter *filter, PGconn *conn, const struct value *row,
                                 const struct value *whole, bool identity_only, struct error *err);

#endif

/* coverage.h: which tables, and which columns, the cache's publication brings into the change stream. For a plan of the tables (tablemap.h), at one poll
 * of the catalog.
 *
 *     struct coverage coverage = {.streams = true, .publication = publication, .places = coverage_load(conn, name, err)};
 *     plan = {.uncovered = coverage_refusal, .coverage = coverage_place, .streamed = coverage_has_column, .arg = &coverage}; */
#ifndef FRESHET_CACHE_COVERAGE_H
#define FRESHET_CACHE_COVERAGE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/catalog.h"
#include "base/error.h"
#include "base/publication.h"

/* Borrowed, all of it. */
struct coverage {
    bool streams; /* false: coherence by TTL alone, where nothing has to be covered */
    const struct publication *publication;
    const PGresult *places; /* coverage_load's */
};

/* The caller clears it; NULL on error. */
PGresult *coverage_load(PGconn *conn, const char *publication, struct error *err);

/* `arg` is a struct coverage. Why the table's changes do not come, or NULL; asked only of tables with a primary key. */
const char *coverage_refusal(void *arg, const struct catalog_table *table);
/* Does the stream show this column (by its place)? */
bool coverage_has_column(void *arg, const struct catalog_table *table, uint16_t column);
/* Of its place in the publication: differs after it was taken out and put back. */
uint64_t coverage_place(void *arg, const struct catalog_table *table);

#endif

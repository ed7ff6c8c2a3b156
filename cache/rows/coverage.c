#include "cache/rows/coverage.h"

#include <stdlib.h>

#include "base/pg.h"

static bool has_attnum(const struct publication_member *member, int16_t attnum) {
    if (member->n_columns == 0) return true;
    for (uint16_t i = 0; i < member->n_columns; i++) {
        if (member->attnums[i] == attnum) return true;
    }
    return false;
}

const char *coverage_refusal(void *arg, const struct catalog_table *table) {
    const struct coverage *coverage = arg;
    const struct publication *publication = coverage->publication;
    if (!coverage->streams) return NULL;
    if (table->unlogged) return "changes of an unlogged table are not in the change stream";
    for (uint16_t i = 0; i < table->primary_key->n_columns; i++) {
        if (!table->columns[table->primary_key->columns[i]].in_identity)
            return "its replica identity lacks the primary key";
    }
    if (!publication || !publication->exists) return "there is no publication of the cache";
    if (!publication->inserts || !publication->updates || !publication->deletes ||
        !publication->truncates)
        return "the cache's publication does not publish all operations";
    if (publication->all_tables) return NULL;
    const struct publication_member *member = publication_find(publication, table->oid);
    if (!member) return "it is not in the cache's publication";
    if (member->row_filter) return "the cache's publication filters its rows";
    if (table->kind == 'p' && !publication->via_root)
        return "the cache's publication does not publish it by its root";
    for (uint16_t i = 0; i < table->primary_key->n_columns; i++) {
        if (!has_attnum(member, table->columns[table->primary_key->columns[i]].attnum))
            return "the cache's publication leaves its key out";
    }
    return NULL;
}

bool coverage_has_column(void *arg, const struct catalog_table *table, uint16_t column) {
    const struct coverage *coverage = arg;
    const struct publication *publication = coverage->publication;
    if (!coverage->streams || !publication || publication->all_tables) return true;
    const struct publication_member *member = publication_find(publication, table->oid);
    return member && has_attnum(member, table->columns[column].attnum);
}

/* Taken out of the publication and put back between two polls, a table's changes in between never came. Its rows in the
 * catalog are others then. */
PGresult *coverage_load(PGconn *conn, const char *publication, struct error *err) {
    const char *params[] = {publication};
    return pg_query_params(conn,
                           "SELECT r.prrelid, hashtextextended(concat_ws(' ', p.oid, p.xmin, "
                           "r.oid, r.xmin), 0) FROM pg_catalog.pg_publication p "
                           "JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid "
                           "WHERE p.pubname = $1",
                           1, params, err);
}

uint64_t coverage_place(void *arg, const struct catalog_table *table) {
    const struct coverage *coverage = arg;
    for (int i = 0; coverage->places && i < PQntuples(coverage->places); i++) {
        if (strtoul(PQgetvalue(coverage->places, i, 0), NULL, 10) == table->oid)
            return (uint64_t)strtoll(PQgetvalue(coverage->places, i, 1), NULL, 10);
    }
    return 0;
}

#include "connectors/refresh/matviews.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"

/* Of each view, how deep it reads, and one row for each table that it reads. A deeper one reads those that are less deep, so
 * their order is that of the depths. */
static const char sql[] =
    "WITH RECURSIVE given AS (SELECT c.oid, n.nspname, c.relname, c.relispopulated, c.relowner, "
    "EXISTS (SELECT FROM pg_catalog.pg_index x WHERE x.indrelid = c.oid AND x.indisunique "
    "AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL) AS concurrent "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind = 'm' AND n.nspname || '.' || c.relname = ANY ($1::pg_catalog.text[])), "
    "edges AS (SELECT DISTINCT r.ev_class AS reader, d.refobjid AS read "
    "FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.objid = r.oid "
    "AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass "
    "AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class), "
    "reads(view, oid, depth) AS (SELECT g.oid, g.oid, 0 FROM given g UNION "
    "SELECT reads.view, e.read, reads.depth + 1 FROM reads JOIN edges e ON e.reader = reads.oid) "
    "SELECT g.nspname, g.relname, g.relispopulated, g.concurrent, "
    "pg_catalog.pg_has_role(g.relowner, 'USAGE'), "
    "(SELECT max(depth) FROM reads WHERE reads.view = g.oid) AS depth, t.oid FROM given g "
    "LEFT JOIN LATERAL (SELECT DISTINCT coalesce("
    "pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid, c.oid) AS oid FROM reads JOIN "
    "pg_catalog.pg_class c ON c.oid = reads.oid WHERE reads.view = g.oid "
    "AND c.relkind IN ('r', 'p')) AS t ON true ORDER BY depth, g.nspname, g.relname";

enum { COL_SCHEMA, COL_NAME, COL_POPULATED, COL_CONCURRENT, COL_OWNED, COL_DEPTH, COL_TABLE };

static char *qualify(const char *name) {
    return strchr(name, '.') ? mem_strdup(name) : mem_printf("public.%s", name);
}

static PGresult *query(PGconn *conn, uint32_t n, const char *const *names, struct error *err) {
    struct buf literal = {0};
    pgarray_begin(&literal);
    for (uint32_t i = 0; i < n; i++) {
        char *name = qualify(names[i]);
        pgarray_add(&literal, slice_from(name));
        mem_free(name);
    }
    pgarray_end(&literal);
    const char *params[] = {literal.data};
    PGresult *rows = pg_query_params(conn, sql, 1, params, err);
    buf_deinit(&literal);
    return rows;
}

static struct matview *find(const struct matviews *views, const char *qualified) {
    for (uint32_t i = 0; i < views->n; i++) {
        if (strcmp(views->views[i].qualified, qualified) == 0) return &views->views[i];
    }
    return NULL;
}

static void take_row(struct matviews *views, const PGresult *rows, int row) {
    const char *schema = PQgetvalue(rows, row, COL_SCHEMA);
    const char *name = PQgetvalue(rows, row, COL_NAME);
    char *qualified = mem_printf("%s.%s", schema, name);
    struct matview *view = find(views, qualified);
    if (!view) {
        view = &views->views[views->n++];
        *view = (struct matview){.schema = mem_strdup(schema),
                                 .name = mem_strdup(name),
                                 .qualified = mem_strdup(qualified),
                                 .populated = PQgetvalue(rows, row, COL_POPULATED)[0] == 't',
                                 .concurrent = PQgetvalue(rows, row, COL_CONCURRENT)[0] == 't',
                                 .owned = PQgetvalue(rows, row, COL_OWNED)[0] == 't'};
    }
    mem_free(qualified);
    if (PQgetisnull(rows, row, COL_TABLE)) return;
    view->tables = mem_realloc(view->tables, (view->n_tables + 1) * sizeof *view->tables);
    view->tables[view->n_tables++] = (uint32_t)strtoul(PQgetvalue(rows, row, COL_TABLE), NULL, 10);
}

static bool check_all(const struct matviews *views, uint32_t n, const char *const *names,
                      struct error *err) {
    for (uint32_t i = 0; i < n; i++) {
        char *name = qualify(names[i]);
        const struct matview *view = find(views, name);
        if (!view)
            error_set(err, ERROR_CONFIG, false, "there is no materialized view %s", name);
        else if (!view->concurrent)
            error_set(
                err, ERROR_CONFIG, false,
                "materialized view %s has no unique index on columns, without which it cannot "
                "be refreshed while it is read; CREATE UNIQUE INDEX ON %s (...) mends it",
                name, name);
        bool ok = view && view->concurrent;
        mem_free(name);
        if (!ok) return false;
    }
    return true;
}

struct matviews *matviews_load(PGconn *conn, uint32_t n, const char *const *names,
                               struct error *err) {
    PGresult *rows = query(conn, n, names, err);
    if (!rows) return NULL;
    struct matviews *views = mem_zalloc(sizeof *views);
    views->views = mem_calloc(n + 1u, sizeof *views->views);
    for (int row = 0; row < PQntuples(rows); row++)
        take_row(views, rows, row);
    PQclear(rows);
    if (!check_all(views, n, names, err)) matviews_destroy(&views);
    return views;
}

void matviews_destroy(struct matviews **views) {
    struct matviews *old = *views;
    *views = NULL;
    if (!old) return;
    for (uint32_t i = 0; i < old->n; i++) {
        mem_free(old->views[i].schema);
        mem_free(old->views[i].name);
        mem_free(old->views[i].qualified);
        mem_free(old->views[i].tables);
    }
    mem_free(old->views);
    mem_free(old);
}

bool matviews_reads(const struct matview *view, uint32_t table) {
    for (uint32_t i = 0; i < view->n_tables; i++) {
        if (view->tables[i] == table) return true;
    }
    return false;
}

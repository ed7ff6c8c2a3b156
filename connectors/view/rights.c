#include "connectors/view/rights.h"

#include <string.h>

#include "base/mem.h"
#include "base/pg.h"

/* Of a table: is it there, whose, and which rights to it are lacking. */
static const char sql[] =
    "SELECT n.oid, pg_catalog.has_schema_privilege(n.oid, 'USAGE'), "
    "pg_catalog.has_schema_privilege(n.oid, 'CREATE'), c.oid, c.relkind IN ('r', 'p'), "
    "pg_catalog.pg_has_role(c.relowner, 'USAGE'), "
    "(SELECT pg_catalog.string_agg(p, ', ') FROM pg_catalog.unnest($3::pg_catalog.text[]) p "
    "WHERE NOT pg_catalog.has_table_privilege(c.oid, p)), current_user "
    "FROM (VALUES ($1::pg_catalog.text, $2::pg_catalog.text)) g(s, t) "
    "LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = g.s "
    "LEFT JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = g.t";
enum {
    COL_SCHEMA,
    COL_MAY_USE,
    COL_MAY_CREATE,
    COL_TABLE,
    COL_IS_TABLE,
    COL_OWNED,
    COL_LACKING,
    COL_USER
};

struct place {
    PGconn *conn;
    char *schema;
    char *table;
};

static bool is_true(const PGresult *row, int column) {
    return !PQgetisnull(row, 0, column) && PQgetvalue(row, 0, column)[0] == 't';
}

static bool judge_table(const struct place *place, const char *table, const PGresult *row,
                        struct error *err) {
    const char *user = PQgetvalue(row, 0, COL_USER);
    if (PQgetisnull(row, 0, COL_SCHEMA))
        return error_set(err, ERROR_CONFIG, false, "there is no schema \"%s\"", place->schema);
    if (!is_true(row, COL_MAY_USE))
        return error_set(err, ERROR_REFUSED, false,
                         "role \"%s\" may not use schema \"%s\"; GRANT USAGE, CREATE mends it",
                         user, place->schema);
    if (PQgetisnull(row, 0, COL_TABLE))
        return is_true(row, COL_MAY_CREATE) ||
               error_set(err, ERROR_REFUSED, false,
                         "role \"%s\" may not make %s in schema \"%s\"; GRANT CREATE ON SCHEMA "
                         "mends it",
                         user, table, place->schema);
    if (!is_true(row, COL_IS_TABLE))
        return error_set(err, ERROR_CONFIG, false, "%s.%s is no table", place->schema, table);
    return PQgetisnull(row, 0, COL_LACKING) ||
           error_set(err, ERROR_REFUSED, false,
                     "role \"%s\" lacks the right to %s %s.%s; GRANT mends it", user,
                     PQgetvalue(row, 0, COL_LACKING), place->schema, table);
}

/* *there, *owned: of the table. */
static bool check_table(const struct place *place, const char *table, const char *rights,
                        bool *there, bool *owned, struct error *err) {
    const char *params[] = {place->schema, table, rights};
    PGresult *row = pg_query_params(place->conn, sql, 3, params, err);
    if (!row) return false;
    bool may = judge_table(place, table, row, err);
    *there = !PQgetisnull(row, 0, COL_TABLE);
    *owned = is_true(row, COL_OWNED);
    PQclear(row);
    return may;
}

static bool has_column(const PGresult *rows, const char *name) {
    for (int i = 0; i < PQntuples(rows); i++) {
        if (strcmp(PQgetvalue(rows, i, 0), name) == 0) return true;
    }
    return false;
}

static bool gives_column(const struct shape *shape, const char *name) {
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (strcmp(shape->columns[i].name, name) == 0) return true;
    }
    return false;
}

/* Columns that it lacks are added, by its owner; those that nothing is written to must do without. */
static bool check_columns(const struct place *place, const struct shape *shape, bool owned,
                          struct error *err) {
    const char *params[] = {place->schema, place->table};
    PGresult *rows = pg_query_params(
        place->conn,
        "SELECT a.attname, a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' "
        "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped",
        2, params, err);
    if (!rows) return false;
    bool fits = true;
    for (uint16_t i = 0; i < shape->n_columns && fits && !owned; i++)
        fits = has_column(rows, shape->columns[i].name) ||
               error_set(err, ERROR_REFUSED, false,
                         "%s.%s lacks the column \"%s\", and its owner alone may add it",
                         place->schema, place->table, shape->columns[i].name);
    for (int i = 0; i < PQntuples(rows) && fits; i++) {
        const char *name = PQgetvalue(rows, i, 0);
        bool demands = PQgetvalue(rows, i, 1)[0] == 't';
        fits = !demands || gives_column(shape, name) ||
               error_set(err, ERROR_CONFIG, false,
                         "%s.%s has a column \"%s\" that is NOT NULL, and that rows come without: "
                         "drop the table, which is made anew, or the column",
                         place->schema, place->table, name);
    }
    PQclear(rows);
    return fits;
}

static bool check_place(const struct place *place, const struct shape *shape, struct error *err) {
    bool there;
    bool owned;
    bool ignored[2];
    if (!check_table(place, "freshet_positions", "{SELECT,INSERT,UPDATE}", &ignored[0], &ignored[1],
                     err))
        return false;
    if (!check_table(place, place->table, "{SELECT,INSERT,UPDATE,DELETE}", &there, &owned, err))
        return false;
    return !there || !shape || check_columns(place, shape, owned, err);
}

bool view_probe(const struct connector_config *config, const struct shape *shape,
                const char **option, struct error *err) {
    *option = "url";
    const char *url = config->url ? config->url : config->database_url;
    struct place place = {
        .conn = pg_connect(url, &(struct pg_options){.application_name = "freshet check"}, err)};
    if (!place.conn) return false;
    const char *dot = strchr(config->into, '.');
    place.schema = dot ? mem_slicedup(slice_make(config->into, (size_t)(dot - config->into)))
                       : mem_strdup("public");
    place.table = mem_strdup(dot ? dot + 1 : config->into);
    *option = "into";
    bool fits = check_place(&place, shape, err);
    PQfinish(place.conn);
    mem_free(place.schema);
    mem_free(place.table);
    return fits;
}

#include "connectors/source/query_plan.h"

#include <ctype.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "base/pg.h"

static bool invalid(const struct connector_query *query, struct error *err, const char *what) {
    return error_set(err, ERROR_CONFIG, false, "query %s: %s", query->name, what);
}

/* ---- depends_on ---- */

static const struct catalog_table *find_table(const struct catalog *catalog, const char *written) {
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        if (pattern_match(written, catalog->tables[i].schema, catalog->tables[i].name))
            return &catalog->tables[i];
    }
    return NULL;
}

static const struct catalog_column *find_column(const struct catalog_table *table,
                                                const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return &table->columns[i];
    }
    return NULL;
}

static bool check_column(const struct connector_query *query, const struct catalog_table *table,
                         const char *name, struct error *err) {
    const struct catalog_column *column = find_column(table, name);
    if (!column)
        return error_set(err, ERROR_CONFIG, false, "query %s: there is no column \"%s\" in %s.%s",
                         query->name, name, table->schema, table->name);
    if (column->in_identity) return true;
    return error_set(
        err, ERROR_CONFIG, false,
        "query %s: the old value of %s is not in the change stream of %s.%s, so a key "
        "that a row leaves would not be known; ALTER TABLE %s.%s REPLICA IDENTITY FULL "
        "mends it",
        query->name, name, table->schema, table->name, table->schema, table->name);
}

static uint16_t find_parameter(const struct query_plan *plan, const char *name) {
    uint16_t i = 0;
    while (i < plan->key.n_parameters && !slice_equal(plan->key.parameters[i], slice_from(name)))
        i++;
    return i;
}

/* By their names where these are the parameters', else as they stand. */
static void order_columns(const struct query_plan *plan, struct dependency *dependency) {
    char *ordered[NAMED_MAX_PARAMETERS] = {0};
    for (uint16_t i = 0; i < dependency->n_columns; i++) {
        uint16_t at = find_parameter(plan, dependency->columns[i]);
        if (at == plan->key.n_parameters || ordered[at]) return;
        ordered[at] = dependency->columns[i];
    }
    memcpy(dependency->columns, ordered, dependency->n_columns * sizeof *ordered);
}

static bool take_columns(const struct connector_query *query, const struct query_plan *plan,
                         struct dependency *dependency, const char *text, struct error *err) {
    while (*text) {
        text += strspn(text, ", ");
        size_t len = strcspn(text, ",");
        size_t kept = len;
        while (kept > 0 && text[kept - 1] == ' ')
            kept--;
        if (kept && dependency->n_columns < NAMED_MAX_PARAMETERS)
            dependency->columns[dependency->n_columns++] = mem_slicedup(slice_make(text, kept));
        text += len;
    }
    if (dependency->n_columns != plan->key.n_parameters)
        return error_set(err, ERROR_CONFIG, false,
                         "query %s: depends_on %s names %u columns, and the key has %u parameters",
                         query->name, dependency->table, dependency->n_columns,
                         plan->key.n_parameters);
    order_columns(plan, dependency);
    return true;
}

/* {column} becomes $1 of the column's type; the result's columns become texts. */
static bool take_sql(const struct connector_query *query, const struct query_plan *plan,
                     const struct catalog_table *table, struct dependency *dependency,
                     const char *text, struct error *err) {
    struct buf sql = {0};
    bool ok = true;
    buf_append_text(&sql, "SELECT DISTINCT ");
    for (uint16_t i = 1; i <= plan->key.n_parameters; i++)
        buf_printf(&sql, "%sq.c%u::pg_catalog.text", i > 1 ? ", " : "", i);
    buf_append_text(&sql, " FROM (");
    while (*text && ok) {
        size_t len = *text == '{' ? strcspn(text, "}") : 0;
        if (!len || !text[len] || dependency->n_columns == NAMED_MAX_PARAMETERS) {
            buf_append_char(&sql, *text++);
            continue;
        }
        char *name = mem_slicedup(slice_make(text + 1, len - 1));
        dependency->columns[dependency->n_columns++] = name;
        ok = check_column(query, table, name, err);
        if (ok)
            buf_printf(&sql, "($%u::pg_catalog.text::%s)", dependency->n_columns,
                       find_column(table, name)->type_name);
        text += len + 1;
    }
    buf_append_text(&sql, ") AS q(");
    for (uint16_t i = 1; i <= plan->key.n_parameters; i++)
        buf_printf(&sql, "%sc%u", i > 1 ? ", " : "", i);
    buf_append_char(&sql, ')');
    dependency->sql = mem_strdup(buf_text(&sql));
    buf_deinit(&sql);
    return ok;
}

static bool take_dependency(const struct connector_query *query, const struct query_plan *plan,
                            const struct catalog *catalog, uint32_t i, struct error *err) {
    struct dependency *dependency = &plan->dependencies[i];
    const char *written = query->dependencies[i].table;
    const char *text = query->dependencies[i].columns;
    const struct catalog_table *table = find_table(catalog, written);
    if (!table)
        return error_set(err, ERROR_CONFIG, false, "query %s: depends_on: there is no table %s",
                         query->name, written);
    dependency->schema = mem_strdup(table->schema);
    dependency->table = mem_strdup(table->name);
    dependency->columns = mem_calloc(NAMED_MAX_PARAMETERS, sizeof *dependency->columns);
    if (!catalog_table_publishable(table))
        return error_set(
            err, ERROR_CONFIG, false,
            "query %s: the changes of %s cannot be followed: it has no primary key, or "
            "no replica identity in force",
            query->name, written);
    if (strcmp(text, "all") == 0) {
        dependency->kind = DEPENDS_ALL;
        return true;
    }
    if (named_depends_by_sql(text)) {
        dependency->kind = DEPENDS_SQL;
        return take_sql(query, plan, table, dependency, text, err);
    }
    dependency->kind = DEPENDS_COLUMNS;
    if (!take_columns(query, plan, dependency, text, err)) return false;
    for (uint16_t c = 0; c < dependency->n_columns; c++)
        if (!check_column(query, table, dependency->columns[c], err)) return false;
    return true;
}

static bool take_dependencies(const struct connector_query *query, struct query_plan *plan,
                              const struct catalog *catalog, struct error *err) {
    plan->n_dependencies = query->n_dependencies;
    plan->dependencies = mem_calloc(query->n_dependencies + 1u, sizeof *plan->dependencies);
    bool enumerable = false;
    for (uint32_t i = 0; i < query->n_dependencies; i++) {
        if (!take_dependency(query, plan, catalog, i, err)) return false;
        enumerable |= plan->dependencies[i].kind == DEPENDS_COLUMNS;
    }
    return enumerable || invalid(query, err,
                                 "depends_on names no table with the columns that hold the "
                                 "parameters, so its keys cannot be listed");
}

/* ---- the query ---- */

static void put_number(void *arg, unsigned number, struct buf *out) {
    (void)arg;
    buf_printf(out, "$%u", number);
}

static char *type_name(PGconn *conn, uint32_t oid, int typmod) {
    char numbers[2][16];
    snprintf(numbers[0], sizeof numbers[0], "%u", oid);
    snprintf(numbers[1], sizeof numbers[1], "%d", typmod);
    const char *params[] = {numbers[0], numbers[1]};
    struct error err;
    PGresult *row = pg_query_params(
        conn, "SELECT pg_catalog.format_type($1::pg_catalog.oid, $2::pg_catalog.int4)", 2, params,
        &err);
    char *name = mem_strdup(row ? PQgetvalue(row, 0, 0) : "text");
    PQclear(row);
    return name;
}

static PGresult *describe(const struct connector_query *query, PGconn *conn, struct error *err) {
    struct buf sql = {0};
    named_substitute(query->sql, put_number, NULL, &sql);
    PGresult *result = PQprepare(conn, "", buf_text(&sql), 0, NULL);
    buf_deinit(&sql);
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        PQclear(result);
        result = PQdescribePrepared(conn, "");
    }
    if (PQresultStatus(result) == PGRES_COMMAND_OK) return result;
    pg_error(err, conn, result, "describing it");
    error_prefix(err, "query %s", query->name);
    PQclear(result);
    return NULL;
}

static void free_columns(struct shape_column *columns, uint16_t n) {
    for (uint16_t i = 0; i < n; i++) {
        mem_free((void *)(uintptr_t)columns[i].name);
        mem_free((void *)(uintptr_t)columns[i].type_name);
    }
    mem_free(columns);
}

static struct shape_column make_column(PGconn *conn, struct slice name, uint32_t oid, int typmod) {
    struct shape_column column = {.class = CLASS_KEYWORD};
    (void)shape_builtin_type(oid, &column);
    column.name = mem_slicedup(name);
    column.type_name = type_name(conn, oid, typmod);
    return column;
}

/* A changed query is another one: what was kept of it is void. */
static char *shape_name(const struct connector_query *query) {
    uint64_t hash = XXH3_64bits_withSeed(query->sql, strlen(query->sql), query->many);
    hash = XXH3_64bits_withSeed(query->key, strlen(query->key), hash);
    return mem_printf("%s@%08x", query->name, (unsigned)hash);
}

static void take_shape(const struct connector_query *query, struct query_plan *plan, PGconn *conn,
                       const PGresult *described) {
    uint16_t n_keys = plan->key.n_parameters;
    plan->n_results = (uint16_t)PQnfields(described);
    plan->from = mem_calloc(plan->n_results + 1u, sizeof *plan->from);
    struct shape_column *columns = mem_calloc(n_keys + plan->n_results + 1u, sizeof *columns);
    uint16_t keys[NAMED_MAX_PARAMETERS];
    uint16_t n = 0;
    for (; n < n_keys; n++) {
        keys[n] = n;
        columns[n] = make_column(conn, plan->key.parameters[n], PQparamtype(described, n), -1);
    }
    for (uint16_t i = 0; i < plan->n_results; i++) {
        const char *name = PQfname(described, i);
        plan->from[i] = find_parameter(plan, name);
        if (plan->from[i] < n_keys) continue;
        plan->from[i] = n;
        columns[n++] =
            make_column(conn, slice_from(name), PQftype(described, i), PQfmod(described, i));
    }
    char *name = shape_name(query);
    plan->shape = shape_create("query", name, n, columns, n_keys, keys);
    plan->shape->many = query->many;
    plan->shape->computed = true;
    mem_free(name);
    free_columns(columns, n);
}

/* A key that has lost its result is known by its parameters alone: so they must tell its routing. */
static bool take_parts(const struct connector_query *query, const struct query_plan *plan,
                       struct error *err) {
    if (!shape_set_parts(plan->shape, query->routing, query->document))
        return invalid(query, err, "it gives no column of the name that routing or document has");
    return !plan->shape->routing_apart || invalid(query, err, "routing is none of its parameters");
}

struct composing {
    char **types;
    unsigned n;
};

static void put_value(void *arg, unsigned number, struct buf *out) {
    const struct composing *composing = arg;
    if (number < 1 || number > composing->n)
        buf_printf(out, "$%u", number); /* PostgreSQL will say */
    else
        buf_printf(out, "(freshet_k.v%u::%s)", number, composing->types[number - 1]);
}

/* OFFSET 0 or LIMIT 1 keep the query whole, so that its ORDER BY holds for the rows of a key. */
static void compose_rows(const struct connector_query *query, struct query_plan *plan) {
    struct buf sql = {0};
    char *types[NAMED_MAX_PARAMETERS];
    uint16_t n_keys = plan->key.n_parameters;
    for (uint16_t i = 0; i < n_keys; i++)
        types[i] = (char *)(uintptr_t)plan->shape->columns[i].type_name;
    buf_append_text(&sql, "SELECT freshet_k.i, freshet_q.* FROM ROWS FROM (");
    for (uint16_t i = 1; i <= n_keys; i++)
        buf_printf(&sql, "%spg_catalog.unnest($%u::pg_catalog.text[])", i > 1 ? ", " : "", i);
    buf_append_text(&sql, ") WITH ORDINALITY AS freshet_k(");
    for (uint16_t i = 1; i <= n_keys; i++)
        buf_printf(&sql, "v%u, ", i);
    buf_append_text(&sql, "i) CROSS JOIN LATERAL (SELECT * FROM (");
    named_substitute(query->sql, put_value, &(struct composing){types, n_keys}, &sql);
    buf_append_text(&sql, ") AS freshet_r ");
    buf_append_text(&sql, query->many ? "OFFSET 0" : "LIMIT 1");
    buf_append_text(&sql, ") AS freshet_q");
    plan->rows_sql = mem_strdup(buf_text(&sql));
    buf_deinit(&sql);
}

/* ---- keys that columns of another type hold ---- */

enum {
    INT8_OID = 20,
    INT2_OID = 21,
    INT4_OID = 23,
    TEXT_OID = 25,
    CHAR_OID = 1042,
    VARCHAR_OID = 1043
};

static bool is_int(uint32_t oid) { return oid == INT2_OID || oid == INT4_OID || oid == INT8_OID; }
static bool is_text(uint32_t oid) { return oid == TEXT_OID || oid == VARCHAR_OID; }

/* Does the stream have the column's values as the parameter's are written? Those of character(n) it pads. */
static bool is_written_alike(const struct catalog_column *column, uint32_t parameter) {
    uint32_t oid = column->base_type_oid;
    if (oid == CHAR_OID) return false;
    return oid == parameter || (is_int(oid) && is_int(parameter)) ||
           (is_text(oid) && is_text(parameter));
}

/* Else SQL tells the key, from the row's columns. */
static void convert_keys(struct query_plan *plan, const struct catalog *catalog,
                         const PGresult *described) {
    for (uint32_t d = 0; d < plan->n_dependencies; d++) {
        struct dependency *dependency = &plan->dependencies[d];
        if (dependency->kind != DEPENDS_COLUMNS) continue;
        const struct catalog_table *table =
            catalog_find(catalog, dependency->schema, dependency->table);
        bool alike = true;
        struct buf sql = {0};
        for (uint16_t i = 0; i < dependency->n_columns; i++) {
            const struct catalog_column *column = find_column(table, dependency->columns[i]);
            alike &= is_written_alike(column, PQparamtype(described, i));
            buf_printf(&sql, "%s($%u::pg_catalog.text::%s)::%s::pg_catalog.text",
                       i ? ", " : "SELECT ", i + 1u, column->type_name,
                       plan->shape->columns[i].type_name);
        }
        if (!alike) dependency->sql = mem_strdup(buf_text(&sql));
        buf_deinit(&sql);
    }
}

/* As texts of the parameters' types, so that a key is written in one way. */
static void compose_all(struct query_plan *plan) {
    struct buf sql = {0};
    for (uint32_t d = 0; d < plan->n_dependencies; d++) {
        const struct dependency *dependency = &plan->dependencies[d];
        if (dependency->kind != DEPENDS_COLUMNS) continue;
        if (sql.len) buf_append_text(&sql, " UNION ");
        buf_append_text(&sql, "SELECT DISTINCT ");
        for (uint16_t i = 0; i < dependency->n_columns; i++) {
            if (i) buf_append_text(&sql, ", ");
            pg_quote_ident(&sql, dependency->columns[i]);
            if (dependency->sql) buf_printf(&sql, "::%s", plan->shape->columns[i].type_name);
            buf_append_text(&sql, "::pg_catalog.text");
        }
        buf_append_text(&sql, " FROM ");
        pg_quote_table(&sql, dependency->schema, dependency->table);
    }
    plan->all_sql = mem_strdup(buf_text(&sql));
    buf_deinit(&sql);
}

/* Does PostgreSQL take the statement that reads many keys? LIMIT $1 and the like take no column. */
static bool try_rows(const struct connector_query *query, const struct query_plan *plan,
                     PGconn *conn, struct error *err) {
    PGresult *result = PQprepare(conn, "", plan->rows_sql, 0, NULL);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!ok) {
        pg_error(err, conn, result, "asking for many keys at once");
        error_prefix(err, "query %s", query->name);
    }
    PQclear(result);
    return ok;
}

static bool take_query(const struct connector_query *query, struct query_plan *plan,
                       const struct catalog *catalog, PGconn *conn, struct error *err) {
    PGresult *described = describe(query, conn, err);
    if (!described) return false;
    bool fits = PQnparams(described) == plan->key.n_parameters && PQnfields(described) > 0;
    if (fits) {
        take_shape(query, plan, conn, described);
        compose_rows(query, plan);
        convert_keys(plan, catalog, described);
        compose_all(plan);
        fits = take_parts(query, plan, err);
    } else {
        invalid(query, err, "its SQL has another number of parameters than its key, or no columns");
    }
    PQclear(described);
    return fits && try_rows(query, plan, conn, err);
}

/* ---- the plan ---- */

struct query_plan *query_plan_create(const struct connector_query *query,
                                     const struct catalog *catalog, PGconn *conn,
                                     struct error *err) {
    struct query_plan *plan = mem_zalloc(sizeof *plan);
    atomic_init(&plan->references, 1);
    const char *wrong = named_key_parse(query->key, &plan->key);
    bool ok = !wrong || invalid(query, err, wrong);
    if (ok && plan->key.n_parameters == 0)
        ok = invalid(query, err, "its key has no parameter, and what is kept of it no name");
    ok = ok && take_dependencies(query, plan, catalog, err) &&
         take_query(query, plan, catalog, conn, err);
    if (!ok) query_plan_release(&plan);
    return plan;
}

struct query_plan *query_plan_acquire(struct query_plan *plan) {
    atomic_fetch_add_explicit(&plan->references, 1, memory_order_relaxed);
    return plan;
}

void query_plan_release(struct query_plan **plan) {
    struct query_plan *old = *plan;
    *plan = NULL;
    if (!old || atomic_fetch_sub_explicit(&old->references, 1, memory_order_acq_rel) > 1) return;
    for (uint32_t d = 0; d < old->n_dependencies; d++) {
        struct dependency *dependency = &old->dependencies[d];
        for (uint16_t i = 0; i < dependency->n_columns; i++)
            mem_free(dependency->columns[i]);
        mem_free(dependency->columns);
        mem_free(dependency->schema);
        mem_free(dependency->table);
        mem_free(dependency->sql);
    }
    mem_free(old->dependencies);
    shape_release(&old->shape);
    mem_free(old->rows_sql);
    mem_free(old->from);
    mem_free(old->all_sql);
    mem_free(old);
}

const struct dependency *query_plan_find(const struct query_plan *plan, const char *schema,
                                         const char *table) {
    for (uint32_t i = 0; i < plan->n_dependencies; i++) {
        const struct dependency *dependency = &plan->dependencies[i];
        if (strcmp(dependency->table, table) == 0 && strcmp(dependency->schema, schema) == 0)
            return dependency;
    }
    return NULL;
}

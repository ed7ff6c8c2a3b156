/* The named queries: can each be run, which tables does it read, and what is said of them? PostgreSQL plans them; none is run. */
#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "cache/rows/described.h"
#include "cache/rows/named.h"
#include "server/checks.h"

enum { MOST_NAMES = 64 };

/* A set of a few names. */
struct names {
    uint32_t n;
    char *all[MOST_NAMES];
};

static void names_add(struct names *names, struct slice name) {
    for (uint32_t i = 0; i < names->n; i++)
        if (slice_equal(slice_from(names->all[i]), name)) return;
    if (names->n < MOST_NAMES) names->all[names->n++] = mem_slicedup(name);
}

static void names_free(struct names *names) {
    for (uint32_t i = 0; i < names->n; i++)
        mem_free(names->all[i]);
    names->n = 0;
}

struct examined {
    struct check_context *context;
    const struct cache_query_config *query;
    struct named_key key;
    struct names tables;    /* "schema.table", as the plan has them; partitions by their root */
    struct names functions; /* called, or words of time */
    bool compared[NAMED_MAX_PARAMETERS]; /* is $1, ... found equal to a column, both as they are? */
};

/* ---- the plan ---- */

/* What stands before a parenthesis, and the words that tell a time without one. */
static void find_functions(const char *text, struct names *functions) {
    static const char *const times[] = {"CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP",
                                        "LOCALTIME", "LOCALTIMESTAMP"};
    while (*text) {
        size_t len = 0;
        while (isalnum((unsigned char)text[len]) || text[len] == '_')
            len++;
        struct slice word = slice_make(text, len);
        bool told = len > 0 && text[len] == '(';
        for (size_t i = 0; i < sizeof times / sizeof *times; i++)
            told |= slice_equal_nocase(word, slice_from(times[i]));
        if (told) names_add(functions, word);
        text += len ? len : 1;
    }
}

static bool is_of_name(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '"';
}

/* A column's name ends here, as in `(o.user_id` or `((u.name)::text`; not `(lower(u.name)`. */
static bool ends_column(const char *from, const char *end) {
    const char *at = end;
    while (at > from && (is_of_name(at[-1]) || at[-1] == ' '))
        at--;
    if (at - from > 3 && at[-1] == ':' && at[-2] == ':')
        return at[-3] == ')' && ends_column(from, at - 3);
    return at < end && (at == from || at[-1] == '(') && (at - from < 2 || !is_of_name(at[-2]));
}

/* ` = $1`, or `$1 = `, with a column beside it. */
static void find_comparisons(const char *text, bool *compared) {
    for (const char *at = strchr(text, '$'); at; at = strchr(at + 1, '$')) {
        char *end;
        unsigned long number = strtoul(at + 1, &end, 10);
        if (end == at + 1 || number < 1 || number > NAMED_MAX_PARAMETERS) continue;
        bool behind = at - text > 3 && memcmp(at - 3, " = ", 3) == 0 && ends_column(text, at - 3);
        bool before = strncmp(end, " = ", 3) == 0 && is_of_name(end[3]) &&
                      end[3 + strcspn(end + 3, "():")] != '(';
        if (behind || before) compared[number - 1] = true;
    }
}

static void walk_plan(struct examined *examined, json_t *node) {
    const char *relation = json_string_value(json_object_get(node, "Relation Name"));
    const char *schema = json_string_value(json_object_get(node, "Schema"));
    if (relation && schema) {
        char *qualified = mem_printf("%s.%s", schema, relation);
        names_add(&examined->tables, slice_from(qualified));
        mem_free(qualified);
    }
    if (json_is_string(node)) {
        find_functions(json_string_value(node), &examined->functions);
        find_comparisons(json_string_value(node), examined->compared);
    }
    for (void *at = json_object_iter(node); at; at = json_object_iter_next(node, at))
        walk_plan(examined, json_object_iter_value(at));
    for (size_t i = 0; i < json_array_size(node); i++)
        walk_plan(examined, json_array_get(node, i));
}

static void put_number(void *arg, unsigned number, struct buf *out) {
    (void)arg;
    buf_printf(out, "$%u", number);
}

/* The generic plan, with all partitions: it reads what any parameters might make it read. */
static bool explain(struct examined *examined, int n_parameters, struct error *err) {
    PGconn *conn = examined->context->conn;
    struct buf sql = {0};
    buf_append_text(&sql, "EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE freshet_check");
    for (int i = 0; i < n_parameters; i++)
        buf_append_text(&sql, i ? ", NULL" : "(NULL");
    if (n_parameters) buf_append_char(&sql, ')');
    bool set = pg_exec(conn, "SET LOCAL plan_cache_mode = force_generic_plan", err) &&
               pg_exec(conn, "SET LOCAL enable_partition_pruning = off", err);
    PGresult *result = set ? pg_query(conn, buf_text(&sql), err) : NULL;
    buf_deinit(&sql);
    if (!result) return false;
    json_t *plan = json_loads(PQgetvalue(result, 0, 0), 0, NULL);
    walk_plan(examined, plan);
    json_decref(plan);
    PQclear(result);
    return true;
}

/* Partitions go by their root's name, as their changes do. */
static void find_roots(struct examined *examined) {
    struct names roots = {0};
    for (uint32_t i = 0; i < examined->tables.n; i++) {
        const char *name = examined->tables.all[i];
        const char *dot = strchr(name, '.');
        char *schema = mem_slicedup(slice_make(name, (size_t)(dot - name)));
        const char *params[] = {schema, dot + 1};
        struct error err;
        PGresult *row = pg_query_params(
            examined->context->conn,
            "SELECT rn.nspname || '.' || r.relname FROM pg_class c JOIN pg_namespace n ON "
            "n.oid = c.relnamespace JOIN pg_class r ON r.oid = coalesce(pg_partition_root(c.oid), "
            "c.oid) JOIN pg_namespace rn ON rn.oid = r.relnamespace WHERE n.nspname = $1 AND "
            "c.relname = $2",
            2, params, &err);
        bool found = row && PQntuples(row) == 1;
        names_add(&roots, slice_from(found ? PQgetvalue(row, 0, 0) : name));
        PQclear(row);
        mem_free(schema);
    }
    names_free(&examined->tables);
    examined->tables = roots;
}

/* ---- what is said of it ---- */

static const struct catalog_table *find_table(const struct examined *examined, const char *name) {
    const struct catalog *catalog = examined->context->catalog;
    for (uint32_t i = 0; i < catalog->n_tables; i++)
        if (pattern_match(name, catalog->tables[i].schema, catalog->tables[i].name))
            return &catalog->tables[i];
    return NULL;
}

static bool is_declared(const struct examined *examined, const char *qualified) {
    const char *dot = strchr(qualified, '.');
    char *schema = mem_slicedup(slice_make(qualified, (size_t)(dot - qualified)));
    bool declared = false;
    for (uint32_t i = 0; i < examined->query->n_dependencies; i++)
        declared |= pattern_match(examined->query->dependencies[i].table, schema, dot + 1);
    mem_free(schema);
    return declared;
}

static void check_undeclared(const struct examined *examined) {
    const struct cache_query_config *query = examined->query;
    if (query->n_dependencies == 0) return; /* its TTL bounds it, which is said */
    for (uint32_t i = 0; i < examined->tables.n; i++) {
        const char *name = examined->tables.all[i];
        if (is_declared(examined, name)) continue;
        char *mend = mem_printf("cache.queries.%s.depends_on: { %s: all }  -- or its columns that "
                                "hold the parameters",
                                query->name, name);
        check_report(examined->context, CHECK_WARN, mend,
                     "%s: its plan reads %s, which depends_on does not name: a change there evicts "
                     "nothing",
                     query->name, name);
        mem_free(mend);
    }
}

static bool lists(const char *columns, const char *name) {
    size_t len = strlen(name);
    for (const char *at = columns; at && *at;) {
        at += strspn(at, ", ");
        size_t word = strcspn(at, ", ");
        if (word == len && memcmp(at, name, len) == 0) return true;
        at += word;
    }
    return false;
}

/* Columns by which a result is found, and whose old values the stream does not bring. */
static void check_old_values(const struct examined *examined, const struct catalog_table *table,
                             const char *columns) {
    struct buf untold = {0};
    struct buf mend = {0};
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const struct catalog_column *column = &table->columns[i];
        if (column->in_identity || !lists(columns, column->name)) continue;
        buf_printf(&untold, "%s%s", untold.len ? ", " : "", column->name);
    }
    buf_append_text(&mend, "ALTER TABLE ");
    pg_quote_table(&mend, table->schema, table->name);
    buf_append_text(&mend, " REPLICA IDENTITY FULL;  -- or USING INDEX, of one that has them");
    if (untold.len)
        check_report(
            examined->context, CHECK_WARN, buf_text(&mend),
            "%s: the old value of %s is not in the change stream of %s.%s: each UPDATE and "
            "DELETE there touches every result",
            examined->query->name, buf_text(&untold), table->schema, table->name);
    buf_deinit(&untold);
    buf_deinit(&mend);
}

/* A change is taken to touch the key that has the column's own value. */
static void check_comparisons(const struct examined *examined, const struct catalog_table *table) {
    for (unsigned i = 0; i < examined->key.n_parameters; i++) {
        if (examined->compared[i]) continue;
        char *mend = mem_printf("cache.queries.%s.depends_on: { %s.%s: all }",
                                examined->query->name, table->schema, table->name);
        check_report(
            examined->context, CHECK_WARN, mend,
            "%s: its plan finds $%u equal to no column as it is (col = $%u): a change of "
            "%s.%s evicts the key of the column's own value, which may not be the one that "
            "shows the row",
            examined->query->name, i + 1, i + 1, table->schema, table->name);
        mem_free(mend);
        return;
    }
}

static void check_columns(const struct examined *examined, const struct catalog_table *table,
                          const char *columns) {
    unsigned n = 0;
    for (const char *at = columns; *at; at += strcspn(at, ","), n++)
        at += strspn(at, ", ");
    if (n == examined->key.n_parameters) {
        check_old_values(examined, table, columns);
        check_comparisons(examined, table);
    } else {
        check_report(
            examined->context, CHECK_WARN,
            "name a column for each parameter, or say `all`, which comes to the same",
            "%s: depends_on names %u columns of %s.%s, and the key has %u parameters: each "
            "change there touches every result",
            examined->query->name, n, table->schema, table->name, examined->key.n_parameters);
    }
}

static void check_dependency(const struct examined *examined,
                             const struct cache_dependency *dependency) {
    struct check_context *context = examined->context;
    const struct catalog_table *table = find_table(examined, dependency->table);
    bool read = false;
    if (!table) return; /* told among the named tables */
    for (uint32_t i = 0; i < examined->tables.n; i++) {
        char *name = mem_printf("%s.%s", table->schema, table->name);
        read |= strcmp(name, examined->tables.all[i]) == 0;
        mem_free(name);
    }
    if (!read)
        check_report(context, CHECK_WARN, NULL,
                     "%s: depends_on names %s, which its plan does not read", examined->query->name,
                     dependency->table);
    if (context->config->cache.coherence != COHERENCE_STREAM) return;
    if (!table->primary_key || !catalog_table_publishable(table))
        check_report(context, CHECK_WARN,
                     "give that table a primary key, or the query a ttl and no depends_on",
                     "%s: the changes of %s cannot be followed, so its results are not kept",
                     examined->query->name, dependency->table);
    else if (strcmp(dependency->columns, "all") != 0 && !named_depends_by_sql(dependency->columns))
        check_columns(examined, table, dependency->columns);
}

/* Whatever gives another answer with no row having changed. */
static void check_functions(const struct examined *examined) {
    struct buf literal = {0};
    struct error err;
    for (uint32_t i = 0; i < examined->functions.n; i++) /* words alone: nothing to escape */
        buf_printf(&literal, "%s%s", i ? "," : "{", examined->functions.all[i]);
    buf_append_text(&literal, literal.len ? "}" : "{}");
    const char *params[] = {buf_text(&literal)};
    PGresult *found = pg_query_params(
        examined->context->conn,
        "SELECT string_agg(DISTINCT coalesce(p.proname || '()', w), ', ') FROM unnest($1::text[]) "
        "w "
        "LEFT JOIN pg_proc p ON p.proname = lower(w) WHERE p.provolatile = 'v' OR p.proname IN "
        "('now', 'transaction_timestamp', 'statement_timestamp') OR "
        "upper(w) IN ('CURRENT_DATE', 'CURRENT_TIME', 'CURRENT_TIMESTAMP', 'LOCALTIME', "
        "'LOCALTIMESTAMP')",
        1, params, &err);
    if (found && !PQgetisnull(found, 0, 0))
        check_report(examined->context, CHECK_WARN,
                     "leave it out, or give the query a ttl that its answers bear",
                     "%s: calls %s: its results change though no row does, and only their TTL ends "
                     "them",
                     examined->query->name, PQgetvalue(found, 0, 0));
    PQclear(found);
    buf_deinit(&literal);
}

/* A query's keys come first. */
static void check_prefix(const struct examined *examined) {
    const struct catalog *catalog = examined->context->catalog;
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (strcmp(table->schema, "public") != 0 || !table->primary_key ||
            !slice_equal(examined->key.prefix, slice_from(table->name)))
            continue;
        check_report(examined->context, CHECK_WARN, "let the query's key begin otherwise",
                     "%s: its keys hide those of the table public.%s", examined->query->name,
                     table->name);
    }
}

/* ---- one query ---- */

static const char *shape_name(enum cache_shape shape) {
    static const char *const names[] = {
        [SHAPE_ROWS] = "rows", [SHAPE_ROW] = "row",   [SHAPE_VALUE] = "value",
        [SHAPE_HASH] = "hash", [SHAPE_LIST] = "list", [SHAPE_ZSET] = "zset"};
    return names[shape];
}

static void describe(const struct examined *examined, const PGresult *described) {
    const struct cache_query_config *query = examined->query;
    struct buf what = {0};
    buf_printf(&what, "%s: %s", query->name, query->key);
    for (int i = 0; i < PQnparams(described); i++) {
        char oid[16];
        const char *params[] = {oid};
        struct error err;
        snprintf(oid, sizeof oid, "%u", PQparamtype(described, i));
        PGresult *type =
            pg_query_params(examined->context->conn, "SELECT format_type($1, -1)", 1, params, &err);
        buf_printf(&what, "%s%s", i ? ", " : " (", type ? PQgetvalue(type, 0, 0) : "?");
        PQclear(type);
    }
    buf_printf(&what, "%s, shape %s; columns", PQnparams(described) ? ")" : "",
               shape_name(query->shape));
    for (int i = 0; i < PQnfields(described); i++)
        buf_printf(&what, "%s %s", i ? "," : "", PQfname(described, i));
    buf_append_text(&what, "; reads");
    for (uint32_t i = 0; i < examined->tables.n; i++)
        buf_printf(&what, "%s %s", i ? "," : "", examined->tables.all[i]);
    if (examined->tables.n == 0) buf_append_text(&what, " no table");
    if (query->n_dependencies == 0)
        buf_printf(&what, "; depends on nothing, so its TTL alone (%lld ms) bounds a result's age",
                   (long long)query->ttl_ms);
    check_report(examined->context, CHECK_OK, NULL, "%s", buf_text(&what));
    buf_deinit(&what);
}

/* Prepared under a name, within the transaction. NULL: an error was reported. */
static PGresult *prepare(struct examined *examined) {
    const struct cache_query_config *query = examined->query;
    PGconn *conn = examined->context->conn;
    struct buf sql = {0};
    named_substitute(query->sql, put_number, NULL, &sql);
    PGresult *result = PQprepare(conn, "freshet_check", buf_text(&sql), 0, NULL);
    buf_deinit(&sql);
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        PQclear(result);
        result = PQdescribePrepared(conn, "freshet_check");
    }
    const char *misfit = NULL;
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        misfit = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    else if (PQnparams(result) != examined->key.n_parameters)
        misfit = "its SQL has another number of parameters than its key";
    else
        misfit = described_misfit(query->shape, PQnfields(result));
    if (!misfit && PQresultStatus(result) == PGRES_COMMAND_OK) return result;
    check_report(examined->context, CHECK_FAIL, "correct cache.queries", "%s: %s", query->name,
                 misfit ? misfit : PQerrorMessage(conn));
    PQclear(result);
    return NULL;
}

static void check_query(struct check_context *context, const struct cache_query_config *query) {
    struct examined examined = {.context = context, .query = query};
    struct error err;
    if (named_key_parse(query->key, &examined.key)) return; /* told as a mistake */
    if (!pg_exec(context->conn, "BEGIN READ ONLY", &err)) {
        check_report(context, CHECK_FAIL, NULL, "%s: %s", query->name, err.message);
        return;
    }
    PGresult *described = prepare(&examined);
    bool planned = described && explain(&examined, PQnparams(described), &err);
    if (described && !planned)
        check_report(context, CHECK_FAIL, NULL, "%s: %s", query->name, err.message);
    if (!pg_exec(context->conn, "ROLLBACK", &err))
        check_report(context, CHECK_FAIL, NULL, "%s: %s", query->name, err.message);
    PQclear(PQexec(context->conn, "DEALLOCATE ALL"));
    if (planned) {
        find_roots(&examined);
        find_functions(query->sql, &examined.functions);
        describe(&examined, described);
        check_undeclared(&examined);
        for (uint32_t i = 0; i < query->n_dependencies; i++)
            check_dependency(&examined, &query->dependencies[i]);
        check_functions(&examined);
        check_prefix(&examined);
    }
    PQclear(described);
    names_free(&examined.tables);
    names_free(&examined.functions);
}

void check_queries(struct check_context *context) {
    const struct config *config = context->config;
    if (!(config->roles & ROLE_CACHE) || !config->cache_read_through) return;
    for (uint32_t i = 0; i < config->cache.n_queries; i++)
        check_query(context, &config->cache.queries[i]);
}

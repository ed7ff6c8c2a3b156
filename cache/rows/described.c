#include "cache/rows/described.h"

#include <string.h>
#include <xxhash.h>

#include "base/pg.h"

struct description {
    PGconn *conn;
    const struct tablemap_plan *plan;
    const struct cache_query_config *config;
    struct arena *arena;
    struct tablemap_query *query;
    bool locked;
};

/* All that is polled together waits for it: long enough for locks that come and go, and where there are many, no longer. */
#define LOCK_PATIENCE   "SET lock_timeout = '100ms'"
#define LOCK_IMPATIENCE "SET lock_timeout = '5ms'"
enum { MANY_LOCKED = 10 };

static void put_number(void *arg, unsigned number, struct buf *out) {
    (void)arg;
    buf_printf(out, "$%u", number);
}

static const char *copy_message(struct description *d, const PGresult *result) {
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    d->locked |= state && strcmp(state, "55P03") == 0;
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    return arena_strdup(d->arena, message ? message : PQerrorMessage(d->conn));
}

const char *described_misfit(enum cache_shape shape, int n) {
    if (n == 0) return "its SQL gives no columns";
    if (shape == SHAPE_VALUE && n != 1) return "a value is one column, its SQL gives several";
    if (shape == SHAPE_LIST && n != 1) return "a list is of one column, its SQL gives several";
    if (shape == SHAPE_ZSET && n != 2)
        return "a sorted set is of two columns, member and score, its SQL gives another number";
    return NULL;
}

static void take_columns(const struct description *d, const PGresult *result) {
    struct tablemap_query *query = d->query;
    int n = PQnfields(result);
    const char **columns = arena_zalloc(d->arena, (size_t)n * sizeof *columns + 1);
    for (int i = 0; i < n; i++) {
        columns[i] = arena_strdup(d->arena, PQfname(result, i));
        uint64_t parts[] = {query->columns_hash, PQftype(result, i), (uint64_t)PQfmod(result, i),
                            XXH3_64bits(columns[i], strlen(columns[i]))};
        query->columns_hash = XXH3_64bits(parts, sizeof parts);
    }
    query->columns = columns;
    query->n_columns = (uint16_t)n;
}

static void take_parameters(const struct description *d, const PGresult *result) {
    int n = PQnparams(result);
    uint32_t *oids = arena_zalloc(d->arena, (size_t)n * sizeof *oids + 1);
    for (int i = 0; i < n; i++)
        oids[i] = PQparamtype(result, i);
    d->query->n_parameters = (uint16_t)n;
    d->query->type_oids = oids;
}

/* Its SQL as it stands. */
static bool describe(struct description *d) {
    struct tablemap_query *query = d->query;
    struct buf sql = {0};
    named_substitute(d->config->sql, put_number, NULL, &sql);
    PGresult *result = PQprepare(d->conn, "", buf_text(&sql), 0, NULL);
    buf_deinit(&sql);
    if (PQresultStatus(result) == PGRES_COMMAND_OK) {
        PQclear(result);
        result = PQdescribePrepared(d->conn, "");
    }
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        query->refusal = copy_message(d, result);
    else
        query->refusal = described_misfit(d->config->shape, PQnfields(result));
    if (!query->refusal) {
        take_parameters(d, result);
        take_columns(d, result);
    }
    PQclear(result);
    return !query->refusal;
}

/* As fills will send it: does PostgreSQL take that too? NULL: yes. */
static const char *try(struct description *d, bool single) {
    struct tablemap_query *query = d->query;
    struct named_query named = {.shape = d->config->shape,
                                .sql = d->config->sql,
                                .single = single,
                                .n_columns = query->n_columns,
                                .columns = query->columns};
    struct key_column *keys = arena_zalloc(d->arena, query->n_parameters * sizeof *keys + 1);
    for (uint16_t i = 0; i < query->n_parameters; i++) {
        const struct tablemap_type *type = tablemap_find_type(d->plan, query->type_oids[i]);
        keys[i].type = keytype_find("", 'd', true);
        keys[i].sql_type = type ? type->sql_name : "pg_catalog.text";
    }
    struct table table = {.query = &named, .keys = keys, .n_keys = query->n_parameters};
    struct buf sql = {0};
    named_compose(&table, &sql);
    PGresult *result = PQprepare(d->conn, "", buf_text(&sql), 0, NULL);
    const char *why = PQresultStatus(result) == PGRES_COMMAND_OK ? NULL : copy_message(d, result);
    PQclear(result);
    buf_deinit(&sql);
    return why;
}

static void copy_query(struct arena *arena, const struct tablemap_query *from,
                       struct tablemap_query *to) {
    uint32_t *oids = arena_zalloc(arena, from->n_parameters * sizeof *oids + 1);
    const char **columns = arena_zalloc(arena, from->n_columns * sizeof *columns + 1);
    for (uint16_t i = 0; i < from->n_parameters; i++)
        oids[i] = from->type_oids[i];
    for (uint16_t i = 0; i < from->n_columns; i++)
        columns[i] = arena_strdup(arena, from->columns[i]);
    *to = *from;
    to->refusal = from->refusal ? arena_strdup(arena, from->refusal) : NULL;
    to->type_oids = oids;
    to->columns = columns;
}

const struct tablemap_query *described_load(PGconn *conn, const struct tablemap_plan *plan,
                                            const struct tablemap_query *before,
                                            struct arena *arena, bool *locked, struct error *err) {
    const struct cache_config *config = plan->config;
    struct tablemap_query *queries = arena_zalloc(arena, config->n_queries * sizeof *queries + 1);
    uint32_t n_locked = 0;
    if (config->n_queries > 0 && !pg_exec(conn, LOCK_PATIENCE, err)) return NULL;
    for (uint32_t i = 0; i < config->n_queries; i++) {
        struct description d = {conn, plan, &config->queries[i], arena, &queries[i], false};
        /* LIMIT $1 and the like take a parameter, but no column of a set of keys. */
        if (describe(&d) && queries[i].n_parameters <= NAMED_MAX_PARAMETERS && try(&d, false) &&
            !d.locked) {
            queries[i].single = true;
            queries[i].refusal = try(&d, true);
        }
        if (d.locked && before)
            copy_query(arena, &before[i], &queries[i]);
        else if (d.locked)
            queries[i].refusal = "a table that it reads is locked";
        n_locked += d.locked;
        bool many = d.locked && n_locked == MANY_LOCKED;
        if (PQstatus(conn) == CONNECTION_OK && (!many || pg_exec(conn, LOCK_IMPATIENCE, err)))
            continue;
        error_set(err, ERROR_UNAVAILABLE, true, "describing named queries: %s",
                  PQerrorMessage(conn));
        return NULL;
    }
    *locked = n_locked > 0;
    if (config->n_queries > 0 && !pg_exec(conn, "RESET lock_timeout", err)) return NULL;
    return queries;
}

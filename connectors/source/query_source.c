#include "connectors/source/query_source.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/catalog.h"
#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"
#include "base/pgsnapshot.h"
#include "connectors/source/query_plan.h"
#include "connectors/source/query_reader.h"

enum {
    KEYS_A_STATEMENT = 500,
    KEYS_A_CHUNK = 2000, /* of a walk */
    VISIBLE_TRIES = 40,  /* a commit is streamed a moment before it is seen */
    VISIBLE_WAIT_US = 2000,
};

struct query_source {
    struct source_database database;
    const struct connector_query *query;

    /* Feed's thread. */
    struct query_plan *current;

    pthread_mutex_t lock;
    struct query_plan *plan; /* the same, for the sender's thread */

    /* Sender's thread. */
    PGconn *conn;
    PGconn *walk_conn; /* in a transaction with the cursor "walk", while there is a walk */
    const struct batch *walking;
};

struct query_source *query_source_create(const struct query_source_config *config,
                                         struct error *err) {
    struct named_key key;
    const char *wrong = named_key_parse(config->query->key, &key);
    if (wrong) {
        error_set(err, ERROR_CONFIG, false, "query %s: the key %s", config->query->name, wrong);
        return NULL;
    }
    struct query_source *source = mem_zalloc(sizeof *source);
    source_database_init(&source->database, &config->database);
    source->query = config->query;
    pthread_mutex_init(&source->lock, NULL);
    return source;
}

static void drop_connection(PGconn **conn) {
    if (*conn) PQfinish(*conn);
    *conn = NULL;
}

static void forget(void *self) {
    struct query_source *source = self;
    drop_connection(&source->walk_conn);
    source->walking = NULL;
}

void query_source_destroy(struct query_source **source) {
    struct query_source *old = *source;
    *source = NULL;
    if (!old) return;
    forget(old);
    drop_connection(&old->conn);
    query_plan_release(&old->current);
    query_plan_release(&old->plan);
    pthread_mutex_destroy(&old->lock);
    source_database_deinit(&old->database);
    mem_free(old);
}

/* ---- feed's thread ---- */

static void publish_plan(struct query_source *source, struct query_plan *plan) {
    query_plan_release(&source->current);
    source->current = query_plan_acquire(plan);
    pthread_mutex_lock(&source->lock);
    struct query_plan *before = source->plan;
    source->plan = plan;
    pthread_mutex_unlock(&source->lock);
    query_plan_release(&before);
}

static bool publish_tables(struct query_source *source, PGconn *conn, const struct query_plan *plan,
                           const struct catalog *catalog, struct error *err) {
    const struct catalog_table **tables = mem_calloc(plan->n_dependencies + 1u, sizeof *tables);
    for (uint32_t i = 0; i < plan->n_dependencies; i++)
        tables[i] =
            catalog_find(catalog, plan->dependencies[i].schema, plan->dependencies[i].table);
    plan->shape->tables = source_database_tables(plan->n_dependencies, tables);
    bool done = source_database_publish(&source->database, conn, plan->n_dependencies, tables, err);
    mem_free(tables);
    return done;
}

static bool prepare(void *self, struct shape **shape, uint64_t *system_identifier,
                    struct error *err) {
    struct query_source *source = self;
    PGconn *conn = source_database_connect(&source->database, err);
    if (!conn) return false;
    struct catalog *catalog = catalog_load(conn, err);
    struct query_plan *plan = catalog ? query_plan_create(source->query, catalog, conn, err) : NULL;
    bool ready = plan && publish_tables(source, conn, plan, catalog, err) &&
                 source_database_system(conn, system_identifier, err);
    catalog_destroy(&catalog);
    PQfinish(conn);
    if (!ready) {
        query_plan_release(&plan);
        return false;
    }
    *shape = shape_acquire(plan->shape);
    publish_plan(source, plan);
    return true;
}

static bool load_floor(void *self, const char *slot, uint64_t *floor_lsn, struct error *err) {
    const struct query_source *source = self;
    return source_database_load_floor(&source->database, slot, floor_lsn, err);
}

static bool follows(void *self, const struct relation *relation) {
    const struct query_source *source = self;
    return query_plan_find(source->current, relation->schema, relation->name) != NULL;
}

/* The places of the dependency's columns in the relation. */
static bool find_columns(const struct dependency *dependency, const struct relation *relation,
                         uint16_t *places, struct error *err) {
    for (uint16_t i = 0; i < dependency->n_columns; i++) {
        uint16_t at = 0;
        while (at < relation->n_columns &&
               strcmp(relation->columns[at].name, dependency->columns[i]) != 0)
            at++;
        if (at == relation->n_columns || !relation->columns[at].identity)
            return error_set(err, ERROR_CONFLICT, true,
                             "table %s.%s: column \"%s\", or the replica identity, has changed",
                             relation->schema, relation->name, dependency->columns[i]);
        places[i] = at;
    }
    return true;
}

/* False: the row has a NULL among them, and touches nothing. What an update left alone is in the old row. */
static bool take_values(const struct dependency *dependency, const uint16_t *places,
                        const struct value *row, const struct value *other, struct value *values) {
    if (!row) return false;
    for (uint16_t i = 0; i < dependency->n_columns; i++) {
        values[i] = row[places[i]];
        if (values[i].kind == VALUE_UNCHANGED && other) values[i] = other[places[i]];
        if (values[i].kind != VALUE_TEXT) return false;
    }
    return true;
}

static bool same_values(const struct dependency *dependency, const struct value *a,
                        const struct value *b) {
    for (uint16_t i = 0; i < dependency->n_columns; i++) {
        if (!slice_equal(slice_make(a[i].data, a[i].len), slice_make(b[i].data, b[i].len)))
            return false;
    }
    return true;
}

static void tell(const struct query_source *source, const struct dependency *dependency,
                 const struct value *values, const struct touched *touched) {
    if (!dependency->sql)
        touched->key(touched->arg, values);
    else
        touched->walk(touched->arg, (uint32_t)(dependency - source->current->dependencies),
                      dependency->n_columns, values);
}

static bool touch(void *self, const struct change *change, const struct touched *touched,
                  struct error *err) {
    struct query_source *source = self;
    const struct dependency *dependency =
        query_plan_find(source->current, change->relation->schema, change->relation->name);
    ASSERT(dependency); /* `follows` */
    if (change->operation == CHANGE_TRUNCATE || dependency->kind == DEPENDS_ALL) {
        touched->walk(touched->arg, WALK_ALL, 0, NULL);
        return true;
    }
    uint16_t places[NAMED_MAX_PARAMETERS] = {0};
    struct value old_values[NAMED_MAX_PARAMETERS];
    struct value new_values[NAMED_MAX_PARAMETERS];
    if (!find_columns(dependency, change->relation, places, err)) return false;
    bool had = take_values(dependency, places, change->old_row, NULL, old_values);
    bool has = take_values(dependency, places, change->new_row, change->old_row, new_values);
    if (had && !(has && same_values(dependency, old_values, new_values)))
        tell(source, dependency, old_values, touched);
    if (has) tell(source, dependency, new_values, touched);
    return true;
}

/* ---- sender's thread: reading ---- */

static struct query_plan *acquire_plan(struct query_source *source) {
    pthread_mutex_lock(&source->lock);
    struct query_plan *plan = query_plan_acquire(source->plan);
    pthread_mutex_unlock(&source->lock);
    return plan;
}

static bool tables_now(void *self, uint64_t *tables, struct error *err) {
    struct query_source *source = self;
    struct query_plan *plan = acquire_plan(source);
    const char **names = mem_calloc(2u * plan->n_dependencies + 1, sizeof *names);
    for (uint32_t i = 0; i < plan->n_dependencies; i++) {
        names[2 * i] = plan->dependencies[i].schema;
        names[2 * i + 1] = plan->dependencies[i].table;
    }
    bool done =
        source_database_tables_now(&source->database, plan->n_dependencies, names, tables, err);
    mem_free(names);
    query_plan_release(&plan);
    return done;
}

/* Does what the transaction's snapshot sees cover all these transactions? */
static bool read_snapshot(PGconn *conn, const struct batch *batch, uint64_t *unseen,
                          struct error *err) {
    PGresult *row = pg_query(conn, "SELECT pg_catalog.pg_current_snapshot()", err);
    if (!row) return false;
    struct pgsnapshot snapshot;
    bool parsed = pgsnapshot_parse(slice_from(PQgetvalue(row, 0, 0)), &snapshot);
    PQclear(row);
    if (!parsed) return error_set(err, ERROR_PROTOCOL, true, "pg_current_snapshot() is unreadable");
    *unseen = 0;
    for (size_t i = 0; i < batch->n_writes; i++) {
        uint64_t xid = batch->writes[i].stamp.xid;
        if (xid && !pgsnapshot_sees(&snapshot, xid)) *unseen = xid;
    }
    pgsnapshot_deinit(&snapshot);
    return true;
}

/* Begins a transaction whose snapshot sees all that touched the batch's keys: a commit is streamed before it is visible, for as
 * long as a synchronous standby keeps it waiting. */
static bool begin_seeing(PGconn *conn, const struct batch *batch, struct error *err) {
    uint64_t unseen = 0;
    for (int i = 0; i < VISIBLE_TRIES; i++) {
        if (!pg_exec(conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) ||
            !read_snapshot(conn, batch, &unseen, err))
            return false;
        if (!unseen) return true;
        if (!pg_exec(conn, "ROLLBACK", err)) return false;
        nanosleep(&(struct timespec){.tv_nsec = VISIBLE_WAIT_US * 1000L}, NULL);
    }
    return error_set(err, ERROR_TIMEOUT, true,
                     "transaction %" PRIu64
                     " is committed and not visible yet (a synchronous standby is awaited?)",
                     unseen);
}

/* The keys of up to KEYS_A_STATEMENT writes from *at on, as arrays of their parts. */
static size_t take_keys(struct batch *batch, size_t *at, struct write **writes,
                        struct buf *literals) {
    const struct shape *shape = batch->shape;
    size_t n = 0;
    struct write *write;
    struct buf part = {0};
    for (uint16_t k = 0; k < shape->n_keys; k++)
        pgarray_begin(&literals[k]);
    while (n < KEYS_A_STATEMENT && (write = batch_next(batch, at, batch->n_writes))) {
        if (!write->incomplete) continue;
        struct slice rest = write->key;
        for (uint16_t k = 0; k < shape->n_keys; k++) {
            part.len = 0;
            shape_take_key(shape, &rest, &part);
            pgarray_add(&literals[k], buf_slice(&part));
        }
        writes[n++] = write;
    }
    for (uint16_t k = 0; k < shape->n_keys; k++)
        pgarray_end(&literals[k]);
    buf_deinit(&part);
    return n;
}

static PGresult *query_rows(PGconn *conn, const struct query_plan *plan, struct buf *literals,
                            struct error *err) {
    const char *params[NAMED_MAX_PARAMETERS];
    for (uint16_t k = 0; k < plan->shape->n_keys; k++)
        params[k] = literals[k].data;
    PGresult *rows =
        PQexecParams(conn, plan->rows_sql, plan->shape->n_keys, NULL, params, NULL, NULL, 0);
    if (PQresultStatus(rows) == PGRES_TUPLES_OK) return rows;
    pg_error(err, conn, rows, "reading the keys' rows");
    PQclear(rows);
    return NULL;
}

static void take_row(const struct query_plan *plan, struct batch *batch, const PGresult *rows,
                     int row, struct value *values) {
    for (uint16_t i = 0; i < plan->n_results; i++) {
        struct value *value = &values[plan->from[i]];
        if (plan->from[i] < plan->shape->n_keys) continue; /* the parameter itself */
        if (PQgetisnull(rows, row, i + 1)) {
            *value = (struct value){.kind = VALUE_NULL};
            continue;
        }
        size_t len = (size_t)PQgetlength(rows, row, i + 1);
        struct slice copy = arena_dup(batch->arena, slice_make(PQgetvalue(rows, row, i + 1), len));
        *value = (struct value){.kind = VALUE_TEXT, .len = (uint32_t)len, .data = copy.data};
    }
}

static size_t ordinal(const PGresult *rows, int row) {
    return (size_t)strtoul(PQgetvalue(rows, row, 0), NULL, 10) - 1;
}

/* Each write gets its rows, in their order; one without any is a removal. */
static void take_rows(const struct query_plan *plan, struct batch *batch, struct write **writes,
                      size_t n, const PGresult *rows) {
    uint16_t n_columns = plan->shape->n_columns;
    uint32_t *counts = mem_calloc(n + 1, sizeof *counts);
    for (int row = 0; row < PQntuples(rows); row++)
        counts[ordinal(rows, row)]++;
    struct value **all = mem_calloc(n + 1, sizeof *all);
    for (size_t i = 0; i < n; i++) {
        struct write *write = writes[i];
        write->n_rows = 0;
        if (counts[i])
            all[i] = arena_alloc(batch->arena, (size_t)counts[i] * n_columns * sizeof **all);
        else
            write->operation = WRITE_REMOVE;
    }
    for (int row = 0; row < PQntuples(rows); row++) {
        size_t i = ordinal(rows, row);
        struct value *values = all[i] + (size_t)writes[i]->n_rows++ * n_columns;
        for (uint16_t k = 0; k < plan->shape->n_keys; k++)
            values[k] = writes[i]->row[k]; /* the parameters come first */
        take_row(plan, batch, rows, row, values);
    }
    for (size_t i = 0; i < n; i++) {
        writes[i]->row = all[i];
        writes[i]->incomplete = false;
    }
    mem_free(all);
    mem_free(counts);
}

static bool read_keys(struct query_source *source, const struct query_plan *plan,
                      struct batch *batch, uint64_t *n_rows, struct error *err) {
    struct write *writes[KEYS_A_STATEMENT];
    struct buf literals[NAMED_MAX_PARAMETERS] = {0};
    bool ok = true;
    for (size_t at = 0, n; ok;) {
        for (uint16_t k = 0; k < plan->shape->n_keys; k++)
            literals[k].len = 0;
        n = take_keys(batch, &at, writes, literals);
        if (n == 0) break;
        PGresult *rows = query_rows(source->conn, plan, literals, err);
        ok = rows != NULL;
        if (!ok) break;
        take_rows(plan, batch, writes, n, rows);
        *n_rows += (uint64_t)PQntuples(rows);
        PQclear(rows);
    }
    for (uint16_t k = 0; k < plan->shape->n_keys; k++)
        buf_deinit(&literals[k]);
    return ok;
}

static bool has_incomplete(struct batch *batch) {
    const struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        if (write->incomplete) return true;
    }
    return false;
}

/* All keys of a batch in one snapshot: what one transaction did is seen as one. */
static bool reread(void *self, struct batch *batch, uint64_t *rows, struct error *err) {
    struct query_source *source = self;
    if (!has_incomplete(batch)) return true;
    struct query_plan *plan = acquire_plan(source);
    bool ok = plan->shape == batch->shape ||
              error_set(err, ERROR_CONFLICT, true, "the query has been described anew");
    if (ok && !source->conn) {
        source->conn = source_database_connect(&source->database, err);
        ok = source->conn != NULL;
    }
    ok = ok && begin_seeing(source->conn, batch, err) &&
         read_keys(source, plan, batch, rows, err) && pg_exec(source->conn, "COMMIT", err);
    query_plan_release(&plan);
    if (!ok && err->code != ERROR_TIMEOUT) drop_connection(&source->conn);
    return ok;
}

/* ---- sender's thread: walking ---- */

/* All keys in one order, whatever the database's is, behind `after`: its parts are parameters, the caller's to free. */
static uint16_t compose_load(const struct query_plan *plan, const char *after, struct buf *sql,
                             char **params) {
    const struct shape *shape = plan->shape;
    struct buf columns = {0};
    struct buf ordered = {0};
    struct buf numbers = {0};
    for (uint16_t k = 0; k < shape->n_keys; k++) {
        buf_printf(&columns, "%sv%u", k ? ", " : "", k + 1u);
        buf_printf(&ordered, "%sv%u COLLATE \"C\"", k ? ", " : "", k + 1u);
        buf_printf(&numbers, "%s$%u", k ? ", " : "", k + 1u);
    }
    buf_printf(sql, "SELECT * FROM (%s) AS freshet_k(%s)", plan->all_sql, buf_text(&columns));
    if (after) buf_printf(sql, " WHERE ROW(%s) > ROW(%s)", buf_text(&ordered), buf_text(&numbers));
    buf_printf(sql, " ORDER BY %s", buf_text(&ordered));
    struct slice rest = slice_from(after ? after : "");
    for (uint16_t k = 0; k < shape->n_keys && after; k++) {
        columns.len = 0;
        shape_take_key(shape, &rest, &columns);
        params[k] = mem_strdup(buf_text(&columns));
    }
    buf_deinit(&columns);
    buf_deinit(&ordered);
    buf_deinit(&numbers);
    return after ? shape->n_keys : 0;
}

static bool declare(struct query_source *source, const struct query_plan *plan,
                    const struct batch *walk, struct error *err) {
    const struct dependency *dependency =
        walk->walk.which == WALK_ALL ? NULL : &plan->dependencies[walk->walk.which];
    char *params[NAMED_MAX_PARAMETERS] = {0};
    struct buf sql = {0};
    buf_append_text(&sql, "DECLARE walk NO SCROLL CURSOR FOR ");
    uint16_t n = walk->walk.n_values;
    for (uint16_t i = 0; i < n; i++)
        params[i] = mem_slicedup(slice_make(walk->walk.values[i].data, walk->walk.values[i].len));
    if (walk->walk.load)
        n = compose_load(plan, walk->walk.after, &sql, params);
    else
        buf_append_text(&sql, dependency ? dependency->sql : plan->all_sql);
    PGresult *done =
        pg_query_params(source->walk_conn, buf_text(&sql), n, (const char *const *)params, err);
    PQclear(done);
    for (uint16_t i = 0; i < n; i++)
        mem_free(params[i]);
    buf_deinit(&sql);
    return done != NULL;
}

static bool begin_walk(struct query_source *source, const struct query_plan *plan,
                       const struct batch *walk, struct error *err) {
    forget(source);
    uint32_t n_xids = walk->walk.n_xids ? walk->walk.n_xids : 1;
    struct write *writes = mem_calloc(n_xids, sizeof *writes);
    for (uint32_t i = 0; i < n_xids; i++)
        writes[i].stamp.xid = walk->walk.n_xids ? walk->walk.xids[i] : walk->walk.stamp.xid;
    const struct batch seen = {.n_writes = n_xids, .writes = writes};
    source->walk_conn = source_database_connect(&source->database, err);
    bool begun = source->walk_conn && begin_seeing(source->walk_conn, &seen, err) &&
                 pg_exec(source->walk_conn, "SET LOCAL statement_timeout = 0", err) &&
                 declare(source, plan, walk, err);
    mem_free(writes);
    if (begun)
        source->walking = walk;
    else
        forget(source);
    return begun;
}

static void put_keys(const struct batch *walk, struct batch *part, const PGresult *keys) {
    const struct shape *shape = part->shape;
    struct buf key = {0};
    struct value *row = mem_calloc(shape->n_columns, sizeof *row);
    for (int i = 0; i < PQntuples(keys); i++) {
        for (uint16_t c = 0; c < shape->n_columns; c++)
            row[c] = (struct value){.kind = VALUE_UNCHANGED};
        for (uint16_t k = 0; k < shape->n_keys; k++) {
            if (PQgetisnull(keys, i, k)) continue; /* then it has no key */
            row[k] = (struct value){.kind = VALUE_TEXT,
                                    .len = (uint32_t)PQgetlength(keys, i, k),
                                    .data = PQgetvalue(keys, i, k)};
        }
        key.len = 0;
        if (!shape_append_key(shape, row, &key)) continue;
        batch_put(part, buf_slice(&key), &walk->walk.stamp, row, NULL);
        part->writes[part->n_writes - 1].incomplete =
            true; /* also where the key is all of the row */
    }
    mem_free(row);
    buf_deinit(&key);
}

/* A chunk of nothing but NULLs is no end. */
static bool walk_keys(void *self, const struct batch *walk, struct batch *part, struct error *err) {
    struct query_source *source = self;
    struct query_plan *plan = acquire_plan(source);
    bool ok = source->walking == walk || begin_walk(source, plan, walk, err);
    int n = 1;
    while (ok && n > 0 && part->n_writes == 0) {
        char fetch[48];
        snprintf(fetch, sizeof fetch, "FETCH %d FROM walk", KEYS_A_CHUNK);
        PGresult *keys = pg_query(source->walk_conn, fetch, err);
        ok = keys != NULL;
        n = ok ? PQntuples(keys) : 0;
        if (ok) put_keys(walk, part, keys);
        PQclear(keys);
    }
    if (!ok || part->n_writes == 0) forget(source);
    query_plan_release(&plan);
    return ok;
}

/* ---- reading for a comparison; any thread: with an instance of its own ---- */

static void destroy_own(void *self) {
    struct query_source *own = self;
    query_source_destroy(&own);
}

static bool open_reader(void *self, struct row_reader *reader, struct error *err) {
    const struct query_source *source = self;
    struct query_reader_config config = {.destroy_source = destroy_own};
    uint64_t system_identifier;
    struct query_source *own = query_source_create(
        &(struct query_source_config){.database = source->database, .query = source->query}, err);
    if (own) config.conn = source_database_connect(&source->database, err);
    if (!config.conn || !prepare(own, &config.shape, &system_identifier, err)) {
        if (config.conn) PQfinish(config.conn);
        query_source_destroy(&own);
        return false;
    }
    config.source = query_source_as_source(own);
    *reader = query_reader_create(&config);
    return true;
}

struct source query_source_as_source(struct query_source *source) {
    static const struct source_ops ops = {.prepare = prepare,
                                          .load_floor = load_floor,
                                          .follows = follows,
                                          .touch = touch,
                                          .walk = walk_keys,
                                          .forget = forget,
                                          .reread = reread,
                                          .tables_now = tables_now,
                                          .open_reader = open_reader};
    return (struct source){.ops = &ops, .self = source};
}

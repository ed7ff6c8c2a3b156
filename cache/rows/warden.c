#include "cache/rows/warden.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/catalog.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"
#include "base/publication.h"
#include "cache/rows/control.h"
#include "cache/rows/coverage.h"
#include "cache/rows/described.h"
#include "cache/rows/pulse.h"
#include "cache/rows/sources.h"
#include "cache/signals/told.h"

enum {
    SOON_US = 10 * 1000, /* after somebody found a table changed */
    DESCRIBED_BLOCK_BYTES = 4096,
    DESCRIBE_INTERVAL_US = 10 * 1000 * 1000,
    PRUNE_INTERVAL_US = 10 * 1000 * 1000,
    PUBLICATION_WAIT_S = 2,
};

struct warden {
    struct core *core;
    struct control *control;
    /* Under the mutex: */
    pthread_mutex_t mutex;
    pthread_cond_t published;
    bool poll_soon;
    bool mapped;          /* there is a map */
    bool publication_set; /* the publication is there */
    int64_t looked_us;    /* when the last poll that succeeded had begun */
    char publication_trouble[768];
    /* The thread's own: */
    struct tablemap *map; /* held: the one published */
    uint64_t last_version;
    struct arena *described; /* what was said of the named queries lies there */
    struct arena *described_before;
    const struct tablemap_query *queries;
    uint64_t described_hash; /* of the catalog then */
    int64_t described_us;
    bool describe_anew;
    int64_t polled_us, pruned_us;
    int64_t server_start_us; /* of the server that we look at */
    uint64_t swept_generations;
    char logged_trouble[768];
};

/* ---- the publication ---- */

/* What is somebody else's table stays as its owner has put it into the publication, or not. */
static bool is_wanted(const struct catalog_table *table) {
    return table->owned && table->primary_key && !table->unlogged &&
           catalog_table_publishable(table);
}

/* Leaves out those that somebody has locked (for an index that is made, a VACUUM): they keep no others out. */
static bool leave_out_locked(PGconn *conn, struct publication_plan *plan,
                             struct publication_table *tables, struct error *err) {
    PGresult *locked = pg_query(
        conn,
        "SELECT DISTINCT relation FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND granted "
        "AND pid <> pg_backend_pid() AND mode NOT IN ('AccessShareLock', 'RowShareLock', "
        "'RowExclusiveLock') AND database = (SELECT oid FROM pg_catalog.pg_database "
        "WHERE datname = current_database())",
        err);
    if (!locked) return false;
    uint32_t n = 0;
    for (uint32_t i = 0; i < plan->n_tables; i++) {
        int row = 0;
        while (row < PQntuples(locked) &&
               strtoul(PQgetvalue(locked, row, 0), NULL, 10) != tables[i].table->oid)
            row++;
        if (row == PQntuples(locked)) tables[n++] = tables[i];
    }
    plan->n_tables = n;
    PQclear(locked);
    return true;
}

/* Whole rows, though the keys would do: while a column is in a list, PostgreSQL refuses to drop it or to change its type,
 * and an identity that grows past the list makes every UPDATE of the table fail. */
static bool keep_up_publication(struct warden *warden, PGconn *conn, const struct catalog *catalog,
                                struct error *err) {
    struct publication_plan plan = {
        .name = warden->core->config->publication, .shared = true, .unfiltered = true};
    struct publication_table *tables = mem_calloc(catalog->n_tables + 1u, sizeof *tables);
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (is_wanted(table)) tables[plan.n_tables++].table = table;
    }
    plan.tables = tables;
    bool changed = false;
    bool done = publication_ensure(conn, &plan, &changed, err);
    uint32_t n_wanted = plan.n_tables;
    if (!done && err->code == ERROR_TIMEOUT && leave_out_locked(conn, &plan, tables, err))
        done = publication_ensure(conn, &plan, &changed, err) && plan.n_tables == n_wanted;
    if (changed)
        log_info(warden->core->log, "cache_publication_changed", "publication=%s tables=%u",
                 plan.name, plan.n_tables);
    mem_free(tables);
    return done;
}

static void tell_publication(struct warden *warden, bool set, const char *trouble) {
    pthread_mutex_lock(&warden->mutex);
    warden->publication_set = set;
    snprintf(warden->publication_trouble, sizeof warden->publication_trouble, "%s", trouble);
    pthread_cond_broadcast(&warden->published);
    pthread_mutex_unlock(&warden->mutex);
    if (strcmp(trouble, warden->logged_trouble) == 0) return;
    snprintf(warden->logged_trouble, sizeof warden->logged_trouble, "%s", trouble);
    if (trouble[0])
        log_warn(warden->core->log, "cache_publication_trouble", "cause=\"%s\"", trouble);
}

/* A publication that we may not change still covers the tables that are in it. */
static bool look_at_publication(struct warden *warden, PGconn *conn, const struct catalog *catalog,
                                struct publication **publication, struct error *err) {
    struct error refusal = {0};
    bool kept_up = warden->core->config->feed == CACHE_FEED_KAFKA || /* its publisher does */
                   keep_up_publication(warden, conn, catalog, &refusal);
    if (!kept_up && PQstatus(conn) != CONNECTION_OK) {
        *err = refusal;
        return false;
    }
    *publication = publication_load(conn, warden->core->config->publication, err);
    if (!*publication) return false;
    tell_publication(warden, (*publication)->exists, kept_up ? "" : refusal.message);
    return true;
}

/* ---- the map ---- */

static bool load_types(PGconn *conn, struct tablemap_plan *plan, struct error *err,
                       PGresult **result) {
    *result = pg_query(conn,
                       "SELECT oid, format_type(oid, -1), typname, typtype FROM pg_catalog.pg_type "
                       "WHERE typtype IN ('b', 'c', 'd', 'e', 'm', 'r')",
                       err);
    if (!*result) return false;
    int n = PQntuples(*result);
    struct tablemap_type *types = mem_calloc((size_t)n + 1, sizeof *types);
    for (int i = 0; i < n; i++) {
        types[i].oid = (uint32_t)strtoul(PQgetvalue(*result, i, 0), NULL, 10);
        types[i].sql_name = PQgetvalue(*result, i, 1);
        types[i].name = PQgetvalue(*result, i, 2);
        types[i].typtype = *PQgetvalue(*result, i, 3);
    }
    plan->types = types;
    plan->n_types = (uint32_t)n;
    return true;
}

static bool load_collated(PGconn *conn, struct tablemap_plan *plan, struct error *err) {
    PGresult *result = pg_query(conn,
                                "SELECT a.attrelid, a.attnum FROM pg_catalog.pg_attribute a "
                                "JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation "
                                "WHERE a.attnum > 0 AND NOT c.collisdeterministic",
                                err);
    if (!result) return false;
    int n = PQntuples(result);
    struct tablemap_collated *collated = mem_calloc((size_t)n + 1, sizeof *collated);
    for (int i = 0; i < n; i++) {
        collated[i].table_oid = (uint32_t)strtoul(PQgetvalue(result, i, 0), NULL, 10);
        collated[i].attnum = (int16_t)strtol(PQgetvalue(result, i, 1), NULL, 10);
    }
    PQclear(result);
    plan->collated = collated;
    plan->n_collated = (uint32_t)n;
    return true;
}

static uint64_t hash_catalog(const struct catalog *catalog) {
    uint64_t hash = catalog->n_tables;
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        uint64_t parts[] = {hash, catalog->tables[i].oid, catalog->tables[i].fingerprint};
        hash = XXH3_64bits(parts, sizeof parts);
    }
    return hash;
}

/* Two answers of PostgreSQL a query: so not at each poll, but when the tables have changed, somebody has met a changed shape, or
 * (functions and views are not in the catalog that is read here) after a while. */
static bool describe_queries(struct warden *warden, PGconn *conn, const struct catalog *catalog,
                             struct tablemap_plan *plan, struct error *err) {
    uint64_t hash = hash_catalog(catalog);
    int64_t now_us = clock_mono_us();
    bool good = warden->queries && hash == warden->described_hash && !warden->describe_anew &&
                now_us - warden->described_us < DESCRIBE_INTERVAL_US;
    if (!good) {
        bool locked = false;
        struct arena *before = warden->described;
        warden->described = warden->described_before;
        warden->described_before = before;
        arena_reset(warden->described);
        warden->queries =
            described_load(conn, plan, warden->queries, warden->described, &locked, err);
        warden->described_hash = hash;
        warden->described_us = now_us;
        warden->describe_anew = !warden->queries || locked;
    }
    plan->queries = warden->queries;
    return plan->queries != NULL;
}

/* Partitions that may be read by themselves: with the rights of their own and no policies, which are not looked at. */
static bool load_leaves(PGconn *conn, struct tablemap_plan *plan, struct error *err,
                        PGresult **result) {
    *result = pg_query(conn,
                       "SELECT n.nspname, c.relname, pg_partition_root(c.oid)::oid, "
                       "c.relkind = 'p' FROM pg_catalog.pg_class c "
                       "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                       "WHERE c.relispartition AND c.relkind IN ('r', 'p') "
                       "AND c.relpersistence = 'p' AND NOT c.relrowsecurity "
                       "AND has_schema_privilege(n.oid, 'USAGE') "
                       "AND has_table_privilege(c.oid, 'SELECT') ORDER BY 1, 2",
                       err);
    if (!*result) return false;
    int n = PQntuples(*result);
    struct tablemap_leaf *leaves = mem_calloc((size_t)n + 1, sizeof *leaves);
    for (int i = 0; i < n; i++) {
        leaves[i] = (struct tablemap_leaf){
            .schema = PQgetvalue(*result, i, 0),
            .name = PQgetvalue(*result, i, 1),
            .root_oid = (uint32_t)strtoul(PQgetvalue(*result, i, 2), NULL, 10),
            .partitioned = *PQgetvalue(*result, i, 3) == 't',
        };
    }
    plan->leaves = leaves;
    plan->n_leaves = (uint32_t)n;
    return true;
}

static struct tablemap *build_map(struct warden *warden, PGconn *conn,
                                  const struct catalog *catalog, struct coverage *coverage,
                                  struct error *err) {
    struct tablemap_plan plan = {
        .config = warden->core->config,
        .states = warden->core->states,
        .previous = warden->map,
        .version = warden->last_version + 1,
        .uncovered = coverage_refusal,
        .coverage = coverage_place,
        .streamed = coverage_has_column,
        .arg = coverage,
    };
    PGresult *types = NULL;
    PGresult *leaves = NULL;
    struct tablemap *map = NULL;
    if (load_types(conn, &plan, err, &types) && load_collated(conn, &plan, err) &&
        load_leaves(conn, &plan, err, &leaves) &&
        describe_queries(warden, conn, catalog, &plan, err))
        map = tablemap_build(catalog, &plan);
    PQclear(types);
    PQclear(leaves);
    mem_free(plan.leaves);
    mem_free(plan.types);
    mem_free(plan.collated);
    return map;
}

static bool is_same(const struct tablemap *map, const struct tablemap *previous) {
    if (!previous || tablemap_count(map) != tablemap_count(previous) ||
        tablemap_leaves(map) != tablemap_leaves(previous))
        return false;
    for (uint32_t i = 0; i < tablemap_count(map); i++) {
        const struct table *now = tablemap_at(map, i);
        const struct table *before = tablemap_at(previous, i);
        bool same_reason =
            now->uncovered == before->uncovered ||
            (now->uncovered && before->uncovered && strcmp(now->uncovered, before->uncovered) == 0);
        if (now->number != before->number || now->version != before->version || !same_reason)
            return false;
    }
    return true;
}

/* A table that is gone from the map, or described anew: what is kept of it goes, and what is in flight is not kept. */
static void clear_table(struct core *core, const struct table *table, uint64_t version) {
    tablestate_part(table->state);
    atomic_store(&table->state->version, version);
    tablestate_bump(table->state);
    told_table(core, table);
}

struct replacement {
    struct warden *warden;
    struct tablemap *map;
};

static void replace_map(void *arg) {
    struct replacement *replacement = arg;
    struct warden *warden = replacement->warden;
    struct tablemap *map = replacement->map;
    struct tablemap *old = warden->map;
    for (uint32_t i = 0; old && i < tablemap_count(old); i++) {
        const struct table *table = tablemap_at(old, i);
        if (!tablemap_find(map, table->schema, table->name)) clear_table(warden->core, table, 0);
    }
    for (uint32_t i = 0; i < tablemap_count(map); i++) {
        const struct table *table = tablemap_at(map, i);
        atomic_store(&table->state->by_ttl, table->by_ttl);
        if (atomic_load(&table->state->version) != table->version)
            clear_table(warden->core, table, table->version);
    }
    warden->last_version = tablemap_version(map);
    warden->map = tablemap_ref(map);
    tablemaps_publish(warden->core->maps, &map);
    tablemap_release(&old);
}

static void publish_map(struct warden *warden, struct tablemap *map) {
    if (is_same(map, warden->map)) {
        tablemap_release(&map);
        return;
    }
    uint32_t n_tables = tablemap_count(map);
    struct replacement replacement = {warden, map};
    pulse_join(warden->core->pulse, replace_map, &replacement);
    pthread_mutex_lock(&warden->mutex);
    warden->mapped = true;
    pthread_mutex_unlock(&warden->mutex);
    log_info(warden->core->log, "cache_tables_mapped", "tables=%u version=%llu", n_tables,
             (unsigned long long)warden->last_version);
}

static bool poll_catalog(struct warden *warden, PGconn *conn, struct error *err) {
    struct publication *publication = NULL;
    PGresult *places = NULL;
    struct tablemap *map = NULL;
    struct catalog *catalog = catalog_load_shapes(conn, err);
    if (!catalog) return false;
    bool streams = core_streams(warden->core);
    bool seen = !streams || look_at_publication(warden, conn, catalog, &publication, err);
    if (seen && streams) places = coverage_load(conn, warden->core->config->publication, err);
    struct coverage coverage = {streams, publication, places};
    if (seen && (places || !streams)) map = build_map(warden, conn, catalog, &coverage, err);
    PQclear(places);
    publication_destroy(&publication);
    catalog_destroy(&catalog);
    if (!map) return false;
    publish_map(warden, map);
    return true;
}

/* ---- upkeep of memory ---- */

struct sweep {
    struct core *core;
    const struct tablemap *map;
};

/* Rows of a table that was cleared; and plain keys that stand where a table's rows stand now. */
static bool is_dead(const struct entry *entry, void *arg) {
    struct sweep *sweep = arg;
    struct slice rest;
    if (entry->kind != ENTRY_ROW)
        return sweep->map && tablemap_find_key(sweep->map, entry_key(entry), &rest) != NULL;
    const struct row_stamp *stamp = entry_row_stamp(entry);
    return stamp->generation !=
           tablestate_generation(tablestates_at(sweep->core->states, stamp->table));
}

/* Cleared tables' entries answer nothing any more; this only gives their memory back. */
static void sweep_memory(struct warden *warden) {
    struct core *core = warden->core;
    uint64_t generations = warden->last_version;
    uint32_t n = tablestates_count(core->states);
    for (uint32_t i = 0; i < n; i++)
        generations += tablestate_generation(tablestates_at(core->states, i));
    if (generations == warden->swept_generations) return;
    warden->swept_generations = generations;
    struct sweep sweep = {core, warden->map};
    uint64_t swept = store_sweep(core->store, is_dead, &sweep, REMOVED_COMMIT);
    metric_add(core->count.evicted_table, (int64_t)swept);
}

/* Links whose entries have expired or were evicted. */
static void prune_links(struct warden *warden, int64_t now_us) {
    struct core *core = warden->core;
    if (now_us - warden->pruned_us < PRUNE_INTERVAL_US || links_size(core->links) == 0) return;
    warden->pruned_us = now_us;
    struct buf copies = {0};
    for (uint32_t part = 0; part < LINKS_PARTS; part++) {
        copies.len = 0;
        links_copy(core->links, part, &copies);
        struct slice packed = buf_slice(&copies);
        uint64_t canonical_hash;
        struct slice key;
        while (links_next_copy(&packed, &canonical_hash, &key)) {
            uint64_t hashes[2] = {canonical_hash, store_hash(core->store, key)};
            struct store_guard guard;
            store_lock(core->store, hashes, 2, &guard);
            if (!store_find(core->store, &guard, key, hashes[1], clock_wall_us() / 1000))
                links_remove(core->links, canonical_hash, key);
            store_unlock(core->store, &guard);
        }
    }
    buf_deinit(&copies);
}

/* ---- the thread ---- */

/* When the catalog is to be read: by the interval, or soon after somebody found it changed. */
static int64_t poll_due_us(struct warden *warden) {
    pthread_mutex_lock(&warden->mutex);
    bool soon = warden->poll_soon;
    pthread_mutex_unlock(&warden->mutex);
    int64_t interval_us = warden->core->config->catalog_poll_interval_ms * 1000;
    return warden->polled_us + (soon && SOON_US < interval_us ? SOON_US : interval_us);
}

/* Where the stream comes from, there is the catalog that counts. */
static bool check_server(const struct warden *warden, struct error *err) {
    struct origin origin = sources_origin(warden->core->sources);
    if (!origin.streams || origin.server_start_us == 0 ||
        origin.server_start_us == warden->server_start_us)
        return true;
    return error_set(err, ERROR_UNAVAILABLE, true,
                     "the change stream comes from another server than this connection leads to");
}

static bool tick(void *self, PGconn *conn, int64_t now_us, int64_t *due_us, struct error *err) {
    struct warden *warden = self;
    if (!check_server(warden, err)) return false;
    if (now_us >= poll_due_us(warden)) {
        pthread_mutex_lock(&warden->mutex);
        warden->describe_anew |= warden->poll_soon;
        warden->poll_soon = false;
        pthread_mutex_unlock(&warden->mutex);
        if (!poll_catalog(warden, conn, err)) return false;
        warden->polled_us = clock_mono_us();
        pthread_mutex_lock(&warden->mutex);
        warden->looked_us = now_us;
        pthread_mutex_unlock(&warden->mutex);
    }
    sweep_memory(warden);
    prune_links(warden, now_us);
    *due_us = poll_due_us(warden);
    return true;
}

/* A new connection may mean another server: its catalog is read at once. */
static bool connected(void *self, PGconn *conn, struct error *err) {
    struct warden *warden = self;
    PGresult *row = pg_query(
        conn, "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint", err);
    if (!row) return false;
    warden->server_start_us = strtoll(PQgetvalue(row, 0, 0), NULL, 10);
    PQclear(row);
    if (!check_server(warden, err)) return false;
    source_found(sources_at(warden->core->sources, 0), conn);
    warden->polled_us = INT64_MIN / 2;
    warden->describe_anew = true;
    return true;
}

struct warden *warden_create(struct core *core) {
    struct warden *warden = mem_zalloc(sizeof *warden);
    warden->core = core;
    warden->described = arena_create(DESCRIBED_BLOCK_BYTES);
    warden->described_before = arena_create(DESCRIBED_BLOCK_BYTES);
    pthread_mutex_init(&warden->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&warden->published, &attributes);
    pthread_condattr_destroy(&attributes);
    struct control_config config = {
        .name = "freshet-warden",
        .database_url = core->config->database_url,
        .application_name = core->config->application_name,
        /* What it commits waits for no standby; what it locks, it does not wait for long. */
        .server_options =
            "-c synchronous_commit=local -c statement_timeout=10s -c lock_timeout=200ms",
        .log = core->log,
        .connected = connected,
        .tick = tick,
        .self = warden,
    };
    warden->control = control_create(&config);
    return warden;
}

void warden_destroy(struct warden **warden) {
    if (!*warden) return;
    control_destroy(&(*warden)->control);
    tablemap_release(&(*warden)->map);
    arena_destroy(&(*warden)->described);
    arena_destroy(&(*warden)->described_before);
    pthread_cond_destroy(&(*warden)->published);
    pthread_mutex_destroy(&(*warden)->mutex);
    mem_free(*warden);
    *warden = NULL;
}

bool warden_start(struct warden *warden, struct error *err) {
    return control_start(warden->control, err);
}

void warden_stop(struct warden *warden) { control_stop(warden->control); }

void warden_watch(struct warden *warden, int64_t now_us) { control_watch(warden->control, now_us); }

void warden_poll_soon(struct warden *warden) {
    pthread_mutex_lock(&warden->mutex);
    warden->poll_soon = true;
    pthread_mutex_unlock(&warden->mutex);
    control_wake(warden->control);
}

int64_t warden_polled_us(struct warden *warden) {
    pthread_mutex_lock(&warden->mutex);
    int64_t looked_us = warden->looked_us;
    pthread_mutex_unlock(&warden->mutex);
    return looked_us;
}

void warden_table_changed(struct warden *warden, const struct table *table) {
    tablestate_bump(table->state);
    told_table(warden->core, table);
    warden_poll_soon(warden);
}

bool warden_await_publication(struct warden *warden, struct error *err) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PUBLICATION_WAIT_S;
    pthread_mutex_lock(&warden->mutex);
    int timed_out = 0;
    while (!warden->publication_set && !timed_out)
        timed_out = pthread_cond_timedwait(&warden->published, &warden->mutex, &until);
    bool set = warden->publication_set;
    char trouble[768];
    snprintf(trouble, sizeof trouble, "%s", warden->publication_trouble);
    pthread_mutex_unlock(&warden->mutex);
    if (set) return true;
    struct buf cause = {0};
    if (trouble[0] == '\0') control_is_connected(warden->control, &cause);
    error_set(err, ERROR_UNAVAILABLE, true, "publication \"%s\" is not there yet: %s%s",
              warden->core->config->publication, trouble, buf_text(&cause));
    buf_deinit(&cause);
    return false;
}

bool warden_ready(struct warden *warden, const char **why) {
    pthread_mutex_lock(&warden->mutex);
    bool mapped = warden->mapped;
    pthread_mutex_unlock(&warden->mutex);
    bool streams = core_streams(warden->core);
    *why = !mapped                                          ? "the tables are not known yet"
           : streams && !pulse_streams(warden->core->pulse) ? "the change stream does not run"
           : streams && !pulse_joined(warden->core->pulse)  ? "the tables are joining"
                                                            : "";
    return **why == '\0';
}

void warden_trouble(struct warden *warden, struct buf *text) {
    size_t before = text->len;
    if (!control_is_connected(warden->control, text)) {
        if (text->len == before) buf_append_text(text, "no connection to the database");
        return;
    }
    if (core_streams(warden->core)) pulse_trouble(warden->core->pulse, text);
}

void warden_status(struct warden *warden, json_t *status) {
    struct tablemap *map = tablemaps_acquire(warden->core->maps);
    json_t *tables = json_array();
    for (uint32_t i = 0; map && i < tablemap_count(map); i++) {
        const struct table *table = tablemap_at(map, i);
        json_t *one = json_pack("{s:s, s:s, s:s}", "schema", table->schema, "table", table->name,
                                "prefix", table->prefix);
        bool joined = atomic_load(&table->state->horizon_xid) != TABLESTATE_NOT_JOINED;
        json_object_set_new(one, "kept",
                            json_boolean(!core_follows(warden->core, table) || joined));
        if (table->uncovered) json_object_set_new(one, "why_not", json_string(table->uncovered));
        if (table->refusal) json_object_set_new(one, "refused", json_string(table->refusal));
        json_array_append_new(tables, one);
    }
    tablemap_release(&map);
    json_object_set_new(status, "tables", tables);
    struct buf trouble = {0};
    warden_trouble(warden, &trouble);
    json_object_set_new(status, "trouble",
                        trouble.len ? json_string(buf_text(&trouble)) : json_null());
    buf_deinit(&trouble);
}

#include "cdc/publish/tables.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/catalog.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "base/pg.h"
#include "base/publication.h"
#include "cdc/encode/encode.h"
#include "cdc/shape/java_hash.h"
#include "cdc/shape/pushdown.h"
#include "cdc/shape/routes.h"
#include "cdc/shape/shaped_table.h"

enum { VISIBLE_WAIT_MS = 1000, VISIBLE_POLL_MS = 2 };

struct tables {
    const struct publisher_config *config;
    struct schema_registry *registry; /* the encoder's, or NULL */
    struct log *log;
    PGconn *conn;
    struct types *types;
    struct catalog *catalog;
    /* Partitions that are published by themselves, which that leaves out: one each, since it was read. */
    struct catalog **apart;
    uint32_t n_apart;
    bool as_planned;      /* the publication is what we would have it */
    uint64_t next_filter; /* serial numbers of row filters */
    /* By relation OID; open addressing, at most half full. */
    struct event_table **slots;
    uint32_t n_slots;
    uint32_t used;
    struct event_table **counted; /* in the order of their first event in the transaction */
    uint32_t n_counted;
    uint32_t counted_cap;
    uint64_t n_reads;         /* of the whole catalog */
    uint32_t counted_buckets; /* of the map that Debezium counts in */
    uint64_t
        xid; /* of the transaction that is being given, until it is known to be visible; else 0 */
};

struct tables *tables_create(const struct publisher_config *config,
                             struct schema_registry *registry, struct log *log) {
    struct tables *tables = mem_zalloc(sizeof *tables);
    tables->config = config;
    tables->registry = registry;
    tables->log = log;
    tables->types = types_create();
    tables->n_slots = 256;
    tables->counted_buckets = JAVA_MAP_BUCKETS;
    tables->slots = mem_calloc(tables->n_slots, sizeof *tables->slots);
    return tables;
}

static void forget_apart(struct tables *t) {
    for (uint32_t i = 0; i < t->n_apart; i++)
        catalog_destroy(&t->apart[i]);
    mem_free(t->apart);
    t->apart = NULL;
    t->n_apart = 0;
}

void tables_destroy(struct tables **tables) {
    struct tables *t = *tables;
    if (!t) return;
    for (uint32_t i = 0; i < t->n_slots; i++)
        event_table_destroy(&t->slots[i]);
    mem_free(t->slots);
    mem_free(t->counted);
    types_destroy(&t->types);
    forget_apart(t);
    if (t->catalog) catalog_destroy(&t->catalog);
    if (t->conn) PQfinish(t->conn);
    mem_free(t);
    *tables = NULL;
}

/* ---- the database ---- */

static bool connect_database(struct tables *t, struct error *err) {
    if (t->conn && PQstatus(t->conn) == CONNECTION_OK) return true;
    if (t->conn) PQfinish(t->conn);
    struct pg_options options = {.application_name = "freshet_cdc_catalog"};
    t->conn = pg_connect(t->config->database_url, &options, err);
    return t->conn != NULL;
}

/* Types first: a table that is in the catalog then has its types. */
static bool read_catalog(struct tables *t, struct error *err) {
    for (int attempt = 0;; attempt++) {
        if (!connect_database(t, err)) return false;
        struct catalog *fresh = NULL;
        if (types_load(t->types, t->conn, err)) fresh = catalog_load(t->conn, err);
        if (fresh) {
            if (t->catalog) catalog_destroy(&t->catalog);
            t->catalog = fresh;
            forget_apart(t);
            t->n_reads++;
            return true;
        }
        /* The connection may have been cut long ago, unnoticed. */
        if (attempt == 1 || PQstatus(t->conn) == CONNECTION_OK) return false;
    }
}

static const struct catalog_table *find(const struct tables *t, uint32_t oid) {
    const struct catalog_table *table = t->catalog ? catalog_find_oid(t->catalog, oid) : NULL;
    for (uint32_t i = 0; i < t->n_apart && !table; i++)
        table = catalog_find_oid(t->apart[i], oid);
    return table;
}

/* What the catalog as read leaves out; find() then has it, unless it is gone. */
static bool read_apart(struct tables *t, uint32_t oid, struct error *err) {
    if (find(t, oid)) return true;
    if (!connect_database(t, err)) return false;
    struct catalog *one = catalog_load_table(t->conn, oid, err);
    if (!one) return false;
    if (one->n_tables == 0) {
        catalog_destroy(&one);
        return true;
    }
    t->apart = mem_realloc(t->apart, (t->n_apart + 1) * sizeof *t->apart);
    t->apart[t->n_apart++] = one;
    return true;
}

void tables_begin(struct tables *t, uint64_t xid) { t->xid = xid; }

/* A commit is in the WAL, and so in the stream, before other sessions see it; where it waits for a standby, long before. */
static bool await_visible(struct tables *t, struct error *err) {
    char sql[128];
    snprintf(sql, sizeof sql,
             "SELECT pg_visible_in_snapshot('%" PRIu64 "'::xid8, pg_current_snapshot())", t->xid);
    bool cut = false;
    for (int waited_ms = 0; t->xid && waited_ms < VISIBLE_WAIT_MS; waited_ms += VISIBLE_POLL_MS) {
        if (!connect_database(t, err)) return false;
        PGresult *rows = pg_query(t->conn, sql, err);
        if (!rows && (cut || PQstatus(t->conn) == CONNECTION_OK)) return false;
        cut = !rows; /* long ago, perhaps, and unnoticed */
        if (cut) continue;
        bool visible = *PQgetvalue(rows, 0, 0) == 't';
        PQclear(rows);
        if (visible) break;
        usleep(VISIBLE_POLL_MS * 1000);
    }
    t->xid = 0;
    return true;
}

static bool read_slot(struct tables *t, struct tables_facts *facts, struct error *err) {
    const char *params[] = {t->config->slot};
    PGresult *rows = pg_query_params(
        t->conn, "SELECT FROM pg_replication_slots WHERE slot_name = $1", 1, params, err);
    if (!rows) return false;
    facts->slot_exists = PQntuples(rows) == 1;
    PQclear(rows);
    return true;
}

static bool publication_is_there(PGconn *conn, const char *name) {
    struct publication *publication = publication_load(conn, name, NULL);
    bool exists = publication && publication->exists;
    if (publication) publication_destroy(&publication);
    return exists;
}

uint32_t tables_plan(const struct publisher_config *config, const struct catalog *catalog,
                     struct arena *arena, struct publication_table *members) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        bool may = (table->kind == 'r' || table->kind == 'p') && !table->unlogged &&
                   catalog_table_publishable(table);
        if (!may || !publisher_wants(config, table->schema, table->name)) continue;
        members[n] = (struct publication_table){.table = table};
        pushdown_plan(config, table, catalog->server_version, arena, &members[n++]);
    }
    return n;
}

bool tables_publish(PGconn *conn, const struct publisher_config *config, struct log *log,
                    const struct catalog *catalog, bool *as_planned, struct error *err) {
    struct arena *arena = arena_create(4096);
    struct publication_table *members = mem_calloc(catalog->n_tables + 1, sizeof *members);
    uint32_t n = tables_plan(config, catalog, arena, members);
    struct publication_plan plan = {.name = config->publication, .n_tables = n, .tables = members};
    bool changed = false;
    struct error local;
    bool ok = publication_ensure(conn, &plan, &changed, &local);
    mem_free(members);
    arena_destroy(&arena);
    *as_planned = ok;
    if (ok) {
        if (changed)
            log_info(log, "publication_changed", "publication=%s tables=%u", config->publication,
                     (unsigned)n);
        return true;
    }
    if (local.code == ERROR_REFUSED && publication_is_there(conn, config->publication)) {
        log_warn(log, "publication_left", "publication=%s cause=\"%s\"", config->publication,
                 local.message);
        return true;
    }
    return error_set(err, local.code, local.retriable, "%s", local.message);
}

/* A user's own filters and column lists stay, and so do those of an entry of cdc.shape that is no more. */
static void tell_narrowed(const struct tables *t) {
    struct publication *publication = publication_load(t->conn, t->config->publication, NULL);
    if (!publication) return;
    struct arena *arena = arena_create(4096);
    struct publication_table *members = mem_calloc(t->catalog->n_tables + 1, sizeof *members);
    uint32_t n = tables_plan(t->config, t->catalog, arena, members);
    struct buf what = {0};
    for (uint32_t i = 0; i < n; i++) {
        what.len = 0;
        if (publication_narrows(publication, &members[i], &what))
            log_warn(t->log, "publication_narrows", "publication=%s table=%s.%s cause=\"%s\"",
                     t->config->publication, members[i].table->schema, members[i].table->name,
                     buf_text(&what));
    }
    buf_deinit(&what);
    mem_free(members);
    arena_destroy(&arena);
    publication_destroy(&publication);
}

static void tell_shared(void *arg, const struct shared_topic *topic) {
    const struct tables *t = arg;
    log_warn(t->log, "topic_shared",
             "topic=%s tables=%u cause=\"%s.%s and %s.%s have no key_field in cdc.shape: rows of "
             "equal keys are one there\"",
             topic->name, (unsigned)topic->n_tables, topic->first->schema, topic->first->name,
             topic->second->schema, topic->second->name);
}

bool tables_prepare(struct tables *t, struct tables_facts *facts, struct error *err) {
    if (!read_catalog(t, err) || !read_slot(t, facts, err) ||
        !tables_publish(t->conn, t->config, t->log, t->catalog, &t->as_planned, err))
        return false;
    tell_narrowed(t);
    routes_find_shared(t->config, t->catalog, tell_shared, t);
    return true;
}

const struct catalog_table *tables_catalog(const struct tables *t, uint32_t oid) {
    return find(t, oid);
}

bool tables_refresh(struct tables *t, struct error *err) { return read_catalog(t, err); }

uint64_t tables_next_xid(struct tables *t) {
    if (!connect_database(t, NULL)) return 0;
    PGresult *rows =
        pg_query(t->conn, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text", NULL);
    if (!rows) return 0;
    uint64_t xid = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    return xid;
}

/* ---- tables by relation ---- */

static struct event_table **place(const struct tables *t, uint32_t oid) {
    uint32_t at = oid * 2654435761u;
    for (;; at++) {
        struct event_table **slot = &t->slots[at & (t->n_slots - 1)];
        if (!*slot || (*slot)->oid == oid) return slot;
    }
}

static void grow(struct tables *t) {
    struct event_table **old = t->slots;
    uint32_t n_old = t->n_slots;
    t->n_slots *= 2;
    t->slots = mem_calloc(t->n_slots, sizeof *t->slots);
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i]) *place(t, old[i]->oid) = old[i];
    }
    mem_free(old);
}

/* Has the catalog, as read, every column of the relation, with its type? */
static bool catalog_knows(const struct tables *t, const struct relation *relation) {
    const struct catalog_table *table = find(t, relation->oid);
    if (!table || table->replica_identity != relation->replica_identity) return false;
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct relation_column *column = &relation->columns[i];
        bool found = false;
        for (uint16_t k = 0; k < table->n_columns && !found; k++)
            found = table->columns[k].type_oid == column->type_oid &&
                    strcmp(table->columns[k].name, column->name) == 0;
        if (!found || !types_find(t->types, column->type_oid)) return false;
    }
    return true;
}

static const char *message_key_of(const struct publisher_config *config,
                                  const struct relation *relation) {
    for (uint32_t i = 0; i < config->n_message_keys; i++) {
        const struct message_key *entry = &config->message_keys[i];
        if (pattern_match(entry->table, relation->schema, relation->name)) return entry->columns;
    }
    return NULL;
}

/* Does the publication filter the table's rows as we would? In doubt not, and then we do. */
static bool is_filtered(struct tables *t, const struct catalog_table *table, const char *where) {
    bool may = t->as_planned && table && !t->config->invalidations &&
               PQserverVersion(t->conn) >= PUSHDOWN_VERSION && row_filter_pushable(where, table);
    if (!may) return false;
    char oid[16];
    snprintf(oid, sizeof oid, "%u", table->oid);
    const char *params[] = {t->config->publication, oid};
    PGresult *rows = pg_query_params(
        t->conn,
        "SELECT FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON "
        "p.oid = r.prpubid WHERE p.pubname = $1 AND r.prrelid = $2::pg_catalog.oid AND r.prqual "
        "IS NOT NULL",
        2, params, NULL);
    bool filtered = rows && PQntuples(rows) == 1;
    PQclear(rows);
    return filtered;
}

static void add_filter(struct tables *t, struct event_table *table, const struct relation *relation,
                       const struct catalog_table *catalog) {
    const struct table_shape *shape = table->shape;
    if (!shape || !shape->where || shape->excluded) return;
    if (!is_filtered(t, catalog, shape->where))
        table->filter = row_filter_create(shape->where, relation, catalog, ++t->next_filter);
}

/* NULL: no registry takes its schemas. */
static struct event_table *make(struct tables *t, const struct relation *relation,
                                struct error *err) {
    struct event_table_plan plan = {.relation = relation,
                                    .catalog = find(t, relation->oid),
                                    .types = t->types,
                                    .format = &t->config->format,
                                    .prefix = t->config->prefix,
                                    .message_key = message_key_of(t->config, relation)};
    struct event_table *table = shaped_table_create(t->config, &plan);
    add_filter(t, table, relation, plan.catalog);
    const struct event_encoder *encoder = event_encoder_find(t->config->format.encoding);
    bool has_events = !table->outbox && !(table->shape && table->shape->excluded);
    if (encoder->prepare && has_events && !encoder->prepare(table, t->registry, err))
        event_table_destroy(&table);
    return table;
}

enum row_verdict tables_judge(struct tables *t, const struct event_table *table,
                              const struct value *row, const struct value *whole,
                              bool identity_only, struct error *err) {
    if (!connect_database(t, err)) return ROW_BROKEN;
    return row_filter_test(table->filter, t->conn, row, whole, identity_only, err);
}

/* The open transaction's counts outlive a change of the table in it. */
static void replace(struct tables *t, struct event_table **slot, struct event_table *made) {
    made->transaction_events = (*slot)->transaction_events;
    for (uint32_t i = 0; i < t->n_counted; i++) {
        if (t->counted[i] == *slot) t->counted[i] = made;
    }
    event_table_destroy(slot);
    *slot = made;
}

struct event_table *tables_find(struct tables *t, const struct relation *relation,
                                struct error *err) {
    struct event_table **slot = place(t, relation->oid);
    if (*slot && (*slot)->version == relation->version) return *slot;
    bool lags = *slot || !catalog_knows(t, relation);
    if ((lags && (!await_visible(t, err) || !read_catalog(t, err))) ||
        !read_apart(t, relation->oid, err)) {
        error_prefix(err, "table %s.%s", relation->schema, relation->name);
        return NULL;
    }
    struct event_table *made = make(t, relation, err);
    if (!made) return NULL;
    if (*slot) {
        replace(t, slot, made);
        return made;
    }
    *slot = made;
    if (++t->used * 2 > t->n_slots) grow(t);
    return made;
}

/* One table's catalog is read in a moment, all of it in many: as often as an ANALYZE is what describes a table again. */
static bool facts_hold(struct tables *t, const struct event_table *table, bool *hold,
                       struct error *err) {
    if (!connect_database(t, err) || !await_visible(t, err)) return false;
    struct catalog *one = catalog_load_table(t->conn, table->oid, err);
    if (!one) return false;
    *hold = event_table_facts(catalog_find_oid(one, table->oid)) == table->facts;
    catalog_destroy(&one);
    return true;
}

struct event_table *tables_look(struct tables *t, const struct relation *relation,
                                struct error *err) {
    uint64_t n_reads = t->n_reads;
    struct event_table *table = tables_find(t, relation, err);
    if (!table || t->n_reads != n_reads) return table;
    bool hold;
    bool asked = facts_hold(t, table, &hold, err);
    if (!asked && t->conn && PQstatus(t->conn) == CONNECTION_OK) return NULL;
    if (asked && hold) return table;
    if (!read_catalog(t, err) || !read_apart(t, relation->oid, err)) return NULL;
    uint64_t facts = event_table_facts(find(t, relation->oid));
    if (!facts || facts == table->facts) return table; /* 0: dropped since */
    struct event_table *made = make(t, relation, err);
    if (made) replace(t, place(t, relation->oid), made);
    return made;
}

/* ---- transaction metadata ---- */

void tables_count_event(struct tables *t, struct event_table *table) {
    if (table->transaction_events++) return;
    if (t->n_counted == t->counted_cap) {
        t->counted_cap = t->counted_cap ? t->counted_cap * 2 : 16;
        t->counted = mem_realloc(t->counted, t->counted_cap * sizeof *t->counted);
    }
    t->counted[t->n_counted++] = table;
}

void tables_reset_counts(struct tables *t) {
    for (uint32_t i = 0; i < t->n_counted; i++)
        t->counted[i]->transaction_events = 0;
    t->n_counted = 0;
}

struct counted {
    const struct event_table *table;
    uint32_t bucket;
    uint32_t order;
};

static int by_bucket(const void *a, const void *b) {
    const struct counted *left = a;
    const struct counted *right = b;
    if (left->bucket != right->bucket) return left->bucket < right->bucket ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

void tables_append_counts(struct tables *t, struct buf *out) {
    t->counted_buckets = java_map_buckets(t->counted_buckets, t->n_counted);
    struct counted *counted = mem_calloc(t->n_counted + 1u, sizeof *counted);
    for (uint32_t i = 0; i < t->n_counted; i++)
        counted[i] = (struct counted){.table = t->counted[i],
                                      .bucket = java_hash(t->counted[i]->collection) &
                                                (t->counted_buckets - 1),
                                      .order = i};
    qsort(counted, t->n_counted, sizeof *counted, by_bucket);
    buf_append_char(out, '[');
    for (uint32_t i = 0; i < t->n_counted; i++) {
        const struct event_table *table = counted[i].table;
        buf_append_text(out, i ? ",{\"data_collection\":" : "{\"data_collection\":");
        json_append_string(out, table->collection);
        buf_append_text(out, ",\"event_count\":");
        buf_append_u64(out, table->transaction_events);
        buf_append_char(out, '}');
    }
    buf_append_char(out, ']');
    mem_free(counted);
}

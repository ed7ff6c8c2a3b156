#include "cache/rows/tablemap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/json.h"
#include "base/mem.h"
#include "cache/rows/rowttl.h"
#include "cache/rows/tablemap_build.h"

enum { MAP_BLOCK_BYTES = 64 * 1024 };

struct tablemap {
    _Atomic uint32_t refs;
    struct arena *arena; /* owns all below */
    uint64_t version;
    uint32_t n_tables;
    uint32_t n_leaves;
    struct table *leaves; /* partitions */
    uint64_t leaves_hash;
    struct table *tables; /* by schema, then name, as the catalog has them */
    uint32_t n_slots;     /* a power of two, twice the tables at least */
    const struct table **by_prefix;
    uint32_t max_colons; /* in a prefix */
    bool bare;           /* there is a named query without parameters: its prefix is its key */
};

/* ---- building ---- */

bool tablemap_names_table(const char *written, const struct catalog_table *table) {
    size_t schema_len = strlen(table->schema);
    if (strncmp(written, table->schema, schema_len) == 0 && written[schema_len] == '.' &&
        strcmp(written + schema_len + 1, table->name) == 0)
        return true;
    return strcmp(table->schema, "public") == 0 && strcmp(written, table->name) == 0;
}

static const struct cache_table_config *find_config(const struct cache_config *config,
                                                    const struct catalog_table *table) {
    for (uint32_t i = 0; i < config->n_tables; i++) {
        if (tablemap_names_table(config->tables[i].table, table)) return &config->tables[i];
    }
    return NULL;
}

static const char *default_prefix(struct arena *arena, const struct catalog_table *table) {
    if (strcmp(table->schema, "public") == 0) return arena_strdup(arena, table->name);
    size_t schema_len = strlen(table->schema);
    size_t name_size = strlen(table->name) + 1;
    char *prefix = arena_alloc(arena, schema_len + 1 + name_size);
    memcpy(prefix, table->schema, schema_len);
    prefix[schema_len] = '.';
    memcpy(prefix + schema_len + 1, table->name, name_size);
    return prefix;
}

bool tablemap_is_collated(const struct tablemap_plan *plan, uint32_t table_oid, int16_t attnum) {
    for (uint32_t i = 0; i < plan->n_collated; i++) {
        if (plan->collated[i].table_oid == table_oid && plan->collated[i].attnum == attnum)
            return true;
    }
    return false;
}

static const char *sql_type(const struct tablemap_plan *plan, uint32_t oid) {
    for (uint32_t i = 0; i < plan->n_types; i++) {
        if (plan->types[i].oid == oid) return plan->types[i].sql_name;
    }
    return NULL;
}

static struct key_column *make_columns(struct arena *arena, const struct tablemap_plan *plan,
                                       const struct catalog_table *from, const uint16_t *places,
                                       uint16_t n) {
    struct key_column *columns = arena_zalloc(arena, n * sizeof *columns + 1);
    for (uint16_t i = 0; i < n; i++) {
        const struct catalog_column *column = &from->columns[places[i]];
        const char *cast = sql_type(plan, column->base_type_oid);
        columns[i].name = arena_strdup(arena, column->name);
        columns[i].type = keytype_find(column->base_type_name, column->base_typtype,
                                       !tablemap_is_collated(plan, from->oid, column->attnum));
        /* A name is cut at 63 bytes by its cast; as text it is compared whole. */
        bool is_name = strcmp(column->base_type_name, "name") == 0;
        columns[i].sql_type = arena_strdup(arena, is_name ? "pg_catalog.text"
                                                  : cast  ? cast
                                                          : column->type_name);
        columns[i].type_name = arena_strdup(arena, column->type_name);
    }
    return columns;
}

static void fill_key(struct arena *arena, const struct tablemap_plan *plan,
                     const struct catalog_table *from, struct table *table) {
    const struct catalog_index *key = from->primary_key;
    table->keys = make_columns(arena, plan, from, key->columns, key->n_columns);
    table->n_keys = key->n_columns;
    table->identified = true;
    table->exact = true;
    for (uint16_t i = 0; i < key->n_columns; i++) {
        table->identified &= table->keys[i].type->identity != NULL;
        table->exact &= table->keys[i].type->exact;
    }
    table->exact &= table->identified;
}

static bool is_readable(const struct cache_table_config *config, const char *column) {
    if (!config || config->n_columns == 0) return true;
    for (uint32_t i = 0; i < config->n_columns; i++) {
        if (strcmp(config->columns[i], column) == 0) return true;
    }
    return false;
}

static struct rowjson_column json_column(struct arena *arena, const struct catalog_column *from) {
    struct buf name = {0};
    json_append_string_postgres(&name, slice_from(from->name));
    buf_append_char(&name, ':');
    struct rowjson_column column = {.name = arena_strdup(arena, buf_text(&name)),
                                    .name_len = (uint32_t)name.len,
                                    .type_oid = from->type_oid,
                                    .kind = rowjson_kind(from->type_oid)};
    buf_deinit(&name);
    return column;
}

static void fill_columns(struct arena *arena, const struct cache_table_config *config,
                         const struct catalog_table *from, struct table *table) {
    const char **columns = arena_zalloc(arena, from->n_columns * sizeof *columns + 1);
    const char **denied = arena_zalloc(arena, from->n_columns * sizeof *denied + 1);
    bool *generated = arena_zalloc(arena, from->n_columns * sizeof *generated + 1);
    struct rowjson_column *json = arena_zalloc(arena, from->n_columns * sizeof *json + 1);
    for (uint16_t i = 0; i < from->n_columns; i++) {
        if (!is_readable(config, from->columns[i].name)) continue;
        if (!from->columns[i].selectable) {
            denied[table->n_denied++] = arena_strdup(arena, from->columns[i].name);
            continue;
        }
        generated[table->n_columns] = from->columns[i].generated;
        json[table->n_columns] = json_column(arena, &from->columns[i]);
        columns[table->n_columns++] = arena_strdup(arena, from->columns[i].name);
    }
    table->columns = columns;
    table->json = json;
    table->denied = denied;
    table->generated = generated;
    table->all_columns = table->n_columns == from->n_columns;
}

static void fill_ttl(struct arena *arena, const struct cache_table_config *config,
                     const struct catalog_table *from, struct table *table) {
    const char *column = config ? config->ttl_column : NULL;
    if (!column) return;
    for (uint16_t i = 0; i < from->n_columns; i++) {
        if (strcmp(from->columns[i].name, column) != 0) continue;
        if (!rowttl_is_time(from->columns[i].base_type_name)) break;
        struct buf sql = {0};
        rowttl_compose(&sql, column, from->columns[i].base_type_name);
        table->left_sql = arena_strdup(arena, buf_text(&sql));
        sql.len = 0;
        rowttl_compose_ended(&sql, column, from->columns[i].base_type_name);
        if (config->delete_expired) table->ended_sql = arena_strdup(arena, buf_text(&sql));
        buf_deinit(&sql);
        return;
    }
    /* Served without it, rows would outlive their end unseen. */
    table->refusal = "its ttl_column is not there, or tells no time";
}

static bool has_columns(const struct key_column *columns, uint16_t n,
                        const struct unique_key *other) {
    if (n != other->n_columns) return false;
    for (uint16_t i = 0; i < n; i++) {
        uint16_t j = 0;
        while (j < n && strcmp(columns[i].name, other->columns[j].name) != 0)
            j++;
        if (j == n) return false;
    }
    return true;
}

/* Is there another key of these columns? The first that can be used has them. */
static bool is_taken(const struct table *table, const struct unique_key *unique) {
    if (has_columns(table->keys, table->n_keys, unique)) return true;
    for (uint16_t i = 0; i < table->n_uniques; i++) {
        if (has_columns(table->uniques[i].columns, table->uniques[i].n_columns, unique))
            return true;
    }
    return false;
}

/* PostgreSQL leaves generated columns out of the stream, as a publication's column list does others. */
bool tablemap_is_streamed(const struct tablemap_plan *plan, const struct catalog_table *from,
                          uint16_t place) {
    if (from->columns[place].generated) return false;
    return !plan->streamed || plan->streamed(plan->arg, from, place);
}

static void add_unique(struct arena *arena, const struct tablemap_plan *plan,
                       const struct cache_table_config *config, const struct catalog_table *from,
                       const struct catalog_index *index, struct table *table) {
    bool mentions = index->unaskable && index->n_mentioned > 0;
    const uint16_t *places = mentions ? index->mentioned : index->columns;
    struct unique_key unique = {
        .index = arena_strdup(arena, index->name),
        .n_columns = mentions ? index->n_mentioned : index->n_columns,
        .refusal = index->unaskable ? arena_strdup(arena, index->unaskable) : NULL,
        .exact = true,
    };
    if (unique.n_columns == 0) return;
    unique.columns = make_columns(arena, plan, from, places, unique.n_columns);
    for (uint16_t i = 0; i < unique.n_columns; i++) {
        const struct keytype *type = unique.columns[i].type;
        unique.exact &=
            type->exact && type->identity && tablemap_is_streamed(plan, from, places[i]);
        if (!is_readable(config, unique.columns[i].name))
            unique.refusal = "is on a column that is not among the table's configured columns";
        if (!from->columns[places[i]].selectable)
            unique.refusal = "is on a column that Freshet's role may not SELECT";
    }
    struct unique_key *uniques = (struct unique_key *)(uintptr_t)table->uniques;
    if (!is_taken(table, &unique)) uniques[table->n_uniques++] = unique;
}

static void fill_uniques(struct arena *arena, const struct tablemap_plan *plan,
                         const struct cache_table_config *config, const struct catalog_table *from,
                         struct table *table) {
    table->uniques = arena_zalloc(arena, from->n_indexes * sizeof *table->uniques + 1);
    for (int refused = 0; refused < 2; refused++) {
        for (uint16_t i = 0; i < from->n_indexes; i++) {
            const struct catalog_index *index = &from->indexes[i];
            if (!index->primary && (index->unaskable != NULL) == refused)
                add_unique(arena, plan, config, from, index, table);
        }
    }
}

void tablemap_set_version(const struct tablemap_plan *plan, struct table *table) {
    const struct table *before =
        plan->previous ? tablemap_find(plan->previous, table->schema, table->name) : NULL;
    bool same = before && before->fingerprint == table->fingerprint &&
                before->coverage == table->coverage &&
                (before->uncovered == NULL) == (table->uncovered == NULL) &&
                strcmp(before->prefix, table->prefix) == 0;
    table->version = same ? before->version : plan->version;
}

/* Columns without the right are left out of the row; but not its key. */
static void refuse_unreadable(struct arena *arena, const struct catalog_table *from,
                              struct table *table) {
    const struct catalog_index *key = from->primary_key;
    if (!from->readable) table->refusal = "Freshet's role may not SELECT from it";
    for (uint16_t i = 0; i < key->n_columns && !table->refusal; i++) {
        const struct catalog_column *column = &from->columns[key->columns[i]];
        struct buf why = {0};
        if (column->selectable) continue;
        buf_printf(&why, "Freshet's role may not SELECT its key (column %s)", column->name);
        table->refusal = arena_strdup(arena, buf_text(&why));
        buf_deinit(&why);
    }
}

void tablemap_keep_by_ttl(const struct tablemap_plan *plan, bool configured, struct table *table) {
    if (plan->config->coherence != COHERENCE_STREAM) return; /* so it is with all of them */
    table->by_ttl = true;
    if (!configured && (table->ttl_ms == 0 || table->ttl_ms > plan->config->max_staleness_ms))
        table->ttl_ms = plan->config->max_staleness_ms;
}

static bool fill_table(struct arena *arena, const struct tablemap_plan *plan,
                       const struct catalog_table *from, struct table *table) {
    const struct cache_table_config *config = find_config(plan->config, from);
    if (!from->primary_key || (config && !config->mapped)) return false;
    if (!tablestates_number(plan->states, from->schema, from->name, &table->number)) return false;
    table->state = tablestates_at(plan->states, table->number);
    table->schema = arena_strdup(arena, from->schema);
    table->name = arena_strdup(arena, from->name);
    table->prefix = config && config->prefix ? arena_strdup(arena, config->prefix)
                                             : default_prefix(arena, from);
    table->ttl_ms = config && config->ttl_ms >= 0 ? config->ttl_ms : plan->config->ttl_ms;
    table->writes = config && config->writes ? strcmp(config->writes, "through") == 0
                                             : plan->config->writes == WRITES_THROUGH;
    table->fingerprint = from->fingerprint;
    table->partitioned = from->kind == 'p';
    table->lockable = from->selectable;
    fill_ttl(arena, config, from, table);
    refuse_unreadable(arena, from, table);
    const char *uncovered = plan->uncovered ? plan->uncovered(plan->arg, from) : NULL;
    table->uncovered = uncovered ? arena_strdup(arena, uncovered) : NULL;
    table->coverage = plan->coverage ? plan->coverage(plan->arg, from) : 0;
    if (uncovered && from->unlogged)
        tablemap_keep_by_ttl(plan, config && config->ttl_ms >= 0, table);
    fill_key(arena, plan, from, table);
    fill_uniques(arena, plan, config, from, table);
    fill_columns(arena, config, from, table);
    tablemap_set_version(plan, table);
    return true;
}

const struct tablemap_type *tablemap_find_type(const struct tablemap_plan *plan, uint32_t oid) {
    for (uint32_t i = 0; i < plan->n_types; i++) {
        if (plan->types[i].oid == oid) return &plan->types[i];
    }
    return NULL;
}

/* In the order of their names, before all tables: no table's schema is "". */
static uint32_t number_queries(const struct tablemap_plan *plan, struct table *tables) {
    for (uint32_t i = 0; i < plan->config->n_queries; i++) {
        ASSERT(i == 0 ||
               strcmp(plan->config->queries[i - 1].name, plan->config->queries[i].name) < 0);
        bool numbered =
            tablestates_number(plan->states, "", plan->config->queries[i].name, &tables[i].number);
        ASSERT(numbered);
        tables[i].state = tablestates_at(plan->states, tables[i].number);
    }
    return plan->config->n_queries;
}

static const struct table **slot_of(const struct tablemap *map, struct slice prefix) {
    uint32_t mask = map->n_slots - 1;
    uint32_t i = (uint32_t)XXH3_64bits(prefix.data, prefix.len) & mask;
    while (map->by_prefix[i] && !slice_equal(slice_from(map->by_prefix[i]->prefix), prefix))
        i = (i + 1) & mask;
    return &map->by_prefix[i];
}

/* Each is its root under another name: what is kept of it stands under the root's number, and hangs at the root's keys. */
static void fill_leaves(struct tablemap *map, const struct catalog *catalog,
                        const struct tablemap_plan *plan) {
    map->leaves = arena_zalloc(map->arena, plan->n_leaves * sizeof *map->leaves + 1);
    for (uint32_t i = 0; i < plan->n_leaves; i++) {
        const struct tablemap_leaf *from = &plan->leaves[i];
        const struct catalog_table named = {.schema = from->schema, .name = from->name};
        const struct cache_table_config *config = find_config(plan->config, &named);
        const struct catalog_table *top = catalog_find_oid(catalog, from->root_oid);
        const struct table *root = top ? tablemap_find(map, top->schema, top->name) : NULL;
        struct table *leaf = &map->leaves[map->n_leaves];
        uint32_t statement;
        if (!root || (config && !config->mapped) ||
            !tablestates_number(plan->states, from->schema, from->name, &statement))
            continue;
        *leaf = *root;
        leaf->root = root;
        leaf->statement = statement;
        leaf->schema = arena_strdup(map->arena, from->schema);
        leaf->name = arena_strdup(map->arena, from->name);
        leaf->prefix = config && config->prefix ? arena_strdup(map->arena, config->prefix)
                                                : default_prefix(map->arena, &named);
        leaf->partitioned = from->partitioned;
        leaf->writes = false;
        leaf->json = NULL; /* its columns may stand in another order */
        leaf->n_dependents = 0;
        map->leaves_hash = XXH3_64bits_withSeed(leaf->prefix, strlen(leaf->prefix) + 1,
                                                map->leaves_hash + statement + root->number);
        map->n_leaves++;
    }
}

static void index_prefix(struct tablemap *map, const struct table *table) {
    const struct table **slot = slot_of(map, slice_from(table->prefix));
    if (!*slot) *slot = table; /* a named query before a table, a table before a partition */
    map->bare |= table->query && table->n_keys == 0;
    uint32_t colons = 0;
    for (const char *c = table->prefix; *c; c++)
        colons += *c == ':';
    if (colons > map->max_colons) map->max_colons = colons;
}

static void index_prefixes(struct tablemap *map) {
    map->n_slots = 8;
    while (map->n_slots < (map->n_tables + map->n_leaves) * 2)
        map->n_slots *= 2;
    map->by_prefix = arena_zalloc(map->arena, map->n_slots * sizeof *map->by_prefix);
    for (uint32_t i = 0; i < map->n_tables; i++) {
        map->tables[i].statement = map->tables[i].number;
        index_prefix(map, &map->tables[i]);
    }
    for (uint32_t i = 0; i < map->n_leaves; i++)
        index_prefix(map, &map->leaves[i]);
}

struct tablemap *tablemap_build(const struct catalog *catalog, const struct tablemap_plan *plan) {
    struct arena *arena = arena_create(MAP_BLOCK_BYTES);
    struct tablemap *map = arena_zalloc(arena, sizeof *map);
    atomic_init(&map->refs, 1);
    map->arena = arena;
    map->version = plan->version;
    uint32_t n_queries = plan->config->n_queries;
    map->tables = arena_zalloc(arena, (n_queries + catalog->n_tables) * sizeof *map->tables + 1);
    map->n_tables = number_queries(plan, map->tables);
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        struct table *table = &map->tables[map->n_tables];
        if (fill_table(arena, plan, &catalog->tables[i], table))
            map->n_tables++;
        else
            memset(table, 0, sizeof *table);
    }
    const struct tablemap_parts parts = {arena, catalog, map->n_tables, map->tables};
    for (uint32_t i = 0; i < n_queries; i++)
        tablemap_fill_query(&parts, plan, i, &map->tables[i]);
    fill_leaves(map, catalog, plan);
    index_prefixes(map);
    return map;
}

struct tablemap *tablemap_ref(struct tablemap *map) {
    atomic_fetch_add(&map->refs, 1);
    return map;
}

void tablemap_release(struct tablemap **map) {
    struct tablemap *old = *map;
    *map = NULL;
    if (!old || atomic_fetch_sub(&old->refs, 1) > 1) return;
    struct arena *arena = old->arena;
    arena_destroy(&arena);
}

/* ---- looking up ---- */

uint64_t tablemap_version(const struct tablemap *map) { return map->version; }
uint64_t tablemap_leaves(const struct tablemap *map) { return map->leaves_hash; }
uint32_t tablemap_count(const struct tablemap *map) { return map->n_tables; }
const struct table *tablemap_at(const struct tablemap *map, uint32_t i) { return &map->tables[i]; }

const struct table *tablemap_find_key(const struct tablemap *map, struct slice key,
                                      struct slice *rest) {
    const char *from = key.data;
    const char *end = key.data + key.len;
    if (map->bare) {
        const struct table *table = *slot_of(map, key);
        *rest = slice_make(end, 0);
        if (table && table->query && table->n_keys == 0) return table;
    }
    for (uint32_t i = 0; i <= map->max_colons && from < end; i++) {
        const char *colon = memchr(from, ':', (size_t)(end - from));
        if (!colon) return NULL;
        const struct table *table = *slot_of(map, slice_make(key.data, (size_t)(colon - key.data)));
        if (table && !(table->query && table->n_keys == 0)) {
            *rest = slice_make(colon + 1, (size_t)(end - colon - 1));
            return table;
        }
        from = colon + 1;
    }
    return NULL;
}

static int by_name(const void *key, const void *element) {
    const struct table *wanted = key;
    const struct table *table = element;
    int order = strcmp(wanted->schema, table->schema);
    return order ? order : strcmp(wanted->name, table->name);
}

const struct table *tablemap_find(const struct tablemap *map, const char *schema,
                                  const char *name) {
    if (map->n_tables == 0) return NULL;
    struct table wanted = {.schema = schema, .name = name};
    return bsearch(&wanted, map->tables, map->n_tables, sizeof *map->tables, by_name);
}

/* ---- the current one ---- */

struct tablemaps {
    pthread_mutex_t mutex;
    struct tablemap *current;
    _Atomic uint64_t version; /* of current; 0: none */
};

struct tablemaps *tablemaps_create(void) {
    struct tablemaps *maps = mem_zalloc(sizeof *maps);
    pthread_mutex_init(&maps->mutex, NULL);
    return maps;
}

void tablemaps_destroy(struct tablemaps **maps) {
    if (!*maps) return;
    tablemap_release(&(*maps)->current);
    pthread_mutex_destroy(&(*maps)->mutex);
    mem_free(*maps);
    *maps = NULL;
}

void tablemaps_publish(struct tablemaps *maps, struct tablemap **map) {
    ASSERT((*map)->version > 0);
    pthread_mutex_lock(&maps->mutex);
    struct tablemap *old = maps->current;
    maps->current = *map;
    atomic_store(&maps->version, maps->current->version);
    pthread_mutex_unlock(&maps->mutex);
    *map = NULL;
    tablemap_release(&old);
}

struct tablemap *tablemaps_acquire(struct tablemaps *maps) {
    pthread_mutex_lock(&maps->mutex);
    struct tablemap *map = maps->current ? tablemap_ref(maps->current) : NULL;
    pthread_mutex_unlock(&maps->mutex);
    return map;
}

void tablemaps_refresh(struct tablemaps *maps, struct tablemap **map) {
    uint64_t version = atomic_load_explicit(&maps->version, memory_order_acquire);
    if (version == (*map ? (*map)->version : 0)) return;
    tablemap_release(map);
    *map = tablemaps_acquire(maps);
}

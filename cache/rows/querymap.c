/* Named queries as the map of tables has them: their parameters are their key, and each table knows who depends on it. */
#include <string.h>
#include <xxhash.h>

#include "base/mem.h"
#include "cache/rows/tablemap_build.h"

static void fill_parameters(struct arena *arena, const struct tablemap_plan *plan,
                            const struct tablemap_query *described, const struct named_key *key,
                            struct table *table) {
    struct key_column *columns = arena_zalloc(arena, key->n_parameters * sizeof *columns + 1);
    table->keys = columns;
    table->n_keys = key->n_parameters;
    table->identified = true;
    for (uint16_t i = 0; i < key->n_parameters; i++) {
        const struct tablemap_type *type =
            described->refusal ? NULL : tablemap_find_type(plan, described->type_oids[i]);
        columns[i].name = arena_dup(arena, key->parameters[i]).data;
        columns[i].type = keytype_find(type ? type->name : "", type ? type->typtype : 'd', true);
        columns[i].sql_type = arena_strdup(arena, type ? type->sql_name : "pg_catalog.text");
        columns[i].type_name = columns[i].sql_type;
        /* The key of a result is its parameters, of which no stored row tells another spelling. */
        table->identified &= columns[i].type->identity && columns[i].type->exact;
    }
    /* Who touches no single key touches all results, the absent ones among them. */
    table->exact = true;
}

static uint16_t split_names(struct arena *arena, const char *text, const char **names) {
    uint16_t n = 0;
    while (*text && n < NAMED_MAX_PARAMETERS) {
        text += strspn(text, ", ");
        size_t len = strcspn(text, ",");
        size_t kept = len;
        while (kept > 0 && text[kept - 1] == ' ')
            kept--;
        if (kept) names[n++] = arena_dup(arena, slice_make(text, kept)).data;
        text += len;
    }
    return n;
}

/* Does a column's value in the stream have the identity that the parameter's has in a fill? */
static bool is_comparable(const struct tablemap_plan *plan, const struct catalog_table *from,
                          const char *name, const struct keytype *parameter) {
    for (uint16_t c = 0; c < from->n_columns; c++) {
        const struct catalog_column *column = &from->columns[c];
        if (strcmp(column->name, name) != 0) continue;
        const struct keytype *type =
            keytype_find(column->base_type_name, column->base_typtype,
                         !tablemap_is_collated(plan, from->oid, column->attnum));
        return keytype_comparable(type, parameter) && tablemap_is_streamed(plan, from, c);
    }
    return false;
}

/* The columns in the order of the parameters: by their names where these are the parameters', else as they stand. */
static const char *const *match_columns(struct arena *arena, const struct tablemap_plan *plan,
                                        const struct table *query, const struct catalog_table *from,
                                        const char *text) {
    const char *names[NAMED_MAX_PARAMETERS];
    if (strcmp(text, "all") == 0) return NULL;
    uint16_t n = split_names(arena, text, names);
    if (n == 0 || n != query->n_keys || !query->identified) return NULL;
    const char **columns = arena_zalloc(arena, n * sizeof *columns);
    bool by_name = true;
    for (uint16_t i = 0; i < n; i++) {
        for (uint16_t j = 0; j < n; j++) {
            if (strcmp(names[j], query->keys[i].name) == 0) columns[i] = names[j];
        }
        by_name &= columns[i] != NULL;
    }
    for (uint16_t i = 0; i < n; i++) {
        if (!by_name) columns[i] = names[i];
        if (!is_comparable(plan, from, columns[i], query->keys[i].type)) return NULL;
    }
    return columns;
}

static void add_dependent(const struct tablemap_parts *parts, const struct tablemap_plan *plan,
                          struct table *table, const struct dependent *dependent) {
    struct dependent *dependents = (struct dependent *)(uintptr_t)table->dependents;
    if (!dependents)
        table->dependents = dependents =
            arena_zalloc(parts->arena, plan->config->n_queries * sizeof *dependents);
    for (uint16_t i = 0; i < table->n_dependents; i++) {
        if (dependents[i].query == dependent->query) return;
    }
    dependents[table->n_dependents++] = *dependent;
}

/* Views, foreign and unlogged tables: no stream ever tells of them. */
static bool is_unstreamed(const struct catalog *catalog, const char *written) {
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (tablemap_names_table(written, table))
            return table->unlogged || (table->kind != 'r' && table->kind != 'p');
    }
    return false;
}

static void fill_dependencies(const struct tablemap_parts *parts, const struct tablemap_plan *plan,
                              const struct cache_query_config *config, struct table *query) {
    for (uint32_t d = 0; d < config->n_dependencies; d++) {
        const struct cache_dependency *dependency = &config->dependencies[d];
        struct table *table = NULL;
        for (uint32_t i = plan->config->n_queries; i < parts->n_tables && !table; i++) {
            const struct catalog_table named = {.schema = parts->tables[i].schema,
                                                .name = parts->tables[i].name};
            if (tablemap_names_table(dependency->table, &named)) table = &parts->tables[i];
        }
        if (is_unstreamed(parts->catalog, dependency->table)) {
            tablemap_keep_by_ttl(plan, config->ttl_ms >= 0, query);
            query->uncovered = "a table that it depends on is not in the change stream";
            continue;
        }
        if (!table) {
            query->uncovered = "a table that it depends on is not known, or has no primary key";
            continue;
        }
        if (table->uncovered)
            query->uncovered = "a table that it depends on is not covered by "
                               "the change stream";
        /* Described anew, so is the query: what was kept of it goes. */
        uint64_t mix[] = {query->fingerprint, table->fingerprint, table->coverage, table->number};
        query->fingerprint = XXH3_64bits(mix, sizeof mix);
        const struct catalog_table *from = catalog_find(parts->catalog, table->schema, table->name);
        struct dependent dependent = {
            query, match_columns(parts->arena, plan, query, from, dependency->columns)};
        add_dependent(parts, plan, table, &dependent);
    }
}

/* Which views its SQL reads is not known here: one that is replaced may make another query of it. */
static void mix_views(const struct catalog *catalog, struct table *query) {
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        uint64_t mix[] = {query->fingerprint, catalog->tables[i].oid,
                          catalog->tables[i].fingerprint};
        if (catalog->tables[i].kind == 'v') query->fingerprint = XXH3_64bits(mix, sizeof mix);
    }
}

static const char *const *copy_names(struct arena *arena, const char *const *names, uint16_t n) {
    const char **copies = arena_zalloc(arena, n * sizeof *copies + 1);
    for (uint16_t i = 0; i < n; i++)
        copies[i] = arena_strdup(arena, names[i]);
    return copies;
}

void tablemap_fill_query(const struct tablemap_parts *parts, const struct tablemap_plan *plan,
                         uint32_t i, struct table *table) {
    struct arena *arena = parts->arena;
    const struct cache_query_config *config = &plan->config->queries[i];
    const struct tablemap_query *described = &plan->queries[i];
    struct named_query *query = arena_zalloc(arena, sizeof *query);
    *query = (struct named_query){
        .shape = config->shape,
        .sql = config->sql,
        .max_result_bytes = config->max_result_bytes,
        .single = described->single,
        .n_columns = described->n_columns,
        .columns = copy_names(arena, described->columns, described->n_columns),
    };
    struct named_key key;
    named_key_parse(config->key, &key);
    table->query = query;
    table->schema = "";
    table->name = config->name;
    table->prefix = arena_dup(arena, key.prefix).data;
    table->ttl_ms = config->ttl_ms >= 0 ? config->ttl_ms : plan->config->ttl_ms;
    table->refusal = described->refusal ? arena_strdup(arena, described->refusal) : NULL;
    if (!table->refusal && described->n_parameters != key.n_parameters)
        table->refusal = "its SQL has another number of parameters than its key";
    struct tablemap_query fitting = *described;
    fitting.refusal = table->refusal;
    fill_parameters(arena, plan, &fitting, &key, table);
    table->fingerprint =
        XXH3_64bits_withSeed(table->refusal ? "refused" : "", table->refusal ? 7 : 0,
                             described->columns_hash + described->single);
    for (uint16_t k = 0; k < table->n_keys; k++)
        table->fingerprint = XXH3_64bits_withSeed(
            table->keys[k].sql_type, strlen(table->keys[k].sql_type), table->fingerprint);
    mix_views(parts->catalog, table);
    fill_dependencies(parts, plan, config, table);
    table->by_ttl |= config->n_dependencies == 0;
    tablemap_set_version(plan, table);
}

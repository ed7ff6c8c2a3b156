/* What fits together in connectors, and what must be in the database. Which options a type takes stands in its row
 * (connectors/sink.h). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/pattern.h"
#include "server/config.h"

enum { NAME_MAX_CHARS = 50, SLOT_NAME_MAX_BYTES = 63 };

struct connector_check {
    const struct config *config;
    struct mistakes *mistakes;
    uint32_t i;
    struct connector_config *connector;
};

/* Where a field was said; NULL: it was not. */
static const char *said(const struct connector_check *c, const char *field) {
    return config_record_where(c->config, "connectors", c->i, field);
}

/* A mistake of a field, where that was said; else, and with no field, of the connector. */
static void wrong(const struct connector_check *c, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void wrong(const struct connector_check *c, const char *field, const char *format, ...) {
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *where = field ? said(c, field) : NULL;
    char *path =
        where ? mem_printf("connectors[%u].%s", c->i, field) : mem_printf("connectors[%u]", c->i);
    mistakes_add(c->mistakes, where ? where : c->config->connector_places[c->i], path, "%s", text);
    mem_free(path);
}

static const char *default_slot(const struct config *config, const char *name) {
    char *text = mem_printf("freshet_%s", name);
    for (char *letter = text; *letter; letter++)
        *letter = *letter == '-' ? '_' : (char)tolower((unsigned char)*letter);
    const char *slot = arena_strdup(config->arena, text);
    mem_free(text);
    return slot;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789_"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool only_has(const char *text, const char *allowed, size_t most) {
    size_t len = strlen(text);
    return len && len <= most && strspn(text, allowed) == len;
}

/* ---- what each type takes ---- */

static void check_option(const struct connector_check *c, const char *option, bool required) {
    const char *type = c->connector->type ? c->connector->type : "";
    enum connector_option rule = connector_option(type, option);
    if (said(c, option) != NULL) {
        if (rule == CONNECTOR_REFUSES) wrong(c, option, "is no option of type %s", type);
    } else if (required || rule == CONNECTOR_NEEDS) {
        wrong(c, NULL, "has no %s", option);
    }
}

static void check_options(const struct connector_check *c) {
    const struct option *option = options[option_find("connectors")].items;
    for (; option->path; option++)
        check_option(c, option->path, option->required);
}

/* ---- one, and all ---- */

static void check_names(const struct connector_check *c) {
    struct connector_config *connector = c->connector;
    if (!connector->name) return;
    if (!only_has(connector->name, LOWER UPPER "-", NAME_MAX_CHARS))
        wrong(c, "name", "\"%.80s\" is not letters, digits, - and _, at most %d", connector->name,
              NAME_MAX_CHARS);
    if (!connector->slot) connector->slot = default_slot(c->config, connector->name);
    if (!connector->publication) connector->publication = connector->slot;
    if (!only_has(connector->slot, LOWER, SLOT_NAME_MAX_BYTES))
        wrong(c, "slot", "\"%.80s\" is no slot name", connector->slot);
}

/* ---- a query as the source ---- */

static const struct cache_query_config *find_query(const struct connector_check *c) {
    const struct cache_config *cache = &c->config->cache;
    for (uint32_t i = 0; i < cache->n_queries; i++) {
        if (cache->queries[i].name && strcmp(cache->queries[i].name, c->connector->query_name) == 0)
            return &cache->queries[i];
    }
    return NULL;
}

static bool has_many_rows(const struct cache_query_config *query) {
    return query->shape != SHAPE_ROW && query->shape != SHAPE_VALUE;
}

static void check_query(const struct connector_check *c) {
    const struct cache_query_config *query = find_query(c);
    if (!query)
        wrong(c, "query", "there is no \"%.80s\" in cache.queries", c->connector->query_name);
    else if (query->n_dependencies == 0)
        wrong(c, "query", "%.80s has no depends_on: nothing would tell of a changed result",
              query->name);
    else if (has_many_rows(query) && c->connector->type &&
             !connector_takes_many(c->connector->type))
        wrong(c, "query",
              "%.80s gives many rows a key, and %s takes one: give the query shape: row",
              query->name, c->connector->type);
}

static void check_source(const struct connector_check *c) {
    const struct connector_config *connector = c->connector;
    if (connector->n_columns == 0 && said(c, "columns") != NULL)
        wrong(c, "columns", "names no column");
    if (connector->n_views && said(c, "columns") != NULL)
        wrong(c, "columns", "are of a table, not of views");
    if (connector->n_views && (connector->table || connector->query_name))
        wrong(c, "views", "are the source: there can be no table and no query");
    else if (connector->n_views)
        return;
    else if (connector->table && connector->query_name)
        wrong(c, "query", "and table are both set: the source is the one or the other");
    else if (connector->n_columns && connector->n_aggregates)
        wrong(c, "columns", "and aggregate are both set: an aggregate names its columns itself");
    else if (connector->query_name && said(c, "columns") != NULL)
        wrong(c, "columns", "are of a table: a query's SQL chooses its own");
    else if (connector->query_name && connector->n_aggregates)
        wrong(c, "aggregate", "is of a table, not of a query");
    else if (connector->query_name)
        check_query(c);
    else if (!connector->table)
        wrong(c, NULL, "has no table");
}

/* As the connectors know it. */
static const struct connector_query *take_query(const struct config *config,
                                                const struct connector_config *connector,
                                                const struct cache_query_config *query) {
    struct arena *arena = config->arena;
    struct connector_query *taken = arena_zalloc(arena, sizeof *taken);
    struct connector_dependency *dependencies =
        arena_zalloc(arena, (query->n_dependencies + 1) * sizeof *dependencies);
    for (uint32_t i = 0; i < query->n_dependencies; i++)
        dependencies[i] = (struct connector_dependency){.table = query->dependencies[i].table,
                                                        .columns = query->dependencies[i].columns};
    *taken = (struct connector_query){.name = query->name,
                                      .key = query->key,
                                      .sql = query->sql,
                                      .many = has_many_rows(query),
                                      .routing = connector->routing,
                                      .document = connector->document,
                                      .n_dependencies = query->n_dependencies,
                                      .dependencies = dependencies};
    return taken;
}

/* ---- where changes come from ---- */

static void check_from(const struct connector_check *c) {
    static const struct {
        const char *option;
        enum connector_from from;
    } of_one[] = {
        {"slot", CONNECTOR_FROM_SLOT},         {"publication", CONNECTOR_FROM_SLOT},
        {"load_readers", CONNECTOR_FROM_SLOT}, {"max_retained_wal", CONNECTOR_FROM_SLOT},
        {"topic", CONNECTOR_FROM_KAFKA},       {"group", CONNECTOR_FROM_KAFKA},
    };
    enum connector_from from = c->connector->from;
    for (size_t i = 0; i < sizeof of_one / sizeof *of_one; i++) {
        if (of_one[i].from != from && said(c, of_one[i].option) != NULL)
            wrong(c, of_one[i].option, "is no option of from: %s",
                  from == CONNECTOR_FROM_KAFKA ? "kafka" : "slot");
    }
    if (c->connector->dead_letter_topic && !c->config->cdc.kafka.brokers)
        wrong(c, "dead_letter_topic", "is set, and cdc.kafka.brokers is not");
    if (from != CONNECTOR_FROM_KAFKA) return;
    const char *encoding = c->config->cdc.format.encoding;
    if (!c->config->cdc.kafka.brokers)
        wrong(c, "from", "is kafka, and cdc.kafka.brokers is not set");
    if (!c->connector->table) wrong(c, "from", "is kafka, which needs a table");
    if (c->connector->n_aggregates)
        wrong(
            c, "from",
            "is kafka, and records that come twice would be counted twice: aggregate wants a slot");
    if (encoding && strcmp(encoding, "json") != 0 && strcmp(encoding, "json-schema") != 0)
        wrong(c, "from", "is kafka, which reads json and json-schema; cdc.format.encoding is %s",
              encoding);
}

static void finish_kafka(struct config *config, struct connector_config *connector) {
    const struct publisher_config *cdc = &config->cdc;
    if (connector->dead_letter_topic) connector->kafka = &cdc->kafka;
    if (connector->from != CONNECTOR_FROM_KAFKA) return;
    connector->kafka = &cdc->kafka;
    connector->publisher_slot = cdc->slot;
    connector->format = (struct topic_format){.decimals = (enum topic_decimals)cdc->format.decimals,
                                              .times = (enum topic_times)cdc->format.times,
                                              .bytes = (enum topic_bytes)cdc->format.bytes};
    const char *dot = strchr(connector->table, '.');
    char *topic = mem_printf("%s.%s%s", cdc->prefix, dot ? "" : "public.", connector->table);
    if (!connector->topic) connector->topic = arena_strdup(config->arena, topic);
    mem_free(topic);
    if (!connector->group) connector->group = default_slot(config, connector->name);
}

static void check_connector(const struct connector_check *c) {
    check_options(c);
    check_from(c);
    check_source(c);
    const char *table = c->connector->table;
    bool named = table && pattern_valid(table) && !strchr(table, '*');
    if (table && !named) wrong(c, "table", "\"%.80s\" names no table, write schema.table", table);
    check_names(c);
    /* Without a source there is nothing that the rest could follow from, and that is told. */
    bool sourced = named || c->connector->query_name || c->connector->n_views;
    const char *option;
    struct error err;
    if (sourced && !connector_check(c->connector, &option, &err))
        wrong(c, option, "%s", err.message);
}

static void check_unique(const struct connector_check *c) {
    const struct config *config = c->config;
    const struct connector_config *one = c->connector;
    if (!one->name) return;
    if (strcmp(one->slot, config->cdc.slot) == 0)
        wrong(c, NULL, "has the slot of cdc.slot, \"%.80s\"", one->slot);
    if (config->cache.slot && strcmp(one->slot, config->cache.slot) == 0)
        wrong(c, NULL, "has the slot of cache.slot, \"%.80s\"", one->slot);
    for (uint32_t j = 0; j < c->i; j++) {
        const struct connector_config *other = &config->connectors[j];
        if (!other->name) continue;
        bool same_name = strcmp(one->name, other->name) == 0;
        if (!same_name && strcmp(one->slot, other->slot) != 0) continue;
        wrong(c, NULL, "has the %s of connectors[%u], \"%.80s\"", same_name ? "name" : "slot", j,
              same_name ? one->name : one->slot);
        break;
    }
}

void config_check_connectors(struct config *config, struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        struct connector_check check = {
            .config = config, .mistakes = mistakes, .i = i, .connector = &config->connectors[i]};
        check_connector(&check);
        check_unique(&check);
    }
    config_check_rings(config, mistakes);
}

/* ---- what depends on the database ---- */

static const char *table_part(const char *qualified) {
    const char *dot = strrchr(qualified, '.');
    return dot ? dot + 1 : qualified;
}

/* "query.orders_by_user": what stands where a table's name would. */
static const char *beneath(struct arena *arena, const char *schema, const char *name) {
    char *text = mem_printf("%s.%s", schema, name);
    const char *kept = arena_strdup(arena, text);
    mem_free(text);
    return kept;
}

void config_finish_connectors(struct config *config) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        struct connector_config *connector = &config->connectors[i];
        connector->database_url = config->database_url;
        connector->state_dir = config->state_dir;
        finish_kafka(config, connector);
        const struct connector_check check = {.config = config, .i = i, .connector = connector};
        if (connector->n_views)
            connector->table = beneath(config->arena, "refresh", connector->name);
        if (connector->query_name && find_query(&check)) {
            connector->query = take_query(config, connector, find_query(&check));
            connector->table = beneath(config->arena, "query", connector->query_name);
        }
        if (!connector->index)
            connector->index = arena_strdup(config->arena, table_part(connector->table));
    }
}

static const struct catalog_table *find_table(const struct catalog *catalog, const char *name) {
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (pattern_match(name, table->schema, table->name)) return table;
    }
    return NULL;
}

/* The columns that the configuration names, and what they are wanted for. */
static void verify_columns(const struct connector_check *c, const struct catalog_table *table) {
    const char *option;
    const char *entry;
    struct error err;
    if (connector_fits(c->connector, table, &option, &entry, &err)) return;
    char *field = entry ? mem_printf("%s.%s", option, entry) : mem_strdup(option);
    wrong(c, field, "%s", err.message);
    mem_free(field);
}

uint32_t config_slot_connectors(const struct config *config) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < config->n_connectors && config->roles & ROLE_CONNECTORS; i++)
        n += config->connectors[i].from == CONNECTOR_FROM_SLOT;
    return n;
}

void config_verify_connectors(const struct config *config, const struct catalog *catalog,
                              struct mistakes *mistakes) {
    for (uint32_t i = 0; i < config->n_connectors; i++) {
        struct connector_check check = {
            .config = config, .mistakes = mistakes, .i = i, .connector = &config->connectors[i]};
        const char *name = check.connector->table;
        if (check.connector->query_name || check.connector->n_views) continue;
        const struct catalog_table *table = find_table(catalog, name);
        if (table)
            verify_columns(&check, table);
        else
            wrong(&check, "table", "there is no table \"%.80s\" in %s", name, catalog->database);
    }
}

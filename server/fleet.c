#include "server/fleet.h"

#include <string.h>

#include "base/mem.h"
#include "base/namedquery.h"
#include "base/pattern.h"

bool fleet_follows(const struct config *config) {
    return config->roles & ROLE_CACHE && config->cache_read_through &&
           config->cache.coherence == COHERENCE_STREAM && config->cache.feed == CACHE_FEED_KAFKA;
}

/* ---- what fits together ---- */

struct told {
    const struct config *config;
    const char *file;
    struct mistakes *mistakes;
};

static const char *where(const struct told *t, const char *path) {
    const struct config_value *value = config_value(t->config, path);
    return value->strength != FROM_DEFAULT ? value->where : t->file ? t->file : "configuration";
}

#define WRONG(told, path, ...) mistakes_add((told)->mistakes, where(told, path), path, __VA_ARGS__)

static bool names_a_column(const char *text) {
    const char *column = strrchr(text, '.');
    char table[256];
    if (!column || !column[1] || (size_t)(column - text) >= sizeof table) return false;
    memcpy(table, text, (size_t)(column - text));
    table[column - text] = '\0';
    return strchr(table, '.') && pattern_valid(table) && !strchr(table, '*');
}

static void check_publisher(const struct told *t) {
    const struct publisher_config *cdc = &t->config->cdc;
    if (!(t->config->roles & ROLE_CDC)) return;
    if (cdc->invalidations && cdc->output != OUTPUT_KAFKA)
        WRONG(t, "cdc.invalidations", "needs cdc.output: kafka");
    for (uint32_t i = 0; i < cdc->n_invalidation_columns; i++) {
        if (!names_a_column(cdc->invalidation_columns[i]))
            WRONG(t, "cdc.invalidations_columns",
                  "\"%.80s\" names no column, write schema.table.column",
                  cdc->invalidation_columns[i]);
    }
}

static void check_follower(const struct told *t) {
    const struct config *config = t->config;
    if (!config->cache_kafka.brokers && !config->cdc.kafka.brokers)
        WRONG(t, "cache.kafka.brokers",
              "is not set, and cache.feed: kafka needs it (or cdc.kafka.brokers)");
    /* Its own publisher is the one whose topic it follows, unless another is named. */
    if (config->roles & ROLE_CDC && !config->cdc.invalidations && !config->cache_topic)
        WRONG(t, "cdc.invalidations",
              "is off, and cache.feed: kafka follows what it publishes; set it, or "
              "roles: [cache] where another process publishes");
    int64_t needed_ms = config->cdc.invalidations_interval_ms + config->cdc.transaction_interval_ms;
    if (config->cache.max_staleness_ms < 2 * needed_ms)
        WRONG(t, "cache.max_staleness",
              "must be at least twice cdc.invalidations_interval and "
              "cdc.kafka.transaction_interval together (%lld ms), or it can never be proved",
              (long long)(2 * needed_ms));
}

void fleet_check(struct config *config, const char *file, struct mistakes *mistakes) {
    struct told told = {.config = config, .file = file, .mistakes = mistakes};
    check_publisher(&told);
    if (!fleet_follows(config)) return;
    check_follower(&told);
    if (config_value(config, "cache.publication")->strength == FROM_DEFAULT)
        config->cache.publication = config->cdc.publication;
}

/* ---- what follows ---- */

/* "orders", "sales.orders" and a column to "schema.table.column". */
static const char *full_column(struct config *config, const char *table, struct slice column) {
    char *text = mem_printf("%s%s.%.*s", strchr(table, '.') ? "" : "public.", table,
                            (int)column.len, column.data);
    const char *copy = arena_strdup(config->arena, text);
    mem_free(text);
    return copy;
}

/* The next of "a, b"; false: there is none. */
static bool next_name(const char **list, struct slice *name) {
    *list += strspn(*list, ", ");
    size_t len = strcspn(*list, ", ");
    *name = slice_make(*list, len);
    *list += len;
    return len > 0;
}

static uint32_t add_dependencies(struct config *config, const char **columns, uint32_t n) {
    for (uint32_t q = 0; q < config->cache.n_queries; q++) {
        const struct cache_query_config *query = &config->cache.queries[q];
        for (uint32_t d = 0; d < query->n_dependencies; d++) {
            const struct cache_dependency *on = &query->dependencies[d];
            struct slice name;
            if (strcmp(on->columns, "all") == 0 || named_depends_by_sql(on->columns)) continue;
            for (const char *list = on->columns; next_name(&list, &name); n++) {
                if (columns) columns[n] = full_column(config, on->table, name);
            }
        }
    }
    return n;
}

/* What the named queries of this configuration depend on comes along in the records. */
static void finish_columns(struct config *config) {
    struct publisher_config *cdc = &config->cdc;
    uint32_t n = add_dependencies(config, NULL, cdc->n_invalidation_columns);
    const char **columns = arena_alloc(config->arena, (n + 1) * sizeof *columns);
    for (uint32_t i = 0; i < cdc->n_invalidation_columns; i++)
        columns[i] = cdc->invalidation_columns[i];
    cdc->n_invalidation_columns = add_dependencies(config, columns, cdc->n_invalidation_columns);
    cdc->invalidation_columns = columns;
}

/* As topics are named: each byte outside [A-Za-z0-9._-] an underscore. */
static const char *default_topic(struct config *config) {
    char *text = mem_printf("%s.invalidations", config->cdc.prefix);
    for (char *at = text; *at; at++) {
        bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                     (*at >= '0' && *at <= '9') || strchr("._-", *at);
        if (!plain) *at = '_';
    }
    const char *topic = arena_strdup(config->arena, text);
    mem_free(text);
    return topic;
}

void fleet_finish(struct config *config) {
    if (config->cdc.invalidations) finish_columns(config);
    if (!config->cache_topic) config->cache_topic = default_topic(config);
    if (!config->cache_kafka.brokers) config->cache_kafka.brokers = config->cdc.kafka.brokers;
    if (config->cache_kafka.n_properties == 0) {
        config->cache_kafka.n_properties = config->cdc.kafka.n_properties;
        config->cache_kafka.properties = config->cdc.kafka.properties;
    }
}

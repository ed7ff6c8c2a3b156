/* What connectors do to one another: view tables that feed one another in a ring, and targets that two would keep. */
#include <string.h>

#include <libpq-fe.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "server/config.h"

struct rings {
    const struct config *config;
    struct mistakes *mistakes;
    bool *seen;     /* a connector each: the search has been there */
    uint32_t *path; /* of connectors, each feeding the next */
};

static void wrong(const struct rings *rings, uint32_t i, const char *field, const char *text) {
    const char *where = config_record_where(rings->config, "connectors", i, field);
    char *path = mem_printf("connectors[%u].%s", i, field);
    mistakes_add(rings->mistakes, where ? where : rings->config->connector_places[i], path, "%s",
                 text);
    mem_free(path);
}

/* ---- where a view table is ---- */

static bool same_option(const PQconninfoOption *one, const PQconninfoOption *other,
                        const char *keyword, const char *missing) {
    const char *values[2] = {missing, missing};
    for (; one && one->keyword; one++)
        if (strcmp(one->keyword, keyword) == 0 && one->val) values[0] = one->val;
    for (; other && other->keyword; other++)
        if (strcmp(other->keyword, keyword) == 0 && other->val) values[1] = other->val;
    return strcmp(values[0], values[1]) == 0;
}

/* Do two URLs name one database, as far as they tell? */
static bool same_database(const char *one, const char *other) {
    if (strcmp(one, other) == 0) return true;
    PQconninfoOption *parsed[2] = {PQconninfoParse(one, NULL), PQconninfoParse(other, NULL)};
    bool same = parsed[0] && parsed[1] && same_option(parsed[0], parsed[1], "host", "") &&
                same_option(parsed[0], parsed[1], "port", "5432") &&
                same_option(parsed[0], parsed[1], "dbname", "");
    PQconninfoFree(parsed[0]);
    PQconninfoFree(parsed[1]);
    return same;
}

static const char *target_url(const struct rings *rings, uint32_t i) {
    const char *url = rings->config->connectors[i].url;
    return url ? url : rings->config->database_url ? rings->config->database_url : "";
}

static bool is_view(const struct rings *rings, uint32_t i) {
    const struct connector_config *connector = &rings->config->connectors[i];
    return connector->type && strcmp(connector->type, "view") == 0 && connector->into &&
           connector->name;
}

/* "public.orders" */
static char *qualify(const char *name) {
    return strchr(name, '.') ? mem_strdup(name) : mem_printf("public.%s", name);
}

static bool names_table(const char *pattern, const char *qualified) {
    const char *dot = strchr(qualified, '.');
    char *schema = mem_slicedup(slice_make(qualified, (size_t)(dot - qualified)));
    bool named = pattern_match(pattern, schema, dot + 1);
    mem_free(schema);
    return named;
}

/* ---- rings ---- */

static const struct cache_query_config *find_query(const struct config *config, const char *name) {
    for (uint32_t i = 0; i < config->cache.n_queries; i++) {
        const struct cache_query_config *query = &config->cache.queries[i];
        if (query->name && strcmp(query->name, name) == 0) return query;
    }
    return NULL;
}

/* Do changes of that table, in the source's database, reach the connector? */
static bool reads(const struct rings *rings, uint32_t i, const char *qualified) {
    const struct connector_config *connector = &rings->config->connectors[i];
    if (connector->table) return names_table(connector->table, qualified);
    const struct cache_query_config *query =
        connector->query_name ? find_query(rings->config, connector->query_name) : NULL;
    for (uint32_t d = 0; query && d < query->n_dependencies; d++)
        if (names_table(query->dependencies[d].table, qualified)) return true;
    return false;
}

static bool feeds(const struct rings *rings, uint32_t i, uint32_t other) {
    const char *source = rings->config->database_url ? rings->config->database_url : "";
    if (!is_view(rings, i) || !same_database(target_url(rings, i), source)) return false;
    char *table = qualify(rings->config->connectors[i].into);
    bool fed = reads(rings, other, table);
    mem_free(table);
    return fed;
}

static void tell(const struct rings *rings, uint32_t n) {
    const struct connector_config *connectors = rings->config->connectors;
    struct buf text = {0};
    buf_append_text(&text, "closes a ring, in which no change comes to an end: ");
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&text, "%s%s writes %s, which %s reads", i ? "; " : "",
                   connectors[rings->path[i]].name, connectors[rings->path[i]].into,
                   connectors[rings->path[(i + 1) % n]].name);
    wrong(rings, rings->path[n - 1], "into", buf_text(&text));
    buf_deinit(&text);
}

/* From the connector at the end of the path back to its beginning; each ring is found from its first connector, of those after
 * which it was looked for. */
static bool search(struct rings *rings, uint32_t n) {
    uint32_t from = rings->path[n - 1];
    if (feeds(rings, from, rings->path[0])) {
        tell(rings, n);
        return true;
    }
    for (uint32_t i = rings->path[0] + 1; i < rings->config->n_connectors; i++) {
        if (rings->seen[i] || !is_view(rings, i) || !feeds(rings, from, i)) continue;
        rings->seen[i] = true;
        rings->path[n] = i;
        if (search(rings, n + 1)) return true;
    }
    return false;
}

/* ---- one target for two ---- */

static void check_targets(const struct rings *rings, uint32_t i) {
    const struct connector_config *connectors = rings->config->connectors;
    for (uint32_t j = 0; j < i && is_view(rings, i); j++) {
        if (!is_view(rings, j) || !same_database(target_url(rings, i), target_url(rings, j)))
            continue;
        char *tables[2] = {qualify(connectors[i].into), qualify(connectors[j].into)};
        char *text = mem_printf("\"%s\" is kept by connectors[%u], too", connectors[i].into, j);
        if (strcmp(tables[0], tables[1]) == 0) wrong(rings, i, "into", text);
        mem_free(text);
        mem_free(tables[0]);
        mem_free(tables[1]);
    }
}

static bool same_view(const char *one, const char *other) {
    char *names[2] = {qualify(one), qualify(other)};
    bool same = strcmp(names[0], names[1]) == 0;
    mem_free(names[0]);
    mem_free(names[1]);
    return same;
}

/* Two refreshes of one view would come at once. */
static void check_refreshes(const struct rings *rings, uint32_t i) {
    const struct connector_config *connectors = rings->config->connectors;
    for (uint32_t v = 0; v < connectors[i].n_views; v++) {
        const char *view = connectors[i].views[v];
        for (uint32_t j = 0; j <= i; j++) {
            uint32_t n = j == i ? v : connectors[j].n_views;
            for (uint32_t w = 0; w < n; w++) {
                if (!same_view(view, connectors[j].views[w])) continue;
                char *text =
                    j == i ? mem_printf("\"%s\" stands there twice", view)
                           : mem_printf("\"%s\" is refreshed by connectors[%u], too", view, j);
                wrong(rings, i, "views", text);
                mem_free(text);
            }
        }
    }
}

void config_check_rings(const struct config *config, struct mistakes *mistakes) {
    uint32_t n = config->n_connectors;
    struct rings rings = {.config = config, .mistakes = mistakes};
    rings.seen = mem_calloc(n + 1, sizeof *rings.seen);
    rings.path = mem_calloc(n + 1, sizeof *rings.path);
    for (uint32_t i = 0; i < n; i++) {
        check_targets(&rings, i);
        check_refreshes(&rings, i);
        if (!is_view(&rings, i)) continue;
        memset(rings.seen, 0, n * sizeof *rings.seen);
        rings.path[0] = i;
        (void)search(&rings, 1);
    }
    mem_free(rings.seen);
    mem_free(rings.path);
}

#include "cdc/shape/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "cdc/encode/event_table.h"

struct route {
    const char *topic;
    bool has_key_field;
    const struct catalog_table *table;
};

/* By topic; those without a key_field first. */
static int by_topic(const void *a, const void *b) {
    const struct route *left = a;
    const struct route *right = b;
    int order = strcmp(left->topic, right->topic);
    if (order) return order;
    if (left->has_key_field != right->has_key_field)
        return left->has_key_field - right->has_key_field;
    return left->table->oid < right->table->oid ? -1 : left->table->oid > right->table->oid;
}

static bool counts(const struct publisher_config *config, const struct catalog_table *table) {
    return table->n_indexes > 0 && catalog_table_publishable(table) &&
           publisher_wants(config, table->schema, table->name) &&
           !outbox_find(config->n_outboxes, config->outboxes, table->schema, table->name);
}

static uint32_t list(const struct publisher_config *config, const struct catalog *catalog,
                     struct arena *arena, struct route *routes) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < catalog->n_tables; i++) {
        const struct catalog_table *table = &catalog->tables[i];
        if (!counts(config, table)) continue;
        struct shape_route route = shape_route(&config->shape, table->schema, table->name, arena);
        const char *topic = route.topic;
        if (!topic) topic = event_topic(arena, config->prefix, table->schema, table->name);
        routes[n++] = (struct route){
            .topic = topic, .has_key_field = route.key_field != NULL, .table = table};
    }
    return n;
}

void routes_find_shared(const struct publisher_config *config, const struct catalog *catalog,
                        void (*tell)(void *arg, const struct shared_topic *topic), void *arg) {
    struct arena *arena = arena_create(4096);
    struct route *routes = mem_calloc(catalog->n_tables + 1, sizeof *routes);
    uint32_t n = list(config, catalog, arena, routes);
    qsort(routes, n, sizeof *routes, by_topic);
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && strcmp(routes[end].topic, routes[i].topic) == 0; end++) {
        }
        if (end - i < 2 || routes[i].has_key_field) continue;
        tell(arg, &(struct shared_topic){.name = routes[i].topic,
                                         .n_tables = end - i,
                                         .first = routes[i].table,
                                         .second = routes[i + 1].table});
    }
    mem_free(routes);
    arena_destroy(&arena);
}

/* What can be told of a connector before it runs: connector_check, connector_fits, connector_probe. */
#include <string.h>

#include "base/catalog.h"
#include "connectors/connector.h"
#include "connectors/refresh/matviews.h"
#include "connectors/registry.h"
#include "connectors/runtime/letter_probe.h"
#include "connectors/source/query_plan.h"
#include "connectors/source/table_source.h"
#include "connectors/source/topic_probe.h"
#include "connectors/view/aggregate_source.h"

bool connector_check(const struct connector_config *config, const char **option,
                     struct error *err) {
    const struct sink_type *type = config->type ? registry_find(config->type) : NULL;
    *option = NULL;
    return !type || !type->check || type->check(config, option, err);
}

/* ---- the source ---- */

/* Of the table's rows, one option after the other, so that the one to blame is known. */
static struct shape *shape_of_table(const struct connector_config *config,
                                    const struct catalog_table *table, const char **option,
                                    const char **entry, struct error *err) {
    struct table_parts parts = table_parts_of(config);
    const struct {
        const char *option;
        struct table_parts parts;
    } stages[] = {
        {"table", {0}},
        {"columns", {.n_choices = parts.n_choices, .choices = parts.choices}},
        {"routing", {parts.n_choices, parts.choices, parts.routing, NULL}},
        {"document", parts},
    };
    struct shape *shape = NULL;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        uint32_t choice;
        *option = stages[i].option;
        shape_release(&shape);
        shape = table_source_shape(table, &stages[i].parts, &choice, err);
        if (shape) continue;
        if (choice < stages[i].parts.n_choices) *entry = parts.choices[choice].column;
        return NULL;
    }
    return shape;
}

/* Does it name columns? */
static bool names_columns(const struct connector_config *config, const struct sink_type *type) {
    return config->n_columns || config->routing || config->document || (type && type->fits);
}

bool connector_fits(const struct connector_config *config, const struct catalog_table *table,
                    const char **option, const char **entry, struct error *err) {
    const struct sink_type *type = registry_find(config->type);
    *entry = NULL;
    *option = "aggregate";
    if (config->n_aggregates)
        return aggregate_source_fits(
            &(struct aggregate_source_config){
                .database = {.url = config->database_url, .application_name = config->name},
                .table = config->table,
                .n_aggregates = config->n_aggregates,
                .aggregates = config->aggregates},
            table, entry, err);
    if (!names_columns(config, type)) return true;
    struct shape *shape = shape_of_table(config, table, option, entry, err);
    bool fits = shape && (!type || !type->fits || type->fits(config, shape, option, err));
    shape_release(&shape);
    return fits;
}

bool connector_query_fits(const struct connector_config *config, const struct catalog *catalog,
                          PGconn *conn, const char **option, struct error *err) {
    const struct sink_type *type = registry_find(config->type);
    *option = "query";
    struct query_plan *plan = query_plan_create(config->query, catalog, conn, err);
    bool fits = plan && (!type || !type->fits || type->fits(config, plan->shape, option, err));
    query_plan_release(&plan);
    return fits;
}

/* PostgreSQL 17 and newer can grant MAINTAIN to others. */
static bool may_refresh(const struct matview *view, PGconn *conn) {
    return view->owned || PQserverVersion(conn) >= 170000;
}

bool connector_views_fit(const struct connector_config *config, PGconn *conn, struct error *err) {
    struct matviews *views = matviews_load(conn, config->n_views, config->views, err);
    bool fits = views != NULL;
    for (uint32_t i = 0; fits && i < views->n; i++) {
        const struct matview *view = &views->views[i];
        fits = may_refresh(view, conn) ||
               error_set(err, ERROR_REFUSED, false,
                         "materialized view %s: its owner alone may refresh it, and role \"%s\" "
                         "is none of that",
                         view->qualified, PQuser(conn));
    }
    matviews_destroy(&views);
    return fits;
}

/* ---- what is outside the database ---- */

/* NULL: not known. Why not, others tell. */
static struct shape *shape_of_source(const struct connector_config *config,
                                     const struct catalog *catalog,
                                     const struct catalog_table *table, PGconn *conn) {
    struct error ignored;
    struct table_parts parts = table_parts_of(config);
    uint32_t choice;
    if (table && !config->n_aggregates) return table_source_shape(table, &parts, &choice, &ignored);
    if (!config->query || !catalog || !conn) return NULL;
    struct query_plan *plan = query_plan_create(config->query, catalog, conn, &ignored);
    struct shape *shape = plan ? shape_acquire(plan->shape) : NULL;
    query_plan_release(&plan);
    return shape;
}

bool connector_probe(const struct connector_config *config, const struct catalog *catalog,
                     const struct catalog_table *table, PGconn *conn, const char **option,
                     struct error *err) {
    const struct sink_type *type = registry_find(config->type);
    *option = NULL;
    if (!type || !type->probe) return true;
    struct shape *shape = shape_of_source(config, catalog, table, conn);
    bool fits = type->probe(config, shape, option, err);
    shape_release(&shape);
    return fits;
}

bool connector_has_probe(const char *type) {
    const struct sink_type *known = registry_find(type);
    return known && known->probe;
}

bool connector_topic_probe(const struct connector_config *config, struct log *log,
                           struct error *err) {
    return topic_probe(config->kafka, config->topic, config->group, log, err);
}

bool connector_letters_probe(const struct connector_config *config, struct log *log, bool *known,
                             struct error *err) {
    return letter_probe(config->kafka, config->dead_letter_topic, log, known, err);
}

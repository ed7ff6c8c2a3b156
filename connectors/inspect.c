/* What can be told of a connector before it runs: connector_check, connector_fits, connector_probe. */
#include <string.h>

#include "base/catalog.h"
#include "connectors/connector.h"
#include "connectors/registry.h"
#include "connectors/table_source.h"

bool connector_check(const struct connector_config *config, const char **option,
                     struct error *err) {
    const struct sink_type *type = config->type ? registry_find(config->type) : NULL;
    *option = NULL;
    return !type || !type->check || type->check(config, option, err);
}

static bool has_column(const struct catalog_table *table, const char *name) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (strcmp(table->columns[i].name, name) == 0) return true;
    }
    return false;
}

/* Which of the options names what is wrong with the table's columns. */
static const char *option_to_blame(const struct connector_config *config,
                                   const struct catalog_table *table) {
    if (config->routing && !has_column(table, config->routing)) return "routing";
    if (config->document && !has_column(table, config->document)) return "document";
    if (config->routing) return "routing";
    return config->document ? "document" : "table";
}

bool connector_fits(const struct connector_config *config, const struct catalog_table *table,
                    const char **option, struct error *err) {
    struct shape *shape = table_source_shape(table, config->routing, config->document, err);
    *option = option_to_blame(config, table);
    bool fits = shape != NULL;
    shape_release(&shape);
    return fits;
}

bool connector_probe(const struct connector_config *config, const struct catalog_table *table,
                     const char **option, struct error *err) {
    const struct sink_type *type = registry_find(config->type);
    *option = NULL;
    if (!type || !type->probe) return true;
    struct error ignored; /* connector_fits tells it */
    struct shape *shape =
        table ? table_source_shape(table, config->routing, config->document, &ignored) : NULL;
    bool fits = type->probe(config, shape, option, err);
    shape_release(&shape);
    return fits;
}

bool connector_has_probe(const char *type) {
    const struct sink_type *known = registry_find(type);
    return known && known->probe;
}

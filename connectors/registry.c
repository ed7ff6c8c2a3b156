#include "connectors/registry.h"

#include <string.h>

#include "connectors/connector.h"
#include "connectors/opensearch/opensearch.h"

/* Names alone, beside the table, because connector_types() gives out a plain list. */
static const char *const names[] = {"opensearch", NULL};

static const struct sink_type *const types[] = {&opensearch_sink};

const struct sink_type *registry_find(const char *name) {
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i]->name, name) == 0) return types[i];
    }
    return NULL;
}

const char *const *connector_types(void) { return names; }

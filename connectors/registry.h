/* registry.h: the sinks there are. A new one is its folder and a row in registry.c. */
#ifndef FRESHET_CONNECTORS_REGISTRY_H
#define FRESHET_CONNECTORS_REGISTRY_H

#include "connectors/sink.h"

/* NULL: there is none of that name. */
const struct sink_type *registry_find(const char *name);

#endif

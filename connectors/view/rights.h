/* rights.h: could a connector keep this table of PostgreSQL? Asks, and changes nothing. */
#ifndef FRESHET_CONNECTORS_VIEW_RIGHTS_H
#define FRESHET_CONNECTORS_VIEW_RIGHTS_H

#include "connectors/connector.h"
#include "connectors/document/shape.h"

/* `shape`: of the rows; NULL: not known. Else *option is the one to blame. */
bool view_probe(const struct connector_config *config, const struct shape *shape,
                const char **option, struct error *err) MUST_CHECK;

#endif

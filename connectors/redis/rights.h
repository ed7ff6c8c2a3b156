/* rights.h: may a user of a Redis do what the connector does there? Nothing is changed.
 *
 * A command's rights, to itself and to its keys, are judged when it is queued in a MULTI; a MULTI that its connection does not
 * live to EXEC does nothing. */
#ifndef FRESHET_CONNECTORS_REDIS_RIGHTS_H
#define FRESHET_CONNECTORS_REDIS_RIGHTS_H

#include "connectors/redis/layout.h"
#include "connectors/redis/link.h"

/* Closes the link. ERROR_REFUSED: the first that it may not, as the server says it. */
bool rights_look(struct link *link, const char *connector, const struct layout *layout,
                 bool expires, struct error *err) MUST_CHECK;

#endif

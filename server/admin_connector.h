/* admin_connector.h: /connector of the admin port: GET tells how one is, POST pauses it, resumes it, tries its dead letters
 * again, or begins to rebuild its target.
 *
 *     GET  /connector?name=search                   as in /status
 *     POST /connector?name=search&action=pause      {"run":N} of action=retry: `retried.runs` once it is done */
#ifndef FRESHET_SERVER_ADMIN_CONNECTOR_H
#define FRESHET_SERVER_ADMIN_CONNECTOR_H

#include "base/buf.h"
#include "server/service.h"

struct MHD_Connection;

/* The answer's status; its body to *out. The admin port's thread. */
unsigned admin_connector(struct service *service, struct MHD_Connection *connection,
                         const char *method, struct buf *out);

#endif

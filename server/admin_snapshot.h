/* admin_snapshot.h: /snapshot of the admin port, which `freshet snapshot` talks to.
 *
 *     POST /snapshot?table=public.t[&where=SQL][&source=NAME]     {"id":7}
 *     GET  /snapshot?id=7[&source=NAME]                           {"state":"waiting","rows":0,...}: waiting, done
 *
 * What is refused is {"error":"..."} with another status than 200. A POST must come as application/json, which a web
 * page of another site cannot send unasked. */
#ifndef FRESHET_SERVER_ADMIN_SNAPSHOT_H
#define FRESHET_SERVER_ADMIN_SNAPSHOT_H

#include "base/buf.h"
#include "server/service.h"

struct MHD_Connection;

/* The HTTP status; the body goes to `out`. The admin port's thread. */
unsigned admin_snapshot(struct service *service, struct MHD_Connection *connection,
                        const char *method, struct buf *out);

#endif

/* admin_verify.h: /verify of the admin port, which `freshet verify` talks to.
 *
 *     POST /verify?connector=NAME[&repair=yes][&rate=20000]     {"id":7}
 *     GET  /verify?connector=NAME&id=7                          {"state":"running","rows":0,...}: running, done; with what was
 *                                                               found once it is done
 *
 *     POST /verify?cache=start&rate=1000   POST /verify?cache=stop   GET /verify?cache=status
 *                                                               {"running":true,"passes":0,"checked":17,"stale":0,...}
 *
 * What is refused is {"error":"..."} with another status than 200. */
#ifndef FRESHET_SERVER_ADMIN_VERIFY_H
#define FRESHET_SERVER_ADMIN_VERIFY_H

#include "base/buf.h"
#include "server/service.h"

struct MHD_Connection;

/* The HTTP status; the body goes to `out`. The admin port's thread. */
unsigned admin_verify(struct service *service, struct MHD_Connection *connection,
                      const char *method, struct buf *out);

#endif

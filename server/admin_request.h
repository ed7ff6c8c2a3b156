/* admin_request.h: what the pages of the admin port that take a request need of it. The admin port's thread. */
#ifndef FRESHET_SERVER_ADMIN_REQUEST_H
#define FRESHET_SERVER_ADMIN_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"

struct MHD_Connection;

/* ?name=value; NULL: not given. */
const char *admin_argument(struct MHD_Connection *connection, const char *name);
/* {"error":"why"} to *out; returns `code`. */
unsigned admin_refuse(unsigned code, const char *why, struct buf *out);
/* Takes the reference: its text to *out; returns 200. */
unsigned admin_answer(json_t *json, struct buf *out);
/* False: the method is neither GET nor POST, or a POST does not come as application/json, which a web page of another site
 * cannot send unasked; *code and *out then say so. */
bool admin_takes(struct MHD_Connection *connection, const char *method, unsigned *code,
                 struct buf *out);

#endif

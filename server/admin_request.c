#include "server/admin_request.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

const char *admin_argument(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
}

unsigned admin_refuse(unsigned code, const char *why, struct buf *out) {
    buf_append_text(out, "{\"error\":");
    json_append_string(out, slice_from(why));
    buf_append_text(out, "}\n");
    return code;
}

unsigned admin_answer(json_t *json, struct buf *out) {
    char *dump = json_dumps(json, 0);
    buf_append_text(out, dump ? dump : "{}");
    buf_append_char(out, '\n');
    free(dump);
    json_decref(json);
    return MHD_HTTP_OK;
}

bool admin_takes(struct MHD_Connection *connection, const char *method, unsigned *code,
                 struct buf *out) {
    static const char json[] = "application/json";
    if (strcmp(method, MHD_HTTP_METHOD_GET) == 0) return true;
    if (strcmp(method, MHD_HTTP_METHOD_POST) != 0) {
        *code = admin_refuse(MHD_HTTP_METHOD_NOT_ALLOWED, "GET and POST", out);
        return false;
    }
    const char *type =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (type && strncmp(type, json, strlen(json)) == 0) return true;
    *code = admin_refuse(MHD_HTTP_UNSUPPORTED_MEDIA_TYPE,
                         "Content-Type: application/json is needed", out);
    return false;
}

#include "server/admin_verify.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin_request.h"

static unsigned begin(struct service *service, const char *name, struct MHD_Connection *connection,
                      struct buf *out) {
    const char *text = admin_argument(connection, "rate");
    char *end = NULL;
    unsigned long rate = text ? strtoul(text, &end, 10) : 0;
    if (text && (end == text || *end || rate < 1 || rate > UINT32_MAX))
        return admin_refuse(MHD_HTTP_BAD_REQUEST, "rate: a number of rows a second, from 1 on",
                            out);
    struct error err;
    uint64_t id;
    bool repair = admin_argument(connection, "repair") != NULL;
    if (!service_verify(service, name, repair, (uint32_t)rate, &id, &err))
        return admin_refuse(MHD_HTTP_CONFLICT, err.message, out);
    return admin_answer(json_pack("{s:I}", "id", (json_int_t)id), out);
}

static unsigned tell(struct service *service, const char *name, struct MHD_Connection *connection,
                     struct buf *out) {
    const char *id = admin_argument(connection, "id");
    struct error err;
    json_t *state = service_verification(service, name, id ? strtoull(id, NULL, 10) : 0, &err);
    if (!state) return admin_refuse(MHD_HTTP_NOT_FOUND, err.message, out);
    const char *error = json_string_value(json_object_get(state, "error"));
    if (!error) return admin_answer(state, out);
    unsigned code = admin_refuse(MHD_HTTP_CONFLICT, error, out);
    json_decref(state);
    return code;
}

unsigned admin_verify(struct service *service, struct MHD_Connection *connection,
                      const char *method, struct buf *out) {
    unsigned code;
    if (!admin_takes(connection, method, &code, out)) return code;
    const char *name = admin_argument(connection, "connector");
    if (!name) return admin_refuse(MHD_HTTP_BAD_REQUEST, "connector is missing", out);
    bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
    return get ? tell(service, name, connection, out) : begin(service, name, connection, out);
}

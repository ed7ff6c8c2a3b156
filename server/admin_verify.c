#include "server/admin_verify.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin_request.h"

static bool read_rate(struct MHD_Connection *connection, uint32_t *rate) {
    const char *text = admin_argument(connection, "rate");
    char *end = NULL;
    unsigned long number = text ? strtoul(text, &end, 10) : 0;
    *rate = (uint32_t)number;
    return !text || (end != text && !*end && number >= 1 && number <= UINT32_MAX);
}

/* ?cache=start&rate=1000 and ?cache=stop as POST, ?cache=status as GET. */
static unsigned of_cache(struct service *service, const char *order, bool get,
                         struct MHD_Connection *connection, struct buf *out) {
    struct error err;
    uint32_t rate;
    bool starts = strcmp(order, "start") == 0;
    if (get ? strcmp(order, "status") != 0 : !starts && strcmp(order, "stop") != 0)
        return admin_refuse(MHD_HTTP_BAD_REQUEST, "cache: start and stop are POSTed, status is got",
                            out);
    if (!read_rate(connection, &rate) || starts != (rate > 0))
        return admin_refuse(MHD_HTTP_BAD_REQUEST,
                            "rate: a number of entries a second, from 1 on, to start with", out);
    if (!get && !service_verify_cache(service, rate, &err))
        return admin_refuse(MHD_HTTP_CONFLICT, err.message, out);
    json_t *state = service_cache_verification(service, &err);
    return state ? admin_answer(state, out) : admin_refuse(MHD_HTTP_CONFLICT, err.message, out);
}

static unsigned begin(struct service *service, const char *name, struct MHD_Connection *connection,
                      struct buf *out) {
    uint32_t rate;
    if (!read_rate(connection, &rate))
        return admin_refuse(MHD_HTTP_BAD_REQUEST, "rate: a number of rows a second, from 1 on",
                            out);
    struct error err;
    uint64_t id;
    bool repair = admin_argument(connection, "repair") != NULL;
    if (!service_verify(service, name, repair, rate, &id, &err))
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
    bool get = strcmp(method, MHD_HTTP_METHOD_GET) == 0;
    const char *cache = admin_argument(connection, "cache");
    if (cache) return of_cache(service, cache, get, connection, out);
    const char *name = admin_argument(connection, "connector");
    if (!name) return admin_refuse(MHD_HTTP_BAD_REQUEST, "connector is missing", out);
    return get ? tell(service, name, connection, out) : begin(service, name, connection, out);
}

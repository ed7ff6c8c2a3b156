#include "server/admin_connector.h"

#include <microhttpd.h>
#include <string.h>

#include "server/admin_request.h"

static bool pause_it(struct service *service, const char *name, json_t *answer, struct error *err) {
    (void)answer;
    return service_pause(service, name, true, err);
}

static bool resume_it(struct service *service, const char *name, json_t *answer,
                      struct error *err) {
    (void)answer;
    return service_pause(service, name, false, err);
}

static bool retry_it(struct service *service, const char *name, json_t *answer, struct error *err) {
    uint64_t run;
    if (!service_retry(service, name, &run, err)) return false;
    json_object_set_new(answer, "run", json_integer((json_int_t)run));
    return true;
}

static bool rebuild_it(struct service *service, const char *name, json_t *answer,
                       struct error *err) {
    (void)answer;
    return service_rebuild(service, name, err);
}

static const struct {
    const char *name;
    bool (*act)(struct service *service, const char *name, json_t *answer, struct error *err);
} actions[] = {
    {"pause", pause_it}, {"resume", resume_it}, {"retry", retry_it}, {"rebuild", rebuild_it}};

static unsigned act(struct service *service, const char *name, const char *action,
                    struct buf *out) {
    for (size_t i = 0; action && i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].name, action) != 0) continue;
        struct error err;
        json_t *answer = json_object();
        if (actions[i].act(service, name, answer, &err)) return admin_answer(answer, out);
        json_decref(answer);
        return admin_refuse(MHD_HTTP_CONFLICT, err.message, out);
    }
    return admin_refuse(MHD_HTTP_BAD_REQUEST, "action is pause, resume, retry or rebuild", out);
}

unsigned admin_connector(struct service *service, struct MHD_Connection *connection,
                         const char *method, struct buf *out) {
    unsigned code;
    if (!admin_takes(connection, method, &code, out)) return code;
    const char *name = admin_argument(connection, "name");
    if (!name) return admin_refuse(MHD_HTTP_BAD_REQUEST, "name is missing", out);
    if (strcmp(method, MHD_HTTP_METHOD_POST) == 0)
        return act(service, name, admin_argument(connection, "action"), out);
    struct error err;
    json_t *status = service_connector(service, name, &err);
    return status ? admin_answer(status, out) : admin_refuse(MHD_HTTP_NOT_FOUND, err.message, out);
}

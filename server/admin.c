#include "server/admin.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "server/admin_connector.h"
#include "server/admin_snapshot.h"
#include "server/admin_verify.h"
#include "server/units.h"

enum { MAX_CONNECTIONS = 64, IDLE_TIMEOUT_S = 15 };

struct admin {
    struct MHD_Daemon *daemon;
    struct admin_deps deps;
    uint16_t port;
};

/* One page: composes its body and answers the HTTP status. */
struct page {
    const char *path;
    const char *content_type;
    unsigned (*compose)(struct admin *admin, struct buf *out);
};

static const char text_type[] = "text/plain; charset=utf-8";

static unsigned compose_metrics(struct admin *admin, struct buf *out) {
    metrics_render(admin->deps.metrics, out);
    return MHD_HTTP_OK;
}

static unsigned compose_healthz(struct admin *admin, struct buf *out) {
    (void)admin;
    buf_append_text(out, "ok\n");
    return MHD_HTTP_OK;
}

static unsigned compose_readyz(struct admin *admin, struct buf *out) {
    struct service_health health;
    service_health(admin->deps.service, &health);
    if (!health.ready) {
        buf_printf(out, "not ready: %s\n", health.reason);
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    }
    buf_append_text(out, "ready\n");
    if (*health.degraded) buf_printf(out, "degraded: %s\n", health.degraded);
    return MHD_HTTP_OK;
}

static unsigned compose_status(struct admin *admin, struct buf *out) {
    json_t *status = service_status(admin->deps.service);
    json_object_set_new(status, "slots", samplers_slots(admin->deps.samplers));
    char *text = json_dumps(status, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(status);
    ASSERT(text);
    buf_append_text(out, text);
    buf_append_char(out, '\n');
    free(text);
    return MHD_HTTP_OK;
}

static unsigned compose_index(struct admin *admin, struct buf *out) {
    (void)admin;
    buf_append_text(out, "<!doctype html><meta charset=utf-8><title>Freshet</title>"
                         "<style>body{font:16px system-ui;margin:3em}</style>"
                         "<h1>Freshet " FRESHET_VERSION "</h1><ul>"
                         "<li><a href=/status>/status</a>: how it is, in JSON"
                         "<li><a href=/metrics>/metrics</a>: for Prometheus"
                         "<li><a href=/readyz>/readyz</a>: does it serve?"
                         "<li><a href=/healthz>/healthz</a>: does it live?</ul>\n");
    return MHD_HTTP_OK;
}

static const struct page pages[] = {
    {"/", "text/html; charset=utf-8", compose_index},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", compose_metrics},
    {"/healthz", text_type, compose_healthz},
    {"/readyz", text_type, compose_readyz},
    {"/status", "application/json", compose_status},
};

/* Pages that take a request, and check how it was made themselves. */
static const struct {
    const char *path;
    unsigned (*take)(struct service *service, struct MHD_Connection *connection, const char *method,
                     struct buf *out);
} requests[] = {
    {"/snapshot", admin_snapshot},
    {"/connector", admin_connector},
    {"/verify", admin_verify},
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned code,
                               const char *content_type, struct buf *body) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_MUST_COPY);
    ASSERT(response);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    buf_deinit(body);
    return result;
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state) {
    (void)version;
    (void)upload;
    static const int seen_headers;
    /* The first call brings the headers alone; a body is read to its end and ignored. */
    if (!*state) {
        *state = (void *)(uintptr_t)&seen_headers;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    struct buf body = {0};
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        if (strcmp(requests[i].path, url) != 0) continue;
        struct service *service = ((struct admin *)arg)->deps.service;
        unsigned code = requests[i].take(service, connection, method, &body);
        return respond(connection, code, "application/json", &body);
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        buf_append_text(&body, "only GET and HEAD\n");
        return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, text_type, &body);
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(pages[i].path, url) != 0) continue;
        unsigned code = pages[i].compose(arg, &body);
        return respond(connection, code, pages[i].content_type, &body);
    }
    buf_append_text(&body, "no such page; there are /metrics, /healthz, /readyz and /status\n");
    return respond(connection, MHD_HTTP_NOT_FOUND, text_type, &body);
}

/* libmicrohttpd tells of trouble with clients, which is not worth a line of ours. */
static void ignore_log(void *arg, const char *format, va_list args) {
    (void)arg;
    (void)format;
    (void)args;
}

static bool start(struct admin *admin, const struct addrinfo *at, const char *listen,
                  struct error *err) {
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG;
    if (at->ai_family == AF_INET6) flags |= MHD_USE_IPv6;
    errno = 0;
    admin->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, admin, MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL,
        MHD_OPTION_SOCK_ADDR, at->ai_addr, MHD_OPTION_CONNECTION_LIMIT, (unsigned)MAX_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_END);
    if (!admin->daemon)
        return error_set(err, ERROR_SYSTEM, false,
                         "admin.listen: cannot listen on %s: %s; choose another with --admin",
                         listen, errno ? strerror(errno) : "unknown error");
    admin->port = MHD_get_daemon_info(admin->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return true;
}

static bool resolve_and_start(struct admin *admin, const char *listen, struct error *err) {
    struct address address;
    struct why why;
    if (!units_address(listen, &address, &why))
        return error_set(err, ERROR_CONFIG, false, "admin.listen: %s", why.text);
    char port[8];
    snprintf(port, sizeof port, "%u", address.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(address.host, port, &hints, &found);
    if (failed)
        return error_set(err, ERROR_SYSTEM, false, "admin.listen: %s: %s", listen,
                         gai_strerror(failed));
    bool started = start(admin, found, listen, err);
    freeaddrinfo(found);
    return started;
}

struct admin *admin_create(const char *listen, const struct admin_deps *deps, struct error *err) {
    struct admin *admin = mem_zalloc(sizeof *admin);
    admin->deps = *deps;
    if (!resolve_and_start(admin, listen, err)) {
        mem_free(admin);
        return NULL;
    }
    return admin;
}

void admin_destroy(struct admin **admin) {
    if (!*admin) return;
    MHD_stop_daemon((*admin)->daemon);
    mem_free(*admin);
    *admin = NULL;
}

uint16_t admin_port(const struct admin *admin) { return admin->port; }

#include "connectors/webhook/webhook.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/http.h"
#include "base/mem.h"
#include "connectors/webhook/request.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    TIMEOUT_MS = 30000,
    RETRY_AFTER_MAX_S = 3600,
    WAIT_MAX_US = 1000000, /* within a call; what is longer is left to the runtime */
    WAIT_STEP_US = 50000,
};

struct sink {
    struct log *log;
    struct http *http;
    char *name;
    struct request_secret secret;
    const _Atomic bool *stop;
    bool one_of_several; /* lanes */
    size_t max_bytes;
    int64_t not_before_us; /* monotonic: the endpoint asked for it */
    struct shape *shape;
    struct request request;
};

static void webhook_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    http_destroy(&old->http);
    shape_release(&old->shape);
    request_deinit(&old->request);
    mem_free(old->secret.key);
    mem_free(old->name);
    mem_free(old);
}

/* What the configuration says of the endpoint. NULL: *option is wrong. */
static struct http *create_http(const struct connector_config *config, const _Atomic bool *stop,
                                const char **option, struct error *err) {
    *option = "url";
    return http_create(&(struct http_config){.url = config->url ? config->url : "",
                                             .user = config->user,
                                             .password = config->password,
                                             .ca_file = config->ca_file,
                                             .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                             .timeout_ms = config->timeout_ms
                                                               ? (int)config->timeout_ms
                                                               : TIMEOUT_MS,
                                             .stop = stop},
                       err);
}

static bool read_secret(const struct connector_config *config, struct request_secret *secret,
                        const char **option, struct error *err) {
    *option = "secret";
    return !config->secret || request_read_secret(config->secret, secret, err);
}

static struct sink *webhook_create(const struct connector_config *config,
                                   const struct sink_deps *deps, struct error *err) {
    struct sink *sink = mem_zalloc(sizeof *sink);
    const char *option;
    sink->log = deps->log;
    sink->stop = deps->stop;
    sink->name = mem_strdup(config->name);
    sink->one_of_several = config->lanes > 1;
    sink->max_bytes = config->batch_bytes;
    sink->http = create_http(config, deps->stop, &option, err);
    if (!sink->http || !read_secret(config, &sink->secret, &option, err)) webhook_destroy(&sink);
    return sink;
}

static bool webhook_check(const struct connector_config *config, const char **option,
                          struct error *err) {
    struct request_secret secret = {0};
    struct http *http = create_http(config, NULL, option, err);
    bool ok = http && read_secret(config, &secret, option, err);
    http_destroy(&http);
    mem_free(secret.key);
    return ok;
}

/* Whatever it answers to a HEAD, it is there: many endpoints take POST alone. */
static bool webhook_probe(const struct connector_config *config, const struct shape *shape,
                          const char **option, struct error *err) {
    (void)shape;
    struct http *http = create_http(config, NULL, option, err);
    struct http_response response;
    bool ok = http && http_request(http, "HEAD", "", NULL, &response, err);
    if (ok) http_response_deinit(&response);
    http_destroy(&http);
    return ok;
}

/* An endpoint keeps what it is told; the position says how much that is. */
static bool webhook_open(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                         struct sink_target *target, struct error *err) {
    (void)system_identifier, (void)err;
    shape_release(&sink->shape);
    sink->shape = shape_create(shape->schema, shape->table, shape->n_columns, shape->columns,
                               shape->n_keys, shape->keys);
    *target = (struct sink_target){.id = "webhook", .ours = true};
    return true;
}

static bool webhook_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    (void)sink, (void)shape, (void)err;
    return true;
}

/* ---- one request ---- */

/* False: it is too early. */
static bool wait_for_turn(struct sink *sink, struct error *err) {
    int64_t left_us = sink->not_before_us - clock_mono_us();
    if (left_us > WAIT_MAX_US)
        return error_set(err, ERROR_UNAVAILABLE, true,
                         "the endpoint asked not to be called for %lld s more",
                         (long long)(left_us / 1000000));
    while (left_us > 0 && !atomic_load_explicit(sink->stop, memory_order_relaxed)) {
        int64_t step_us = left_us < WAIT_STEP_US ? left_us : WAIT_STEP_US;
        nanosleep(&(struct timespec){.tv_nsec = step_us * 1000}, NULL);
        left_us = sink->not_before_us - clock_mono_us();
    }
    return true;
}

static bool post(struct sink *sink, struct http_response *response, struct error *err) {
    if (!wait_for_turn(sink, err)) return false;
    char lines[REQUEST_HEADERS][REQUEST_HEADER_MAX];
    const char *headers[REQUEST_HEADERS + 1] = {0};
    size_t n = request_headers(&sink->request, &sink->secret, clock_wall_us() / 1000000, lines);
    for (size_t i = 0; i < n; i++)
        headers[i] = lines[i];
    struct http_body body = {"application/json", buf_slice(&sink->request.body)};
    http_set_headers(sink->http, headers);
    bool answered = http_request(sink->http, "POST", "", &body, response, err);
    http_set_headers(sink->http, NULL);
    return answered;
}

enum verdict { VERDICT_TAKEN, VERDICT_AGAIN, VERDICT_HALVE, VERDICT_REFUSED };

static enum verdict judge(long status) {
    if (status >= 200 && status < 300) return VERDICT_TAKEN;
    if (status == 400 || status == 413 || status == 422) return VERDICT_HALVE;
    if (status == 408 || status == 409 || status == 425 || status == 429) return VERDICT_AGAIN;
    return status >= 400 && status < 500 ? VERDICT_REFUSED : VERDICT_AGAIN;
}

static bool put_off(struct sink *sink, const struct http_response *response, struct error *err) {
    int64_t wait_s = response->retry_after_s;
    if (wait_s > RETRY_AFTER_MAX_S) wait_s = RETRY_AFTER_MAX_S;
    if (wait_s > 0) sink->not_before_us = clock_mono_us() + wait_s * 1000000;
    http_refused(response, "webhook", err);
    err->code = ERROR_UNAVAILABLE; /* an endpoint that is not found is nothing to load anew */
    err->retriable = true;
    return false;
}

/* ---- a batch ---- */

static void settle(struct batch *batch, size_t from, size_t to,
                   const struct http_response *response, bool taken) {
    struct write *write;
    while ((write = batch_next(batch, &from, to))) {
        if (taken)
            write->outcome = WRITE_DONE;
        else
            batch_refuse_text(batch, write, (int)response->status, buf_slice(&response->body));
    }
}

static bool send_range(struct sink *sink, struct batch *batch, size_t from, size_t to, bool part,
                       struct error *err);

static bool take_answer(struct sink *sink, struct batch *batch, size_t from, size_t to,
                        const struct http_response *response, struct error *err) {
    enum verdict verdict = judge(response->status);
    if (verdict == VERDICT_AGAIN) return put_off(sink, response, err);
    if (verdict == VERDICT_HALVE && sink->request.n_changes > 1) {
        /* An endpoint that says how much is too much is sent less from now on. */
        if (response->status == 413) sink->max_bytes = sink->request.body.len / 2;
        size_t middle = from + (to - from) / 2;
        return send_range(sink, batch, from, middle, true, err) &&
               send_range(sink, batch, middle, to, true, err);
    }
    settle(batch, from, to, response, verdict == VERDICT_TAKEN);
    return true;
}

/* The writes in [from, to), in as many requests as their size wants. */
static bool send_range(struct sink *sink, struct batch *batch, size_t from, size_t to, bool part,
                       struct error *err) {
    for (size_t behind = from; from < to; from = behind) {
        request_compose(&sink->request, sink->name, batch, &behind, to, sink->max_bytes, part);
        if (sink->request.n_changes == 0) continue;
        struct http_response response;
        if (!post(sink, &response, err)) return false;
        bool done = take_answer(sink, batch, from, behind, &response, err);
        http_response_deinit(&response);
        if (!done) return false;
    }
    return true;
}

static bool webhook_apply(struct sink *sink, struct batch *batch, struct error *err) {
    return send_range(sink, batch, 0, batch->n_writes, sink->one_of_several, err);
}

/* An endpoint that will not hear of it is left alone: no row is to blame. */
static bool webhook_clear_older(struct sink *sink, const struct clearing *clearing,
                                uint64_t *removed, struct error *err) {
    *removed = 0;
    request_compose_clear(&sink->request, sink->name, sink->shape, clearing->version,
                          clearing->loaded);
    struct http_response response;
    if (!post(sink, &response, err)) return false;
    enum verdict verdict = judge(response.status);
    bool done = verdict != VERDICT_AGAIN || put_off(sink, &response, err);
    if (done && verdict != VERDICT_TAKEN)
        log_warn(sink->log, "webhook_refused", "connector=%s operation=%s status=%ld", sink->name,
                 clearing->loaded ? "loaded" : "truncate", response.status);
    http_response_deinit(&response);
    return done;
}

static bool webhook_flush(struct sink *sink, const struct change_position *position,
                          struct error *err) {
    (void)sink, (void)position, (void)err;
    return true;
}

const struct sink_type webhook_sink = {
    .name = "webhook",
    .help = "An HTTP endpoint that changes are posted to, in order, as JSON",
    .needs = "url",
    .takes = "lanes secret timeout ca_file user password",
    .check = webhook_check,
    .probe = webhook_probe,
    .ops =
        {
            .create = webhook_create,
            .destroy = webhook_destroy,
            .open = webhook_open,
            .reshape = webhook_reshape,
            .apply = webhook_apply,
            .clear_older = webhook_clear_older,
            .flush = webhook_flush,
            .resumes_loads = true,
        },
};

#include "server/ask.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/http.h"
#include "base/mem.h"
#include "server/cli.h"
#include "server/units.h"

enum {
    CONNECT_TIMEOUT_MS = 3000,
    ASK_TIMEOUT_MS = 20000,
    LOOK_INTERVAL_MS = 200,
    TELL_EVERY_US = 2000000,
    AWAY_US = 60000000,
};

struct ask {
    struct http *http;
};

struct ask *ask_open(const char *admin_listen, struct error *err) {
    struct address address;
    struct why why;
    if (!units_address(admin_listen, &address, &why)) {
        error_set(err, ERROR_CONFIG, false, "admin.listen: %s", why.text);
        return NULL;
    }
    const char *host = address.host;
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    if (strcmp(host, "::") == 0) host = "::1";
    bool v6 = strchr(host, ':');
    char *url = mem_printf("http://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", address.port);
    struct http_config config = {
        .url = url, .connect_timeout_ms = CONNECT_TIMEOUT_MS, .timeout_ms = ASK_TIMEOUT_MS};
    struct http *http = http_create(&config, err);
    mem_free(url);
    if (!http) return NULL;
    struct ask *ask = mem_zalloc(sizeof *ask);
    ask->http = http;
    return ask;
}

void ask_close(struct ask **ask) {
    struct ask *old = *ask;
    *ask = NULL;
    if (!old) return;
    http_destroy(&old->http);
    mem_free(old);
}

void ask_argument(struct buf *path, const char *name, const char *value) {
    if (!value) return;
    buf_printf(path, "%c%s=", memchr(path->data, '?', path->len) ? '&' : '?', name);
    http_append_segment(path, value);
}

json_t *ask_for(struct ask *ask, const char *method, struct buf *path, struct error *err) {
    struct http_body body = {.content_type = "application/json", .data = SLICE("{}")};
    struct http_response response;
    bool post = strcmp(method, "POST") == 0;
    if (!http_request(ask->http, method, buf_text(path), post ? &body : NULL, &response, err))
        return NULL;
    json_t *json =
        json_loadb(response.body.data ? response.body.data : "", response.body.len, 0, NULL);
    const char *said = json_string_value(json_object_get(json, "error"));
    bool ok = response.status == 200 && json;
    if (!ok && said)
        error_set(err, ERROR_REFUSED, false, "%s", said);
    else if (!ok)
        error_set(err, ERROR_PROTOCOL, false, "the admin address answers %ld", response.status);
    http_response_deinit(&response);
    if (ok) return json;
    json_decref(json);
    return NULL;
}

int ask_failed(const char *command, const struct error *err) {
    fprintf(stderr, "%s: %s\n", command, err->message);
    if (err->retriable || err->code == ERROR_UNAVAILABLE)
        fputs("does Freshet run, and is that its admin address (--admin)?\n", stderr);
    return EXIT_FAILED;
}

void ask_rest(void) {
    struct timespec interval = {.tv_nsec = LOOK_INTERVAL_MS * 1000000L};
    nanosleep(&interval, NULL);
}

int ask_follow(struct ask *ask, struct buf *path, const struct ask_work *work, const char *name) {
    int64_t answered_us = clock_mono_us();
    int64_t told_us = answered_us;
    int code = -1;
    while (code < 0) {
        struct error err;
        json_t *answer = ask_for(ask, "GET", path, &err);
        int64_t now_us = clock_mono_us();
        if (answer) {
            answered_us = now_us;
            code = work->judge(answer, name);
        } else if (err.code == ERROR_REFUSED || now_us - answered_us > AWAY_US) {
            code = ask_failed(work->command, &err);
        }
        if (code < 0 && answer && now_us - told_us > TELL_EVERY_US) {
            told_us = now_us;
            work->tell(answer, name);
        }
        json_decref(answer);
        if (code < 0) ask_rest();
    }
    return code;
}

/* `freshet snapshot TABLE`: a running Freshet publishes the rows of a table again, beside its stream. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/http.h"
#include "base/mem.h"
#include "server/commands.h"
#include "server/units.h"

enum {
    CONNECT_TIMEOUT_MS = 3000,
    ASK_TIMEOUT_MS = 20000,
    LOOK_INTERVAL_MS = 200,
    AWAY_US = 60000000, /* so long it may be away meanwhile: it goes on where it was */
    TELL_EVERY_US = 2000000,
};

static int fail(const char *message) {
    fprintf(stderr, "snapshot: %s\n", message);
    return EXIT_FAILED;
}

static struct http *open_admin(const char *listen, char **url, struct error *err) {
    struct address address;
    struct why why;
    if (!units_address(listen, &address, &why)) {
        error_set(err, ERROR_CONFIG, false, "admin.listen: %s", why.text);
        return NULL;
    }
    const char *host = address.host;
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    if (strcmp(host, "::") == 0) host = "::1";
    bool v6 = strchr(host, ':');
    *url = mem_printf("http://%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", address.port);
    struct http_config config = {
        .url = *url, .connect_timeout_ms = CONNECT_TIMEOUT_MS, .timeout_ms = ASK_TIMEOUT_MS};
    return http_create(&config, err);
}

static void add_argument(struct buf *path, const char *name, const char *value) {
    if (!value) return;
    buf_printf(path, "%c%s=", memchr(path->data, '?', path->len) ? '&' : '?', name);
    http_append_segment(path, value);
}

/* The answer's object; NULL: *err tells what it says, or that there is none. */
static json_t *ask(struct http *http, const char *method, struct buf *path, struct error *err) {
    struct http_body body = {.content_type = "application/json", .data = SLICE("{}")};
    struct http_response response;
    bool post = *method == 'P';
    if (!http_request(http, method, buf_text(path), post ? &body : NULL, &response, err))
        return NULL;
    json_t *json = json_loadb(response.body.data, response.body.len, 0, NULL);
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

static void rest(void) {
    struct timespec interval = {.tv_nsec = LOOK_INTERVAL_MS * 1000000L};
    nanosleep(&interval, NULL);
}

static void tell(const json_t *state, const char *table) {
    long long rows = (long long)json_integer_value(json_object_get(state, "rows"));
    long long rate = (long long)json_integer_value(json_object_get(state, "rows_per_second"));
    const json_t *percent = json_object_get(state, "percent");
    const json_t *left = json_object_get(state, "seconds_left");
    fprintf(stderr, "%s: %lld rows", table, rows);
    if (rate) fprintf(stderr, ", %lld a second", rate);
    if (percent) fprintf(stderr, ", %.0f%%", json_number_value(percent));
    if (left) fprintf(stderr, ", about %.0f s left", json_number_value(left));
    fputc('\n', stderr);
}

/* Until it is done. */
static int follow(struct http *http, struct buf *path, const char *table) {
    struct error err;
    int64_t answered_us = clock_mono_us();
    int64_t told_us = answered_us;
    while (true) {
        json_t *state = ask(http, "GET", path, &err);
        int64_t now_us = clock_mono_us();
        const char *name = json_string_value(json_object_get(state, "state"));
        if (!state && (err.code == ERROR_REFUSED || now_us - answered_us > AWAY_US))
            return fail(err.message);
        if (state) answered_us = now_us;
        bool done = name && strcmp(name, "done") == 0;
        if (done)
            printf("%s: %lld rows are read; those that the stream had newer are left out\n", table,
                   (long long)json_integer_value(json_object_get(state, "rows")));
        else if (state && now_us - told_us > TELL_EVERY_US) {
            told_us = now_us;
            tell(state, table);
        }
        json_decref(state);
        if (done) return EXIT_DONE;
        rest();
    }
}

static int snapshot(struct http *http, const struct command_line *line) {
    struct error err;
    struct buf path = {0};
    buf_append_text(&path, "/snapshot");
    add_argument(&path, "table", line->operand);
    add_argument(&path, "where", cli_flag(line, "--where"));
    add_argument(&path, "source", cli_flag(line, "--source"));
    json_t *taken = ask(http, "POST", &path, &err);
    int code;
    if (taken) {
        char id[32];
        snprintf(id, sizeof id, "%lld",
                 (long long)json_integer_value(json_object_get(taken, "id")));
        path.len = 0;
        buf_append_text(&path, "/snapshot");
        add_argument(&path, "id", id);
        add_argument(&path, "source", cli_flag(line, "--source"));
        code = follow(http, &path, line->operand);
    } else {
        code = fail(err.message);
        if (err.retriable || err.code == ERROR_UNAVAILABLE)
            fputs("does Freshet run, and is that its admin address (--admin)?\n", stderr);
    }
    json_decref(taken);
    buf_deinit(&path);
    return code;
}

int cli_snapshot(const struct command_line *line) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    struct error err;
    char *url = NULL;
    struct http *http = open_admin(config->admin_listen, &url, &err);
    int code = http ? snapshot(http, line) : fail(err.message);
    http_destroy(&http);
    mem_free(url);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}

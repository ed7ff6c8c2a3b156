/* `freshet status`: /status of a running Freshet, in words or as it is. */
#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "server/commands.h"
#include "server/units.h"

enum { ASK_TIMEOUT_MS = 5000, LARGEST_ANSWER = 16 * 1024 * 1024 };

static size_t collect(char *data, size_t size, size_t n, void *arg) {
    struct buf *body = arg;
    if (body->len + size * n > LARGEST_ANSWER) return 0;
    buf_append(body, data, size * n);
    return size * n;
}

/* 0.0.0.0 and :: are no addresses to connect to; what listens on all is asked on this machine. */
static char *status_url(const char *listen) {
    struct address address;
    struct why why;
    if (!units_address(listen, &address, &why)) return NULL;
    const char *host = address.host;
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    if (strcmp(host, "::") == 0) host = "::1";
    bool v6 = strchr(host, ':');
    return mem_printf("http://%s%s%s:%u/status", v6 ? "[" : "", host, v6 ? "]" : "", address.port);
}

static bool ask(const char *url, struct buf *body) {
    CURL *curl = curl_easy_init();
    char cause[CURL_ERROR_SIZE] = "";
    long code = 0;
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, cause);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, collect);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ASK_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    CURLcode done = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    curl_easy_cleanup(curl);
    if (done == CURLE_OK && code == 200) return true;
    if (done == CURLE_OK)
        fprintf(stderr, "%s answers %ld\n", url, code);
    else
        fprintf(stderr, "%s: %s; does Freshet run, and is that its admin address (--admin)?\n", url,
                *cause ? cause : curl_easy_strerror(done));
    return false;
}

/* How a figure is written. */
enum unit { PLAIN, BYTES, SECONDS, MILLISECONDS, SHARE };

/* "label value", if the path is there and not null. Figures of one line are parted by commas. */
struct figure {
    const char *path; /* below the line's object: "memory.bytes" */
    const char *label;
    enum unit unit;
    bool starts_line;
};

static const struct figure cache_figures[] = {
    {"listen", "", PLAIN, false},
    {"clients", "clients", PLAIN, false},
    {"commands_per_second", "commands/s", PLAIN, false},
    {"reads.hits", "hits", PLAIN, true},
    {"reads.negative_hits", "absent", PLAIN, false},
    {"reads.misses", "misses", PLAIN, false},
    {"reads.bypassed", "bypassed", PLAIN, false},
    {"reads.hit_rate", "hit rate", SHARE, false},
    {"memory.entries", "entries", PLAIN, true},
    {"memory.bytes", "memory", BYTES, false},
    {"memory.max_bytes", "limit", BYTES, false},
    {"memory.evicted", "evicted", PLAIN, false},
    {"memory.expired", "expired", PLAIN, false},
    {"read_through.staleness_ms", "staleness", MILLISECONDS, true},
    {"read_through.max_staleness_ms", "allowed", MILLISECONDS, false},
    {"read_through.coherence", "coherence", PLAIN, false},
    {"read_through.applied_lsn", "applied", PLAIN, false},
    {"read_through.trouble", "trouble", PLAIN, false},
    {"read_through.verification.checked", "compared with the database", PLAIN, true},
    {"read_through.verification.stale", "wrong", PLAIN, false},
    {NULL, NULL, PLAIN, false},
};

static const struct figure cdc_figures[] = {
    {"output", "to", PLAIN, false},
    {"prefix", "prefix", PLAIN, false},
    {"encoding", "encoding", PLAIN, false},
    {"delivery", "delivery", PLAIN, false},
    {"events.c", "events: create", PLAIN, true},
    {"events.u", "update", PLAIN, false},
    {"events.d", "delete", PLAIN, false},
    {"events.r", "snapshot", PLAIN, false},
    {"events.t", "truncate", PLAIN, false},
    {"events.m", "message", PLAIN, false},
    {"outbox_messages", "outbox", PLAIN, false},
    {"filtered", "left out by filters", PLAIN, false},
    {"dead_letters", "dead letters", PLAIN, false},
    {NULL, NULL, PLAIN, false},
};

static const struct figure connector_figures[] = {
    {"type", "to", PLAIN, false},
    {"table", "table", PLAIN, false},
    {"state", "", PLAIN, false},
    {"indexed", "written", PLAIN, true},
    {"deleted", "deleted", PLAIN, false},
    {"dead_letters", "dead letters", PLAIN, false},
    {"retries", "retries", PLAIN, false},
    {"lag_bytes", "lag", BYTES, false},
    {"lag_seconds", "behind", SECONDS, false},
    {"last_error", "last error", PLAIN, true},
    {"verification.state", "verification", PLAIN, true},
    {"verification.rows", "compared", PLAIN, false},
    {"verification.differences", "differ", PLAIN, false},
    {"verification.repaired", "repaired", PLAIN, false},
    {"rebuild.state", "rebuild", PLAIN, true},
    {"rebuild.rows", "rows", PLAIN, false},
    {"rebuild.rows_per_second", "rows/s", PLAIN, false},
    {"rebuild.percent", "percent", PLAIN, false},
    {"rebuild.seconds_left", "left", SECONDS, false},
    {"rebuild.error", "trouble", PLAIN, false},
    {NULL, NULL, PLAIN, false},
};

static const struct figure feed_figures[] = {
    {"state", "feed", PLAIN, true},
    {"slot", "slot", PLAIN, false},
    {"changes", "changes", PLAIN, false},
    {"changes_per_second", "changes/s", PLAIN, false},
    {"lag_bytes", "lag", BYTES, false},
    {"lag_seconds", "behind", SECONDS, false},
    {"cause", "cause", PLAIN, true},
    {"snapshot.table", "snapshot: reading", PLAIN, true},
    {"snapshot.tables_done", "tables done", PLAIN, false},
    {"snapshot.tables", "of", PLAIN, false},
    {"snapshot.rows", "rows", PLAIN, false},
    {"snapshot.rows_per_second", "rows/s", PLAIN, false},
    {"snapshot.percent", "percent", PLAIN, false},
    {"snapshot.seconds_left", "left", SECONDS, false},
    {"increment.now.table", "beside the stream: reading", PLAIN, true},
    {"increment.now.rows", "rows", PLAIN, false},
    {"increment.now.rows_per_second", "rows/s", PLAIN, false},
    {"increment.now.percent", "percent", PLAIN, false},
    {"increment.now.seconds_left", "left", SECONDS, false},
    {"increment.now.tables_left", "tables left", PLAIN, false},
    {"open_transactions.count", "open transactions", PLAIN, true},
    {"open_transactions.memory_bytes", "in memory", BYTES, false},
    {"open_transactions.disk_bytes", "on disk", BYTES, false},
    {NULL, NULL, PLAIN, false},
};

static const struct figure slot_figures[] = {
    {"slot", "", PLAIN, false},
    {"source", "of", PLAIN, false},
    {"retained_bytes", "retains WAL", BYTES, false},
    {"wal_status", "status", PLAIN, false},
    {"active", "active", PLAIN, false},
    {"temporary", "temporary", PLAIN, false},
    {"limit_bytes", "given up at", BYTES, false},
    {"alarm", "ALARM:", PLAIN, true},
    {NULL, NULL, PLAIN, false},
};

/* A value at "a.b" below `object`; NULL: none, or null. */
static const json_t *find(const json_t *object, const char *path) {
    char key[64];
    while (object && *path) {
        size_t len = strcspn(path, ".");
        snprintf(key, sizeof key, "%.*s", (int)len, path);
        object = json_object_get(object, key);
        path += len;
        if (*path) path++;
    }
    return json_is_null(object) ? NULL : object;
}

static void print_bytes(double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    printf(unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

static void print_value(const json_t *value, enum unit unit) {
    double number = json_number_value(value);
    switch (unit) {
    case BYTES: print_bytes(number); return;
    case SECONDS: printf("%.1f s", number); return;
    case MILLISECONDS: printf("%.0f ms", number); return;
    case SHARE: printf("%.1f%%", number * 100); return;
    case PLAIN: break;
    }
    if (json_is_string(value))
        printf("%s", json_string_value(value));
    else if (json_is_boolean(value))
        printf("%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_integer(value))
        printf("%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf("%.1f", number);
}

enum { TITLE_WIDTH = 10 };

static void print_figures(const char *title, const json_t *object, const struct figure *figures) {
    bool first = true;
    if (title) printf("%-*s ", TITLE_WIDTH, title);
    for (const struct figure *figure = figures; figure->path; figure++) {
        const json_t *value = find(object, figure->path);
        if (!value || (json_is_string(value) && !*json_string_value(value))) continue;
        if (figure->starts_line)
            printf("%s%*s ", first && !title ? "" : "\n", TITLE_WIDTH, "");
        else if (!first)
            printf(", ");
        if (*figure->label) printf("%s ", figure->label);
        print_value(value, figure->unit);
        first = false;
    }
    if (title) return;
    putchar('\n');
}

/* A part of the service, with its feed on the lines below. */
static void print_part(const char *title, const json_t *part, const struct figure *figures) {
    if (!part) return;
    print_figures(title, part, figures);
    putchar('\n');
    const json_t *feed = find(part, "feed");
    if (feed) print_figures(NULL, feed, feed_figures);
}

static void print_summary(const json_t *status) {
    const char *version = json_string_value(json_object_get(status, "version"));
    const char *reason = json_string_value(json_object_get(status, "reason"));
    const char *degraded = json_string_value(json_object_get(status, "degraded"));
    bool ready = json_is_true(json_object_get(status, "ready"));
    printf("freshet %s: %s%s%s, up %.0f s\n", version ? version : "?",
           ready ? "ready" : "not ready", reason ? ": " : "", reason ? reason : "",
           json_number_value(json_object_get(status, "uptime_seconds")));
    if (degraded) printf("%-*s %s\n", TITLE_WIDTH, "degraded", degraded);
    print_part("cache", find(status, "cache"), cache_figures);
    print_part("cdc", find(status, "cdc"), cdc_figures);
    const json_t *sources = json_object_get(status, "sources");
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *source = json_array_get(sources, i);
        const char *name = json_string_value(json_object_get(source, "name"));
        printf("source     %s\n", name ? name : "?");
        print_part("", source, cdc_figures);
    }
    const json_t *connectors = json_object_get(status, "connectors");
    for (size_t i = 0; i < json_array_size(connectors); i++) {
        const json_t *connector = json_array_get(connectors, i);
        const char *name = json_string_value(json_object_get(connector, "name"));
        printf("connector  %s\n", name ? name : "?");
        print_part("", connector, connector_figures);
    }
    const json_t *slots = json_object_get(status, "slots");
    for (size_t i = 0; i < json_array_size(slots); i++) {
        print_figures(i ? "" : "slots", json_array_get(slots, i), slot_figures);
        putchar('\n');
    }
}

/* The exit code: 0 ready, 1 not; so that a container's health check can ask. */
static int print_status(const struct buf *body, bool as_json) {
    json_error_t error;
    json_t *status = json_loadb(body->data, body->len, 0, &error);
    if (!json_is_object(status)) {
        fprintf(stderr, "the answer is not Freshet's: %s\n", status ? "no object" : error.text);
        json_decref(status);
        return EXIT_FAILED;
    }
    bool ready = json_is_true(json_object_get(status, "ready"));
    if (as_json) {
        fwrite(body->data, 1, body->len, stdout);
    } else {
        print_summary(status);
    }
    json_decref(status);
    return ready ? EXIT_DONE : EXIT_FAILED;
}

int cli_status(const struct command_line *line) {
    struct mistakes *mistakes = mistakes_create();
    struct config *config = config_load(&line->sources, mistakes);
    char *url = status_url(config->admin_listen);
    struct buf body = {0};
    int code = EXIT_FAILED;
    if (ask(url, &body)) code = print_status(&body, line->json);
    buf_deinit(&body);
    mem_free(url);
    config_destroy(&config);
    mistakes_destroy(&mistakes);
    return code;
}

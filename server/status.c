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

/* "lag_seconds" reads as "lag seconds" and its value as "0.2"; bytes as MiB. */
static void print_value(const char *key, const json_t *value) {
    size_t len = strlen(key);
    bool bytes = len > 6 && strcmp(key + len - 6, "_bytes") == 0;
    double number = json_number_value(value);
    if (json_is_string(value))
        printf("%s", json_string_value(value));
    else if (json_is_boolean(value))
        printf("%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_null(value))
        printf("-");
    else if (bytes && number >= 1024 * 1024)
        printf("%.1f MiB", number / 1024 / 1024);
    else if (bytes && number >= 1024)
        printf("%.1f KiB", number / 1024);
    else if (json_is_integer(value))
        printf("%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf("%.3f", number);
}

static void print_name(const char *key) {
    int column = 0;
    for (; *key; key++, column++)
        putchar(*key == '_' ? ' ' : *key);
    printf("%*s", column < 22 ? 22 - column : 1, "");
}

/* An object's plain values as lines, its objects below their names, arrays item by item. */
static void print_tree(const json_t *object, int indent) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (json_is_null(value)) continue;
        if (json_is_object(value) || json_is_array(value)) continue;
        printf("%*s", indent, "");
        print_name(key);
        print_value(key, value);
        putchar('\n');
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        if (json_is_object(value) && json_object_size(value)) {
            printf("%*s%s\n", indent, "", key);
            print_tree(value, indent + 2);
        }
        for (size_t i = 0; i < json_array_size(value); i++) {
            const json_t *item = json_array_get(value, i);
            if (!json_is_object(item)) continue;
            const char *name = json_string_value(json_object_get(item, "name"));
            if (!name) name = json_string_value(json_object_get(item, "slot"));
            printf("%*s%s %s\n", indent, "", key, name ? name : "");
            print_tree(item, indent + 2);
        }
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
        const char *version = json_string_value(json_object_get(status, "version"));
        const char *reason = json_string_value(json_object_get(status, "reason"));
        printf("freshet %s: %s%s%s\n", version ? version : "?", ready ? "ready" : "not ready",
               reason ? ": " : "", reason ? reason : "");
        json_object_del(status, "version");
        json_object_del(status, "reason");
        json_object_del(status, "ready");
        print_tree(status, 2);
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

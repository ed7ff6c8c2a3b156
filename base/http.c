#include "base/http.h"

#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { RESPONSE_MAX_BYTES = 64 * 1024 * 1024 };

struct http {
    CURL *curl;
    char *url; /* without a slash at its end */
    char *user;
    char *password;
    char *ca_file;
    int connect_timeout_ms;
    int timeout_ms;
    const _Atomic bool *stop;
    const char *const *headers; /* beside our own; NULL: none */
    char reason[CURL_ERROR_SIZE];
};

static bool check_url(const char *url, struct error *err) {
    CURLU *parsed = curl_url();
    char *scheme = NULL;
    CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK) code = curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0);
    bool fits = code == CURLUE_OK && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(parsed);
    if (fits) return true;
    return error_set(err, ERROR_CONFIG, false, "url \"%s\": %s; write http://host:port", url,
                     code == CURLUE_OK ? "not http or https" : curl_url_strerror(code));
}

struct http *http_create(const struct http_config *config, struct error *err) {
    if (!check_url(config->url, err)) return NULL;
    /* Counted and thread-safe (curl 7.84 and later). */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        error_set(err, ERROR_SYSTEM, false, "libcurl cannot be initialised");
        return NULL;
    }
    struct http *http = mem_zalloc(sizeof *http);
    http->curl = curl_easy_init();
    ASSERT(http->curl);
    http->url = mem_strdup(config->url);
    size_t len = strlen(http->url);
    while (len && http->url[len - 1] == '/')
        http->url[--len] = '\0';
    http->user = config->user ? mem_strdup(config->user) : NULL;
    http->password = mem_strdup(config->password ? config->password : "");
    http->ca_file = config->ca_file ? mem_strdup(config->ca_file) : NULL;
    http->connect_timeout_ms = config->connect_timeout_ms;
    http->timeout_ms = config->timeout_ms;
    http->stop = config->stop;
    return http;
}

void http_destroy(struct http **http) {
    struct http *old = *http;
    *http = NULL;
    if (!old) return;
    curl_easy_cleanup(old->curl);
    mem_free(old->url);
    mem_free(old->user);
    mem_free(old->password);
    mem_free(old->ca_file);
    mem_free(old);
    curl_global_cleanup();
}

void http_set_timeout(struct http *http, int timeout_ms) { http->timeout_ms = timeout_ms; }

void http_set_headers(struct http *http, const char *const *headers) { http->headers = headers; }

static size_t take_body(char *data, size_t size, size_t n, void *arg) {
    struct buf *body = arg;
    if (body->len + size * n > RESPONSE_MAX_BYTES) return 0;
    buf_append(body, data, size * n);
    return size * n;
}

/* Called at least once a second; anything but 0 ends the request. */
static int look_at_stop(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    const struct http *http = arg;
    return http->stop && atomic_load_explicit(http->stop, memory_order_relaxed);
}

/* The handle keeps its connection over a reset; every option is set anew, so none leaks from one request
 * into the next. */
static void set_options(struct http *http, const char *method, const char *url,
                        struct curl_slist *headers, const struct http_body *body,
                        struct buf *answer) {
    CURL *curl = http->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)http->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)http->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->reason);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_at_stop);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (http->ca_file) curl_easy_setopt(curl, CURLOPT_CAINFO, http->ca_file);
    if (http->user) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, http->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, http->password);
    }
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data.data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->data.len);
    }
    if (strcmp(method, "HEAD") == 0) curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
}

static bool transport_error(const struct http *http, CURLcode code, const char *url,
                            struct error *err) {
    const char *reason = http->reason[0] ? http->reason : curl_easy_strerror(code);
    if (code == CURLE_ABORTED_BY_CALLBACK)
        return error_set(err, ERROR_STOPPED, true, "%s: given up", url);
    if (code == CURLE_WRITE_ERROR)
        return error_set(err, ERROR_LIMIT, true, "%s: the answer is larger than %d MiB", url,
                         RESPONSE_MAX_BYTES / (1024 * 1024));
    return error_set(err, code == CURLE_OPERATION_TIMEDOUT ? ERROR_TIMEOUT : ERROR_UNAVAILABLE,
                     true, "%s: %s", url, reason);
}

bool http_request(struct http *http, const char *method, const char *path,
                  const struct http_body *body, struct http_response *response, struct error *err) {
    *response = (struct http_response){0};
    struct buf url = {0};
    buf_printf(&url, "%s%s", http->url, path);
    /* Waiting for "100 Continue" costs a round trip, or a second where the server says nothing. */
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    if (body) {
        char type[128];
        snprintf(type, sizeof type, "Content-Type: %s", body->content_type);
        headers = curl_slist_append(headers, type);
    }
    for (const char *const *more = http->headers; more && *more; more++)
        headers = curl_slist_append(headers, *more);
    http->reason[0] = '\0';
    set_options(http, method, buf_text(&url), headers, body, &response->body);
    CURLcode code = curl_easy_perform(http->curl);
    bool answered = code == CURLE_OK;
    if (answered) {
        curl_off_t retry_after_s = 0;
        curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &response->status);
        curl_easy_getinfo(http->curl, CURLINFO_RETRY_AFTER, &retry_after_s);
        response->retry_after_s = retry_after_s;
        buf_text(&response->body);
    } else {
        transport_error(http, code, url.data, err);
        http_response_deinit(response);
    }
    curl_slist_free_all(headers);
    buf_deinit(&url);
    return answered;
}

void http_response_deinit(struct http_response *response) { buf_deinit(&response->body); }

/* {"error":{"type":"...","reason":"..."}}, {"error":"..."} or {"message":"..."}; some proxies answer plain text. */
void http_reason(const struct http_response *response, char *reason, size_t size) {
    json_t *root =
        json_loadb(response->body.data ? response->body.data : "", response->body.len, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    const char *type = json_string_value(json_object_get(error, "type"));
    const char *text = json_string_value(json_object_get(error, "reason"));
    const char *message = json_string_value(json_object_get(root, "message"));
    if (!message) message = json_string_value(error);
    if (type)
        snprintf(reason, size, "%s: %s", type, text ? text : "no reason given");
    else if (message)
        snprintf(reason, size, "%s", message);
    else
        snprintf(reason, size, "%.*s", (int)response->body.len,
                 response->body.len ? response->body.data : "");
    json_decref(root);
}

bool http_refused(const struct http_response *response, const char *what, struct error *err) {
    char reason[HTTP_REASON_MAX];
    http_reason(response, reason, sizeof reason);
    long status = response->status;
    bool retriable = status == 404 || status == 429 || status >= 500;
    enum error_code code = status == 404 ? ERROR_NOT_FOUND
                           : retriable   ? ERROR_UNAVAILABLE
                                         : ERROR_REFUSED;
    return error_set(err, code, retriable, "%s: HTTP %ld: %s", what, status, reason);
}

void http_append_segment(struct buf *path, const char *text) {
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
    for (const char *c = text; *c; c++) {
        if (strchr(plain, *c))
            buf_append_char(path, *c);
        else
            buf_printf(path, "%%%02X", (unsigned)(unsigned char)*c);
    }
}

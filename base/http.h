/* http.h: one connection to an HTTP server, blocking, for JSON requests and answers.
 *
 *     struct http *http = http_create(&config, err);
 *     if (!http_request(http, "POST", "/users/_refresh", NULL, &response, err)) ...    transport failed
 *     if (response.status != 200) http_refused(&response, "refresh", err);
 *     http_response_deinit(&response);
 *
 * One thread. The connection is kept open between requests. */
#ifndef FRESHET_BASE_HTTP_H
#define FRESHET_BASE_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

struct http_config {
    const char *url;      /* http://host:9200 or https://..., with a path prefix or none */
    const char *user;     /* NULL: none */
    const char *password; /* NULL: empty */
    const char *ca_file;  /* PEM: who signs the server's certificate; NULL: the system's */
    int connect_timeout_ms;
    int timeout_ms;           /* of a whole request */
    const _Atomic bool *stop; /* while it is set, requests are given up within a second */
};

struct http;

struct http_body {
    const char *content_type;
    struct slice data;
};

struct http_response {
    long status;
    int64_t retry_after_s; /* from now: Retry-After, in seconds or as a date; 0: none */
    struct buf body;       /* NUL-terminated behind len */
};

/* NULL: the URL is malformed. Copies the configuration. */
struct http *http_create(const struct http_config *config, struct error *err);
void http_destroy(struct http **http);
/* For the requests from now on. */
void http_set_timeout(struct http *http, int timeout_ms);
/* So: "Name: value", NULL-terminated; NULL: none. Borrowed, as long as they are set. */
void http_set_headers(struct http *http, const char *const *headers);

/* False where no answer came (retriable), or it was larger than an answer may be. Any status is true. */
bool http_request(struct http *http, const char *method, const char *path,
                  const struct http_body *body, struct http_response *response,
                  struct error *err) MUST_CHECK;
void http_response_deinit(struct http_response *response);

/* The server's own reason of an answer that is not a success, as a string. */
void http_reason(const struct http_response *response, char *reason, size_t size);
enum { HTTP_REASON_MAX = 300 };
/* Turns such an answer into an error with that reason; returns false.
 * 429 and 5xx are retriable, and so is 404 (ERROR_NOT_FOUND): what is gone can be made again. */
bool http_refused(const struct http_response *response, const char *what, struct error *err);

/* Appends `text` percent-encoded, as one segment of a path. */
void http_append_segment(struct buf *path, const char *text);

#endif

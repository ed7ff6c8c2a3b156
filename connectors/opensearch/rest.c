#include "connectors/opensearch/rest.h"

#include <stdlib.h>

bool rest_call(struct http *http, const char *method, const char *path, json_t *body, long *status,
               json_t **answer, struct error *err) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    struct http_body http_body = {"application/json", slice_from(text ? text : "")};
    struct http_response response;
    bool answered = http_request(http, method, path, text ? &http_body : NULL, &response, err);
    free(text);
    if (!answered) return false;
    *status = response.status;
    if (response.status >= 400) http_refused(&response, path, err);
    if (answer)
        *answer =
            json_loadb(response.body.data ? response.body.data : "", response.body.len, 0, NULL);
    http_response_deinit(&response);
    return true;
}

bool rest_must(struct http *http, const char *method, const char *path, json_t *body,
               json_t **answer, struct error *err) {
    long status;
    if (!rest_call(http, method, path, body, &status, answer, err)) return false;
    if (status < 400) return true;
    if (answer) json_decref(*answer);
    if (answer) *answer = NULL;
    return false;
}

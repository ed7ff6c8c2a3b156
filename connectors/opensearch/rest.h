/* rest.h: one JSON request to an OpenSearch or Elasticsearch server. One thread. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_REST_H
#define FRESHET_CONNECTORS_OPENSEARCH_REST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/http.h"

/* `body` (NULL: none) is taken. The answer is parsed into *answer (a new reference, NULL where it is not JSON; may be NULL).
 * False: no answer came. *status is the HTTP status, and from 400 on *err says what was refused. */
bool rest_call(struct http *http, const char *method, const char *path, json_t *body, long *status,
               json_t **answer, struct error *err);
/* The same where anything but a success is an error. */
bool rest_must(struct http *http, const char *method, const char *path, json_t *body,
               json_t **answer, struct error *err);

#endif

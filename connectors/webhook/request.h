/* request.h: what is sent to a webhook, and how it is signed. Pure.
 *
 *     POST <url>
 *     Content-Type: application/json
 *     webhook-id: 16/B374D848                        the idempotency key: the position of its last change
 *     Idempotency-Key: 16/B374D848                   the same
 *     webhook-timestamp: 1795246867                  of this attempt, seconds since 1970
 *     webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=
 *
 *     {"connector":"hooks","schema":"public","table":"users","changes":[...],"position":"16/B374D848"}
 *
 * Names and signature are those of Standard Webhooks, whose libraries check them: HMAC-SHA256 of "id.timestamp.body" in
 * base64. A secret that begins with "whsec_" is base64 behind it; any other is taken as it is. Changes are record.h's lines.
 *
 * A key is one request's, and stays it through retries. Two rows of a load have the same position, and so may results of
 * a query, requests of several lanes, and the parts of one that was refused: theirs have a hash of the changes behind it,
 * "16/B374D848-1f6bd1a05c3e7a92". */
#ifndef FRESHET_CONNECTORS_WEBHOOK_REQUEST_H
#define FRESHET_CONNECTORS_WEBHOOK_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "connectors/runtime/batch.h"

enum { REQUEST_KEY_MAX = 64, REQUEST_HEADER_MAX = 192, REQUEST_HEADERS = 4 };

struct request {
    struct buf body;
    char key[REQUEST_KEY_MAX];
    size_t n_changes;
};

void request_deinit(struct request *request);

/* The writes of the batch from *at up to `to` until max_bytes are reached (one at the least), and those of the same position
 * behind them, of which a moved row has two; *at moves behind the last. `part`: there may be another request of the same position:
 * the rest of one that was refused as a whole, or another lane's. */
void request_compose(struct request *request, const char *connector, struct batch *batch,
                     size_t *at, size_t to, size_t max_bytes, bool part);
/* TRUNCATE; or the end of a load. */
void request_compose_clear(struct request *request, const char *connector,
                           const struct shape *shape, uint64_t version, bool loaded);

struct request_secret {
    unsigned char *key;
    size_t len;
};

/* Of the option's text. False: it is no secret. `secret->key` is the caller's to free. */
bool request_read_secret(const char *text, struct request_secret *secret,
                         struct error *err) MUST_CHECK;

/* The headers of an attempt, without the content type. `secret` may be NULL. Returns how many. */
size_t request_headers(const struct request *request, const struct request_secret *secret,
                       int64_t now_s, char headers[REQUEST_HEADERS][REQUEST_HEADER_MAX]);

#endif

#include "connectors/webhook/request.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/runtime/record.h"

static const char secret_prefix[] = "whsec_";

void request_deinit(struct request *request) { buf_deinit(&request->body); }

static void begin(struct request *request, const char *connector, const struct shape *shape) {
    struct buf *body = &request->body;
    body->len = 0;
    request->n_changes = 0;
    buf_append_text(body, "{\"connector\":");
    json_append_string(body, slice_from(connector));
    buf_append_text(body, ",\"schema\":");
    json_append_string(body, slice_from(shape->schema));
    buf_append_text(body, ",\"table\":");
    json_append_string(body, slice_from(shape->table));
    buf_append_text(body, ",\"changes\":[");
}

static void end(struct request *request, uint64_t position_lsn) {
    buf_printf(&request->body, "],\"position\":\"" LSN_FMT "\"}", LSN_ARG(position_lsn));
}

void request_compose(struct request *request, const char *connector, struct batch *batch,
                     size_t *at, size_t to, size_t max_bytes, bool part) {
    begin(request, connector, batch->shape);
    struct buf *body = &request->body;
    size_t start = body->len;
    part |= batch->shape->computed; /* all that a transaction touches has one version */
    struct write_stamp last = {0};
    for (size_t next = *at; next < to;) {
        const struct write *write = batch_next(batch, &next, to);
        bool together = write && request->n_changes && !part && write->stamp.xid &&
                        write->stamp.version == last.version;
        if (!write || (request->n_changes && body->len >= max_bytes && !together)) {
            if (!write) *at = next;
            break;
        }
        if (request->n_changes++) buf_append_char(body, ',');
        record_append(body, batch->shape, write, false);
        last = write->stamp;
        *at = next;
    }
    int n = snprintf(request->key, sizeof request->key, LSN_FMT, LSN_ARG(last.version));
    if (part || !last.xid)
        snprintf(request->key + n, sizeof request->key - (size_t)n, "-%016" PRIx64,
                 (uint64_t)XXH3_64bits(body->data + start, body->len - start));
    end(request, last.version);
}

void request_compose_clear(struct request *request, const char *connector,
                           const struct shape *shape, uint64_t version, bool loaded) {
    begin(request, connector, shape);
    record_append_clear(&request->body, version, loaded);
    request->n_changes = 1;
    snprintf(request->key, sizeof request->key, LSN_FMT "-%s", LSN_ARG(version),
             loaded ? "loaded" : "truncate");
    end(request, version);
}

bool request_read_secret(const char *text, struct request_secret *secret, struct error *err) {
    struct buf key = {0};
    size_t prefix = sizeof secret_prefix - 1;
    bool ok = true;
    if (strncmp(text, secret_prefix, prefix) == 0)
        ok = base64_decode(&key, slice_from(text + prefix)) && key.len;
    else
        buf_append_text(&key, text);
    if (!ok || key.len == 0) {
        buf_deinit(&key);
        return error_set(err, ERROR_CONFIG, false,
                         "the secret is empty, or what stands behind whsec_ is not base64");
    }
    *secret = (struct request_secret){.key = (unsigned char *)key.data, .len = key.len};
    return true;
}

static void sign(const struct request *request, const struct request_secret *secret, int64_t now_s,
                 char *header) {
    struct buf text = {0};
    buf_printf(&text, "%s.%" PRId64 ".", request->key, now_s);
    buf_append_slice(&text, buf_slice(&request->body));
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;
    const unsigned char *done =
        HMAC(EVP_sha256(), secret->key, (int)secret->len, (const unsigned char *)text.data,
             text.len, digest, &digest_len);
    ASSERT(done);
    text.len = 0;
    base64_append(&text, digest, digest_len);
    snprintf(header, REQUEST_HEADER_MAX, "webhook-signature: v1,%s", buf_text(&text));
    buf_deinit(&text);
}

size_t request_headers(const struct request *request, const struct request_secret *secret,
                       int64_t now_s, char headers[REQUEST_HEADERS][REQUEST_HEADER_MAX]) {
    size_t n = 0;
    snprintf(headers[n++], REQUEST_HEADER_MAX, "webhook-id: %s", request->key);
    snprintf(headers[n++], REQUEST_HEADER_MAX, "Idempotency-Key: %s", request->key);
    snprintf(headers[n++], REQUEST_HEADER_MAX, "webhook-timestamp: %" PRId64, now_s);
    if (secret && secret->len) sign(request, secret, now_s, headers[n++]);
    return n;
}

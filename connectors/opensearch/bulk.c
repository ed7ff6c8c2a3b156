#include "connectors/opensearch/bulk.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/mem.h"
#include "connectors/document/document.h"

/* What the request's items have in common, and room for one's names. */
struct composer {
    const struct shape *shape;
    struct buf id;
    struct buf routing;
};

static void name_document(struct composer *composer, const struct write *write) {
    composer->id.len = composer->routing.len = 0;
    shape_split_key(composer->shape, write->key, &composer->id, &composer->routing);
}

static void compose_action(struct buf *body, const char *action, const struct composer *composer,
                           const struct write *write) {
    buf_append_text(body, "{\"");
    buf_append_text(body, action);
    buf_append_text(body, "\":{\"_id\":");
    json_append_string(body, buf_slice(&composer->id));
    if (composer->routing.len) {
        buf_append_text(body, ",\"routing\":");
        json_append_string(body, buf_slice(&composer->routing));
    }
    buf_append_text(body, ",\"version\":");
    buf_append_u64(body, write->stamp.version);
    buf_append_text(body, ",\"version_type\":\"external\"}}\n");
}

static bool refused_at_once(const struct composer *composer, struct batch *batch,
                            struct write *write) {
    if (composer->id.len == 0) {
        batch_refuse(batch, write, 400,
                     SLICE("{\"type\":\"invalid_id\",\"reason\":\"an empty key is no _id\"}"));
        return true;
    }
    if (composer->id.len > BULK_ID_MAX_BYTES) {
        batch_refuse(
            batch, write, 400,
            SLICE("{\"type\":\"invalid_id\",\"reason\":\"an _id has 512 bytes at most\"}"));
        return true;
    }
    return false;
}

size_t bulk_compose(struct buf *body, struct batch *batch, size_t *at, size_t to,
                    size_t max_bytes) {
    struct composer composer = {.shape = batch->shape};
    size_t n = 0;
    while (body->len < max_bytes) {
        struct write *write = batch_next(batch, at, to);
        if (!write) break;
        name_document(&composer, write);
        if (refused_at_once(&composer, batch, write)) continue;
        n++;
        if (write->operation == WRITE_REMOVE) {
            compose_action(body, "delete", &composer, write);
            continue;
        }
        compose_action(body, "index", &composer, write);
        document_append(body, batch->shape, write->row);
        buf_append_char(body, '\n');
    }
    buf_deinit(&composer.id);
    buf_deinit(&composer.routing);
    return n;
}

/* What an item's HTTP status means for its write. 401 and 403 (rights, a cluster block on a full disk) are no
 * fault of the document: it is tried again. */
static enum write_outcome outcome_of(int status, enum write_operation operation) {
    if (status >= 200 && status < 300) return WRITE_DONE;
    if (status == 409) return WRITE_STALE;
    if (status == 404 && operation == WRITE_REMOVE) return WRITE_DONE;
    if (status == 401 || status == 403 || status == 408 || status == 429 || status >= 500)
        return WRITE_PENDING;
    return WRITE_REFUSED;
}

static bool says_index_is_gone(const json_t *error) {
    const char *type = json_string_value(json_object_get(error, "type"));
    return type && strcmp(type, "index_not_found_exception") == 0;
}

static void explain(const json_t *error, int status, struct error *err) {
    const char *type = json_string_value(json_object_get(error, "type"));
    const char *reason = json_string_value(json_object_get(error, "reason"));
    error_set(err, ERROR_UNAVAILABLE, true, "_bulk: an item was put off: HTTP %d: %s: %s", status,
              type ? type : "error", reason ? reason : "no reason given");
}

static enum bulk_result read_item(struct batch *batch, struct write *write, const json_t *item,
                                  struct error *err) {
    const json_t *status_json = json_object_get(item, "status");
    const json_t *error = json_object_get(item, "error");
    if (!json_is_integer(status_json)) {
        error_set(err, ERROR_PROTOCOL, true, "_bulk: an item of the answer has no status");
        return BULK_INVALID;
    }
    int status = (int)json_integer_value(status_json);
    if (says_index_is_gone(error)) {
        error_set(err, ERROR_NOT_FOUND, true, "_bulk: the index does not exist any more");
        return BULK_GONE;
    }
    enum write_outcome outcome = outcome_of(status, write->operation);
    if (outcome == WRITE_PENDING) {
        explain(error, status, err);
        return BULK_RETRY;
    }
    if (outcome == WRITE_REFUSED) {
        char *cause = error ? json_dumps(error, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        batch_refuse(batch, write, status, cause ? slice_from(cause) : SLICE("null"));
        free(cause);
        return BULK_DONE;
    }
    write->outcome = outcome;
    return BULK_DONE;
}

/* An item is {"index":{...}} or {"delete":{...}}. */
static const json_t *unwrap(json_t *item, enum write_operation operation) {
    return json_object_get(item, operation == WRITE_REMOVE ? "delete" : "index");
}

static enum bulk_result invalid(struct error *err, const char *why) {
    error_set(err, ERROR_PROTOCOL, true, "_bulk: not an answer to our request: %s", why);
    return BULK_INVALID;
}

/* Items answer the request's in their order. Outcomes are set as they are read: where the answer breaks off, what
 * was told stays told, and the rest stays pending. */
static enum bulk_result read_items(struct batch *batch, size_t from, size_t to, json_t *items,
                                   struct error *err) {
    enum bulk_result worst = BULK_DONE;
    size_t i = 0;
    struct write *write;
    for (size_t at = from; (write = batch_next(batch, &at, to));) {
        json_t *item = json_array_get(items, i++);
        if (!item) return invalid(err, "it has fewer items");
        const json_t *inner = unwrap(item, write->operation);
        if (!inner) return invalid(err, "its items are of other kinds");
        enum bulk_result result = read_item(batch, write, inner, err);
        if (result == BULK_INVALID || result == BULK_GONE) return result;
        if (result == BULK_RETRY) worst = BULK_RETRY;
    }
    if (i != json_array_size(items)) return invalid(err, "it has more items");
    return worst;
}

enum bulk_result bulk_read(struct batch *batch, size_t from, size_t to, struct slice answer,
                           struct error *err) {
    ASSERT(from <= to && to <= batch->n_writes);
    json_t *root = json_loadb(answer.data ? answer.data : "", answer.len, 0, NULL);
    json_t *items = json_object_get(root, "items");
    enum bulk_result result = json_is_array(items) ? read_items(batch, from, to, items, err)
                                                   : invalid(err, "it has no list of items");
    json_decref(root);
    return result;
}

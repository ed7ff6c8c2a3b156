#include "connectors/opensearch/index_compare.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "connectors/document/document.h"
#include "connectors/document/json_digest.h"
#include "connectors/opensearch/rest.h"

enum {
    GET_DOCUMENTS = 500,         /* of one request at most, */
    GET_BYTES = 4 * 1024 * 1024, /* and by what they should be, as the answer has all of them */
    SCAN_PAGE = 1000,
};

/* ---- the answer ---- */

static bool invalid(struct error *err, const char *why) {
    return error_set(err, ERROR_PROTOCOL, true, "_mget: not an answer to our request: %s", why);
}

static bool refused(struct slice error, struct error *err) {
    int len = error.len < HTTP_REASON_MAX ? (int)error.len : HTTP_REASON_MAX;
    bool gone = memmem(error.data, error.len, SLICE("index_not_found").data,
                       SLICE("index_not_found").len) != NULL;
    return error_set(err, gone ? ERROR_NOT_FOUND : ERROR_UNAVAILABLE, true,
                     "_mget: a document could not be read: %.*s", len, error.data);
}

/* {"_index":...,"_id":"42","_version":7,"found":true,"_source":{...}}: the source is taken as it stands, since a reader of
 * numbers would change it. */
static bool read_document(struct slice text, struct sink_entry *entry, struct error *err) {
    struct json_walk walk = {text.data, text.data + text.len};
    struct slice name;
    struct slice value;
    *entry = (struct sink_entry){0};
    if (!json_walk_char(&walk, '{')) return invalid(err, "a document is no object");
    while (json_walk_member(&walk, &name, &value)) {
        if (slice_equal(name, SLICE("error"))) return refused(value, err);
        if (slice_equal(name, SLICE("found"))) entry->found = slice_equal(value, SLICE("true"));
        if (slice_equal(name, SLICE("_version"))) entry->version = strtoull(value.data, NULL, 10);
        if (slice_equal(name, SLICE("_source")) && !json_digest(value, &entry->digest))
            return invalid(err, "a document's source is no JSON");
    }
    return json_walk_char(&walk, '}') || invalid(err, "a document breaks off");
}

static bool find_documents(struct json_walk *walk, struct slice *docs) {
    struct slice name;
    if (!json_walk_char(walk, '{')) return false;
    while (json_walk_member(walk, &name, docs)) {
        if (slice_equal(name, SLICE("docs"))) return true;
    }
    return false;
}

bool index_compare_read(struct slice answer, struct sink_entry *entries, size_t n,
                        struct error *err) {
    struct json_walk walk = {answer.data, answer.data + answer.len};
    struct slice docs;
    if (!answer.len || !find_documents(&walk, &docs)) return invalid(err, "it has no documents");
    struct json_walk list = {docs.data, docs.data + docs.len};
    if (!json_walk_char(&list, '[')) return invalid(err, "it has no list of documents");
    for (size_t i = 0; i < n; i++) {
        struct slice document;
        if (i && !json_walk_char(&list, ',')) return invalid(err, "it has fewer documents");
        if (!json_walk_value(&list, &document)) return invalid(err, "it has fewer documents");
        if (!read_document(document, &entries[i], err)) return false;
    }
    return json_walk_char(&list, ']') || invalid(err, "it has more documents");
}

/* ---- asking ---- */

struct request {
    struct buf body;
    struct buf document;
    size_t n;
    size_t expected_bytes;
    size_t *places;    /* in the batch, of the n documents that are asked for */
    uint64_t *digests; /* of what should be there */
    struct buf id;
    struct buf routing;
};

static void ask_for(struct request *request, const struct batch *batch, size_t place) {
    const struct write *write = &batch->writes[place];
    request->id.len = request->routing.len = request->document.len = 0;
    shape_split_key(batch->shape, write->key, &request->id, &request->routing);
    if (!request->id.len) return; /* no index has such a one */
    uint64_t digest = 0;
    if (write->operation == WRITE_PUT) {
        document_append(&request->document, batch->shape, write->row);
        (void)!json_digest(buf_slice(&request->document), &digest);
    }
    buf_append_text(&request->body, request->n ? ",{\"_id\":" : "{\"docs\":[{\"_id\":");
    json_append_string(&request->body, buf_slice(&request->id));
    if (request->routing.len) {
        buf_append_text(&request->body, ",\"routing\":");
        json_append_string(&request->body, buf_slice(&request->routing));
    }
    buf_append_char(&request->body, '}');
    request->expected_bytes += request->document.len;
    request->digests[request->n] = digest;
    request->places[request->n++] = place;
}

static bool get_documents(struct search_index *index, struct request *request,
                          struct sink_entry *read, struct error *err) {
    buf_append_text(&request->body, "]}");
    char *path = mem_printf("%s/_mget", index->alias_path);
    struct http_body body = {"application/json", buf_slice(&request->body)};
    struct http_response response;
    bool done = http_request(index->http, "POST", path, &body, &response, err);
    mem_free(path);
    if (!done) return false;
    done = response.status == 200
               ? index_compare_read(buf_slice(&response.body), read, request->n, err)
               : http_refused(&response, "_mget", err);
    http_response_deinit(&response);
    return done;
}

/* The documents of a request, told of the writes that it was made for. */
static void judge(const struct request *request, const struct sink_entry *read, bool content,
                  const struct batch *batch, struct sink_entry *entries) {
    for (size_t i = 0; i < request->n; i++) {
        struct sink_entry *entry = &entries[request->places[i]];
        bool wanted = batch->writes[request->places[i]].operation == WRITE_PUT;
        *entry = read[i];
        entry->equal =
            entry->found == wanted && (!wanted || !content || entry->digest == request->digests[i]);
    }
}

bool index_compare(struct search_index *index, bool content, struct batch *batch,
                   struct sink_entry *entries, struct error *err) {
    struct request request = {0};
    struct sink_entry read[GET_DOCUMENTS];
    size_t places[GET_DOCUMENTS];
    uint64_t digests[GET_DOCUMENTS];
    request.places = places;
    request.digests = digests;
    bool done = true;
    for (size_t at = 0; at < batch->n_writes && done;) {
        request.n = request.expected_bytes = request.body.len = 0;
        for (; at < batch->n_writes && request.n < GET_DOCUMENTS &&
               request.expected_bytes < GET_BYTES;
             at++) {
            entries[at] = (struct sink_entry){.equal = batch->writes[at].operation == WRITE_REMOVE};
            ask_for(&request, batch, at);
        }
        if (!request.n) continue;
        done = get_documents(index, &request, read, err);
        if (done) judge(&request, read, content, batch, entries);
    }
    buf_deinit(&request.body);
    buf_deinit(&request.document);
    buf_deinit(&request.id);
    buf_deinit(&request.routing);
    return done;
}

/* ---- all ids ---- */

void index_scan_end(struct search_index *index, struct index_scan *scan) {
    long status;
    struct error ignored; /* it ends by itself */
    if (scan->scroll_id)
        (void)!rest_call(index->http, "DELETE", "/_search/scroll",
                         json_pack("{s:s}", "scroll_id", scan->scroll_id), &status, NULL, &ignored);
    mem_free(scan->scroll_id);
    scan->scroll_id = NULL;
}

static bool begin_scan(struct search_index *index, json_t **answer, struct error *err) {
    char *refresh = mem_printf("%s/_refresh", index->alias_path);
    char *search = mem_printf("%s/_search?scroll=10m", index->alias_path);
    bool done = rest_must(index->http, "POST", refresh, NULL, NULL, err) &&
                rest_must(index->http, "POST", search,
                          json_pack("{s:i, s:b, s:s}", "size", (int)SCAN_PAGE, "_source", 0, "sort",
                                    "_doc"),
                          answer, err);
    mem_free(refresh);
    mem_free(search);
    return done;
}

static bool next_page(struct search_index *index, const struct index_scan *scan, json_t **answer,
                      struct error *err) {
    return rest_must(index->http, "POST", "/_search/scroll",
                     json_pack("{s:s, s:s}", "scroll", "10m", "scroll_id", scan->scroll_id), answer,
                     err);
}

static void take_hits(const struct shape *shape, const json_t *answer, struct key_page *page) {
    struct buf key = {0};
    size_t i;
    json_t *hit;
    json_array_foreach(json_object_get(json_object_get(answer, "hits"), "hits"), i, hit) {
        const char *id = json_string_value(json_object_get(hit, "_id"));
        const char *routing = json_string_value(json_object_get(hit, "_routing"));
        if (!id) continue;
        key.len = 0;
        shape_join_key(shape, slice_from(id), slice_from(routing ? routing : ""), &key);
        key_page_add(page, buf_slice(&key));
    }
    buf_deinit(&key);
}

bool index_scan_page(struct search_index *index, struct index_scan *scan, const struct shape *shape,
                     bool first, struct key_page *page, struct error *err) {
    json_t *answer = NULL;
    if (first) index_scan_end(index, scan);
    if (!(first ? begin_scan(index, &answer, err) : next_page(index, scan, &answer, err)))
        return false;
    const char *scroll_id = json_string_value(json_object_get(answer, "_scroll_id"));
    bool failed =
        json_integer_value(json_object_get(json_object_get(answer, "_shards"), "failed")) > 0;
    if (scroll_id && !failed) {
        mem_free(scan->scroll_id);
        scan->scroll_id = mem_strdup(scroll_id);
        take_hits(shape, answer, page);
    } else {
        error_set(err, ERROR_UNAVAILABLE, true, "index \"%s\": a shard could not be read",
                  index->name);
    }
    json_decref(answer);
    return scroll_id && !failed;
}

/* What is older than a version goes: search_index_clear_older. */
#include <inttypes.h>

#include "base/json.h"
#include "base/mem.h"
#include "connectors/opensearch/rest.h"
#include "connectors/opensearch/search_index.h"

enum { SWEEP_PAGE = 2000 };

/* NDJSON that deletes those of a page's hits which are older; returns their number. */
static size_t compose_deletes(const json_t *hits, const struct clearing *clearing, struct buf *body,
                              uint64_t *newer) {
    size_t n = 0;
    size_t i;
    json_t *hit;
    json_array_foreach(hits, i, hit) {
        const char *id = json_string_value(json_object_get(hit, "_id"));
        uint64_t has = (uint64_t)json_integer_value(json_object_get(hit, "_version"));
        if (has > clearing->newest) ++*newer;
        if (!id || has >= clearing->version) continue;
        buf_append_text(body, "{\"delete\":{\"_id\":");
        json_append_string(body, slice_from(id));
        const char *routing = json_string_value(json_object_get(hit, "_routing"));
        if (routing) {
            buf_append_text(body, ",\"routing\":");
            json_append_string(body, slice_from(routing));
        }
        buf_printf(body, ",\"version\":%" PRIu64 ",\"version_type\":\"external\"}}\n",
                   clearing->version);
        n++;
    }
    return n;
}

/* True if every delete came to something final: done, not found, or overtaken by a newer version. */
static bool read_deletes(const json_t *answer, struct error *err) {
    const json_t *items = json_object_get(answer, "items");
    size_t i;
    json_t *item;
    json_array_foreach(items, i, item) {
        const json_t *inner = json_object_get(item, "delete");
        int status = (int)json_integer_value(json_object_get(inner, "status"));
        if (status == 404 || status == 409 || (status >= 200 && status < 300)) continue;
        return error_set(err, ERROR_UNAVAILABLE, true, "clearing: a delete was put off: HTTP %d",
                         status);
    }
    return true;
}

static bool delete_page(struct search_index *index, const json_t *hits,
                        const struct clearing *clearing, uint64_t *removed, uint64_t *newer,
                        struct error *err) {
    struct buf body = {0};
    size_t n = compose_deletes(hits, clearing, &body, newer);
    bool done = true;
    if (n) {
        char *path = mem_printf("%s/_bulk?require_alias=true", index->alias_path);
        struct http_body http_body = {"application/x-ndjson", buf_slice(&body)};
        struct http_response response;
        done = http_request(index->http, "POST", path, &http_body, &response, err);
        if (done) {
            json_t *answer = json_loadb(response.body.data, response.body.len, 0, NULL);
            done = response.status == 200 ? read_deletes(answer, err)
                                          : http_refused(&response, "clearing", err);
            json_decref(answer);
            http_response_deinit(&response);
        }
        mem_free(path);
    }
    if (done) *removed += n;
    buf_deinit(&body);
    return done;
}

static void end_scroll(struct search_index *index, const char *scroll_id) {
    long status;
    struct error ignored; /* it ends by itself in a minute */
    if (scroll_id)
        (void)!rest_call(index->http, "DELETE", "/_search/scroll",
                         json_pack("{s:s}", "scroll_id", scroll_id), &status, NULL, &ignored);
}

/* Not _delete_by_query: that deletes by internal versions, one above the document's own, and so would
 * keep a replay from putting back a row that came after the TRUNCATE; and it cannot ask for _version. */
bool search_index_clear_older(struct search_index *index, const struct clearing *clearing,
                              uint64_t *removed, uint64_t *newer, struct error *err) {
    *removed = *newer = 0;
    char *refresh = mem_printf("%s/_refresh", index->path);
    char *search = mem_printf("%s/_search?scroll=1m", index->path);
    json_t *page = NULL;
    bool done = rest_must(index->http, "POST", refresh, NULL, NULL, err) &&
                rest_must(index->http, "POST", search,
                          json_pack("{s:i, s:b, s:b, s:[s]}", "size", SWEEP_PAGE, "version", 1,
                                    "_source", 0, "sort", "_doc"),
                          &page, err);
    while (done) {
        const json_t *hits = json_object_get(json_object_get(page, "hits"), "hits");
        const char *scroll_id = json_string_value(json_object_get(page, "_scroll_id"));
        if (json_array_size(hits) == 0 || !scroll_id) {
            end_scroll(index, scroll_id);
            break;
        }
        done = delete_page(index, hits, clearing, removed, newer, err);
        if (!done) {
            end_scroll(index, scroll_id);
            break;
        }
        json_t *next = NULL;
        done =
            rest_must(index->http, "POST", "/_search/scroll",
                      json_pack("{s:s, s:s}", "scroll", "1m", "scroll_id", scroll_id), &next, err);
        json_decref(page);
        page = next;
    }
    json_decref(page);
    mem_free(refresh);
    mem_free(search);
    return done;
}

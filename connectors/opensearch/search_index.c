#include "connectors/opensearch/search_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/mem.h"
#include "connectors/opensearch/mapping.h"

enum { SWEEP_PAGE = 2000, OPEN_TRIES = 3 };

void search_index_init(struct search_index *index, struct http *http, const char *name,
                       struct log *log) {
    *index = (struct search_index){.http = http, .log = log, .name = mem_strdup(name)};
    index->alias = mem_printf("freshet-%s", name);
    struct buf path = {0};
    buf_append_char(&path, '/');
    http_append_segment(&path, index->name);
    index->path = mem_strdup(buf_text(&path));
    path.len = 1;
    http_append_segment(&path, index->alias);
    index->alias_path = mem_strdup(buf_text(&path));
    buf_deinit(&path);
}

void search_index_deinit(struct search_index *index) {
    mem_free(index->name);
    mem_free(index->alias);
    mem_free(index->path);
    mem_free(index->alias_path);
}

/* One request with a JSON body (NULL: none; taken) whose answer is parsed into *answer (a new reference, NULL where it
 * is not JSON; may be NULL). *status is the HTTP status. */
static bool call(struct search_index *index, const char *method, const char *path, json_t *body,
                 long *status, json_t **answer, struct error *err) {
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    struct http_body http_body = {"application/json", slice_from(text ? text : "")};
    struct http_response response;
    bool answered =
        http_request(index->http, method, path, text ? &http_body : NULL, &response, err);
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

/* The same where anything but a success is an error. */
static bool must(struct search_index *index, const char *method, const char *path, json_t *body,
                 json_t **answer, struct error *err) {
    long status;
    if (!call(index, method, path, body, &status, answer, err)) return false;
    if (status < 400) return true;
    if (answer) json_decref(*answer);
    if (answer) *answer = NULL;
    return false;
}

static bool create(struct search_index *index, const struct shape *shape,
                   uint64_t system_identifier, bool *created, struct error *err) {
    long status;
    json_t *body = mapping_index_body(shape, system_identifier, index->alias);
    json_t *answer = NULL;
    if (!call(index, "PUT", index->path, body, &status, &answer, err)) return false;
    const char *type = json_string_value(json_object_get(json_object_get(answer, "error"), "type"));
    bool raced = type && strcmp(type, "resource_already_exists_exception") == 0;
    json_decref(answer);
    *created = status < 400;
    if (*created || raced) return true;
    return error_prefix(err, "creating index \"%s\"", index->name);
}

/* The index's own description, out of {"<concrete name>":{...}}. *found false: there is none. */
static bool describe(struct search_index *index, bool *found, json_t **root, json_t **description,
                     struct error *err) {
    long status;
    *root = NULL;
    if (!call(index, "GET", index->path, NULL, &status, root, err)) return false;
    *found = status < 400;
    if (status == 404) return true;
    if (!*found) return error_prefix(err, "index \"%s\"", index->name);
    if (json_object_size(*root) != 1)
        return error_set(err, ERROR_CONFIG, false,
                         "index \"%s\": not one index (an alias of several?)", index->name);
    *description = json_object_iter_value(json_object_iter(*root));
    return true;
}

static bool count_documents(struct search_index *index, bool *empty, struct error *err) {
    char *refresh = mem_printf("%s/_refresh", index->path);
    char *count = mem_printf("%s/_count", index->path);
    json_t *answer = NULL;
    bool counted = must(index, "POST", refresh, NULL, NULL, err) &&
                   must(index, "GET", count, NULL, &answer, err);
    if (counted) *empty = json_integer_value(json_object_get(answer, "count")) == 0;
    json_decref(answer);
    mem_free(refresh);
    mem_free(count);
    return counted;
}

static bool ensure_alias(struct search_index *index, const json_t *description, struct error *err) {
    if (json_object_get(json_object_get(description, "aliases"), index->alias)) return true;
    char *path = mem_printf("%s/_alias%s", index->path, index->alias_path);
    bool made = must(index, "PUT", path, NULL, NULL, err);
    mem_free(path);
    return made;
}

/* Writes of a process that was killed may still be under way here. Before a load they must be over: what they bring after it
 * has no version that would tell it from the load's own rows. Who may not list tasks goes without. */
static bool check_quiet(struct search_index *index, struct error *err) {
    long status;
    json_t *answer = NULL;
    if (!call(index, "GET", "/_tasks?actions=indices:data/write/bulk&detailed=true&group_by=none",
              NULL, &status, &answer, err))
        return false;
    bool quiet = true;
    size_t i;
    json_t *task;
    json_array_foreach(json_object_get(answer, "tasks"), i, task) {
        const char *what = json_string_value(json_object_get(task, "description"));
        if (what && strstr(what, index->alias)) quiet = false;
    }
    json_decref(answer);
    return quiet || error_set(err, ERROR_CONFLICT, true,
                              "index \"%s\": a _bulk request of an earlier process is still "
                              "under way",
                              index->name);
}

static void check_durability(const struct search_index *index, const json_t *settings) {
    const char *durability =
        json_string_value(json_object_get(json_object_get(settings, "translog"), "durability"));
    if (durability && strcmp(durability, "async") == 0)
        log_warn(index->log, "index_not_durable",
                 "index=%s cause=\"index.translog.durability is async: a crash of the server may "
                 "lose rows that are past the connector's position\"",
                 index->name);
}

static bool take(struct search_index *index, json_t *description, struct sink_target *target,
                 struct error *err) {
    const json_t *settings = json_object_get(json_object_get(description, "settings"), "index");
    const char *uuid = json_string_value(json_object_get(settings, "uuid"));
    if (!uuid || strlen(uuid) >= sizeof target->id)
        return error_set(err, ERROR_PROTOCOL, false, "index \"%s\": its description has no uuid",
                         index->name);
    memcpy(target->id, uuid, strlen(uuid) + 1);
    index->made_by_us = target->ours;
    check_durability(index, settings);
    if (!ensure_alias(index, description, err)) return false;
    if (target->made) {
        target->empty = true;
        return true;
    }
    return check_quiet(index, err) && count_documents(index, &target->empty, err);
}

bool search_index_open(struct search_index *index, const struct shape *shape,
                       uint64_t system_identifier, struct sink_target *target, struct error *err) {
    *target = (struct sink_target){0};
    for (int i = 0; i < OPEN_TRIES; i++) {
        bool found;
        json_t *root;
        json_t *description = NULL;
        if (!describe(index, &found, &root, &description, err)) {
            json_decref(root);
            return false;
        }
        uint64_t filled_from = system_identifier;
        target->ours =
            found && mapping_is_ours(json_object_get(description, "mappings"), shape, &filled_from);
        bool foreign = target->ours && filled_from != system_identifier;
        bool settled = found && !foreign;
        bool done = settled && take(index, description, target, err);
        json_decref(root);
        if (settled) return done;
        if (foreign) {
            log_warn(index->log, "index_dropped",
                     "index=%s cause=\"it was filled from database system %" PRIu64 "\"",
                     index->name, filled_from);
            if (!must(index, "DELETE", index->path, NULL, NULL, err)) return false;
        }
        if (!create(index, shape, system_identifier, &target->made, err)) return false;
        if (target->made) log_info(index->log, "index_created", "index=%s", index->name);
    }
    return error_set(err, ERROR_CONFLICT, true, "index \"%s\": somebody else makes and drops it",
                     index->name);
}

bool search_index_add_columns(struct search_index *index, const struct shape *shape,
                              struct error *err) {
    if (!index->made_by_us) return true;
    bool found;
    json_t *root;
    json_t *description = NULL;
    bool done = describe(index, &found, &root, &description, err);
    json_t *missing = NULL;
    if (done && found) missing = mapping_missing(shape, json_object_get(description, "mappings"));
    json_decref(root);
    if (!missing) return done;
    char *path = mem_printf("%s/_mapping", index->path);
    done = must(index, "PUT", path, json_pack("{s:o}", "properties", missing), NULL, err);
    mem_free(path);
    return done;
}

/* NDJSON that deletes those of a page's hits which are older; returns their number. */
static size_t compose_deletes(const json_t *hits, uint64_t version, struct buf *body,
                              uint64_t *newer) {
    size_t n = 0;
    size_t i;
    json_t *hit;
    json_array_foreach(hits, i, hit) {
        const char *id = json_string_value(json_object_get(hit, "_id"));
        uint64_t has = (uint64_t)json_integer_value(json_object_get(hit, "_version"));
        if (has > version) ++*newer;
        if (!id || has >= version) continue;
        buf_append_text(body, "{\"delete\":{\"_id\":");
        json_append_string(body, slice_from(id));
        buf_printf(body, ",\"version\":%" PRIu64 ",\"version_type\":\"external\"}}\n", version);
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

static bool delete_page(struct search_index *index, const json_t *hits, uint64_t version,
                        uint64_t *removed, uint64_t *newer, struct error *err) {
    struct buf body = {0};
    size_t n = compose_deletes(hits, version, &body, newer);
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
        (void)!call(index, "DELETE", "/_search/scroll", json_pack("{s:s}", "scroll_id", scroll_id),
                    &status, NULL, &ignored);
}

/* Not _delete_by_query: that deletes by internal versions, one above the document's own, and so would
 * keep a replay from putting back a row that came after the TRUNCATE; and it cannot ask for _version. */
bool search_index_clear_older(struct search_index *index, uint64_t version, uint64_t *removed,
                              uint64_t *newer, struct error *err) {
    *removed = *newer = 0;
    char *refresh = mem_printf("%s/_refresh", index->path);
    char *search = mem_printf("%s/_search?scroll=1m", index->path);
    json_t *page = NULL;
    bool done = must(index, "POST", refresh, NULL, NULL, err) &&
                must(index, "POST", search,
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
        done = delete_page(index, hits, version, removed, newer, err);
        if (!done) {
            end_scroll(index, scroll_id);
            break;
        }
        json_t *next = NULL;
        done = must(index, "POST", "/_search/scroll",
                    json_pack("{s:s, s:s}", "scroll", "1m", "scroll_id", scroll_id), &next, err);
        json_decref(page);
        page = next;
    }
    json_decref(page);
    mem_free(refresh);
    mem_free(search);
    return done;
}

bool search_index_give_up(struct search_index *index, uint64_t newer, struct error *err) {
    if (!index->made_by_us)
        return error_set(err, ERROR_CONFLICT, false,
                         "index \"%s\" holds %" PRIu64
                         " documents that are newer than the database: it was set back to an "
                         "earlier point. Empty the index; it is then filled anew",
                         index->name, newer);
    if (!must(index, "DELETE", index->path, NULL, NULL, err)) return false;
    return error_set(err, ERROR_NOT_FOUND, true,
                     "index \"%s\" held %" PRIu64
                     " documents that are newer than the database, which was set back to an "
                     "earlier point: it is made anew",
                     index->name, newer);
}

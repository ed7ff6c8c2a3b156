#include "connectors/opensearch/opensearch.h"

#include <jansson.h>
#include <string.h>

#include "base/http.h"
#include "base/mem.h"
#include "connectors/opensearch/bulk.h"
#include "connectors/opensearch/generation.h"
#include "connectors/opensearch/index_compare.h"
#include "connectors/opensearch/mapping_file.h"
#include "connectors/opensearch/probe.h"
#include "connectors/opensearch/search_index.h"

/* A request that outlives its client must be over before the index forgets the tombstones of what was deleted
 * meanwhile (index.gc_deletes, 60 s), or it could bring a row back: so a request is given half of that. */
enum {
    CONNECT_TIMEOUT_MS = 3000,
    REQUEST_TIMEOUT_MS = 30000,
    OPEN_TIMEOUT_MS = 10000, /* of each request of open, for which a session's start waits */
};

struct sink {
    struct log *log;
    struct http *http;
    char *name;                 /* under which the index is searched */
    const char *const *aliases; /* the configuration's */
    uint32_t n_aliases;
    char *pipeline;         /* NULL: the index's own */
    char *authorization;    /* a header, or NULL */
    const char *headers[2]; /* it, as http.h wants it */
    json_t *file;           /* the user's mapping, or NULL */
    bool rebuild;
    struct search_index index; /* of a rebuild: once its name is known */
    bool
        opened; /* once before: what is refused now is trouble, and no mistake of the configuration */
    char *bulk_path;
    size_t max_bytes; /* of a request's body */
    struct buf body;
    struct index_scan scan; /* of an instance that compares */
};

static void opensearch_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    search_index_deinit(&old->index);
    http_destroy(&old->http);
    json_decref(old->file);
    mem_free(old->name);
    mem_free(old->pipeline);
    mem_free(old->authorization);
    mem_free(old->bulk_path);
    buf_deinit(&old->body);
    mem_free(old->scan.scroll_id);
    mem_free(old);
}

struct http *opensearch_http(const struct connector_config *config, const _Atomic bool *stop,
                             struct error *err) {
    return http_create(&(struct http_config){.url = config->url ? config->url : "",
                                             .user = config->api_key ? NULL : config->user,
                                             .password = config->password,
                                             .ca_file = config->ca_file,
                                             .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                             .timeout_ms = REQUEST_TIMEOUT_MS,
                                             .stop = stop},
                       err);
}

/* From here on the index is known by this name. */
static void name_index(struct sink *sink, const char *name) {
    search_index_init(
        &sink->index, sink->http, sink->log,
        &(struct search_index_config){.name = name,
                                      .aliases = sink->aliases,
                                      .n_aliases = sink->rebuild ? 0 : sink->n_aliases,
                                      .file = sink->file,
                                      .rebuild_of = sink->rebuild ? sink->name : NULL});
    /* Of an item's answer the status and the error are all that is read. */
    struct buf path = {0};
    buf_append_text(&path, sink->index.alias_path);
    buf_append_text(&path,
                    "/_bulk?require_alias=true&filter_path=errors,items.*.status,items.*.error");
    if (sink->pipeline) {
        buf_append_text(&path, "&pipeline=");
        http_append_segment(&path, sink->pipeline);
    }
    sink->bulk_path = mem_strdup(buf_text(&path));
    buf_deinit(&path);
}

static struct sink *opensearch_create(const struct connector_config *config,
                                      const struct sink_deps *deps, struct error *err) {
    const char *option;
    if (!opensearch_check(config, &option, err)) return NULL;
    struct sink *sink = mem_zalloc(sizeof *sink);
    sink->log = deps->log;
    sink->name = opensearch_index_name(config);
    sink->aliases = config->aliases;
    sink->n_aliases = config->n_aliases;
    sink->pipeline = config->pipeline ? mem_strdup(config->pipeline) : NULL;
    sink->max_bytes = config->batch_bytes;
    sink->rebuild = config->rebuild;
    sink->http = opensearch_http(config, deps->stop, err);
    if (config->mapping) sink->file = mapping_file_load(config->mapping, err);
    if (!sink->http || (config->mapping && !sink->file)) {
        opensearch_destroy(&sink);
        return NULL;
    }
    sink->authorization = opensearch_authorization(config);
    sink->headers[0] = sink->authorization;
    if (sink->authorization) http_set_headers(sink->http, sink->headers);
    if (!sink->rebuild) name_index(sink, sink->name);
    return sink;
}

/* A rebuild's index is named when it first opens: by then what it succeeds is there. */
static bool name_next(struct sink *sink, struct error *err) {
    char *next = NULL;
    if (sink->index.name) return true;
    if (!generation_next(sink->http, sink->name, sink->file != NULL, &next, err)) return false;
    name_index(sink, next);
    mem_free(next);
    return true;
}

static bool opensearch_open(struct sink *sink, const struct shape *shape,
                            uint64_t system_identifier, struct sink_target *target,
                            struct error *err) {
    http_set_timeout(sink->http, OPEN_TIMEOUT_MS);
    bool opened = name_next(sink, err) &&
                  search_index_open(&sink->index, shape, system_identifier, target, err);
    http_set_timeout(sink->http, REQUEST_TIMEOUT_MS);
    if (!opened && sink->opened) err->retriable = true;
    if (opened) sink->opened = true;
    return opened;
}

/* The sender's thread is over, and `stop` with it: what is left to do is asked for by its own deadline. */
static bool opensearch_take_over(struct sink *sink, struct error *err) {
    http_set_timeout(sink->http, OPEN_TIMEOUT_MS);
    return generation_take_over(sink->http, sink->name, sink->index.name, sink->aliases,
                                sink->n_aliases, err);
}

static bool opensearch_tidy(struct sink *sink, struct error *err) {
    http_set_timeout(sink->http, OPEN_TIMEOUT_MS);
    return generation_tidy(sink->http, sink->log, sink->name, err);
}

/* A column whose type changed keeps the mapping that it had: what no longer fits is refused document by document,
 * with the cause. */
static bool opensearch_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    if (search_index_add_columns(&sink->index, shape, err)) return true;
    if (err->retriable || err->code == ERROR_NOT_FOUND) return false;
    log_warn(sink->log, "mapping_not_extended", "index=%s cause=\"%s\"", sink->index.name,
             err->message);
    return true;
}

static bool send_range(struct sink *sink, struct batch *batch, size_t from, size_t to,
                       struct error *err);

/* The whole request was refused: it is halved until the one document that is to blame stands alone. */
static bool split(struct sink *sink, struct batch *batch, size_t from, size_t to,
                  const struct http_response *response, struct error *err) {
    size_t at = from;
    struct write *first = batch_next(batch, &at, to);
    size_t behind_first = at;
    if (!first) return true;
    if (!batch_next(batch, &at, to)) {
        batch_refuse_text(batch, first, (int)response->status, buf_slice(&response->body));
        return true;
    }
    size_t middle = from + (to - from) / 2;
    if (middle < behind_first) middle = behind_first;
    return send_range(sink, batch, from, middle, err) && send_range(sink, batch, middle, to, err);
}

static bool is_split_status(long status) { return status == 400 || status == 413; }

static bool take_answer(struct batch *batch, size_t from, size_t to,
                        const struct http_response *response, struct error *err) {
    if (response->status != 200) return http_refused(response, "_bulk", err);
    switch (bulk_read(batch, from, to, buf_slice(&response->body), err)) {
    case BULK_DONE: return true;
    case BULK_RETRY:
    case BULK_GONE:
    case BULK_INVALID: break;
    }
    return false;
}

/* One request: sink->body, which holds the writes in [from, to). */
static bool send_body(struct sink *sink, struct batch *batch, size_t from, size_t to,
                      struct error *err) {
    struct http_body body = {"application/x-ndjson", buf_slice(&sink->body)};
    struct http_response response;
    if (!http_request(sink->http, "POST", sink->bulk_path, &body, &response, err)) return false;
    bool done = is_split_status(response.status) ? split(sink, batch, from, to, &response, err)
                                                 : take_answer(batch, from, to, &response, err);
    http_response_deinit(&response);
    return done;
}

static bool send_range(struct sink *sink, struct batch *batch, size_t from, size_t to,
                       struct error *err) {
    sink->body.len = 0;
    size_t at = from;
    if (bulk_compose(&sink->body, batch, &at, to, SIZE_MAX) == 0) return true;
    return send_body(sink, batch, from, to, err);
}

static bool opensearch_apply(struct sink *sink, struct batch *batch, struct error *err) {
    for (size_t from = 0, to = 0; from < batch->n_writes; from = to) {
        sink->body.len = 0;
        if (bulk_compose(&sink->body, batch, &to, batch->n_writes, sink->max_bytes) == 0) continue;
        if (!send_body(sink, batch, from, to, err)) return false;
    }
    return true;
}

static bool opensearch_clear_older(struct sink *sink, const struct clearing *clearing,
                                   uint64_t *removed, struct error *err) {
    uint64_t newer = 0;
    if (!search_index_clear_older(&sink->index, clearing, removed, &newer, err)) return false;
    return newer == 0 || search_index_give_up(&sink->index, newer, err);
}

/* Nothing to do: an item's success means that it is in the shard's fsynced translog (index.translog.durability: request,
 * the default). Whether the index is still there is told by the alias, at each write. */
static bool opensearch_flush(struct sink *sink, const struct change_position *position,
                             struct error *err) {
    (void)sink, (void)position, (void)err;
    return true;
}

static bool opensearch_compare(struct sink *sink, struct batch *batch, struct sink_entry *entries,
                               struct error *err) {
    return index_compare(&sink->index, !sink->pipeline, batch, entries, err);
}

static bool opensearch_scan(struct sink *sink, const struct shape *shape, bool first,
                            struct key_page *page, struct error *err) {
    if (!index_scan_page(&sink->index, &sink->scan, shape, first, page, err)) return false;
    if (!page->n) index_scan_end(&sink->index, &sink->scan);
    return true;
}

const struct sink_type opensearch_sink = {
    .name = "opensearch",
    .help = "An index of OpenSearch, one document a row",
    .needs = "url",
    .takes = "lanes index mapping aliases pipeline routing document rebuild_grace api_key ca_file "
             "user password",
    .check = opensearch_check,
    .probe = opensearch_probe,
    .ops =
        {
            .create = opensearch_create,
            .destroy = opensearch_destroy,
            .open = opensearch_open,
            .reshape = opensearch_reshape,
            .apply = opensearch_apply,
            .clear_older = opensearch_clear_older,
            .flush = opensearch_flush,
            .compare = opensearch_compare,
            .scan = opensearch_scan,
            .resumes_loads = true,
            .versioned = true,
            .take_over = opensearch_take_over,
            .tidy = opensearch_tidy,
        },
};

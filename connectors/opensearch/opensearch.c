#include "connectors/opensearch/opensearch.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/http.h"
#include "base/json.h"
#include "base/mem.h"
#include "connectors/opensearch/bulk.h"
#include "connectors/opensearch/search_index.h"

/* A request that outlives its client must be over before the index forgets the tombstones of what was deleted
 * meanwhile (index.gc_deletes, 60 s), or it could bring a row back: so a request is given half of that. */
enum {
    CONNECT_TIMEOUT_MS = 3000,
    REQUEST_TIMEOUT_MS = 30000,
    OPEN_TIMEOUT_MS = 10000, /* of each request of open, for which a session's start waits */
    INDEX_NAME_MAX_BYTES = 200,
    CAUSE_MAX_BYTES = 2048,
};

struct sink {
    struct log *log;
    struct http *http;
    struct search_index index;
    bool
        opened; /* once before: what is refused now is trouble, and no mistake of the configuration */
    char *bulk_path;
    size_t max_bytes; /* of a request's body */
    struct buf body;
};

/* The rules of the create index API; the limit leaves room for the alias's prefix. */
static bool check_index_name(const char *name, struct error *err) {
    const char *bad = NULL;
    if (!*name || strlen(name) > INDEX_NAME_MAX_BYTES)
        bad = "must have 1 to 200 bytes";
    else if (strpbrk(name, "\\/*?\"<>| ,#:"))
        bad = "must hold none of \\ / * ? \" < > | , # : space";
    else if (strchr("-_+.", name[0]))
        bad = "must not begin with - _ + .";
    for (const char *c = name; *c && !bad; c++) {
        if (isupper((unsigned char)*c)) bad = "must be in lower case";
    }
    if (!bad) return true;
    return error_set(err, ERROR_CONFIG, false, "index \"%s\": a name %s", name, bad);
}

/* An index named after its table: the table's own name, in lower case as an index's must be. */
static char *index_name(const struct connector_config *config) {
    const char *dot = strchr(config->table, '.');
    const char *table = dot ? dot + 1 : config->table;
    bool named = config->index && config->index[0] && strcmp(config->index, table) != 0;
    char *name = mem_strdup(named ? config->index : table);
    for (char *c = name; *c && !named; c++)
        *c = (char)tolower((unsigned char)*c);
    return name;
}

static void opensearch_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    search_index_deinit(&old->index);
    http_destroy(&old->http);
    mem_free(old->bulk_path);
    buf_deinit(&old->body);
    mem_free(old);
}

static struct sink *opensearch_create(const struct connector_config *config,
                                      const struct sink_deps *deps, struct error *err) {
    char *name = index_name(config);
    struct http *http = NULL;
    if (check_index_name(name, err))
        http = http_create(&(struct http_config){.url = config->url ? config->url : "",
                                                 .user = config->user,
                                                 .password = config->password,
                                                 .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                                 .timeout_ms = REQUEST_TIMEOUT_MS,
                                                 .stop = deps->stop},
                           err);
    struct sink *sink = NULL;
    if (http) {
        sink = mem_zalloc(sizeof *sink);
        sink->log = deps->log;
        sink->http = http;
        sink->max_bytes = config->batch_bytes;
        search_index_init(&sink->index, http, name, deps->log);
        /* Of an item's answer the status and the error are all that is read. */
        sink->bulk_path = mem_printf("%s/_bulk?require_alias=true"
                                     "&filter_path=errors,items.*.status,items.*.error",
                                     sink->index.alias_path);
    }
    mem_free(name);
    return sink;
}

static bool opensearch_open(struct sink *sink, const struct shape *shape,
                            uint64_t system_identifier, struct sink_target *target,
                            struct error *err) {
    http_set_timeout(sink->http, OPEN_TIMEOUT_MS);
    bool opened = search_index_open(&sink->index, shape, system_identifier, target, err);
    http_set_timeout(sink->http, REQUEST_TIMEOUT_MS);
    if (!opened && sink->opened) err->retriable = true;
    if (opened) sink->opened = true;
    return opened;
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

static void refuse_with_body(struct batch *batch, struct write *write,
                             const struct http_response *response) {
    size_t len = response->body.len < CAUSE_MAX_BYTES ? response->body.len : CAUSE_MAX_BYTES;
    while (len && len < response->body.len && (response->body.data[len] & 0xC0) == 0x80)
        len--; /* not within a character */
    struct buf cause = {0};
    json_append_string(&cause, slice_make(response->body.data, len));
    batch_refuse(batch, write, (int)response->status, buf_slice(&cause));
    buf_deinit(&cause);
}

/* The whole request was refused: it is halved until the one document that is to blame stands alone. */
static bool split(struct sink *sink, struct batch *batch, size_t from, size_t to,
                  const struct http_response *response, struct error *err) {
    size_t at = from;
    struct write *first = batch_next(batch, &at, to);
    size_t behind_first = at;
    if (!first) return true;
    if (!batch_next(batch, &at, to)) {
        refuse_with_body(batch, first, response);
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

static bool opensearch_clear_older(struct sink *sink, uint64_t version, bool loaded,
                                   uint64_t *removed, struct error *err) {
    uint64_t newer = 0;
    if (!search_index_clear_older(&sink->index, version, removed, &newer, err)) return false;
    return newer == 0 || !loaded || search_index_give_up(&sink->index, newer, err);
}

/* Nothing to do: an item's success means that it is in the shard's fsynced translog (index.translog.durability: request,
 * the default). Whether the index is still there is told by the alias, at each write. */
static bool opensearch_flush(struct sink *sink, const struct change_position *position,
                             struct error *err) {
    (void)sink, (void)position, (void)err;
    return true;
}

const struct sink_type opensearch_sink = {
    .name = "opensearch",
    .help = "An index of OpenSearch, one document a row",
    .needs = "url",
    .takes = "index mapping aliases pipeline routing document api_key ca_file user password",
    .ops =
        {
            .create = opensearch_create,
            .destroy = opensearch_destroy,
            .open = opensearch_open,
            .reshape = opensearch_reshape,
            .apply = opensearch_apply,
            .clear_older = opensearch_clear_older,
            .flush = opensearch_flush,
        },
};

#include "connectors/opensearch/probe.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/opensearch/mapping.h"
#include "connectors/opensearch/mapping_file.h"
#include "connectors/opensearch/rest.h"
#include "connectors/opensearch/search_index.h"

enum { INDEX_NAME_MAX_BYTES = 200 };

/* The rules of the create index API, which are an alias's too; the limit leaves room for our alias's prefix and a rebuild's
 * number. */
static bool check_name(const char *name, const char *what, struct error *err) {
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
    return error_set(err, ERROR_CONFIG, false, "%s \"%s\": a name %s", what, name, bad);
}

/* An index named after its table: the table's own name, in lower case as an index's must be. */
char *opensearch_index_name(const struct connector_config *config) {
    const char *source = config->table ? config->table : "";
    if (!config->table && config->query_name) source = config->query_name;
    const char *dot = strchr(source, '.');
    const char *table = dot ? dot + 1 : source;
    bool named = config->index && config->index[0] && strcmp(config->index, table) != 0;
    char *name = mem_strdup(named ? config->index : table);
    for (char *c = name; *c && !named; c++)
        *c = (char)tolower((unsigned char)*c);
    return name;
}

char *opensearch_authorization(const struct connector_config *config) {
    return config->api_key ? mem_printf("Authorization: ApiKey %s", config->api_key) : NULL;
}

/* ---- without a server ---- */

static bool check_aliases(const struct connector_config *config, const char *name,
                          struct error *err) {
    for (uint32_t i = 0; i < config->n_aliases; i++) {
        if (!check_name(config->aliases[i], "alias", err)) return false;
        if (strcmp(config->aliases[i], name) == 0)
            return error_set(err, ERROR_CONFIG, false,
                             "alias \"%s\": the index itself has this name", name);
    }
    return true;
}

static bool check_url(const struct connector_config *config, struct error *err) {
    struct http *http = opensearch_http(config, NULL, err);
    bool fits = http != NULL;
    http_destroy(&http);
    return fits;
}

static bool check_mapping(const struct connector_config *config, struct error *err) {
    json_t *file = config->mapping ? mapping_file_load(config->mapping, err) : NULL;
    bool fits = !config->mapping || file;
    json_decref(file);
    return fits;
}

static bool check_key(const struct connector_config *config, struct error *err) {
    if (!config->api_key || !config->user) return true;
    return error_set(err, ERROR_CONFIG, false, "an API key and a user: give one of them");
}

bool opensearch_check(const struct connector_config *config, const char **option,
                      struct error *err) {
    char *name = opensearch_index_name(config);
    *option = NULL;
    if (!check_name(name, "index", err))
        *option = "index";
    else if (!check_aliases(config, name, err))
        *option = "aliases";
    else if (config->url && !check_url(config, err))
        *option = "url";
    else if (!check_mapping(config, err))
        *option = "mapping";
    else if (!check_key(config, err))
        *option = "api_key";
    mem_free(name);
    return !*option;
}

/* ---- with one ---- */

static bool probe_server(struct http *http, struct error *err) {
    json_t *answer = NULL;
    if (!rest_must(http, "GET", "/", NULL, &answer, err)) return false;
    const json_t *version = json_object_get(answer, "version");
    bool known = json_is_string(json_object_get(version, "number"));
    json_decref(answer);
    return known || error_set(err, ERROR_PROTOCOL, false,
                              "what answers there is neither OpenSearch nor Elasticsearch");
}

static bool conflicts(const char *whose, const struct shape *shape, const json_t *mappings,
                      struct error *err) {
    const char *type = NULL;
    const char *column = shape ? mapping_conflict(shape, mappings, &type) : NULL;
    if (!column) return false;
    error_set(err, ERROR_CONFIG, false,
              "%s maps \"%s\" as %s, which refuses values of that column of %s.%s", whose, column,
              type, shape->schema, shape->table);
    return true;
}

/* A block that keeps us from writing: of an operator, or of a full disk. */
static const char *block_of(const json_t *settings) {
    static const char *const blocks[] = {"read_only", "read_only_allow_delete", "write"};
    const json_t *set = json_object_get(settings, "blocks");
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        const char *text = json_string_value(json_object_get(set, blocks[i]));
        if (text && strcmp(text, "true") == 0) return blocks[i];
    }
    return NULL;
}

static bool probe_index(struct http *http, const char *name, const struct shape *shape,
                        bool *exists, struct error *err) {
    json_t *root = NULL;
    json_t *description = NULL;
    const char *concrete;
    bool fits = search_index_describe(http, name, exists, &root, &concrete, &description, err);
    if (fits && *exists) {
        const json_t *settings = json_object_get(json_object_get(description, "settings"), "index");
        const char *block = block_of(settings);
        char *whose = mem_printf("index \"%s\"", name);
        if (block)
            fits = error_set(err, ERROR_REFUSED, false,
                             "%s takes no writes: index.blocks.%s is set", whose, block);
        else
            fits = !conflicts(whose, shape, json_object_get(description, "mappings"), err);
        mem_free(whose);
    }
    json_decref(root);
    return fits;
}

static bool probe_pipeline(struct http *http, const char *pipeline, struct error *err) {
    struct buf path = {0};
    buf_append_text(&path, "/_ingest/pipeline/");
    http_append_segment(&path, pipeline);
    long status;
    bool answered = rest_call(http, "GET", buf_text(&path), NULL, &status, NULL, err);
    buf_deinit(&path);
    if (!answered || status < 400) return answered;
    if (status != 404) return error_prefix(err, "ingest pipeline \"%s\"", pipeline);
    return error_set(err, ERROR_CONFIG, false, "there is no ingest pipeline \"%s\"", pipeline);
}

static bool probe(struct http *http, const struct connector_config *config,
                  const struct shape *shape, const char **option, struct error *err) {
    bool exists = false;
    char *name = opensearch_index_name(config);
    *option = "url";
    bool fits = probe_server(http, err);
    if (fits) {
        *option = "index";
        fits = probe_index(http, name, shape, &exists, err);
    }
    mem_free(name);
    if (fits && config->pipeline) {
        *option = "pipeline";
        fits = probe_pipeline(http, config->pipeline, err);
    }
    json_t *file = fits && config->mapping ? mapping_file_load(config->mapping, err) : NULL;
    if (fits && config->mapping) {
        *option = "mapping";
        fits = file && !conflicts(config->mapping, shape, json_object_get(file, "mappings"), err);
    }
    json_decref(file);
    return fits;
}

bool opensearch_probe(const struct connector_config *config, const struct shape *shape,
                      const char **option, struct error *err) {
    *option = "url";
    struct http *http = opensearch_http(config, NULL, err);
    if (!http) return false;
    char *authorization = opensearch_authorization(config);
    const char *const headers[] = {authorization, NULL};
    if (authorization) http_set_headers(http, headers);
    bool fits = probe(http, config, shape, option, err);
    http_destroy(&http);
    mem_free(authorization);
    return fits;
}

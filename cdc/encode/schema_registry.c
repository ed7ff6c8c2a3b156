#include "cdc/encode/schema_registry.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/http.h"
#include "base/json.h"
#include "base/mem.h"

enum { CONNECT_TIMEOUT_MS = 3 * 1000, REQUEST_TIMEOUT_MS = 10 * 1000, HASH_BYTES = 17 };

/* A schema that has its id. Hashes tell which. */
struct known {
    uint64_t subject;
    uint64_t schema;
    uint32_t id;
};

struct schema_registry {
    const struct schema_registry_config *config;
    struct http *http; /* NULL: the ids are the configuration's */
    struct log *log;
    struct known *known;
    uint32_t n_known;
    uint32_t known_cap;
    json_t *
        alone; /* subject: {"id": 7, "schema": "1f6bd1a0..."}, of the map's ids that name no fingerprint */
    bool learnt; /* it has grown, or changed, since it was last told */
    struct metric *schemas;
    struct metric *failures;
};

static struct http *connect_http(const struct schema_registry_config *config, struct error *err) {
    return http_create(&(struct http_config){.url = config->url,
                                             .user = config->user,
                                             .password = config->password,
                                             .ca_file = config->ca_file,
                                             .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                                             .timeout_ms = REQUEST_TIMEOUT_MS},
                       err);
}

struct schema_registry *schema_registry_create(const struct schema_registry_config *config,
                                               struct log *log, struct metrics *metrics,
                                               struct error *err) {
    struct http *http = NULL;
    if (config->url) {
        http = connect_http(config, err);
        if (!http) return NULL;
    }
    struct schema_registry *registry = mem_zalloc(sizeof *registry);
    registry->config = config;
    registry->http = http;
    registry->log = log;
    registry->alone = json_object();
    registry->schemas =
        metrics_gauge(metrics, "freshet_cdc_schemas", "Schemas whose ids are in use.", NULL);
    registry->failures =
        metrics_counter(metrics, "freshet_cdc_schema_failures_total",
                        "Schemas that the registry did not take, or was not there for.", NULL);
    return registry;
}

void schema_registry_destroy(struct schema_registry **registry) {
    struct schema_registry *old = *registry;
    *registry = NULL;
    if (!old) return;
    http_destroy(&old->http);
    mem_free(old->known);
    json_decref(old->alone);
    mem_free(old);
}

/* ---- ids of the configuration ---- */

bool schema_registry_parse_id(const char *text, uint32_t *id) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || value > INT32_MAX) return false;
    *id = (uint32_t)value;
    return true;
}

void schema_fingerprint(struct slice schema, char fingerprint[SCHEMA_FINGERPRINT_BYTES]) {
    snprintf(fingerprint, SCHEMA_FINGERPRINT_BYTES, "%08x",
             (unsigned)(XXH3_64bits(schema.data, schema.len) >> 32));
}

static bool find_id(const struct schema_registry_config *config, const char *subject,
                    uint32_t *id) {
    for (uint32_t i = 0; i < config->n_ids; i++) {
        if (strcmp(config->ids[i].name, subject) == 0)
            return schema_registry_parse_id(config->ids[i].value, id);
    }
    return false;
}

/* An id means one schema. A subject that stands alone in the map has the one that it has at first; what the table becomes later
 * would be read by the wrong one. */
static bool is_another(const struct schema_registry *registry, const char *subject, uint32_t id,
                       const char *schema) {
    const json_t *first = json_object_get(registry->alone, subject);
    const char *its = json_string_value(json_object_get(first, "schema"));
    return its && json_integer_value(json_object_get(first, "id")) == id &&
           strcmp(its, schema) != 0;
}

static void learn(struct schema_registry *registry, const char *subject, uint32_t id,
                  const char *schema) {
    json_t *one = json_pack("{s:I, s:s}", "id", (json_int_t)id, "schema", schema);
    registry->learnt |= !json_equal(one, json_object_get(registry->alone, subject));
    json_object_set_new(registry->alone, subject, one);
}

static bool fixed_id(struct schema_registry *registry, const char *subject, uint64_t hash,
                     uint32_t *id, struct error *err) {
    char schema[HASH_BYTES];
    snprintf(schema, sizeof schema, "%016llx", (unsigned long long)hash);
    char *precise =
        mem_printf("%s@%.*s", subject, SCHEMA_FINGERPRINT_BYTES - 1, schema); /* its upper half */
    bool alone = !find_id(registry->config, precise, id);
    bool known = !alone || find_id(registry->config, subject, id);
    bool changed = alone && known && is_another(registry, subject, *id, schema);
    if (!known)
        error_set(
            err, ERROR_CONFIG, false,
            "cdc.schema_registry.ids has no id for \"%s\"; add \"%s: ID\", or give a registry "
            "by cdc.schema_registry.url",
            subject, subject);
    else if (changed)
        error_set(
            err, ERROR_CONFLICT, false,
            "the schema of \"%s\" has changed, and cdc.schema_registry.ids has one id for it; "
            "give the new one its own: \"%s: ID\"",
            subject, precise);
    else if (alone)
        learn(registry, subject, *id, schema);
    mem_free(precise);
    return known && !changed;
}

bool schema_registry_learnt(struct schema_registry *registry, struct buf *text) {
    if (!registry->learnt) return false;
    char *json = json_dumps(registry->alone, JSON_COMPACT | JSON_SORT_KEYS);
    buf_append_text(text, json);
    free(json);
    registry->learnt = false;
    return true;
}

/* What this process has learnt in a session that could not make it durable is to be told again. */
bool schema_registry_recall(struct schema_registry *registry, struct slice text,
                            struct error *err) {
    if (registry->http) return true;
    json_t *kept = text.len ? json_loadb(text.data, text.len, 0, NULL) : json_object();
    bool ok = json_is_object(kept) && json_object_update(registry->alone, kept) == 0;
    registry->learnt = ok && !json_equal(registry->alone, kept);
    json_decref(kept);
    return ok || error_set(err, ERROR_PROTOCOL, false,
                           "the note of schemas beside the stored position is malformed");
}

/* ---- ids of the registry ---- */

static bool read_id(const struct http_response *response, const char *subject, uint32_t *id,
                    struct error *err) {
    json_t *root =
        json_loadb(response->body.data ? response->body.data : "", response->body.len, 0, NULL);
    const json_t *number = json_object_get(root, "id");
    json_int_t value = json_integer_value(number);
    bool ok = json_is_integer(number) && value >= 0 && value <= INT32_MAX;
    *id = ok ? (uint32_t)value : 0;
    json_decref(root);
    return ok || error_set(err, ERROR_PROTOCOL, false,
                           "the schema registry's answer for \"%s\" names no id: is its API at "
                           "cdc.schema_registry.url?",
                           subject);
}

/* What an answer other than 200 means, and what is to be done. */
static const struct refusal {
    long status;
    enum error_code code;
    bool retriable;
    const char *advice;
} refusals[] = {
    {401, ERROR_REFUSED, false, "correct cdc.schema_registry.user and password"},
    {403, ERROR_REFUSED, false, "let the user of cdc.schema_registry write the subject"},
    {404, ERROR_NOT_FOUND, false,
     "register the schema, or let Freshet do it by cdc.schema_registry.register: true; or correct "
     "cdc.schema_registry.url"},
    {408, ERROR_TIMEOUT, true, "it is tried again"},
    {409, ERROR_CONFLICT, false,
     "the table's schema is not compatible with the subject's versions: set the subject's "
     "compatibility to NONE, or delete the subject, and start again"},
    {422, ERROR_REFUSED, false, "the registry holds the schema to be invalid"},
    {429, ERROR_UNAVAILABLE, true, "it is tried again"},
};

static bool refused(const struct http_response *response, const char *subject, struct error *err) {
    static const struct refusal other = {0, ERROR_REFUSED, false, "look at the registry's log"};
    static const struct refusal broken = {0, ERROR_UNAVAILABLE, true, "it is tried again"};
    const struct refusal *refusal = response->status >= 500 ? &broken : &other;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (refusals[i].status == response->status) refusal = &refusals[i];
    }
    char reason[HTTP_REASON_MAX];
    http_reason(response, reason, sizeof reason);
    return error_set(err, refusal->code, refusal->retriable,
                     "schema registry: \"%s\": HTTP %ld: %s; %s", subject, response->status, reason,
                     refusal->advice);
}

static bool ask(struct schema_registry *registry, const char *subject, struct slice schema,
                uint32_t *id, struct error *err) {
    struct buf path = {0};
    struct buf body = {0};
    buf_append_text(&path, "/subjects/");
    http_append_segment(&path, subject);
    if (registry->config->register_schemas) buf_append_text(&path, "/versions");
    buf_append_text(&body, "{\"schema\":");
    json_append_string(&body, schema);
    buf_append_char(&body, '}');
    struct http_body http_body = {"application/vnd.schemaregistry.v1+json", buf_slice(&body)};
    struct http_response response;
    bool ok = http_request(registry->http, "POST", buf_text(&path), &http_body, &response, err);
    if (ok) {
        ok = response.status == 200 ? read_id(&response, subject, id, err)
                                    : refused(&response, subject, err);
        http_response_deinit(&response);
    } else {
        error_prefix(err, "schema registry");
    }
    buf_deinit(&path);
    buf_deinit(&body);
    return ok;
}

bool schema_registry_id(struct schema_registry *registry, const char *subject, struct slice schema,
                        uint32_t *id, struct error *err) {
    struct known wanted = {.subject = XXH3_64bits(subject, strlen(subject)),
                           .schema = XXH3_64bits(schema.data, schema.len)};
    for (uint32_t i = 0; i < registry->n_known; i++) {
        const struct known *known = &registry->known[i];
        if (known->subject != wanted.subject || known->schema != wanted.schema) continue;
        *id = known->id;
        return true;
    }
    bool ok = registry->http ? ask(registry, subject, schema, id, err)
                             : fixed_id(registry, subject, wanted.schema, id, err);
    if (!ok) {
        metric_bump(registry->failures, 1);
        return false;
    }
    wanted.id = *id;
    if (registry->n_known == registry->known_cap) {
        registry->known_cap = registry->known_cap ? registry->known_cap * 2 : 64;
        registry->known =
            mem_realloc(registry->known, registry->known_cap * sizeof *registry->known);
    }
    registry->known[registry->n_known++] = wanted;
    metric_set(registry->schemas, registry->n_known);
    char fingerprint[SCHEMA_FINGERPRINT_BYTES];
    schema_fingerprint(schema, fingerprint);
    log_info(registry->log, "schema_in_use", "subject=%s id=%u fingerprint=%s", subject,
             (unsigned)*id, fingerprint);
    return true;
}

/* A registry without the subject says so in its own words; what answers 404 otherwise is none. */
static bool is_registry(const struct http_response *response) {
    json_t *root =
        json_loadb(response->body.data ? response->body.data : "", response->body.len, 0, NULL);
    bool is = response->status == 200 ? json_is_array(root)
                                      : json_is_integer(json_object_get(root, "error_code"));
    json_decref(root);
    return is;
}

bool schema_registry_probe(const struct schema_registry_config *config, const char *subject,
                           struct error *err) {
    struct http *http = connect_http(config, err);
    if (!http) return false;
    struct buf path = {0};
    buf_append_text(&path, "/subjects/");
    http_append_segment(&path, subject);
    buf_append_text(&path, "/versions");
    struct http_response response;
    bool ok = http_request(http, "GET", buf_text(&path), NULL, &response, err);
    if (ok) {
        if (response.status != 200 && response.status != 404)
            ok = refused(&response, subject, err);
        else if (!is_registry(&response))
            ok = error_set(err, ERROR_PROTOCOL, false,
                           "%s answers, and not as a schema registry does (HTTP %ld): its path may "
                           "be missing, as in http://host:8080/apis/ccompat/v7",
                           config->url, response.status);
        http_response_deinit(&response);
    }
    buf_deinit(&path);
    http_destroy(&http);
    return ok;
}

void schema_registry_status(struct schema_registry *registry, json_t *into) {
    json_object_set_new(into, "schemas",
                        json_integer((json_int_t)atomic_load(&registry->schemas->value)));
}

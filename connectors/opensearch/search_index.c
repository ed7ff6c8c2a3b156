#include "connectors/opensearch/search_index.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/mem.h"
#include "connectors/opensearch/mapping.h"
#include "connectors/opensearch/rest.h"

enum { OPEN_TRIES = 3 };

char *search_index_path(const char *name) {
    struct buf path = {0};
    buf_append_char(&path, '/');
    http_append_segment(&path, name);
    char *text = mem_strdup(buf_text(&path));
    buf_deinit(&path);
    return text;
}

char *search_index_alias(const char *name) { return mem_printf("freshet-%s", name); }

char *search_index_first(const char *name) { return mem_printf("%s-0", name); }

void search_index_init(struct search_index *index, struct http *http, struct log *log,
                       const struct search_index_config *config) {
    *index = (struct search_index){.http = http,
                                   .log = log,
                                   .name = mem_strdup(config->name),
                                   .aliases = config->aliases,
                                   .n_aliases = config->n_aliases,
                                   .file = config->file};
    if (config->rebuild_of) index->rebuild_of = mem_strdup(config->rebuild_of);
    index->alias = search_index_alias(config->name);
    index->path = search_index_path(index->name);
    index->alias_path = search_index_path(index->alias);
}

void search_index_deinit(struct search_index *index) {
    mem_free(index->name);
    mem_free(index->rebuild_of);
    mem_free(index->concrete);
    mem_free(index->alias);
    mem_free(index->path);
    mem_free(index->alias_path);
}

static bool create(struct search_index *index, const struct shape *shape,
                   uint64_t system_identifier, bool *created, struct error *err) {
    long status;
    const char *served = index->rebuild_of ? NULL : index->name;
    json_t *body =
        mapping_index_body(&(struct mapping_wish){.shape = shape,
                                                  .system_identifier = system_identifier,
                                                  .alias = index->alias,
                                                  .served = served,
                                                  .n_aliases = index->n_aliases,
                                                  .aliases = index->aliases,
                                                  .file = index->file,
                                                  .serves = served ? served : index->rebuild_of});
    char *first = served ? search_index_first(served) : NULL;
    char *path = first ? search_index_path(first) : mem_strdup(index->path);
    json_t *answer = NULL;
    bool answered = rest_call(index->http, "PUT", path, body, &status, &answer, err);
    mem_free(path);
    mem_free(first);
    if (!answered) return false;
    const char *type = json_string_value(json_object_get(json_object_get(answer, "error"), "type"));
    bool raced = type && strcmp(type, "resource_already_exists_exception") == 0;
    json_decref(answer);
    *created = status < 400;
    if (*created || raced) return true;
    return error_prefix(err, "creating index \"%s\"", index->name);
}

bool search_index_describe(struct http *http, const char *name, bool *found, json_t **root,
                           const char **concrete, json_t **description, struct error *err) {
    long status;
    *root = NULL;
    char *path = search_index_path(name);
    bool answered = rest_call(http, "GET", path, NULL, &status, root, err);
    mem_free(path);
    if (!answered) return false;
    *found = status < 400;
    if (status == 404) return true;
    if (!*found) return error_prefix(err, "index \"%s\"", name);
    if (json_object_size(*root) != 1)
        return error_set(err, ERROR_CONFIG, false,
                         "index \"%s\": not one index (an alias of several?)", name);
    void *one = json_object_iter(*root);
    *concrete = json_object_iter_key(one);
    *description = json_object_iter_value(one);
    return true;
}

static bool describe(struct search_index *index, bool *found, json_t **root, json_t **description,
                     struct error *err) {
    const char *concrete = NULL;
    if (!search_index_describe(index->http, index->name, found, root, &concrete, description, err))
        return false;
    mem_free(index->concrete);
    index->concrete = search_index_path(*found ? concrete : index->name);
    return true;
}

static bool count_documents(struct search_index *index, bool *empty, struct error *err) {
    char *refresh = mem_printf("%s/_refresh", index->path);
    char *count = mem_printf("%s/_count", index->path);
    json_t *answer = NULL;
    bool counted = rest_must(index->http, "POST", refresh, NULL, NULL, err) &&
                   rest_must(index->http, "GET", count, NULL, &answer, err);
    if (counted) *empty = json_integer_value(json_object_get(answer, "count")) == 0;
    json_decref(answer);
    mem_free(refresh);
    mem_free(count);
    return counted;
}

static bool ensure_alias(struct search_index *index, const json_t *description, const char *alias,
                         struct error *err) {
    if (json_object_get(json_object_get(description, "aliases"), alias)) return true;
    char *alias_path = search_index_path(alias);
    char *path = mem_printf("%s/_alias%s", index->concrete, alias_path);
    bool made = rest_must(index->http, "PUT", path, NULL, NULL, err);
    mem_free(path);
    mem_free(alias_path);
    return made;
}

/* The one that we write through, and those that the configuration names. */
static bool ensure_aliases(struct search_index *index, const json_t *description,
                           struct error *err) {
    bool made = ensure_alias(index, description, index->alias, err);
    for (uint32_t i = 0; i < index->n_aliases && made; i++)
        made = ensure_alias(index, description, index->aliases[i], err);
    return made;
}

/* Does a task's description, "requests[3], indices[freshet-users]", name that alias? */
static bool names_alias(const char *what, const char *alias) {
    size_t len = strlen(alias);
    for (const char *at = what; (at = strstr(at, alias)); at += len) {
        bool begins = at > what && strchr("[ ,", at[-1]);
        if (begins && (at[len] == ']' || at[len] == ',')) return true;
    }
    return false;
}

/* Writes of a process that was killed may still be under way here. Before a load they must be over: what they bring after it
 * has no version that would tell it from the load's own rows. Who may not list tasks goes without. */
static bool check_quiet(struct search_index *index, struct error *err) {
    long status;
    json_t *answer = NULL;
    if (!rest_call(index->http, "GET",
                   "/_tasks?actions=indices:data/write/bulk&detailed=true&group_by=none", NULL,
                   &status, &answer, err))
        return false;
    bool quiet = true;
    size_t i;
    json_t *task;
    json_array_foreach(json_object_get(answer, "tasks"), i, task) {
        const char *what = json_string_value(json_object_get(task, "description"));
        if (what && names_alias(what, index->alias)) quiet = false;
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
    if (!ensure_aliases(index, description, err)) return false;
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
            if (!rest_must(index->http, "DELETE", index->concrete, NULL, NULL, err)) return false;
        }
        if (!create(index, shape, system_identifier, &target->made, err)) return false;
        if (target->made)
            log_info(index->log, "index_created", "index=%s%s", index->name,
                     index->rebuild_of ? "" : "-0");
    }
    return error_set(
        err, ERROR_CONFLICT, true,
        "index \"%s\": somebody else makes and drops it, or has taken the alias \"%s\" "
        "from \"%s-0\", which is there: give it back, or delete that index",
        index->name, index->name, index->name);
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
    done =
        rest_must(index->http, "PUT", path, json_pack("{s:o}", "properties", missing), NULL, err);
    mem_free(path);
    return done;
}

bool search_index_give_up(struct search_index *index, uint64_t newer, struct error *err) {
    if (!index->made_by_us)
        return error_set(err, ERROR_CONFLICT, false,
                         "index \"%s\" holds %" PRIu64
                         " documents that are newer than the database: it was set back to an "
                         "earlier point. Empty the index; it is then filled anew",
                         index->name, newer);
    if (!rest_must(index->http, "DELETE", index->concrete, NULL, NULL, err)) return false;
    return error_set(err, ERROR_NOT_FOUND, true,
                     "index \"%s\" held %" PRIu64
                     " documents that are newer than the database, which was set back to an "
                     "earlier point: it is made anew",
                     index->name, newer);
}

#include "connectors/opensearch/generation.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "connectors/opensearch/mapping.h"
#include "connectors/opensearch/rest.h"
#include "connectors/opensearch/search_index.h"

/* The N of "users-N" for `name` "users"; NOT_NUMBERED: it is none such. */
enum { NOT_NUMBERED = -1 };

static int64_t number_of(const char *concrete, const char *name) {
    size_t len = strlen(name);
    if (strncmp(concrete, name, len) != 0 || concrete[len] != '-') return NOT_NUMBERED;
    const char *digits = concrete + len + 1;
    size_t n = strspn(digits, "0123456789");
    return n && n < 18 && !digits[n] ? strtoll(digits, NULL, 10) : NOT_NUMBERED;
}

/* Behind one that has none comes the first that a rebuild makes. */
static int64_t number_behind(const char *concrete, const char *name) {
    int64_t number = number_of(concrete, name);
    return number == NOT_NUMBERED ? 1 : number + 1;
}

/* What `name` means now, which must be there. */
static bool describe_served(struct http *http, const char *name, json_t **root,
                            const char **concrete, json_t **description, struct error *err) {
    bool found;
    if (!search_index_describe(http, name, &found, root, concrete, description, err)) {
        json_decref(*root);
        return false;
    }
    if (found) return true;
    json_decref(*root);
    return error_set(err, ERROR_UNAVAILABLE, true,
                     "index \"%s\" does not exist: nothing to rebuild", name);
}

bool generation_next(struct http *http, const char *name, bool has_file, char **next,
                     struct error *err) {
    json_t *root;
    json_t *description;
    const char *concrete;
    if (!describe_served(http, name, &root, &concrete, &description, err)) return false;
    const json_t *meta = json_object_get(json_object_get(description, "mappings"), "_meta");
    bool known = has_file || json_object_get(meta, "freshet");
    if (known)
        *next = mem_printf("%s-%" PRId64, name, number_behind(concrete, name));
    else
        error_set(err, ERROR_CONFIG, false,
                  "index \"%s\" was not made by Freshet: write its mappings and settings to a file "
                  "and name that with `mapping`, for the new index is made by it",
                  concrete);
    json_decref(root);
    return known;
}

/* ---- the switch ---- */

static void add_action(json_t *actions, const char *action, const char *index, const char *alias,
                       const json_t *properties) {
    json_t *object = properties ? json_deep_copy(properties) : json_object();
    json_object_set_new(object, "index", json_string(index));
    json_object_set_new(object, "alias", json_string(alias));
    json_array_append_new(actions, json_pack("{s:o}", action, object));
}

/* Each alias of the old index goes over with what it is there (filter, routing). */
static void move_aliases(json_t *actions, json_t *aliases, const char *old, const char *next,
                         bool old_goes) {
    const char *alias;
    json_t *properties;
    json_object_foreach(aliases, alias, properties) {
        if (!old_goes) add_action(actions, "remove", old, alias, NULL);
        add_action(actions, "add", next, alias, properties);
    }
}

static json_t *switch_actions(const char *name, const char *next, const char *old, json_t *aliases,
                              const char *const *further, uint32_t n_further) {
    json_t *actions = json_array();
    bool old_goes = strcmp(old, name) == 0;
    if (old_goes)
        json_array_append_new(actions, json_pack("{s:{s:s}}", "remove_index", "index", old));
    move_aliases(actions, aliases, old, next, old_goes);
    char *written = search_index_alias(name);
    const char *wanted[] = {name, written};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!json_object_get(aliases, wanted[i])) add_action(actions, "add", next, wanted[i], NULL);
    }
    for (uint32_t i = 0; i < n_further; i++) {
        if (!json_object_get(aliases, further[i]))
            add_action(actions, "add", next, further[i], NULL);
    }
    mem_free(written);
    char *filled = search_index_alias(next);
    add_action(actions, "remove", next, filled, NULL);
    mem_free(filled);
    return actions;
}

/* Searches of the new one must not find less than there is. */
static bool refresh(struct http *http, const char *next, struct error *err) {
    char *index = search_index_path(next);
    char *path = mem_printf("%s/_refresh", index);
    bool done = rest_must(http, "POST", path, NULL, NULL, err);
    mem_free(path);
    mem_free(index);
    return done;
}

bool generation_take_over(struct http *http, const char *name, const char *next,
                          const char *const *aliases, uint32_t n_aliases, struct error *err) {
    json_t *root;
    json_t *description;
    const char *old;
    if (!describe_served(http, name, &root, &old, &description, err)) return false;
    bool done = strcmp(old, next) == 0;
    if (!done && refresh(http, next, err)) {
        json_t *actions = switch_actions(name, next, old, json_object_get(description, "aliases"),
                                         aliases, n_aliases);
        done =
            rest_must(http, "POST", "/_aliases", json_pack("{s:o}", "actions", actions), NULL, err);
    }
    json_decref(root);
    return done;
}

/* ---- what is left ---- */

static bool delete_index(struct http *http, const char *index, struct error *err) {
    char *path = search_index_path(index);
    long status;
    bool answered = rest_call(http, "DELETE", path, NULL, &status, NULL, err);
    mem_free(path);
    return answered && (status < 400 || status == 404);
}

bool generation_tidy(struct http *http, struct log *log, const char *name, struct error *err) {
    struct buf path = {0};
    buf_append_char(&path, '/');
    http_append_segment(&path, name);
    buf_append_text(&path, "-*");
    json_t *root = NULL;
    bool done = rest_must(http, "GET", buf_text(&path), NULL, &root, err);
    buf_deinit(&path);
    const char *index;
    json_t *description;
    json_object_foreach(root, index, description) {
        const json_t *aliases = json_object_get(description, "aliases");
        bool ours = number_of(index, name) != NOT_NUMBERED &&
                    mapping_serves(json_object_get(description, "mappings"), name);
        if (!done || !ours || json_object_get(aliases, name)) continue;
        done = delete_index(http, index, err);
        if (done) log_info(log, "index_removed", "index=%s cause=\"it is not served\"", index);
    }
    json_decref(root);
    return done;
}

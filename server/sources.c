#include "server/sources.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pg.h"
#include "server/layer.h"
#include "server/yaml.h"

static const char own_options[][20] = {"database.url", "cdc.prefix", "cdc.slot", "cdc.publication"};

static struct config *begin(const struct config *from) {
    uint32_t n = 0;
    while (options[n].path)
        n++;
    struct config *one = arena_alloc(from->arena, sizeof *one);
    *one = *from;
    one->values = arena_alloc(from->arena, n * sizeof *one->values);
    memcpy(one->values, from->values, n * sizeof *one->values);
    for (size_t i = 0; i < sizeof own_options / sizeof *own_options; i++)
        one->values[option_find(own_options[i])] =
            (struct config_value){.where = "default", .text = ""};
    one->roles = ROLE_CDC;
    one->database_url = one->cdc.prefix = one->cdc.slot = one->cdc.publication = NULL;
    one->n_connectors = one->n_sources = 0;
    one->sources = NULL;
    one->source = NULL;
    return one;
}

static void take_name(const struct layer *layer, const char *path, const struct yaml_node *node) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    const char *text = node->type == YAML_SCALAR && node->text ? node->text : "";
    size_t len = strlen(text);
    if (len == 0 || len > 40 || text[strspn(text, letters)])
        layer_mistake(layer, node, path, "is no name: letters, digits, - and _, at most 40");
    else
        layer->config->source = text;
}

static bool is_url_alone(const struct yaml_node *node) {
    return node->type == YAML_MAP && node->n_children == 1 && strcmp(node->first->key, "url") == 0;
}

static void take_key(const struct layer *layer, const char *path, const struct yaml_node *node) {
    if (strcmp(node->key, "name") == 0)
        take_name(layer, path, node);
    else if (strcmp(node->key, "cdc") == 0)
        layer_group(layer, "cdc", node);
    else if (strcmp(node->key, "database") != 0)
        layer_mistake(layer, node, path, "is unknown, known here are: name, database, cdc");
    else if (!is_url_alone(node))
        layer_mistake(layer, node, path, "has one key here: {url: postgres://...}");
    else
        layer_group(layer, "database", node);
}

/* One entry into its configuration. */
static void take_entry(const struct layer *layer, const char *path, const struct yaml_node *node) {
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        char *inner = mem_printf("%s.%s", path, child->key);
        if (!layer_repeats(layer, node, child, inner)) take_key(layer, inner, child);
        mem_free(inner);
    }
}

/* "freshet_NAME", as slots are named. */
static const char *default_slot(struct config *config, const char *name) {
    char *text = mem_printf("freshet_%s", name);
    for (char *letter = text; *letter; letter++) {
        if (*letter == '-') *letter = '_';
        if (*letter >= 'A' && *letter <= 'Z') *letter = (char)(*letter - 'A' + 'a');
    }
    const char *slot = arena_strdup(config->arena, text);
    mem_free(text);
    return slot;
}

/* What libpq would connect to. */
static const char *database_of(struct config *config, const char *url) {
    const char *name = NULL;
    PQconninfoOption *parsed = PQconninfoParse(url, NULL);
    for (const PQconninfoOption *o = parsed; o && o->keyword; o++) {
        bool told = o->val && *o->val;
        if (told && strcmp(o->keyword, "dbname") == 0) name = o->val;
        if (told && strcmp(o->keyword, "user") == 0 && !name) name = o->val;
    }
    name = arena_strdup(config->arena, name ? name : "");
    PQconninfoFree(parsed);
    return name;
}

void sources_load(struct config *config, struct mistakes *mistakes) {
    const struct yaml_node *list = config->sources_said;
    if (!list || !list->first) return;
    config->sources = arena_zalloc(config->arena, list->n_children * sizeof *config->sources);
    for (const struct yaml_node *node = list->first; node; node = node->next) {
        char *path = mem_printf("sources[%u]", config->n_sources);
        struct config *one = begin(config);
        struct layer layer = *config->sources_layer;
        layer.config = one;
        layer.mistakes = mistakes;
        if (node->type == YAML_MAP)
            take_entry(&layer, path, node);
        else
            layer_mistake(&layer, node, path, "is no mapping");
        if (node->type == YAML_MAP && !one->source)
            layer_mistake(&layer, node, path, "has no name");
        one->source_place = layer_place(&layer, node);
        if (!one->source) one->source = "";
        char *name = mem_printf("cdc.%s", one->source);
        one->cdc.name = arena_strdup(config->arena, name);
        mem_free(name);
        if (!one->cdc.slot) one->cdc.slot = default_slot(config, one->source);
        if (!one->cdc.publication) one->cdc.publication = one->cdc.slot;
        config->sources[config->n_sources++] = one;
        mem_free(path);
    }
}

static bool same(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* Two that would take each other's slot, or each other's positions. */
static void check_apart(const struct config *one, const struct config *other,
                        struct mistakes *mistakes) {
    const char *whose = other->source ? other->source : "the main configuration";
    const char *at = one->source_place;
    if (same(one->source, other->source))
        mistakes_add(mistakes, at, "sources", "\"%.80s\" stands there twice", one->source);
    else if (same(one->cdc.slot, other->cdc.slot) &&
             (same(one->database_url, other->database_url) ||
              same(one->cdc.prefix, other->cdc.prefix)))
        mistakes_add(mistakes, at, "sources", "%.80s has the slot of %.80s, \"%.80s\"", one->source,
                     whose, one->cdc.slot);
    else if (same(one->cdc.publication, other->cdc.publication) &&
             same(one->database_url, other->database_url))
        mistakes_add(mistakes, at, "sources", "%.80s has the publication of %.80s, \"%.80s\"",
                     one->source, whose, one->cdc.publication);
    /* Shards may share their topics on purpose; not by two databases being called the same. */
    bool said = config_value(one, "cdc.prefix")->strength != FROM_DEFAULT;
    const char *prefix = other->cdc.prefix ? other->cdc.prefix : other->main_database;
    if (!said && same(one->cdc.prefix, prefix) && !same(one->database_url, other->database_url))
        mistakes_add(mistakes, at, "sources",
                     "%.80s has the prefix of %.80s, \"%.80s\", by default: give it a cdc.prefix",
                     one->source, whose, prefix);
}

void sources_check(struct config *config, const struct config_sources *said,
                   struct mistakes *mistakes) {
    if (config->database_url) config->main_database = database_of(config, config->database_url);
    for (uint32_t i = 0; i < config->n_sources; i++) {
        struct config *one = config->sources[i];
        if (!one->database_url)
            mistakes_add(mistakes, one->source_place, "sources", "%.80s has no database.url",
                         one->source);
        config_check_publisher(one, said, mistakes);
        if (one->database_url) config_finish(one, database_of(one, one->database_url));
        if (sources_main_publishes(config)) check_apart(one, config, mistakes);
        for (uint32_t j = 0; j < i; j++)
            check_apart(one, config->sources[j], mistakes);
    }
}

struct config *sources_find(const struct config *config, const char *name) {
    for (uint32_t i = 0; i < config->n_sources; i++) {
        if (strcmp(config->sources[i]->source, name) == 0) return config->sources[i];
    }
    return NULL;
}

struct config *sources_choose(struct config *config, const char *name, const char **why) {
    struct config *one = name ? sources_find(config, name) : NULL;
    if (name)
        *why = "--source names none of `sources`";
    else if (config->database_url)
        one = config;
    else if (config->n_sources == 1)
        one = config->sources[0];
    else if (config->n_sources)
        *why = "there are several sources: give --source NAME";
    else
        *why = "there is no database in this configuration: give --database URL";
    return one;
}

#include "server/layer.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "server/suggest.h"
#include "server/yaml.h"

static struct arena *arena_of(const struct layer *layer) { return layer->config->arena; }

static const char *place(const struct layer *layer, uint32_t line, uint32_t column) {
    if (!layer->has_positions) return layer->name;
    char text[512];
    snprintf(text, sizeof text, "%.400s:%u:%u", layer->name, line, column);
    return arena_strdup(arena_of(layer), text);
}

/* Is it a row of options[], not of a table of items? */
static bool is_top_level(const struct option *option) {
    int at = option_find(option->path);
    return at >= 0 && &options[at] == option;
}

static void remember(const struct layer *layer, const struct option *option, const char *where,
                     const char *text) {
    ASSERT(is_top_level(option));
    layer->config->values[option - options] = (struct config_value){
        .strength = layer->strength, .where = where, .text = arena_strdup(arena_of(layer), text)};
}

/* So that a value that is wrong is not said to be missing as well. */
static void remember_wrong(const struct layer *layer, const struct option *option) {
    if (is_top_level(option)) layer->config->values[option - options].wrong = true;
}

static void misfit(const struct layer *layer, const struct option *option, const char *path,
                   const struct yaml_node *node) {
    mistakes_add(layer->mistakes, place(layer, node->line, node->column), path, "is %s, write a %s",
                 yaml_type_name(node), option_type_name(option));
}

static void twice(const struct layer *layer, const char *path, const struct yaml_node *child,
                  const struct yaml_node *earlier) {
    if (layer->has_positions)
        mistakes_add(layer->mistakes, place(layer, child->key_line, child->key_column), path,
                     "stands there twice, first in line %u", earlier->key_line);
    else
        mistakes_add(layer->mistakes, layer->name, path, "stands there twice");
}

/* Tells of a key that one of its earlier siblings has. */
static bool is_repeated(const struct layer *layer, const struct yaml_node *map,
                        const struct yaml_node *child, const char *path) {
    for (const struct yaml_node *other = map->first; other != child; other = other->next) {
        if (strcmp(other->key, child->key) != 0) continue;
        twice(layer, path, child, other);
        return true;
    }
    return false;
}

/* The scalar's text with its references expanded, in the arena; NULL: a mistake was told. */
static const char *scalar_text(const struct layer *layer, const struct option *option,
                               const char *path, const struct yaml_node *node) {
    const char *where = place(layer, node->line, node->column);
    remember_wrong(layer, option); /* until it is found right */
    if (node->type != YAML_SCALAR) {
        misfit(layer, option, path, node);
        return NULL;
    }
    if (yaml_is_null(node)) {
        mistakes_add(layer->mistakes, where, path, "has no value, leave it out for the default");
        return NULL;
    }
    struct why why;
    char *expanded = expand(node->text, &layer->scope, &why);
    if (!expanded) {
        mistakes_add(layer->mistakes, where, path, "%s", why.text);
        return NULL;
    }
    const char *text = arena_strdup(arena_of(layer), expanded);
    mem_free(expanded);
    return text;
}

static void apply_scalar(const struct layer *layer, const struct option *option, void *base,
                         const char *path, const struct yaml_node *node) {
    const char *text = scalar_text(layer, option, path, node);
    if (!text) return;
    const char *where = place(layer, node->line, node->column);
    struct why why;
    bool done = option_set(option, base, arena_of(layer), text, &why);
    if (done && is_top_level(option)) remember(layer, option, where, text);
    if (done) return;
    mistakes_add(layer->mistakes, where, path, "%s", why.text);
    /* A record that has the field, wrong as it is, does not lack it. */
    if (option->required) memcpy((char *)base + option->offset, &text, sizeof text);
}

static void apply_list(const struct layer *layer, const struct option *option, void *base,
                       const char *path, const struct yaml_node *node) {
    const char **texts = arena_alloc(arena_of(layer), (node->n_children + 1) * sizeof *texts);
    const struct yaml_node **nodes =
        arena_alloc(arena_of(layer), (node->n_children + 1) * sizeof *nodes);
    uint32_t n = 0;
    struct buf all = {0};
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        nodes[n] = child;
        texts[n] = scalar_text(layer, option, path, child);
        if (!texts[n]) continue;
        buf_printf(&all, "%s%s", n ? "," : "", texts[n]);
        n++;
    }
    nodes[n] = node;
    uint32_t at;
    struct why why;
    if (!option_set_list(option, base, arena_of(layer), n, texts, &at, &why))
        mistakes_add(layer->mistakes, place(layer, nodes[at]->line, nodes[at]->column), path, "%s",
                     why.text);
    else if (is_top_level(option))
        remember(layer, option, place(layer, node->line, node->column), buf_text(&all));
    buf_deinit(&all);
}

static void *array_of(const struct option *option, void *base, uint64_t *n) {
    void *items;
    memcpy(&items, (char *)base + option->offset, sizeof items);
    *n = 0;
    ASSERT(option->count_size == 4 || option->count_size == 8);
    if (option->count_size == 4) {
        uint32_t narrow;
        memcpy(&narrow, (char *)base + option->count_offset, sizeof narrow);
        *n = narrow;
    } else {
        memcpy(n, (char *)base + option->count_offset, sizeof *n);
    }
    return items;
}

/* Sets one pair, replacing an earlier one of its name. */
static void set_pair(const struct layer *layer, const struct option *option, void *base,
                     const char *name, const char *value) {
    uint64_t n;
    const struct kafka_property *old = array_of(option, base, &n);
    struct kafka_property *pairs = arena_alloc(arena_of(layer), (n + 1) * sizeof *pairs);
    if (n) memcpy(pairs, old, n * sizeof *pairs);
    uint64_t at = 0;
    while (at < n && strcmp(pairs[at].name, name) != 0)
        at++;
    pairs[at] = (struct kafka_property){.name = arena_strdup(arena_of(layer), name),
                                        .value = arena_strdup(arena_of(layer), value)};
    option_set_array(option, base, pairs, at == n ? n + 1 : n);
}

static void note_pair(const struct layer *layer, const char *path, const char *where) {
    struct config *config = layer->config;
    struct config_pair *pairs = arena_alloc(arena_of(layer), (config->n_pairs + 1) * sizeof *pairs);
    if (config->n_pairs) memcpy(pairs, config->pairs, config->n_pairs * sizeof *pairs);
    pairs[config->n_pairs++] =
        (struct config_pair){.path = arena_strdup(arena_of(layer), path), .where = where};
    config->pairs = pairs;
}

/* A list as one text, with commas between; NULL: a mistake was told. */
static const char *joined_text(const struct layer *layer, const struct option *option,
                               const char *path, const struct yaml_node *node) {
    struct buf all = {0};
    bool whole = node->first != NULL;
    if (!whole)
        mistakes_add(layer->mistakes, place(layer, node->line, node->column), path, "is empty");
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        const char *text = scalar_text(layer, option, path, child);
        whole &= text != NULL;
        if (text) buf_printf(&all, "%s%s", all.len ? "," : "", text);
    }
    const char *joined = whole ? arena_strdup(arena_of(layer), buf_text(&all)) : NULL;
    buf_deinit(&all);
    return joined;
}

static bool has_pair(const struct option *option, void *base, const char *name) {
    uint64_t n;
    const struct kafka_property *pairs = array_of(option, base, &n);
    for (uint64_t i = 0; i < n; i++) {
        if (strcmp(pairs[i].name, name) == 0) return true;
    }
    return false;
}

/* [id, name, {email: mail}] */
static void apply_names(const struct layer *layer, const struct option *option, void *base,
                        const char *path, const struct yaml_node *node) {
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        const char *where = place(layer, child->line, child->column);
        bool renames = child->type == YAML_MAP && child->n_children == 1;
        if (child->type != YAML_SCALAR && !renames) {
            mistakes_add(layer->mistakes, where, path, "is %s, write NAME or {NAME: OTHER}",
                         yaml_type_name(child));
            continue;
        }
        const char *name = renames ? child->first->key : scalar_text(layer, option, path, child);
        if (!name) continue;
        char *at = mem_printf("%s.%s", path, name);
        const char *value = renames ? scalar_text(layer, option, at, child->first) : name;
        if (!*name || (value && !*value))
            mistakes_add(layer->mistakes, where, path, "an item is empty");
        else if (has_pair(option, base, name))
            mistakes_add(layer->mistakes, where, path, "\"%.60s\" stands there twice", name);
        else if (value) {
            set_pair(layer, option, base, name, value);
            note_pair(layer, at, where);
        }
        mem_free(at);
    }
}

static void apply_pairs(const struct layer *layer, const struct option *option, void *base,
                        const char *path, const struct yaml_node *node) {
    option_set_array(option, base, NULL, 0);
    if (node->type == YAML_LIST) {
        apply_names(layer, option, base, path, node);
        return;
    }
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        char *name = mem_printf("%s.%s", path, child->key);
        if (option->joins && child->type != YAML_LIST && child->type != YAML_SCALAR) {
            mistakes_add(layer->mistakes, place(layer, child->line, child->column), name,
                         "is a mapping, write a list or a value");
            mem_free(name);
            continue;
        }
        const char *text = option->joins && child->type == YAML_LIST
                               ? joined_text(layer, option, name, child)
                               : scalar_text(layer, option, name, child);
        if (text && !is_repeated(layer, node, child, name)) {
            set_pair(layer, option, base, child->key, text);
            note_pair(layer, name, place(layer, child->key_line, child->key_column));
        }
        mem_free(name);
    }
}

/* What weaker layers said of records that a stronger one says anew. */
static void forget_fields(const struct layer *layer, const char *path) {
    struct config *config = layer->config;
    size_t len = strlen(path);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < config->n_pairs; i++) {
        bool of_record =
            strncmp(config->pairs[i].path, path, len) == 0 && config->pairs[i].path[len] == '[';
        if (!of_record) config->pairs[kept++] = config->pairs[i];
    }
    config->n_pairs = kept;
}

static void apply(const struct layer *layer, const struct option *option, void *base,
                  const char *path, const struct yaml_node *node);

static const struct option *find_item(const struct option *items, const char *name) {
    for (const struct option *item = items; item->path; item++) {
        if (strcmp(item->path, name) == 0) return item;
    }
    return NULL;
}

static void unknown_item(const struct layer *layer, const char *where, const struct option *items,
                         const char *path, const char *name) {
    struct suggestion suggestion = {.word = name};
    struct buf known = {0};
    for (const struct option *item = items; item->path; item++) {
        suggest(&suggestion, item->path);
        buf_printf(&known, "%s%s", known.len ? ", " : "", item->path);
    }
    if (suggestion.best)
        mistakes_add(layer->mistakes, where, path, "is unknown, did you mean \"%s\"?",
                     suggestion.best);
    else
        mistakes_add(layer->mistakes, where, path, "is unknown, known here are: %s",
                     buf_text(&known));
    buf_deinit(&known);
}

/* The fields of one record into the item's struct. */
static void apply_fields(const struct layer *layer, const struct option *option, void *item,
                         const char *path, const struct yaml_node *node) {
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        char *name = mem_printf("%s.%s", path, child->key);
        const struct option *field = find_item(option->items, child->key);
        /* A named record has its name as its key. */
        if (option->type == OPTION_NAMED && field == option->items) field = NULL;
        if (!field)
            unknown_item(layer, place(layer, child->key_line, child->key_column), option->items,
                         name, child->key);
        else if (!is_repeated(layer, node, child, name)) {
            apply(layer, field, item, name, child);
            if (option->type == OPTION_RECORDS)
                note_pair(layer, name, place(layer, child->key_line, child->key_column));
        }
        mem_free(name);
    }
}

/* Places of the records stand beside them in the config. */
static const char ***places_of(const struct layer *layer, const struct option *option) {
    struct config *config = layer->config;
    const struct {
        const char *path;
        const char ***places;
    } named[] = {
        {"connectors", &config->connector_places},
        {"cache.users", &config->user_places},
        {"cache.queries", &config->query_places},
        {"cache.tables", &config->table_places},
        {"cdc.shape", &config->shape_places},
        {"cdc.outbox", &config->outbox_places},
        {"cdc.outbox_messages", &config->outbox_message_places},
        {"cdc.topics", &config->topic_places},
    };
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        if (strcmp(named[i].path, option->path) == 0) return named[i].places;
    }
    ASSERT_UNREACHABLE();
}

/* Room for `n` records, the first `keep` of them as they were. */
static char *resize_records(const struct layer *layer, const struct option *option, void *base,
                            uint64_t keep, uint64_t n) {
    uint64_t had;
    const char *old = array_of(option, base, &had);
    const char ***places = places_of(layer, option);
    char *records = arena_zalloc(arena_of(layer), (n + 1) * option->item_size);
    const char **new_places = arena_zalloc(arena_of(layer), (n + 1) * sizeof *new_places);
    ASSERT(keep <= had);
    if (keep) {
        memcpy(records, old, keep * option->item_size);
        memcpy(new_places, *places, keep * sizeof *new_places);
    }
    *places = new_places;
    option_set_array(option, base, records, n);
    return records;
}

void layer_initials(struct config *config, const struct option *items, void *base) {
    for (; items->path; items++) {
        struct why why;
        if (!items->initial) continue;
        bool done = option_set(items, base, config->arena, items->initial, &why);
        ASSERT(done);
    }
}

static void apply_records(const struct layer *layer, const struct option *option, void *base,
                          const char *path, const struct yaml_node *node) {
    char *item = resize_records(layer, option, base, 0, node->n_children);
    forget_fields(layer, path);
    uint32_t i = 0;
    for (const struct yaml_node *child = node->first; child; child = child->next, i++) {
        bool named = option->type == OPTION_NAMED;
        char *name = named ? mem_printf("%s.%s", path, child->key) : mem_printf("%s[%u]", path, i);
        layer_initials(layer->config, option->items, item);
        uint32_t line = named ? child->key_line : child->line;
        (*places_of(layer, option))[i] =
            place(layer, line, named ? child->key_column : child->column);
        if (named) {
            struct why why;
            if (!is_repeated(layer, node, child, name) &&
                !option_set(option->items, item, arena_of(layer), child->key, &why))
                mistakes_add(layer->mistakes, (*places_of(layer, option))[i], name, "%s", why.text);
        }
        if (child->type == YAML_MAP)
            apply_fields(layer, option, item, name, child);
        else if (!named || !yaml_is_null(child))
            mistakes_add(layer->mistakes, place(layer, child->line, child->column), name,
                         "is %s, write a mapping", yaml_type_name(child));
        mem_free(name);
        item += option->item_size;
    }
}

/* They are read once all layers lie below them. */
static void keep_sources(const struct layer *layer, const struct yaml_node *node) {
    struct layer *copy = arena_alloc(arena_of(layer), sizeof *copy);
    *copy = *layer;
    layer->config->sources_said = node;
    layer->config->sources_layer = copy;
}

static void apply_structured(const struct layer *layer, const struct option *option, void *base,
                             const char *path, const struct yaml_node *node) {
    bool empty = yaml_is_null(node) || (node->type != YAML_SCALAR && !node->first);
    const char *where = place(layer, node->line, node->column);
    bool listed = option->type == OPTION_RECORDS || option->type == OPTION_SOURCES;
    enum yaml_type wanted = listed ? YAML_LIST : YAML_MAP;
    bool named = option->names && node->type == YAML_LIST;
    if (!empty && node->type != wanted && !named) {
        misfit(layer, option, path, node);
        return;
    }
    if (option->type == OPTION_PAIRS)
        apply_pairs(layer, option, base, path, node);
    else if (option->type == OPTION_SOURCES)
        keep_sources(layer, node);
    else
        apply_records(layer, option, base, path, node);
    if (!is_top_level(option)) return;
    struct buf text = {0};
    yaml_print(node, &text);
    remember(layer, option, where, buf_text(&text));
    buf_deinit(&text);
}

/* One option, of options[] or of a table of items, from its node. */
static void apply(const struct layer *layer, const struct option *option, void *base,
                  const char *path, const struct yaml_node *node) {
    bool takes_list = option_is_list(option) || option->joins;
    if (option_is_structured(option))
        apply_structured(layer, option, base, path, node);
    else if (takes_list && node->type == YAML_LIST)
        apply_list(layer, option, base, path, node);
    else
        apply_scalar(layer, option, base, path, node);
}

/* Does an option's path begin with `path` and a dot? */
static bool is_group(const char *path) {
    size_t len = strlen(path);
    for (const struct option *option = options; option->path; option++) {
        if (strncmp(option->path, path, len) == 0 && option->path[len] == '.') return true;
    }
    return false;
}

/* Candidates for a misspelled key are the words that may stand where it stands. */
static void unknown_key(const struct layer *layer, const char *where, const char *path) {
    const char *dot = strrchr(path, '.');
    size_t prefix = dot ? (size_t)(dot - path) + 1 : 0;
    struct suggestion suggestion = {.word = path + prefix};
    struct buf known = {0};
    char last[64] = "";
    for (const struct option *option = options; option->path; option++) {
        if (strncmp(option->path, path, prefix) != 0) continue;
        size_t len = strcspn(option->path + prefix, ".");
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)len, option->path + prefix);
        if (strcmp(word, last) == 0) continue;
        memcpy(last, word, sizeof last);
        suggest(&suggestion, arena_strdup(arena_of(layer), word));
        buf_printf(&known, "%s%s", known.len ? ", " : "", word);
    }
    if (suggestion.best)
        mistakes_add(layer->mistakes, where, path, "is unknown, did you mean \"%.*s%s\"?",
                     (int)prefix, path, suggestion.best);
    else if (known.len)
        mistakes_add(layer->mistakes, where, path, "is unknown, known here are: %s",
                     buf_text(&known));
    else
        mistakes_add(layer->mistakes, where, path, "is unknown");
    buf_deinit(&known);
}

static void apply_group(const struct layer *layer, const char *path, const struct yaml_node *node) {
    if (yaml_is_null(node)) return;
    if (node->type != YAML_MAP) {
        mistakes_add(layer->mistakes, place(layer, node->line, node->column), path,
                     "is %s, write a mapping", yaml_type_name(node));
        return;
    }
    for (const struct yaml_node *child = node->first; child; child = child->next) {
        char *name = mem_printf("%s%s%s", path, *path ? "." : "", child->key);
        int at = option_find(name);
        if (!is_repeated(layer, node, child, name)) {
            if (at >= 0)
                apply(layer, &options[at], layer->config, name, child);
            else if (is_group(name))
                apply_group(layer, name, child);
            else
                unknown_key(layer, place(layer, child->key_line, child->key_column), name);
        }
        mem_free(name);
    }
}

void layer_group(const struct layer *layer, const char *path, const struct yaml_node *node) {
    apply_group(layer, path, node);
}

bool layer_repeats(const struct layer *layer, const struct yaml_node *map,
                   const struct yaml_node *child, const char *path) {
    return is_repeated(layer, map, child, path);
}

const char *layer_place(const struct layer *layer, const struct yaml_node *node) {
    return place(layer, node->line, node->column);
}

void layer_mistake(const struct layer *layer, const struct yaml_node *node, const char *path,
                   const char *what) {
    mistakes_add(layer->mistakes, layer_place(layer, node), path, "%s", what);
}

bool layer_file(const struct layer *layer, const char *text, size_t len) {
    struct yaml_fault fault;
    const struct yaml_node *root = yaml_parse(text, len, arena_of(layer), &fault);
    if (root) apply_group(layer, "", root);
    if (fault.found)
        mistakes_add(layer->mistakes, place(layer, fault.line, fault.column), NULL, "%s",
                     fault.text);
    return !fault.found;
}

/* A structure given on the command line or in the environment is YAML too: '[{name: ...}]'. */
static void apply_yaml(const struct layer *layer, const struct option *option, void *base,
                       const char *path, const char *text) {
    struct yaml_fault fault;
    const struct yaml_node *root = yaml_parse(text, strlen(text), arena_of(layer), &fault);
    if (root) apply(layer, option, base, path, root);
    if (fault.found) mistakes_add(layer->mistakes, layer->name, path, "%s", fault.text);
}

static void apply_text(const struct layer *layer, const struct option *option, void *base,
                       const char *path, const char *text) {
    bool is_yaml = option_is_structured(option) || (option_is_list(option) && *text == '[');
    if (is_yaml) {
        apply_yaml(layer, option, base, path, text);
        return;
    }
    struct yaml_node scalar = {.type = YAML_SCALAR, .text = text};
    apply(layer, option, base, path, &scalar);
}

static void note_field(const struct layer *layer, const struct option *option, uint64_t i,
                       const char *field) {
    if (option->type != OPTION_RECORDS) return;
    char *path = mem_printf("%s[%u].%s", option->path, (uint32_t)i, field);
    note_pair(layer, path, layer->name);
    mem_free(path);
}

/* "public.users.ttl" of cache.tables, "search.url" of connectors: the record of that name, made if absent. */
static void apply_record_field(const struct layer *layer, const struct option *option,
                               const char *path, const char *rest, const char *text) {
    const char *dot = strrchr(rest, '.');
    const struct option *field = dot ? find_item(option->items, dot + 1) : NULL;
    if (!dot || dot == rest || !field) {
        unknown_item(layer, layer->name, option->items, path, dot ? dot + 1 : rest);
        return;
    }
    const struct option *name_field = option->items;
    struct arena *arena = arena_of(layer);
    const char *name = arena_dup(arena, slice_make(rest, (size_t)(dot - rest))).data;
    uint64_t n;
    char *records = array_of(option, layer->config, &n);
    uint64_t at = 0;
    for (; at < n; at++) {
        const char *have;
        memcpy(&have, records + at * option->item_size + name_field->offset, sizeof have);
        if (have && strcmp(have, name) == 0) break;
    }
    if (at == n) {
        records = resize_records(layer, option, layer->config, n, n + 1);
        (*places_of(layer, option))[at] = layer->name;
        char *item = records + at * option->item_size;
        layer_initials(layer->config, option->items, item);
        struct why why;
        if (!option_set(name_field, item, arena, name, &why))
            mistakes_add(layer->mistakes, layer->name, path, "%s", why.text);
        note_field(layer, option, at, name_field->path);
    }
    apply_text(layer, field, records + at * option->item_size, path, text);
    note_field(layer, option, at, field->path);
}

/* The option whose structure `path` leads into; *rest is what follows. */
static const struct option *find_container(const char *path, const char **rest) {
    for (const struct option *option = options; option->path; option++) {
        size_t len = strlen(option->path);
        if (!option_is_structured(option) || option->type == OPTION_SOURCES) continue;
        if (strncmp(option->path, path, len) != 0 || path[len] != '.') continue;
        *rest = path + len + 1;
        return option;
    }
    return NULL;
}

void layer_setting(const struct layer *layer, const char *path, const char *text) {
    int at = option_find(path);
    const char *rest = NULL;
    const struct option *container = at < 0 ? find_container(path, &rest) : NULL;
    if (at >= 0) {
        apply_text(layer, &options[at], layer->config, path, text);
    } else if (container && container->type == OPTION_PAIRS) {
        struct yaml_node scalar = {.type = YAML_SCALAR, .text = text};
        const char *value = scalar_text(layer, container, path, &scalar);
        if (value) set_pair(layer, container, layer->config, rest, value);
        note_pair(layer, path, layer->name);
    } else if (container) {
        apply_record_field(layer, container, path, rest, text);
    } else {
        unknown_key(layer, layer->name, path);
    }
}

/* layer.h: one source of the configuration laid over those before it: a file, the environment, or a flag.
 *
 *     layer_file(&layer, text, len);                           a whole file
 *     layer_setting(&layer, "cache.ttl", "5m");                one option; or a path into a map or a record
 *
 * Values go through the option table into the typed fields of the config; mistakes go to the list, each with its
 * place. What is right is taken over although something else is wrong. */
#ifndef FRESHET_SERVER_LAYER_H
#define FRESHET_SERVER_LAYER_H

#include "server/config.h"
#include "server/expand.h"
#include "server/yaml.h"

struct layer {
    struct config *config;
    struct mistakes *mistakes;
    enum config_strength strength;
    const char *name;   /* the file's, the variable's or the flag's */
    bool has_positions; /* a file: line and column follow the name */
    struct expand_scope scope;
};

/* False: not all of it could be read as YAML. */
bool layer_file(const struct layer *layer, const char *text, size_t len);
void layer_setting(const struct layer *layer, const char *path, const char *text);
/* All options below `path` ("cdc"), from a mapping. */
void layer_group(const struct layer *layer, const char *path, const struct yaml_node *node);
/* Tells of a key that an earlier sibling has. */
bool layer_repeats(const struct layer *layer, const struct yaml_node *map,
                   const struct yaml_node *child, const char *path);
const char *layer_place(const struct layer *layer, const struct yaml_node *node);
void layer_mistake(const struct layer *layer, const struct yaml_node *node, const char *path,
                   const char *what);
/* The defaults of options[] or of a table of items. */
void layer_initials(struct config *config, const struct option *items, void *base);

#endif

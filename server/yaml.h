/* yaml.h: a YAML text as a tree of nodes that know where they stand. libyaml reads; this bounds and collects.
 *
 *     struct yaml_node *root = yaml_parse(text, len, arena, &fault);    NULL: an empty document
 *
 * One document; mappings, sequences and scalars; keys are scalars. Anchors, aliases and tags are refused: a
 * configuration needs none. After a fault the nodes read so far are there all the same, so that their mistakes
 * can be told in the same run. Lines and columns count from 1. */
#ifndef FRESHET_SERVER_YAML_H
#define FRESHET_SERVER_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"

enum {
    YAML_MAX_BYTES = 1024 * 1024,
    YAML_MAX_DEPTH = 32,
    YAML_MAX_NODES = 50 * 1000,
    YAML_MAX_CHILDREN = 4 * 1000, /* of one node; each key is compared with those before it */
};

enum yaml_type { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_type type;
    uint32_t line;
    uint32_t column;
    const char *text; /* of a scalar */
    bool plain;       /* a scalar without quotes: ~ and null mean "nothing" */
    /* Children of a list or a map, in the order of the text; of a map each with its key. */
    struct yaml_node *first;
    struct yaml_node *last;
    struct yaml_node *next;
    const char *key;
    uint32_t key_line;
    uint32_t key_column;
    uint32_t n_children;
};

struct yaml_fault {
    bool found;
    uint32_t line;
    uint32_t column;
    char text[200];
};

/* Nodes live in `arena`. */
struct yaml_node *yaml_parse(const char *text, size_t len, struct arena *arena,
                             struct yaml_fault *fault);

/* Nothing was written: an empty scalar without quotes, ~ or null. */
bool yaml_is_null(const struct yaml_node *node);
/* The whole node on one line, so that two can be compared. */
void yaml_print(const struct yaml_node *node, struct buf *out);
/* "a mapping", "a list", "a value". */
const char *yaml_type_name(const struct yaml_node *node);

#endif

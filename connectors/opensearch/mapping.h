/* mapping.h: from column types to an index's mapping. Pure. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_MAPPING_H
#define FRESHET_CONNECTORS_OPENSEARCH_MAPPING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "connectors/document/shape.h"

struct mapping_wish {
    const struct shape *shape;
    uint64_t system_identifier;
    const char *alias;          /* through which alone we write */
    const char *served;         /* the alias that it is searched by; NULL: none yet */
    const char *const *aliases; /* further ones */
    uint32_t n_aliases;
    const json_t *file; /* the user's mappings and settings (mapping_file.h), or NULL */
    const char *serves; /* the name that it is searched by, or will be; NULL: its own */
};

/* The body that makes the index: the user's mapping, completed by the columns' types; the aliases; and our mark in `_meta`: the
 * table and the database system that the index is filled from. A new reference. */
json_t *mapping_index_body(const struct mapping_wish *wish);

/* The properties of the shape's columns that `mappings` (of an existing index) lacks; NULL where none. */
json_t *mapping_missing(const struct shape *shape, const json_t *mappings);

/* Does an index's mapping bear our mark for this table? *system_identifier as it was then. */
bool mapping_is_ours(const json_t *mappings, const struct shape *shape,
                     uint64_t *system_identifier);

/* Is it an index that was made to be searched as `name`, which is an alias then? */
bool mapping_serves(const json_t *mappings, const char *name);

/* The first column whose values its field's type in `mappings` cannot hold; *type is what it is there, in `mappings`. NULL: all
 * fit, or what does not is kept unindexed (ignore_malformed). */
const char *mapping_conflict(const struct shape *shape, const json_t *mappings, const char **type);

#endif

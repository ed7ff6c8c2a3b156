/* mapping.h: from column types to an index's mapping. Pure. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_MAPPING_H
#define FRESHET_CONNECTORS_OPENSEARCH_MAPPING_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "connectors/shape.h"

/* The body that makes the index: mapping, the alias through which alone we write, and our mark in `_meta`: the
 * table and the database system that the index is filled from. A new reference. */
json_t *mapping_index_body(const struct shape *shape, uint64_t system_identifier,
                           const char *alias);

/* The properties of the shape's columns that `mappings` (of an existing index) lacks; NULL where none. */
json_t *mapping_missing(const struct shape *shape, const json_t *mappings);

/* Does an index's mapping bear our mark for this table? *system_identifier as it was then. */
bool mapping_is_ours(const json_t *mappings, const struct shape *shape,
                     uint64_t *system_identifier);

#endif

/* mapping_file.h: the user's file of mappings and settings, as a body of the create index API. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_MAPPING_FILE_H
#define FRESHET_CONNECTORS_OPENSEARCH_MAPPING_FILE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

/* {"mappings": {...}, "settings": {...}}, or one of both. A new reference; NULL: *err says what is wrong and where
 * (path:line:column). */
json_t *mapping_file_load(const char *path, struct error *err);
/* The same of a text. Pure. */
json_t *mapping_file_parse(const char *path, struct slice text, struct error *err);

#endif

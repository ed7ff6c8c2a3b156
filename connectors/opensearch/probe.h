/* probe.h: what `freshet check` can know of an index before anything is written to it. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_PROBE_H
#define FRESHET_CONNECTORS_OPENSEARCH_PROBE_H

#include <stdatomic.h>

#include "base/http.h"
#include "connectors/sink.h"

/* The index's name: the table's, in lower case, where none is given. The caller frees it. */
char *opensearch_index_name(const struct connector_config *config);

/* The connection that the configuration asks for, but for the header of an API key. opensearch.c. */
struct http *opensearch_http(const struct connector_config *config, const _Atomic bool *stop,
                             struct error *err);
/* "Authorization: ApiKey ..."; NULL without a key. The caller frees it. */
char *opensearch_authorization(const struct connector_config *config);

/* See sink_type. */
bool opensearch_check(const struct connector_config *config, const char **option,
                      struct error *err);
bool opensearch_probe(const struct connector_config *config, const struct shape *shape,
                      const char **option, struct error *err);

#endif

/* opensearch.h: the sink that keeps an OpenSearch index (or Elasticsearch 7.10 and later) equal to a table. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_OPENSEARCH_H
#define FRESHET_CONNECTORS_OPENSEARCH_OPENSEARCH_H

#include "connectors/sink.h"

extern const struct sink_type opensearch_sink;

#endif

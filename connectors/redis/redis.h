/* redis.h: the sink that keeps a table's rows, or an index of them, in a Redis or a Valkey. */
#ifndef FRESHET_CONNECTORS_REDIS_REDIS_H
#define FRESHET_CONNECTORS_REDIS_REDIS_H

#include "connectors/sink.h"

extern const struct sink_type redis_sink;

#endif

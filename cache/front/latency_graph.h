/* latency_graph.h: the spikes of one event as a picture of letters, for LATENCY GRAPH: a column a sample, the newest at the right, with
 * below it how long ago that was, from top to bottom. */
#ifndef FRESHET_CACHE_LATENCY_GRAPH_H
#define FRESHET_CACHE_LATENCY_GRAPH_H

#include "base/buf.h"
#include "cache/front/latency.h"

/* The event has a sample. */
void latency_graph(const struct latency_event *event, int64_t now_s, struct buf *out);

#endif

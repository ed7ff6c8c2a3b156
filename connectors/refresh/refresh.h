/* refresh.h: the sink that refreshes materialized views, in the order in which they read each other, one at a time.
 *
 * A batch is the views that were touched while it was open (batch_interval: the debounce). A view that was refreshed since, in a
 * snapshot that saw what touched it, is not refreshed again. */
#ifndef FRESHET_CONNECTORS_REFRESH_REFRESH_H
#define FRESHET_CONNECTORS_REFRESH_REFRESH_H

#include "connectors/sink.h"

extern const struct sink_type refresh_sink;

#endif

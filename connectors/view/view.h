/* view.h: the sink that keeps a table of PostgreSQL equal to a table, or to a query's rows. */
#ifndef FRESHET_CONNECTORS_VIEW_VIEW_H
#define FRESHET_CONNECTORS_VIEW_VIEW_H

#include "connectors/sink.h"

extern const struct sink_type view_sink;

#endif

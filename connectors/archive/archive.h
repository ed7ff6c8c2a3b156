/* archive.h: the sink that keeps all changes of a table in files, as the runtime knows it. See vault.h for the files. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_ARCHIVE_H
#define FRESHET_CONNECTORS_ARCHIVE_ARCHIVE_H

#include "connectors/sink.h"

extern const struct sink_type archive_sink;

#endif

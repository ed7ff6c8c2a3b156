/* query_reader.h: the row_reader of a source that walks its keys and reads their rows: of a query's results.
 *
 * A row there has no transaction that wrote it: what it is known again by is its content, and that nobody is about to change it
 * cannot be told from it. */
#ifndef FRESHET_CONNECTORS_QUERY_READER_H
#define FRESHET_CONNECTORS_QUERY_READER_H

#include <libpq-fe.h>

#include "connectors/document/shape.h"
#include "connectors/source.h"
#include "connectors/source/row_reader.h"

struct query_reader_config {
    struct source source; /* an instance of the reader's own, prepared */
    void (*destroy_source)(void *self);
    struct shape *shape; /* as it was prepared; taken */
    PGconn *conn;        /* for the moments; taken */
};

struct row_reader query_reader_create(const struct query_reader_config *config);

#endif

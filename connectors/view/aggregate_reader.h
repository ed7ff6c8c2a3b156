/* aggregate_reader.h: the row_reader of counts and sums by group: what they come to by the table's rows as they are. */
#ifndef FRESHET_CONNECTORS_VIEW_AGGREGATE_READER_H
#define FRESHET_CONNECTORS_VIEW_AGGREGATE_READER_H

#include <libpq-fe.h>

#include "connectors/document/shape.h"
#include "connectors/source/row_reader.h"

struct aggregate_reader_config {
    PGconn *conn;        /* taken */
    struct shape *shape; /* of the groups' rows; taken */
    /* SQL, copied: what the rows come from, as "(SELECT ...) AS t"; and each of the shape's columns of them. */
    const char *from;
    const char *const *expressions;
};

struct row_reader aggregate_reader_create(const struct aggregate_reader_config *config);

#endif

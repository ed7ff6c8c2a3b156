/* table_reader.h: the row_reader of a table of PostgreSQL. */
#ifndef FRESHET_CONNECTORS_TABLE_READER_H
#define FRESHET_CONNECTORS_TABLE_READER_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/error.h"
#include "connectors/document/shape.h"
#include "connectors/source/row_reader.h"

struct table_published {
    struct shape *shape; /* the columns that the publication has, the key among them */
    char *row_filter;    /* SQL; NULL: all rows */
};

/* What a publication has of a table whose columns are `all`. */
bool table_published_read(PGconn *conn, const char *publication, const struct shape *all,
                          struct table_published *published, struct error *err) MUST_CHECK;
void table_published_deinit(struct table_published *published);

/* Takes the connection and what is published. `partitioned`: the table has partitions; of any other those that inherit from it
 * are left out. */
struct row_reader table_reader_create(PGconn **conn, struct table_published *published,
                                      bool partitioned);

#endif

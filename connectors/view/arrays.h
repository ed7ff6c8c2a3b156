/* arrays.h: rows as parameters of a statement: one array of texts a column.
 *
 *     arrays_init(&arrays, n_columns);  arrays_add(&arrays, column, &value);  ...
 *     arrays_append_relation(&sql, n_columns);                        ROWS FROM (...) AS r(v1, v2, ...)
 *     arrays_run(conn, &sql, &arrays, sqlstate, err);
 *     arrays_deinit(&arrays);
 */
#ifndef FRESHET_CONNECTORS_VIEW_ARRAYS_H
#define FRESHET_CONNECTORS_VIEW_ARRAYS_H

#include <libpq-fe.h>

#include "base/buf.h"
#include "base/change.h"
#include "base/error.h"

struct arrays {
    uint16_t n;
    struct buf *literals;
    const char **params;
};

void arrays_init(struct arrays *arrays, uint16_t n);
void arrays_deinit(struct arrays *arrays);
void arrays_add(struct arrays *arrays, uint16_t column, const struct value *value);
void arrays_append_relation(struct buf *sql, uint16_t n);
/* Once. The result is the caller's; NULL on an error, `sqlstate` says which, where the server has. */
PGresult *arrays_run(PGconn *conn, struct buf *sql, struct arrays *arrays, char sqlstate[6],
                     struct error *err);

#endif

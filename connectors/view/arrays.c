#include "connectors/view/arrays.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"

void arrays_init(struct arrays *arrays, uint16_t n) {
    arrays->n = n;
    arrays->literals = mem_calloc(n + 1u, sizeof *arrays->literals);
    arrays->params = mem_calloc(n + 1u, sizeof *arrays->params);
    for (uint16_t i = 0; i < n; i++)
        pgarray_begin(&arrays->literals[i]);
}

void arrays_deinit(struct arrays *arrays) {
    for (uint16_t i = 0; i < arrays->n; i++)
        buf_deinit(&arrays->literals[i]);
    mem_free(arrays->literals);
    mem_free(arrays->params);
}

void arrays_add(struct arrays *arrays, uint16_t column, const struct value *value) {
    if (value->kind == VALUE_NULL)
        pgarray_add_null(&arrays->literals[column]);
    else
        pgarray_add(&arrays->literals[column], slice_make(value->data, value->len));
}

/* The columns as a relation r(v1, v2, ...) of texts. */
void arrays_append_relation(struct buf *sql, uint16_t n) {
    buf_append_text(sql, "ROWS FROM (");
    for (uint16_t i = 1; i <= n; i++)
        buf_printf(sql, "%spg_catalog.unnest($%u::pg_catalog.text[])", i > 1 ? ", " : "", i);
    buf_append_text(sql, ") AS r(");
    for (uint16_t i = 1; i <= n; i++)
        buf_printf(sql, "%sv%u", i > 1 ? ", " : "", i);
    buf_append_char(sql, ')');
}

PGresult *arrays_run(PGconn *conn, struct buf *sql, struct arrays *arrays, char sqlstate[6],
                     struct error *err) {
    for (uint16_t i = 0; i < arrays->n; i++) {
        pgarray_end(&arrays->literals[i]);
        arrays->params[i] = arrays->literals[i].data;
    }
    PGresult *result =
        PQexecParams(conn, buf_text(sql), arrays->n, NULL, arrays->params, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return result;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(sqlstate, 6, "%s", state ? state : "");
    pg_error(err, conn, result, "rows by arrays");
    PQclear(result);
    return NULL;
}

#include "connectors/source/reread.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/pg.h"

enum { FIELD_VISIBLE, FIELD_EXISTS, FIELD_FIRST_COLUMN };

static bool has_column(const PGresult *present, const char *name) {
    for (int i = 0; i < PQntuples(present); i++) {
        if (strcmp(PQgetvalue(present, i, 0), name) == 0) return true;
    }
    return false;
}

static PGresult *read_columns(PGconn *conn, const struct shape *shape, struct error *err) {
    const char *params[] = {shape->schema, shape->table};
    return pg_query_params(conn,
                           "SELECT a.attname, c.relkind FROM pg_catalog.pg_attribute a "
                           "JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
                           "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                           "WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 "
                           "AND NOT a.attisdropped",
                           2, params, err);
}

static void compose(const struct shape *shape, const PGresult *present, struct buf *sql) {
    buf_append_text(sql, "SELECT v.visible, r.ok");
    for (uint16_t i = 0; i < shape->n_columns; i++)
        buf_printf(sql, ", r.c%u", i);
    buf_append_text(sql, " FROM (SELECT pg_catalog.pg_visible_in_snapshot($1::pg_catalog.xid8, "
                         "pg_catalog.pg_current_snapshot()) AS visible) v LEFT JOIN (SELECT true");
    buf_append_text(sql, " AS ok");
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        buf_append_text(sql, ", ");
        if (has_column(present, shape->columns[i].source))
            pg_quote_ident(sql, shape->columns[i].source);
        else
            buf_append_text(sql, "NULL");
        buf_printf(sql, " AS c%u", i);
    }
    /* Rows of tables that inherit from this one are not published under its name. */
    bool partitioned = PQntuples(present) && PQgetvalue(present, 0, 1)[0] == 'p';
    buf_append_text(sql, partitioned ? " FROM " : " FROM ONLY ");
    pg_quote_table(sql, shape->schema, shape->table);
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        buf_append_text(sql, i ? " AND " : " WHERE ");
        pg_quote_ident(sql, shape->columns[shape->keys[i]].source);
        buf_printf(sql, " = $%u", i + 2);
    }
    buf_append_text(sql, ") r ON true");
}

bool reread_prepare(PGconn *conn, const struct shape *shape, struct error *err) {
    if (!pg_exec(conn, "DEALLOCATE ALL", err)) return false;
    PGresult *present = read_columns(conn, shape, err);
    if (!present) return false;
    struct buf sql = {0};
    compose(shape, present, &sql);
    PQclear(present);
    PGresult *result = PQprepare(conn, REREAD_STATEMENT, buf_text(&sql), 0, NULL);
    buf_deinit(&sql);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!ok) pg_error(err, conn, result, "preparing to read rows again");
    PQclear(result);
    return ok;
}

static PGresult *query_row(PGconn *conn, const struct batch *batch, const struct write *write,
                           struct error *err) {
    uint16_t n_keys = batch->shape->n_keys;
    char xid[24];
    snprintf(xid, sizeof xid, "%" PRIu64, write->stamp.xid);
    char **params = mem_calloc(n_keys + 1u, sizeof *params);
    params[0] = xid;
    for (uint16_t i = 0; i < n_keys; i++) {
        const struct value *value = &write->row[batch->shape->keys[i]];
        params[i + 1] = mem_slicedup(slice_make(value->data, value->len));
    }
    PGresult *rows = PQexecPrepared(conn, REREAD_STATEMENT, n_keys + 1, (const char *const *)params,
                                    NULL, NULL, 0);
    for (uint16_t i = 0; i < n_keys; i++)
        mem_free(params[i + 1]);
    mem_free(params);
    if (PQresultStatus(rows) == PGRES_TUPLES_OK && PQntuples(rows) == 1) return rows;
    pg_error(err, conn, rows, "reading a row again");
    PQclear(rows);
    return NULL;
}

static void take_row(struct batch *batch, struct write *write, const PGresult *rows) {
    uint16_t n = batch->shape->n_columns;
    struct value *values = arena_alloc(batch->arena, n * sizeof *values);
    for (uint16_t i = 0; i < n; i++) {
        int field = FIELD_FIRST_COLUMN + i;
        if (PQgetisnull(rows, 0, field)) {
            values[i] = (struct value){.kind = VALUE_NULL};
            continue;
        }
        size_t len = (size_t)PQgetlength(rows, 0, field);
        struct slice copy = arena_dup(batch->arena, slice_make(PQgetvalue(rows, 0, field), len));
        values[i] = (struct value){.kind = VALUE_TEXT, .len = (uint32_t)len, .data = copy.data};
    }
    write->row = values;
    write->incomplete = false;
}

static bool reread_write(PGconn *conn, struct batch *batch, struct write *write,
                         struct error *err) {
    PGresult *rows = query_row(conn, batch, write, err);
    if (!rows) return false;
    bool visible = PQgetvalue(rows, 0, FIELD_VISIBLE)[0] == 't';
    if (!visible)
        error_set(err, ERROR_TIMEOUT, true,
                  "reading row %.*s again: transaction %" PRIu64
                  " is committed and not visible yet (a synchronous standby is awaited?)",
                  (int)write->key.len, write->key.data, write->stamp.xid);
    else if (PQgetisnull(rows, 0, FIELD_EXISTS))
        write->vanished = true;
    else
        take_row(batch, write, rows);
    PQclear(rows);
    return visible;
}

bool reread_batch(PGconn *conn, struct batch *batch, uint64_t *rows, struct error *err) {
    struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        if (!write->incomplete) continue;
        if (!reread_write(conn, batch, write, err)) return false;
        (*rows)++;
    }
    return true;
}

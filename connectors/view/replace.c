#include "connectors/view/replace.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/pg.h"
#include "base/pgarray.h"

/* One array a column. */
struct arrays {
    uint16_t n;
    struct buf *literals;
    const char **params;
};

static void arrays_init(struct arrays *arrays, uint16_t n) {
    arrays->n = n;
    arrays->literals = mem_calloc(n + 1u, sizeof *arrays->literals);
    arrays->params = mem_calloc(n + 1u, sizeof *arrays->params);
    for (uint16_t i = 0; i < n; i++)
        pgarray_begin(&arrays->literals[i]);
}

static void arrays_deinit(struct arrays *arrays) {
    for (uint16_t i = 0; i < arrays->n; i++)
        buf_deinit(&arrays->literals[i]);
    mem_free(arrays->literals);
    mem_free(arrays->params);
}

static void add_value(struct arrays *arrays, uint16_t column, const struct value *value) {
    if (value->kind == VALUE_NULL)
        pgarray_add_null(&arrays->literals[column]);
    else
        pgarray_add(&arrays->literals[column], slice_make(value->data, value->len));
}

/* The columns as a relation r(v1, v2, ...) of texts. */
static void append_relation(struct buf *sql, uint16_t n) {
    buf_append_text(sql, "ROWS FROM (");
    for (uint16_t i = 1; i <= n; i++)
        buf_printf(sql, "%spg_catalog.unnest($%u::pg_catalog.text[])", i > 1 ? ", " : "", i);
    buf_append_text(sql, ") AS r(");
    for (uint16_t i = 1; i <= n; i++)
        buf_printf(sql, "%sv%u", i > 1 ? ", " : "", i);
    buf_append_char(sql, ')');
}

static bool run(struct target *target, struct buf *sql, struct arrays *arrays, char sqlstate[6],
                struct error *err) {
    for (uint16_t i = 0; i < arrays->n; i++) {
        pgarray_end(&arrays->literals[i]);
        arrays->params[i] = arrays->literals[i].data;
    }
    PGresult *result =
        PQexecParams(target->conn, buf_text(sql), arrays->n, NULL, arrays->params, NULL, NULL, 0);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!done) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        snprintf(sqlstate, 6, "%s", state ? state : "");
        pg_error(err, target->conn, result, target->table);
    }
    PQclear(result);
    return done;
}

static bool delete_keys(struct target *target, struct batch *batch, size_t from, size_t to,
                        char sqlstate[6], struct error *err) {
    const struct shape *shape = batch->shape;
    struct buf sql = {0};
    struct arrays arrays;
    arrays_init(&arrays, shape->n_keys);
    struct buf part = {0};
    const struct write *write;
    for (size_t at = from; (write = batch_next(batch, &at, to));) {
        struct slice rest = write->key;
        for (uint16_t k = 0; k < shape->n_keys; k++) {
            part.len = 0;
            shape_take_key(shape, &rest, &part);
            pgarray_add(&arrays.literals[k], buf_slice(&part));
        }
    }
    buf_deinit(&part);
    buf_append_text(&sql, "DELETE FROM ");
    pg_quote_table(&sql, target->schema, target->table);
    buf_append_text(&sql, " AS t USING ");
    append_relation(&sql, shape->n_keys);
    for (uint16_t k = 0; k < shape->n_keys; k++) {
        buf_append_text(&sql, k ? " AND t." : " WHERE t.");
        pg_quote_ident(&sql, shape->columns[shape->keys[k]].name);
        buf_printf(&sql, " = r.v%u::%s", k + 1u, target->columns[shape->keys[k]].type);
    }
    bool done = run(target, &sql, &arrays, sqlstate, err);
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    return done;
}

static size_t add_rows(struct arrays *arrays, struct batch *batch, size_t from, size_t to) {
    uint16_t n_columns = batch->shape->n_columns;
    size_t n = 0;
    const struct write *write;
    for (size_t at = from; (write = batch_next(batch, &at, to));) {
        if (write->operation != WRITE_PUT) continue;
        for (uint32_t row = 0; row < write->n_rows; row++, n++) {
            for (uint16_t i = 0; i < n_columns; i++)
                add_value(arrays, i, &write->row[(size_t)row * n_columns + i]);
        }
    }
    return n;
}

static bool insert_rows(struct target *target, struct batch *batch, size_t from, size_t to,
                        char sqlstate[6], struct error *err) {
    const struct shape *shape = batch->shape;
    struct buf sql = {0};
    struct arrays arrays;
    arrays_init(&arrays, shape->n_columns);
    bool done = true;
    if (add_rows(&arrays, batch, from, to)) {
        buf_append_text(&sql, "INSERT INTO ");
        pg_quote_table(&sql, target->schema, target->table);
        for (uint16_t i = 0; i < shape->n_columns; i++) {
            buf_append_text(&sql, i ? ", " : " (");
            pg_quote_ident(&sql, shape->columns[i].name);
        }
        buf_append_text(&sql, ") OVERRIDING SYSTEM VALUE SELECT ");
        for (uint16_t i = 0; i < shape->n_columns; i++)
            buf_printf(&sql, "%sr.v%u::%s", i ? ", " : "", i + 1u, target->columns[i].type);
        buf_append_text(&sql, " FROM ");
        append_relation(&sql, shape->n_columns);
        done = run(target, &sql, &arrays, sqlstate, err);
    }
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    return done;
}

bool replace_rows(struct target *target, struct batch *batch, size_t from, size_t to,
                  char sqlstate[6], struct error *err) {
    sqlstate[0] = '\0';
    return delete_keys(target, batch, from, to, sqlstate, err) &&
           insert_rows(target, batch, from, to, sqlstate, err);
}

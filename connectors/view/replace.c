#include "connectors/view/replace.h"

#include "base/pg.h"
#include "base/pgarray.h"
#include "connectors/view/arrays.h"
#include "connectors/view/groupkey.h"

static bool delete_keys(struct viewtable *target, struct batch *batch, size_t from, size_t to,
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
            if (groupkey_take(shape, &rest, &part))
                pgarray_add(&arrays.literals[k], buf_slice(&part));
            else
                pgarray_add_null(&arrays.literals[k]);
        }
    }
    buf_deinit(&part);
    buf_append_text(&sql, "DELETE FROM ");
    pg_quote_table(&sql, target->schema, target->table);
    buf_append_text(&sql, " AS t USING ");
    arrays_append_relation(&sql, shape->n_keys);
    for (uint16_t k = 0; k < shape->n_keys; k++) {
        buf_append_text(&sql, k ? " AND t." : " WHERE t.");
        pg_quote_ident(&sql, shape->columns[shape->keys[k]].name);
        buf_printf(&sql, " %s r.v%u::%s", shape->deltas ? "IS NOT DISTINCT FROM" : "=", k + 1u,
                   target->columns[shape->keys[k]].type);
    }
    PGresult *done = arrays_run(target->conn, &sql, &arrays, sqlstate, err);
    PQclear(done);
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    return done != NULL;
}

static size_t add_rows(struct arrays *arrays, struct batch *batch, size_t from, size_t to) {
    uint16_t n_columns = batch->shape->n_columns;
    size_t n = 0;
    const struct write *write;
    for (size_t at = from; (write = batch_next(batch, &at, to));) {
        if (write->operation != WRITE_PUT) continue;
        for (uint32_t row = 0; row < write->n_rows; row++, n++) {
            for (uint16_t i = 0; i < n_columns; i++)
                arrays_add(arrays, i, &write->row[(size_t)row * n_columns + i]);
        }
    }
    return n;
}

static bool insert_rows(struct viewtable *target, struct batch *batch, size_t from, size_t to,
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
        arrays_append_relation(&sql, shape->n_columns);
        PGresult *result = arrays_run(target->conn, &sql, &arrays, sqlstate, err);
        done = result != NULL;
        PQclear(result);
    }
    arrays_deinit(&arrays);
    buf_deinit(&sql);
    return done;
}

bool replace_rows(struct viewtable *target, struct batch *batch, size_t from, size_t to,
                  char sqlstate[6], struct error *err) {
    return delete_keys(target, batch, from, to, sqlstate, err) &&
           insert_rows(target, batch, from, to, sqlstate, err);
}

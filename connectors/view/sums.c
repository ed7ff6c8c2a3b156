#include "connectors/view/sums.h"

#include <string.h>

#include "base/pg.h"
#include "connectors/view/arrays.h"

static void append_column(struct buf *sql, const struct shape *shape, uint16_t i) {
    pg_quote_ident(sql, shape->columns[i].name);
}

/* The batch's own groups first, added up. Gives the places of those that have no row left. */
static void compose_add(const struct viewtable *target, const struct shape *shape,
                        struct buf *sql) {
    uint16_t n_groups = shape->n_keys;
    buf_append_text(sql, "INSERT INTO ");
    pg_quote_table(sql, target->schema, target->table);
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        buf_append_text(sql, i ? ", " : " AS t (");
        append_column(sql, shape, i);
    }
    buf_append_text(sql, ") SELECT ");
    for (uint16_t i = 0; i < n_groups; i++)
        buf_printf(sql, "r.v%u::%s, ", i + 1u, target->columns[i].type);
    for (uint16_t i = n_groups; i < shape->n_columns; i++)
        buf_printf(sql, "%spg_catalog.sum(r.v%u::pg_catalog.numeric)", i > n_groups ? ", " : "",
                   i + 1u);
    buf_append_text(sql, " FROM ");
    arrays_append_relation(sql, shape->n_columns);
    for (uint16_t i = 0; i < n_groups; i++)
        buf_printf(sql, "%s%u", i ? ", " : " GROUP BY ", i + 1u);
    for (uint16_t i = 0; i < n_groups; i++) {
        buf_append_text(sql, i ? ", " : " ON CONFLICT (");
        append_column(sql, shape, i);
    }
    for (uint16_t i = n_groups; i < shape->n_columns; i++) {
        buf_append_text(sql, i > n_groups ? ", " : ") DO UPDATE SET ");
        append_column(sql, shape, i);
        buf_append_text(sql, " = t.");
        append_column(sql, shape, i);
        buf_append_text(sql, " + EXCLUDED.");
        append_column(sql, shape, i);
    }
    buf_append_text(sql, " RETURNING CASE WHEN t.");
    append_column(sql, shape, shape->count);
    buf_append_text(sql, " = 0 THEN t.ctid END");
}

/* By their places: nobody else writes here, and a group may be one of NULLs, for which an index is of no use. */
static bool remove_empty(struct viewtable *target, const PGresult *added, char sqlstate[6],
                         struct error *err) {
    struct arrays places;
    arrays_init(&places, 1);
    uint32_t n = 0;
    for (int i = 0; i < PQntuples(added); i++) {
        if (PQgetisnull(added, i, 0)) continue;
        const char *place = PQgetvalue(added, i, 0);
        struct value value = {.kind = VALUE_TEXT, .len = (uint32_t)strlen(place), .data = place};
        arrays_add(&places, 0, &value);
        n++;
    }
    struct buf sql = {0};
    buf_append_text(&sql, "DELETE FROM ");
    pg_quote_table(&sql, target->schema, target->table);
    buf_append_text(&sql, " WHERE ctid = ANY ($1::pg_catalog.tid[])");
    PGresult *removed = n ? arrays_run(target->conn, &sql, &places, sqlstate, err) : NULL;
    bool done = n == 0 || removed;
    PQclear(removed);
    buf_deinit(&sql);
    arrays_deinit(&places);
    return done;
}

bool sums_add(struct viewtable *target, struct batch *batch, size_t from, size_t to,
              char sqlstate[6], struct error *err) {
    const struct shape *shape = batch->shape;
    struct arrays rows;
    arrays_init(&rows, shape->n_columns);
    const struct write *write;
    for (size_t at = from; (write = batch_next(batch, &at, to));) {
        for (uint16_t i = 0; i < shape->n_columns; i++)
            arrays_add(&rows, i, &write->row[i]);
    }
    struct buf sql = {0};
    compose_add(target, shape, &sql);
    PGresult *added = arrays_run(target->conn, &sql, &rows, sqlstate, err);
    bool done = added && remove_empty(target, added, sqlstate, err);
    PQclear(added);
    buf_deinit(&sql);
    arrays_deinit(&rows);
    return done;
}

#include "connectors/source/key_range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pg.h"
#include "connectors/source/key_select.h"

bool key_range_orders(const struct shape *shape) {
    static const char *const types[] = {"smallint", "integer", "bigint", "oid",
                                        "uuid",     "date",    "bytea",  "boolean"};
    if (shape->many || shape->deltas || shape->n_keys == 0) return false;
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        const char *type = shape->columns[shape->keys[i]].type_name;
        bool known =
            type && (strncmp(type, "timestamp", 9) == 0 || strncmp(type, "numeric", 7) == 0);
        for (size_t t = 0; type && t < sizeof types / sizeof *types && !known; t++)
            known = strcmp(type, types[t]) == 0;
        if (!known) return false;
    }
    return true;
}

/* The values of one end's columns; they are the caller's to free. */
static size_t add_end(const struct shape *shape, struct slice key, char **params) {
    struct buf id = {0};
    struct buf part = {0};
    shape_split_key(shape, key, &id, &part);
    struct slice rest = buf_slice(&id);
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        part.len = 0;
        if (rest.len) shape_take_key(shape, &rest, &part);
        params[i] = mem_strdup(buf_text(&part));
    }
    buf_deinit(&id);
    buf_deinit(&part);
    return shape->n_keys;
}

static void append_end(const struct shape *shape, const char *operator, size_t first,
                       struct buf *sql) {
    buf_append_text(sql, " AND ");
    key_select_operand(shape, sql);
    buf_append_text(sql, operator);
    key_select_params(shape, first, sql);
}

PGresult *key_range_select(const struct ranged_table *table, const struct key_range *range,
                           const char *columns, const char *tail, struct error *err) {
    const struct shape *shape = table->shape;
    char **params = mem_calloc(2u * shape->n_keys + 1, sizeof *params);
    size_t n = 0;
    struct buf sql = {0};
    buf_printf(&sql, "SELECT %s ", columns);
    buf_append_slice(&sql, table->from);
    if (range->has_after) {
        append_end(shape, " > ", n + 1, &sql);
        n += add_end(shape, range->after, params + n);
    }
    if (range->has_upto) {
        append_end(shape, " <= ", n + 1, &sql);
        n += add_end(shape, range->upto, params + n);
    }
    buf_append_text(&sql, tail);
    PGresult *rows =
        pg_query_params(table->conn, buf_text(&sql), (int)n, (const char *const *)params, err);
    for (size_t i = 0; i < n; i++)
        mem_free(params[i]);
    mem_free(params);
    buf_deinit(&sql);
    return rows;
}

/* The key of a result that has the key's columns. */
static void append_key(const struct shape *shape, const PGresult *rows, int row, struct buf *key) {
    struct value *values = mem_calloc(shape->n_columns, sizeof *values);
    for (uint16_t i = 0; i < shape->n_keys; i++)
        values[shape->keys[i]] = (struct value){.kind = VALUE_TEXT,
                                                .len = (uint32_t)PQgetlength(rows, row, i),
                                                .data = PQgetvalue(rows, row, i)};
    (void)!shape_append_key(shape, values, key);
    mem_free(values);
}

static PGresult *select_keys(const struct ranged_table *table, const struct key_range *range,
                             const char *limit, struct error *err) {
    struct buf columns = {0};
    struct buf tail = {0};
    key_select_columns(table->shape, &columns);
    buf_printf(&tail, " ORDER BY %s%s", buf_text(&columns), limit);
    PGresult *rows = key_range_select(table, range, buf_text(&columns), buf_text(&tail), err);
    buf_deinit(&columns);
    buf_deinit(&tail);
    return rows;
}

bool key_range_bound(const struct ranged_table *table, const struct key_range *range, uint32_t n,
                     struct buf *key, bool *found, struct error *err) {
    char limit[48];
    snprintf(limit, sizeof limit, " OFFSET %u LIMIT 1", n - 1);
    PGresult *rows = select_keys(table, range, limit, err);
    if (!rows) return false;
    *found = PQntuples(rows) == 1;
    key->len = 0;
    if (*found) append_key(table->shape, rows, 0, key);
    PQclear(rows);
    return true;
}

bool key_range_keys(const struct ranged_table *table, const struct key_range *range,
                    struct key_page *page, struct error *err) {
    PGresult *rows = select_keys(table, range, "", err);
    if (!rows) return false;
    struct buf key = {0};
    for (int i = 0; i < PQntuples(rows); i++) {
        key.len = 0;
        append_key(table->shape, rows, i, &key);
        key_page_add(page, buf_slice(&key));
    }
    buf_deinit(&key);
    PQclear(rows);
    return true;
}

/* The sum of hashes says nothing of the rows' order, which nobody has to look for then. */
bool key_range_digest(const struct ranged_table *table, const struct key_range *range,
                      struct range_digest *digest, struct error *err) {
    const struct shape *shape = table->shape;
    struct buf columns = {0};
    buf_append_text(&columns, "pg_catalog.count(*), "
                              "pg_catalog.sum(pg_catalog.hashtextextended(ROW(");
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (i) buf_append_text(&columns, ", ");
        pg_quote_ident(&columns, shape->columns[i].source);
    }
    buf_append_text(&columns, ")::pg_catalog.text COLLATE \"C\", 0))");
    PGresult *rows = key_range_select(table, range, buf_text(&columns), "", err);
    buf_deinit(&columns);
    if (!rows) return false;
    digest->rows = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    snprintf(digest->sum, sizeof digest->sum, "%s", PQgetvalue(rows, 0, 1));
    PQclear(rows);
    return true;
}

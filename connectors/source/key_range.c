#include "connectors/source/key_range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pg.h"
#include "connectors/source/key_select.h"

static bool begins_with_one_of(const char *type, const char *const *names, size_t n) {
    for (size_t i = 0; type && i < n; i++) {
        if (strncmp(type, names[i], strlen(names[i])) == 0) return true;
    }
    return false;
}

static enum key_order order_of(const char *type) {
    static const char *const types[] = {"smallint", "integer", "bigint", "oid",
                                        "uuid",     "date",    "bytea",  "boolean"};
    static const char *const with_lengths[] = {"timestamp", "numeric"};
    static const char *const texts[] = {"text", "character"};
    bool array = type && strchr(type, '[');
    for (size_t i = 0; type && i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i]) == 0) return KEY_ORDER_EVERYWHERE;
    }
    if (!array && begins_with_one_of(type, with_lengths, 2)) return KEY_ORDER_EVERYWHERE;
    return !array && begins_with_one_of(type, texts, 2) ? KEY_ORDER_BY_COLLATION : KEY_ORDER_NONE;
}

enum key_order key_range_order(const struct shape *shape) {
    enum key_order order = KEY_ORDER_EVERYWHERE;
    if (shape->many || shape->deltas || shape->n_keys == 0) return KEY_ORDER_NONE;
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        enum key_order each = order_of(shape->columns[shape->keys[i]].type_name);
        if (each < order) order = each;
    }
    return order;
}

static bool append_collation(PGconn *conn, const char *schema, const char *table,
                             const char *column, struct buf *out, struct error *err) {
    const char *params[] = {schema, table, column};
    PGresult *rows = pg_query_params(
        conn,
        "SELECT CASE WHEN a.attcollation = 0 THEN '-' "
        "WHEN l.collname IN ('C', 'POSIX') OR (l.collname = 'default' AND d.datcollate IN ('C', "
        "'POSIX') AND COALESCE(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c') = 'c') THEN 'C' "
        "ELSE pg_catalog.concat_ws('/', s.system_identifier, d.oid, l.oid) END "
        "FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database() "
        "CROSS JOIN pg_catalog.pg_control_system() s "
        "LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation "
        "WHERE n.nspname = $1 AND c.relname = $2 AND a.attname = $3 AND NOT a.attisdropped",
        3, params, err);
    if (!rows) return false;
    if (PQntuples(rows) == 1) buf_append_text(out, PQgetvalue(rows, 0, 0));
    buf_append_char(out, ' ');
    PQclear(rows);
    return true;
}

bool key_range_collations(PGconn *conn, const char *schema, const char *table,
                          const struct shape *shape, bool source, struct buf *out,
                          struct error *err) {
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        const struct shape_column *column = &shape->columns[shape->keys[i]];
        if (!append_collation(conn, schema, table, source ? column->source : column->name, out,
                              err))
            return false;
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

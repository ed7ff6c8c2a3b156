#include "cache/rows/named.h"

#include <string.h>

#include "cache/rows/statement.h"
#include "cache/rows/tablemap.h"

/* ---- the statement ---- */

/* The value asked for, as of the type that PostgreSQL found the parameter to be of. */
static void put_value(void *arg, unsigned number, struct buf *out) {
    const struct table *table = arg;
    if (number < 1 || number > table->n_keys)
        buf_printf(out, "$%u", number); /* PostgreSQL will say */
    else if (table->query->single)
        buf_printf(out, "(($%u::pg_catalog.text[])[1])::%s", number,
                   table->keys[number - 1].sql_type);
    else
        buf_printf(out, "(freshet_k.v%u::%s)", number, table->keys[number - 1].sql_type);
}

/* The length of a column's text in bytes, a colon and the text; NULL: a '-'. What result.h takes apart. */
static void put_text(struct buf *sql, unsigned column) {
    buf_printf(sql,
               "CASE WHEN freshet_q.c%u IS DISTINCT FROM NULL THEN pg_catalog.concat("
               "pg_catalog.octet_length(pg_catalog.convert_to("
               "pg_catalog.format('%%s', freshet_q.c%u), 'UTF8')), ':', "
               "pg_catalog.format('%%s', freshet_q.c%u)) ELSE '-' END",
               column, column, column);
}

/* The columns of the user's SQL get names of our own, but where they are to be seen. */
static void put_source(struct buf *sql, const struct table *table, bool numbered) {
    struct table *arg;
    memcpy(&arg, &(const struct table *){table}, sizeof arg); /* put_value only reads it */
    buf_append_text(sql, " FROM (");
    named_substitute(table->query->sql, put_value, arg, sql);
    buf_append_text(sql, ") AS freshet_q");
    if (!numbered) return;
    for (unsigned i = 1; i <= table->query->n_columns; i++)
        buf_printf(sql, "%sc%u", i == 1 ? "(" : ", ", i);
    buf_append_text(sql, ")");
}

static void put_rows(struct buf *sql, const struct table *table) {
    buf_append_text(sql, "SELECT pg_catalog.concat('[', pg_catalog.string_agg("
                         "pg_catalog.row_to_json(freshet_q.*)::text, ','), ']') AS c1");
    put_source(sql, table, false);
}

static void put_row(struct buf *sql, const struct table *table) {
    buf_append_text(sql, "SELECT pg_catalog.row_to_json(freshet_q.*)::text AS c1");
    put_source(sql, table, false);
    buf_append_text(sql, " LIMIT 1");
}

static void put_one_value(struct buf *sql, const struct table *table) {
    buf_append_text(sql, "SELECT CASE WHEN freshet_q.c1 IS DISTINCT FROM NULL THEN "
                         "pg_catalog.format('%s', freshet_q.c1) END AS c1");
    put_source(sql, table, true);
    buf_append_text(sql, " LIMIT 1");
}

/* The texts of the columns one behind the other, of one row or of all. */
static void put_texts(struct buf *sql, const struct table *table, bool all) {
    buf_append_text(sql, all ? "SELECT pg_catalog.string_agg(" : "SELECT ");
    for (unsigned i = 1; i <= table->query->n_columns; i++) {
        if (i > 1) buf_append_text(sql, " OPERATOR(pg_catalog.||) ");
        put_text(sql, i);
    }
    buf_append_text(sql, all ? ", '') AS c1" : " AS c1");
    put_source(sql, table, true);
    if (!all) buf_append_text(sql, " LIMIT 1");
}

static void put_result(struct buf *sql, const struct table *table) {
    switch (table->query->shape) {
    case SHAPE_ROWS: put_rows(sql, table); return;
    case SHAPE_ROW: put_row(sql, table); return;
    case SHAPE_VALUE: put_one_value(sql, table); return;
    case SHAPE_HASH: put_texts(sql, table, named_has_pairs(table->query)); return;
    case SHAPE_LIST:
    case SHAPE_ZSET: put_texts(sql, table, true); return;
    }
}

/* What a change of a table would call this key: the parameters' identities. */
static void put_identities(struct buf *sql, const struct table *table) {
    struct table *arg;
    memcpy(&arg, &(const struct table *){table}, sizeof arg);
    for (uint16_t i = 0; i < table->n_keys; i++) {
        const char *identity = table->keys[i].type->identity;
        buf_append_text(sql, ", ");
        for (const char *c = identity ? identity : "NULL"; *c; c++) {
            if (c[0] == '%' && c[1] == 's') {
                put_value(arg, i + 1u, sql);
                c++;
            } else {
                buf_append_char(sql, *c);
            }
        }
    }
}

/* A row for each key that is asked for. */
static void put_keys(struct buf *sql, const struct table *table) {
    /* A key without parameters still is one row of the answer. */
    uint16_t n = table->n_keys ? table->n_keys : 1;
    if (table->query->single) {
        buf_append_text(sql, "(VALUES (pg_catalog.cardinality($1::pg_catalog.text[]))) "
                             "AS freshet_k(i)"); /* 1 */
        return;
    }
    buf_append_text(sql, "ROWS FROM (");
    for (uint16_t i = 0; i < n; i++)
        buf_printf(sql, "%spg_catalog.unnest($%u::pg_catalog.text[])", i ? ", " : "", i + 1u);
    buf_append_text(sql, ") WITH ORDINALITY AS freshet_k(");
    for (uint16_t i = 0; i < n; i++)
        buf_printf(sql, "v%u, ", i + 1u);
    buf_append_text(sql, "i)");
}

void named_compose(const struct table *table, struct buf *sql) {
    buf_append_text(sql, "SELECT freshet_k.i, CASE WHEN freshet_k.i = 1 THEN "
                         "pg_catalog.pg_current_snapshot()::text END, freshet_t.c1 IS NOT NULL");
    put_identities(sql, table);
    buf_append_text(sql, ", freshet_t.c1 FROM ");
    put_keys(sql, table);
    buf_append_text(sql, " LEFT JOIN LATERAL (");
    put_result(sql, table);
    buf_append_text(sql, ") AS freshet_t ON true");
    buf_text(sql);
}

#include "cache/rows/statement.h"

#include <string.h>

#include "base/assert.h"
#include "base/pg.h"
#include "cache/rows/rowkey.h"

/* Puts the expression for each %s of the type's format. */
static void append_identity(struct buf *sql, const char *format, const char *expression) {
    for (const char *c = format; *c; c++) {
        if (c[0] == '%' && c[1] == 's') {
            buf_append_text(sql, expression);
            c++;
        } else {
            buf_append_char(sql, *c);
        }
    }
}

/* k.v1::integer, the asked value as PostgreSQL understands it. */
static void append_asked(struct buf *sql, const struct key_column *columns, uint16_t i) {
    buf_printf(sql, "k.v%u::%s", i + 1u, columns[i].sql_type);
}

static void append_column(struct buf *sql, const char *name) {
    buf_append_text(sql, "r.");
    pg_quote_ident(sql, name);
}

/* ", <expression> AS c1, ..." */
static void append_spread(struct buf *sql, const struct table *table) {
    for (uint16_t i = 0; i < table->n_columns; i++) {
        bool servers = table->json[i].kind == ROWJSON_SERVERS;
        buf_append_text(sql, servers ? ", pg_catalog.to_json(" : ", ");
        append_column(sql, table->columns[i]);
        buf_printf(sql, "%s AS c%u", servers ? ")" : "", i + 1u);
    }
}

static void append_row(struct buf *sql, const struct statement *statement) {
    const struct table *table = statement->table;
    if (statement->form == FORM_HASH) {
        for (uint16_t i = 0; i < table->n_columns; i++) {
            buf_append_text(sql, ", ");
            append_column(sql, table->columns[i]);
            buf_printf(sql, " AS c%u", i + 1u);
        }
    } else if (statement_is_spread(statement)) {
        append_spread(sql, table);
    } else if (table->all_columns) {
        buf_append_text(sql, ", pg_catalog.row_to_json(r.*) AS c1");
    } else {
        buf_append_text(sql, ", (SELECT pg_catalog.row_to_json(s.*) FROM (SELECT ");
        for (uint16_t i = 0; i < table->n_columns; i++) {
            if (i > 0) buf_append_text(sql, ", ");
            append_column(sql, table->columns[i]);
        }
        buf_append_text(sql, ") s) AS c1");
    }
}

/* One NULL for each column that the table has now: where that has changed, a prepared statement fails and a new one shows it. */
static void append_guard(struct buf *sql, const struct statement *statement) {
    if (!statement_is_guarded(statement)) return;
    buf_append_text(sql, ", (NULL::");
    pg_quote_table(sql, statement->table->schema, statement->table->name);
    buf_append_text(sql, ").*");
}

/* The rows of tables that inherit from it are other tables' rows to the change stream, and here. */
static void append_table(struct buf *sql, const struct table *table) {
    if (!table->partitioned) buf_append_text(sql, "ONLY ");
    pg_quote_table(sql, table->schema, table->name);
    buf_append_text(sql, " AS r");
}

static void append_lateral(struct buf *sql, const struct statement *statement) {
    const struct table *table = statement->table;
    const struct unique_key *unique = statement->unique;
    const struct key_column *asked = rowkey_columns(table, unique);
    uint16_t n_asked = unique ? unique->n_columns : table->n_keys;
    struct buf expression = {0};
    buf_append_text(sql, "(SELECT true AS f");
    for (uint16_t i = 0; i < table->n_keys; i++) {
        const char *identity = table->keys[i].type->identity;
        if (!identity) continue;
        expression.len = 0;
        append_column(&expression, table->keys[i].name);
        buf_append_text(sql, ", ");
        append_identity(sql, identity, buf_text(&expression));
        buf_printf(sql, " AS k%u", i + 1u);
    }
    append_row(sql, statement);
    if (table->left_sql) buf_printf(sql, ", %s AS x", table->left_sql);
    buf_append_text(sql, " FROM ");
    append_table(sql, table);
    buf_append_text(sql, " WHERE ");
    for (uint16_t i = 0; i < n_asked; i++) {
        if (i > 0) buf_append_text(sql, " AND ");
        append_column(sql, asked[i].name);
        buf_append_text(sql, " = ");
        append_asked(sql, asked, i);
    }
    buf_append_text(sql, " LIMIT 1)");
    buf_deinit(&expression);
}

/* The identity of what was asked; NULL for a type that has none. */
static void append_asked_identity(struct buf *sql, const struct key_column *columns, uint16_t i) {
    const char *identity = columns[i].type->identity;
    struct buf expression = {0};
    append_asked(&expression, columns, i);
    if (identity)
        append_identity(sql, identity, buf_text(&expression));
    else
        buf_append_text(sql, "NULL");
    buf_deinit(&expression);
}

static void append_identities(struct buf *sql, const struct table *table,
                              const struct unique_key *unique) {
    for (uint16_t i = 0; i < table->n_keys; i++) {
        if (!table->keys[i].type->identity) {
            buf_append_text(sql, ", NULL");
            continue;
        }
        buf_printf(sql, ", CASE WHEN t.f THEN t.k%u ", i + 1u);
        if (!unique) {
            buf_append_text(sql, "ELSE ");
            append_asked_identity(sql, table->keys, i);
        }
        buf_append_text(sql, " END");
    }
    for (uint16_t i = 0; unique && i < unique->n_columns; i++) {
        buf_append_text(sql, ", ");
        append_asked_identity(sql, unique->columns, i);
    }
}

/* k(v1, ..., i): a row for each key that is asked for, or of one key. */
static void append_keys(struct buf *sql, uint16_t n_asked, bool one) {
    if (one) {
        buf_append_text(sql, "(SELECT ");
        for (uint16_t i = 0; i < n_asked; i++)
            buf_printf(sql, "$%u::pg_catalog.text AS v%u, ", i + 1u, i + 1u);
        buf_append_text(sql, "1 AS i) AS k");
        return;
    }
    buf_append_text(sql, "ROWS FROM (");
    for (uint16_t i = 0; i < n_asked; i++)
        buf_printf(sql, "%spg_catalog.unnest($%u::pg_catalog.text[])", i ? ", " : "", i + 1u);
    buf_append_text(sql, ") WITH ORDINALITY AS k(");
    for (uint16_t i = 0; i < n_asked; i++)
        buf_printf(sql, "v%u, ", i + 1u);
    buf_append_text(sql, "i)");
}

#define SNAPSHOT "pg_catalog.pg_current_snapshot()::text"

static void compose_each(const struct statement *statement, struct buf *sql) {
    const struct table *table = statement->table;
    const struct unique_key *unique = statement->unique;
    buf_append_text(sql, "SELECT k.i, CASE WHEN k.i = 1 THEN " SNAPSHOT " END, t.f IS NOT NULL");
    append_identities(sql, table, unique);
    for (int i = 1; i <= statement_row_columns(statement); i++)
        buf_printf(sql, ", t.c%d", i);
    if (table->left_sql) buf_append_text(sql, ", t.x");
    append_guard(sql, statement);
    buf_append_text(sql, " FROM ");
    append_keys(sql, unique ? unique->n_columns : table->n_keys, statement->way == STATEMENT_ONE);
    buf_append_text(sql, " LEFT JOIN LATERAL ");
    append_lateral(sql, statement);
    buf_append_text(sql, " t ON true");
}

/* OFFSET 0: the snapshot is taken apart once, not for each row. */
static void compose_any(const struct statement *statement, struct buf *sql) {
    const struct table *table = statement->table;
    ASSERT(statement_takes_any(table) && !statement->unique);
    buf_append_text(sql, "SELECT s.s, ");
    append_column(sql, table->keys[0].name);
    append_row(sql, statement);
    if (table->left_sql) buf_printf(sql, ", %s", table->left_sql);
    append_guard(sql, statement);
    buf_append_text(sql, " FROM (SELECT " SNAPSHOT " AS s OFFSET 0) AS s LEFT JOIN ");
    append_table(sql, table);
    buf_append_text(sql, " ON ");
    append_column(sql, table->keys[0].name);
    buf_printf(sql, " = ANY ($1::%s[])", table->keys[0].sql_type);
}

void statement_compose(const struct statement *statement, struct buf *sql) {
    ASSERT(!statement->table->query || statement->way == STATEMENT_EACH);
    if (statement->table->query)
        named_compose(statement->table, sql);
    else if (statement->way == STATEMENT_ANY)
        compose_any(statement, sql);
    else
        compose_each(statement, sql);
    buf_text(sql);
}

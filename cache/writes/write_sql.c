#include "cache/writes/write_sql.h"

#include <string.h>

#include "base/assert.h"
#include "base/pg.h"

static void append_column(struct buf *sql, const char *alias, const char *name) {
    buf_append_text(sql, alias);
    pg_quote_ident(sql, name);
}

/* The rows of tables that inherit from it are other tables' rows. */
static void append_table(struct buf *sql, const struct table *table) {
    buf_append_text(sql, table->partitioned ? " " : " ONLY ");
    pg_quote_table(sql, table->schema, table->name);
    buf_append_text(sql, " AS r");
}

static const struct key_column *key_columns(const struct write_op *op) {
    return rowkey_columns(op->table, op->row.unique);
}

static void append_where(struct buf *sql, const struct write_op *op) {
    const struct key_column *columns = key_columns(op);
    buf_append_text(sql, " WHERE ");
    for (uint16_t i = 0; i < op->row.n; i++) {
        if (i > 0) buf_append_text(sql, " AND ");
        append_column(sql, "r.", columns[i].name);
        buf_printf(sql, " = $%u::%s", i + 1u, columns[i].sql_type);
    }
}

/* ---- images ---- */

static void append_identity(struct buf *sql, const struct keytype *type, const char *column) {
    struct buf expression = {0};
    append_column(&expression, "r.", column);
    if (!type->identity) buf_append_text(sql, "NULL::pg_catalog.text");
    for (const char *c = type->identity; c && *c; c++) {
        if (c[0] == '%' && c[1] == 's') {
            buf_append_text(sql, buf_text(&expression));
            c++;
        } else {
            buf_append_char(sql, *c);
        }
    }
    buf_deinit(&expression);
}

/* Calls back for each column of the image, in order. */
static int each_image_column(const struct table *table, struct buf *sql,
                             void (*put)(struct buf *sql, const struct keytype *type,
                                         const char *column, int number)) {
    int n = 0;
    for (uint16_t i = 0; i < table->n_keys; i++)
        put(sql, table->keys[i].type, table->keys[i].name, ++n);
    for (uint16_t u = 0; u < table->n_uniques; u++) {
        const struct unique_key *unique = &table->uniques[u];
        for (uint16_t i = 0; unique->exact && i < unique->n_columns; i++)
            put(sql, unique->columns[i].type, unique->columns[i].name, ++n);
    }
    for (uint16_t d = 0; d < table->n_dependents; d++) {
        const struct dependent *dependent = &table->dependents[d];
        for (uint16_t i = 0; dependent->columns && i < dependent->query->n_keys; i++)
            put(sql, dependent->query->keys[i].type, dependent->columns[i], ++n);
    }
    return n;
}

static void put_nothing(struct buf *sql, const struct keytype *type, const char *column,
                        int number) {
    (void)sql;
    (void)type;
    (void)column;
    (void)number;
}

static void put_identity(struct buf *sql, const struct keytype *type, const char *column,
                         int number) {
    buf_append_text(sql, ", ");
    append_identity(sql, type, column);
    buf_printf(sql, " AS i%d", number);
}

int write_sql_image_width(const struct table *table) {
    return each_image_column(table, NULL, put_nothing);
}

/* ", r.id::text AS i1, ..." */
static void append_image(struct buf *sql, const struct table *table) {
    each_image_column(table, sql, put_identity);
}

/* ", u.i1, ..." of an image that stands in a part of the statement; NULL: there is none. */
static void append_image_of(struct buf *sql, const struct table *table, const char *part) {
    int n = write_sql_image_width(table);
    for (int i = 1; i <= n; i++) {
        if (part)
            buf_printf(sql, ", %s.i%d", part, i);
        else
            buf_append_text(sql, ", NULL");
    }
}

/* ---- the parts of a statement ---- */

static const char xid[] = "pg_catalog.pg_current_xact_id()::pg_catalog.text AS x";

/* o: the row as it was, which is nobody else's to change from here on. */
static void append_old(struct buf *sql, const struct write_op *op) {
    buf_append_text(sql, "o AS MATERIALIZED (SELECT true AS f, ");
    bool counts = op->kind == WRITE_UPDATE || op->kind == WRITE_UPDATE_NEW;
    for (uint16_t i = 0; counts && i < op->n_fields; i++) {
        buf_append_text(sql, i ? " + (" : "(");
        append_column(sql, "r.", op->table->columns[op->fields[i].column]);
        buf_append_text(sql, " IS NULL)::pg_catalog.int4");
    }
    buf_append_text(sql, counts ? " AS n" : "NULL AS n");
    append_image(sql, op->table);
    buf_append_text(sql, " FROM");
    append_table(sql, op->table);
    append_where(sql, op);
    buf_append_text(sql, op->kind == WRITE_INSERT ? ")" : " FOR NO KEY UPDATE)");
}

static void append_returning(struct buf *sql, const struct write_op *op) {
    buf_printf(sql, " RETURNING %s", xid);
    append_image(sql, op->table);
    buf_append_char(sql, ')');
}

/* The result's one row: `extra`, and the images of parts u and `before`. */
static void append_result(struct buf *sql, const struct write_op *op, const char *fits,
                          const char *extra, const char *before) {
    buf_printf(sql, " SELECT %s, %s IS NOT NULL, %s, u.x", fits, before[0] == 'o' ? "o.f" : "u.x",
               extra);
    append_image_of(sql, op->table, op->kind == WRITE_DELETE ? NULL : "u");
    append_image_of(sql, op->table, before);
    buf_append_text(sql, " FROM (VALUES (1)) AS one LEFT JOIN u ON true");
    if (before[0] == 'o') buf_append_text(sql, " LEFT JOIN o ON true");
    buf_text(sql);
}

static void compose_update(const struct write_op *op, struct buf *sql) {
    unsigned parameter = op->row.n;
    buf_append_text(sql, "WITH ");
    append_old(sql, op);
    buf_append_text(sql, ", u AS (UPDATE");
    append_table(sql, op->table);
    buf_append_text(sql, " SET ");
    for (uint16_t i = 0; i < op->n_fields; i++) {
        append_column(sql, i ? ", " : "", op->table->columns[op->fields[i].column]);
        if (op->fields[i].value.data)
            buf_printf(sql, " = $%u", ++parameter);
        else
            buf_append_text(sql, " = NULL");
    }
    buf_append_text(sql, " FROM o");
    append_where(sql, op);
    if (op->kind == WRITE_UPDATE_NEW) buf_append_text(sql, " AND o.n > 0");
    append_returning(sql, op);
    append_result(sql, op, "true", "o.n", "o");
}

/* Is it a column by which keys of others are known? Then the row's old image is not its new one. */
static bool is_in_image(const struct table *table, const char *column) {
    for (uint16_t i = 0; i < table->n_keys; i++)
        if (strcmp(table->keys[i].name, column) == 0) return true;
    for (uint16_t u = 0; u < table->n_uniques; u++)
        for (uint16_t i = 0; i < table->uniques[u].n_columns; i++)
            if (strcmp(table->uniques[u].columns[i].name, column) == 0) return true;
    for (uint16_t d = 0; d < table->n_dependents; d++)
        for (uint16_t i = 0; table->dependents[d].columns && i < table->dependents[d].query->n_keys;
             i++)
            if (strcmp(table->dependents[d].columns[i], column) == 0) return true;
    return false;
}

static void compose_add(const struct write_op *op, struct buf *sql) {
    const char *column = op->table->columns[op->fields[0].column];
    bool old = is_in_image(op->table, column);
    buf_append_text(sql, "WITH ");
    if (old) {
        append_old(sql, op);
        buf_append_text(sql, ", ");
    }
    buf_append_text(sql, "u AS (UPDATE");
    append_table(sql, op->table);
    append_column(sql, " SET ", column);
    append_column(sql, " = coalesce(r.", column);
    buf_printf(sql, ", 0) + $%u", op->row.n + 1u);
    if (old) buf_append_text(sql, " FROM o");
    append_where(sql, op);
    buf_append_text(sql, " RETURNING ");
    append_column(sql, "r.", column);
    buf_printf(sql, "::pg_catalog.text AS v, %s", xid);
    append_image(sql, op->table);
    buf_append_char(sql, ')');
    append_result(sql, op, "true", "u.v", old ? "o" : "u");
}

static void compose_delete(const struct write_op *op, struct buf *sql) {
    buf_append_text(sql, "WITH u AS (DELETE FROM");
    append_table(sql, op->table);
    append_where(sql, op);
    append_returning(sql, op);
    append_result(sql, op, "true", "NULL", "u");
}

/* ---- JSON ---- */

static bool has_name(const struct key_column *columns, uint16_t n, const char *name) {
    for (uint16_t i = 0; i < n; i++)
        if (strcmp(columns[i].name, name) == 0) return true;
    return false;
}

static const char *field_name(const struct write_op *op, uint16_t i) {
    return op->table->columns[op->fields[i].column];
}

static bool is_asked(const struct write_op *op, uint16_t i) {
    return has_name(key_columns(op), op->row.n, field_name(op, i));
}

/* A column of the primary key is not set, but found to be what it is. */
static bool is_set(const struct write_op *op, uint16_t i) {
    return !is_asked(op, i) && !has_name(op->table->keys, op->table->n_keys, field_name(op, i));
}

/* Are the object's key columns those of the key? */
static void append_fits(struct buf *sql, const struct write_op *op) {
    const struct key_column *columns = key_columns(op);
    buf_append_text(sql, "(true");
    for (uint16_t k = 0; k < op->row.n; k++) {
        bool given = false;
        for (uint16_t i = 0; i < op->n_fields; i++)
            given |= strcmp(field_name(op, i), columns[k].name) == 0;
        if (!given) continue;
        append_column(sql, " AND p.", columns[k].name);
        buf_printf(sql, " = $%u::%s", k + 1u, columns[k].sql_type);
    }
    buf_append_text(sql, ") IS TRUE");
}

static bool append_assignments(struct buf *sql, const struct write_op *op, const char *from) {
    bool any = false;
    for (uint16_t i = 0; i < op->n_fields; i++) {
        if (!is_set(op, i)) continue;
        append_column(sql, any ? ", " : "", field_name(op, i));
        buf_printf(sql, " = %s.", from);
        pg_quote_ident(sql, field_name(op, i));
        any = true;
    }
    return any;
}

/* Into the row that is there. Where there is nothing to set it stays what it is. */
static void append_replace(struct buf *sql, const struct write_op *op) {
    struct buf assignments = {0};
    buf_append_text(sql, ", e AS (");
    if (!append_assignments(&assignments, op, "p")) {
        buf_append_text(sql, "SELECT NULL::pg_catalog.text AS x");
        append_image_of(sql, op->table, "o");
        buf_append_text(sql, " FROM o)");
        return;
    }
    buf_append_text(sql, "UPDATE");
    append_table(sql, op->table);
    buf_append_text(sql, " SET ");
    buf_append_slice(sql, buf_slice(&assignments));
    buf_append_text(sql, " FROM p, o");
    append_where(sql, op);
    buf_append_text(sql, " AND ");
    append_fits(sql, op);
    for (uint16_t i = 0; i < op->n_fields; i++) {
        if (is_set(op, i) || is_asked(op, i)) continue;
        append_column(sql, " AND r.", field_name(op, i));
        append_column(sql, " = p.", field_name(op, i));
    }
    append_returning(sql, op);
    buf_deinit(&assignments);
}

/* A NOT NULL column that the object lacks would refuse the INSERT also where there is a row to update; so that comes
 * first, and a conflict here is with a row that came meanwhile. */
static void append_insert(struct buf *sql, const struct write_op *op) {
    const struct key_column *columns = key_columns(op);
    buf_append_text(sql, ", n AS (INSERT INTO ");
    pg_quote_table(sql, op->table->schema, op->table->name);
    buf_append_text(sql, " AS r (");
    for (uint16_t k = 0; k < op->row.n; k++)
        append_column(sql, k ? ", " : "", columns[k].name);
    for (uint16_t i = 0; i < op->n_fields; i++)
        if (!is_asked(op, i)) append_column(sql, ", ", field_name(op, i));
    buf_append_text(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    for (uint16_t k = 0; k < op->row.n; k++)
        buf_printf(sql, "%s$%u::%s", k ? ", " : "", k + 1u, columns[k].sql_type);
    for (uint16_t i = 0; i < op->n_fields; i++)
        if (!is_asked(op, i)) append_column(sql, ", p.", field_name(op, i));
    buf_append_text(sql, " FROM p WHERE NOT EXISTS (SELECT FROM o) AND ");
    append_fits(sql, op);
    buf_append_text(sql, " ON CONFLICT (");
    for (uint16_t k = 0; k < op->row.n; k++)
        append_column(sql, k ? ", " : "", columns[k].name);
    struct buf assignments = {0};
    if (op->kind == WRITE_UPSERT && append_assignments(&assignments, op, "EXCLUDED")) {
        buf_append_text(sql, ") DO UPDATE SET ");
        buf_append_slice(sql, buf_slice(&assignments));
    } else {
        buf_append_text(sql, ") DO NOTHING");
    }
    append_returning(sql, op);
    buf_deinit(&assignments);
}

static void compose_json(const struct write_op *op, struct buf *sql) {
    struct buf fits = {0};
    buf_append_text(sql, "WITH p AS MATERIALIZED (SELECT q.* FROM "
                         "pg_catalog.json_populate_record(NULL::");
    pg_quote_table(sql, op->table->schema, op->table->name);
    buf_printf(sql, ", $%u::pg_catalog.json) AS q), ", op->row.n + 1u);
    append_old(sql, op);
    bool both = op->kind == WRITE_UPSERT;
    if (op->kind != WRITE_INSERT) append_replace(sql, op);
    if (op->kind != WRITE_REPLACE) append_insert(sql, op);
    buf_printf(sql, ", u AS (%s%s%s)", op->kind != WRITE_INSERT ? "SELECT * FROM e" : "",
               both ? " UNION ALL " : "", op->kind != WRITE_REPLACE ? "SELECT * FROM n" : "");
    buf_append_text(&fits, "(SELECT ");
    append_fits(&fits, op);
    buf_append_text(&fits, " FROM p)");
    append_result(sql, op, buf_text(&fits), "NULL", "o");
    buf_deinit(&fits);
}

void write_sql_compose(const struct write_op *op, struct buf *sql) {
    switch (op->kind) {
    case WRITE_UPDATE:
    case WRITE_UPDATE_NEW: compose_update(op, sql); return;
    case WRITE_ADD: compose_add(op, sql); return;
    case WRITE_UPSERT:
    case WRITE_INSERT:
    case WRITE_REPLACE: compose_json(op, sql); return;
    case WRITE_DELETE: compose_delete(op, sql); return;
    case WRITE_READ:
    case WRITE_HOLD: break;
    }
    ASSERT_UNREACHABLE();
}

void write_sql_compose_hold(const struct write_op *op, struct buf *sql) {
    buf_append_text(sql, "SELECT FROM");
    append_table(sql, op->table);
    append_where(sql, op);
    buf_append_text(sql, " FOR NO KEY UPDATE");
    buf_text(sql);
}

int write_sql_parameters(const struct write_op *op, const char **parameters) {
    int n = 0;
    for (uint16_t i = 0; i < op->row.n; i++)
        parameters[n++] = op->row.values[i].data;
    if (write_is_json(op)) parameters[n++] = op->json.data;
    for (uint16_t i = 0; !write_is_json(op) && i < op->n_fields; i++)
        if (op->fields[i].value.data) parameters[n++] = op->fields[i].value.data;
    return n;
}

#include "cdc/snapshot_tables.h"

#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"

/* A row a column, tables in the order in which they are read. The publication's column lists and row filters
 * came with 15, hence to_jsonb. Generated columns are published from 18 on, where the publication says so. */
enum {
    COL_OID,
    COL_SCHEMA,
    COL_TABLE,
    COL_PARTITIONED,
    COL_ROW_SECURITY,
    COL_IDENTITY_KIND,
    COL_ROW_FILTER,
    COL_NAME,
    COL_TYPE,
    COL_TYPMOD,
    COL_IN_IDENTITY,
};

static const char load_sql[] =
    "SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', row_security_active(c.oid),"
    " c.relreplident, coalesce(to_jsonb(p)->>'rowfilter', ''), a.attname, a.atttypid, a.atttypmod,"
    " CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE EXISTS ("
    "  SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)"
    "  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END) END"
    " FROM pg_publication_tables p JOIN pg_namespace n ON n.nspname = p.schemaname"
    " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename"
    " LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "  AND (a.attgenerated = '' OR current_setting('server_version_num')::int >= 180000)"
    "  AND coalesce(to_jsonb(p)->'attnames' @> to_jsonb(a.attname::text), true)"
    " WHERE p.pubname = ";
static const char load_order_sql[] =
    " ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", a.attnum";

static PGresult *query(const struct pgwait *wait, PGconn *conn, const char *publication,
                       struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, load_sql);
    pg_quote_literal(&sql, publication);
    buf_append_text(&sql, load_order_sql);
    PGresult *rows = pgwait_query(wait, conn, buf_text(&sql), err);
    buf_deinit(&sql);
    return rows;
}

static const char *text(const PGresult *rows, int row, int column) {
    return PQgetvalue(rows, row, column);
}

static uint32_t number(const PGresult *rows, int row, int column) {
    return (uint32_t)strtoul(text(rows, row, column), NULL, 10);
}

static struct slice copy_text(struct arena *arena, const char *value) {
    return slice_from(arena_strdup(arena, value));
}

/* The rows of one table begin at `row`; returns how many there are. */
static int count_rows(const PGresult *rows, int row) {
    int n = 1;
    while (row + n < PQntuples(rows) &&
           strcmp(text(rows, row, COL_OID), text(rows, row + n, COL_OID)) == 0)
        n++;
    return n;
}

static void add_columns(struct snapshot_tables *tables, struct snapshot_table *table,
                        const PGresult *rows, int row, int n) {
    struct pgoutput_column *columns = arena_zalloc(tables->arena, (size_t)n * sizeof *columns);
    for (int i = 0; i < n; i++)
        columns[i] = (struct pgoutput_column){
            .name = copy_text(tables->arena, text(rows, row + i, COL_NAME)),
            .type_oid = number(rows, row + i, COL_TYPE),
            .typmod = atoi(text(rows, row + i, COL_TYPMOD)),
            .identity = text(rows, row + i, COL_IN_IDENTITY)[0] == 't'};
    bool none = n == 1 && PQgetisnull(rows, row, COL_NAME);
    table->draft.n_columns = none ? 0 : (uint16_t)n;
    table->draft.columns = columns;
}

static void add_table(struct snapshot_tables *tables, const PGresult *rows, int row, int n) {
    struct arena *arena = tables->arena;
    struct snapshot_table *table = &tables->tables[tables->n++];
    struct slice schema = copy_text(arena, text(rows, row, COL_SCHEMA));
    struct slice name = copy_text(arena, text(rows, row, COL_TABLE));
    *table = (struct snapshot_table){
        .draft = {.oid = number(rows, row, COL_OID),
                  .schema = schema,
                  .name = name,
                  .replica_identity = text(rows, row, COL_IDENTITY_KIND)[0]},
        .schema = schema.data,
        .name = name.data,
        .partitioned = text(rows, row, COL_PARTITIONED)[0] == 't',
        .row_security = text(rows, row, COL_ROW_SECURITY)[0] == 't',
        .row_filter = arena_strdup(arena, text(rows, row, COL_ROW_FILTER))};
    add_columns(tables, table, rows, row, n);
}

struct snapshot_tables *snapshot_tables_load(const struct pgwait *wait, PGconn *conn,
                                             const char *publication, uint32_t n_patterns,
                                             const char *const *patterns, struct error *err) {
    PGresult *rows = query(wait, conn, publication, err);
    if (!rows) return NULL;
    struct arena *arena = arena_create(64 * 1024);
    struct snapshot_tables *tables = arena_zalloc(arena, sizeof *tables);
    tables->arena = arena;
    size_t n_rows = (size_t)PQntuples(rows);
    tables->tables = arena_zalloc(arena, (n_rows + 1) * sizeof *tables->tables);
    for (int row = 0, n; row < (int)n_rows; row += n) {
        n = count_rows(rows, row);
        if (pattern_match_any(n_patterns, patterns, text(rows, row, COL_SCHEMA),
                              text(rows, row, COL_TABLE)))
            add_table(tables, rows, row, n);
    }
    PQclear(rows);
    return tables;
}

void snapshot_tables_destroy(struct snapshot_tables **tables) {
    if (!*tables) return;
    struct arena *arena = (*tables)->arena;
    arena_destroy(&arena);
    *tables = NULL;
}

/* Children of plain inheritance are tables of their own in a publication, hence ONLY. */
void snapshot_tables_copy_sql(const struct snapshot_table *table, struct buf *sql) {
    buf_append_text(sql, "COPY (SELECT ");
    for (uint16_t i = 0; i < table->draft.n_columns; i++) {
        if (i) buf_append_text(sql, ", ");
        pg_quote_ident(sql, table->draft.columns[i].name.data);
    }
    buf_append_text(sql, table->partitioned ? " FROM " : " FROM ONLY ");
    pg_quote_table(sql, table->schema, table->name);
    if (table->row_filter[0]) {
        buf_append_text(sql, " WHERE ");
        buf_append_text(sql, table->row_filter);
    }
    buf_append_text(sql, ") TO STDOUT");
}

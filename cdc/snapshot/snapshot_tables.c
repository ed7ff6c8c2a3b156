#include "cdc/snapshot/snapshot_tables.h"

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
    COL_MAY_LACK_VALUES,
};

/* The view is asked once, before it is joined: the planner takes it for cheap, and would run it for each column. */
static const char members_sql[] =
    "WITH p AS MATERIALIZED (SELECT p.schemaname, p.tablename, to_jsonb(p)->>'rowfilter' AS"
    " row_filter, CASE WHEN to_jsonb(p)->'attnames' IS NOT NULL THEN ARRAY(SELECT"
    " jsonb_array_elements_text(to_jsonb(p)->'attnames')) END AS attnames"
    " FROM pg_publication_tables p WHERE p.pubname = ";
static const char load_sql[] =
    ") SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', row_security_active(c.oid),"
    " c.relreplident, coalesce(p.row_filter, ''), a.attname, a.atttypid, a.atttypmod,"
    " CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false ELSE EXISTS ("
    "  SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)"
    "  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END) END,"
    " c.relreplident <> 'f'"
    " FROM p JOIN pg_namespace n ON n.nspname = p.schemaname"
    " JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename"
    " LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "  AND (a.attgenerated = '' OR current_setting('server_version_num')::int >= 180000)"
    "  AND (p.attnames IS NULL OR a.attname::text = ANY (p.attnames))";
static const char load_order_sql[] =
    " ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\", a.attnum";

/* How large they are, of partitioned ones the files of all partitions. */
enum { SIZE_OID, SIZE_PAGES, SIZE_ROWS, SIZE_FILENODE, SIZE_TOASTS };

static const char sizes_sql[] =
    "SELECT c.oid, coalesce(max(pg_relation_size(l.oid)), 0)"
    "  / current_setting('block_size')::bigint,"
    " coalesce(sum(greatest(l.reltuples, 0)), 0),"
    " md5(coalesce(string_agg(pg_relation_filenode(l.oid)::text, ',' ORDER BY l.oid), '')),"
    " coalesce(bool_or(pg_relation_size(nullif(l.reltoastrelid, 0)) > 0), false)"
    " FROM pg_class c LEFT JOIN LATERAL (SELECT c.oid AS leaf WHERE c.relkind <> 'p'"
    "  UNION ALL SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf AND c.relkind = 'p') t"
    "  ON true LEFT JOIN pg_class l ON l.oid = t.leaf WHERE c.oid = ANY ('{";

static PGresult *query_columns(const struct pgwait *wait, PGconn *conn,
                               const struct snapshot_choice *choice, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, members_sql);
    pg_quote_literal(&sql, choice->publication);
    if (choice->schema) {
        buf_append_text(&sql, " AND p.schemaname = ");
        pg_quote_literal(&sql, choice->schema);
        buf_append_text(&sql, " AND p.tablename = ");
        pg_quote_literal(&sql, choice->name);
    }
    buf_append_text(&sql, load_sql);
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
    table->toasts = text(rows, row, COL_MAY_LACK_VALUES)[0] == 't'; /* see load_sizes */
    bool none = n == 1 && PQgetisnull(rows, row, COL_NAME);
    table->draft.n_columns = none ? 0 : (uint16_t)n;
    table->draft.columns = columns;
}

/* Both conditions, as one; "": there is none. */
static const char *join_filters(struct arena *arena, const struct change_sink *sink,
                                const char *schema, const char *name, const char *published) {
    struct buf wanted = {0};
    if (sink && sink->ops->snapshot_where)
        sink->ops->snapshot_where(sink->self, schema, name, &wanted);
    const char *joined = arena_strdup(arena, published);
    if (wanted.len && *published) {
        buf_printf(&wanted, " AND (%s)", published);
        joined = arena_strdup(arena, buf_text(&wanted));
    } else if (wanted.len) {
        joined = arena_strdup(arena, buf_text(&wanted));
    }
    buf_deinit(&wanted);
    return joined;
}

static void add_table(struct snapshot_tables *tables, const struct change_sink *sink,
                      const PGresult *rows, int row, int n) {
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
        .row_filter =
            join_filters(arena, sink, schema.data, name.data, text(rows, row, COL_ROW_FILTER)),
        .filenode = ""};
    add_columns(tables, table, rows, row, n);
}

static struct snapshot_table *find_oid(struct snapshot_tables *tables, uint32_t oid) {
    for (uint32_t i = 0; i < tables->n; i++) {
        if (tables->tables[i].draft.oid == oid) return &tables->tables[i];
    }
    return NULL;
}

static bool load_sizes(const struct pgwait *wait, PGconn *conn, struct snapshot_tables *tables,
                       struct error *err) {
    if (!tables->n) return true;
    struct buf sql = {0};
    buf_append_text(&sql, sizes_sql);
    for (uint32_t i = 0; i < tables->n; i++)
        buf_printf(&sql, "%s%u", i ? "," : "", tables->tables[i].draft.oid);
    buf_append_text(&sql, "}') GROUP BY c.oid");
    PGresult *rows = pgwait_query(wait, conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return false;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct snapshot_table *table = find_oid(tables, number(rows, row, SIZE_OID));
        if (!table) continue;
        table->toasts &= text(rows, row, SIZE_TOASTS)[0] == 't';
        table->n_pages = number(rows, row, SIZE_PAGES);
        table->estimated_rows = strtod(text(rows, row, SIZE_ROWS), NULL);
        table->filenode = arena_strdup(tables->arena, text(rows, row, SIZE_FILENODE));
    }
    PQclear(rows);
    return true;
}

static bool is_chosen(const struct snapshot_choice *choice, const char *schema, const char *name) {
    return choice->schema || pattern_match_any(choice->n_patterns, choice->patterns, schema, name);
}

struct snapshot_tables *snapshot_tables_load(const struct pgwait *wait, PGconn *conn,
                                             const struct snapshot_choice *choice,
                                             struct error *err) {
    PGresult *rows = query_columns(wait, conn, choice, err);
    if (!rows) return NULL;
    struct arena *arena = arena_create(64 * 1024);
    struct snapshot_tables *tables = arena_zalloc(arena, sizeof *tables);
    tables->arena = arena;
    size_t n_rows = (size_t)PQntuples(rows);
    tables->tables = arena_zalloc(arena, (n_rows + 1) * sizeof *tables->tables);
    for (int row = 0, n; row < (int)n_rows; row += n) {
        n = count_rows(rows, row);
        if (is_chosen(choice, text(rows, row, COL_SCHEMA), text(rows, row, COL_TABLE)))
            add_table(tables, choice->sink, rows, row, n);
    }
    PQclear(rows);
    if (!load_sizes(wait, conn, tables, err)) snapshot_tables_destroy(&tables);
    return tables;
}

void snapshot_tables_destroy(struct snapshot_tables **tables) {
    if (!*tables) return;
    struct arena *arena = (*tables)->arena;
    arena_destroy(&arena);
    *tables = NULL;
}

/* Children of plain inheritance are tables of their own in a publication, hence ONLY. */
void snapshot_tables_from_sql(const struct snapshot_table *table, const char *condition,
                              struct buf *sql) {
    buf_append_text(sql, table->partitioned ? " FROM " : " FROM ONLY ");
    pg_quote_table(sql, table->schema, table->name);
    if (table->row_filter[0]) buf_printf(sql, " WHERE (%s)", table->row_filter);
    if (*condition) buf_printf(sql, " %s %s", table->row_filter[0] ? "AND" : "WHERE", condition);
}

void snapshot_tables_copy_sql(const struct snapshot_table *table, const char *condition,
                              const char *tail, struct buf *sql) {
    buf_append_text(sql, "COPY (SELECT ");
    for (uint16_t i = 0; i < table->draft.n_columns; i++) {
        if (i) buf_append_text(sql, ", ");
        pg_quote_ident(sql, table->draft.columns[i].name.data);
    }
    snapshot_tables_from_sql(table, condition, sql);
    buf_append_text(sql, tail);
    buf_append_text(sql, ") TO STDOUT");
}

struct snapshot_members *snapshot_members_load(const struct pgwait *wait, PGconn *conn,
                                               const char *publication, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SELECT c.oid, n.nspname, c.relname FROM pg_publication_rel r"
                          " JOIN pg_publication p ON p.oid = r.prpubid"
                          " JOIN pg_class c ON c.oid = r.prrelid"
                          " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = ");
    pg_quote_literal(&sql, publication);
    buf_append_text(&sql, " ORDER BY c.oid");
    PGresult *rows = pgwait_query(wait, conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return NULL;
    struct arena *arena = arena_create(4096);
    struct snapshot_members *members = arena_zalloc(arena, sizeof *members);
    members->arena = arena;
    members->n = (uint32_t)PQntuples(rows);
    members->members = arena_zalloc(arena, (members->n + 1) * sizeof *members->members);
    for (uint32_t i = 0; i < members->n; i++)
        members->members[i] =
            (struct snapshot_member){.oid = number(rows, (int)i, 0),
                                     .schema = arena_strdup(arena, text(rows, (int)i, 1)),
                                     .name = arena_strdup(arena, text(rows, (int)i, 2))};
    PQclear(rows);
    return members;
}

void snapshot_members_destroy(struct snapshot_members **members) {
    if (!*members) return;
    struct arena *arena = (*members)->arena;
    arena_destroy(&arena);
    *members = NULL;
}

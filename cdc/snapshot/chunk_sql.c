#include "cdc/snapshot/chunk_sql.h"

#include <stdlib.h>
#include <string.h>

#include "base/pg.h"

/* A unique index by which the stream tells rows apart: under a default identity the primary key, under USING INDEX that one,
 * under FULL any over NOT NULL columns, the primary key first. */
void chunk_sql_keys(uint32_t oid, struct buf *sql) {
    buf_printf(sql,
               "SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM ("
               " SELECT i.indrelid, i.indkey, i.indnkeyatts FROM pg_index i"
               " JOIN pg_class c ON c.oid = i.indrelid"
               " WHERE c.oid = %u AND i.indisunique AND i.indisvalid AND i.indimmediate"
               " AND i.indpred IS NULL AND i.indexprs IS NULL"
               " AND CASE c.relreplident WHEN 'i' THEN i.indisreplident WHEN 'f' THEN true"
               "  ELSE i.indisprimary END"
               " AND NOT EXISTS (SELECT FROM generate_series(0, i.indnkeyatts - 1) g"
               "  JOIN pg_attribute n ON n.attrelid = c.oid AND n.attnum = i.indkey[g]"
               "  WHERE NOT n.attnotnull)"
               " ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) k,"
               " generate_series(0, k.indnkeyatts - 1) place, pg_attribute a"
               " WHERE a.attrelid = k.indrelid AND a.attnum = k.indkey[place] ORDER BY place",
               oid);
}

static void append_columns(const struct chunk_key *key, struct buf *sql) {
    for (uint32_t i = 0; i < key->n; i++) {
        if (i) buf_append_text(sql, ", ");
        pg_quote_ident(sql, key->names[i]);
    }
}

/* (a, b) > ('1'::integer, 'x'::text) */
static void append_beyond(const struct chunk_key *key, const char *comparison, char *const *values,
                          struct buf *sql) {
    if (sql->len) buf_append_text(sql, " AND ");
    buf_append_char(sql, '(');
    append_columns(key, sql);
    buf_printf(sql, ") %s (", comparison);
    for (uint32_t i = 0; i < key->n; i++) {
        if (i) buf_append_text(sql, ", ");
        pg_quote_literal(sql, values[i]);
        buf_printf(sql, "::%s", key->types[i]);
    }
    buf_append_char(sql, ')');
}

static void append_where(const struct chunk_choice *choice, struct buf *sql) {
    if (!choice->task->where) return;
    /* The newline ends a comment that the condition may end with. */
    buf_printf(sql, "%s(%s\n)", sql->len ? " AND " : "", choice->task->where);
}

/* Did the interrupted snapshot see this version of the row? xmin has 32 bits: those that would lie in the future are as old
 * as can be. */
static void append_seen(const char *exported, struct buf *sql) {
    unsigned long long xmin = strtoull(exported, NULL, 10);
    struct buf xid = {0};
    buf_printf(&xid, "(%llu + ((xmin::text::bigint - %llu) & 4294967295))", xmin, xmin);
    const char *text = buf_text(&xid);
    buf_printf(sql,
               "(%s >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint OR "
               "pg_visible_in_snapshot(%s::text::xid8, ",
               text, text);
    pg_quote_literal(sql, exported);
    buf_append_text(sql, "::pg_snapshot))");
    buf_deinit(&xid);
}

static void append_pages_done(const struct snapshot_task *task, struct buf *sql) {
    buf_append_char(sql, '(');
    for (uint32_t i = 0; i < task->n_pages_done; i++) {
        const struct page_range *pages = &task->pages_done[i];
        buf_printf(sql, "%s(ctid >= '(%u,0)'", i ? " OR " : "", pages->from);
        if (pages->to != PAGES_TO_END) buf_printf(sql, " AND ctid < '(%u,0)'", pages->to);
        buf_append_char(sql, ')');
    }
    buf_append_char(sql, ')');
}

/* What the rest of an interrupted snapshot is: the rows as they were then, but for those on pages that are done. A version
 * that came later is in the stream; where that may lack some of its values, it is read all the same. A rewritten table
 * tells nothing of that any more, and is read whole. */
static void append_rest(const struct chunk_choice *choice, struct buf *sql) {
    const struct snapshot_task *task = choice->task;
    if (!choice->exported || !*task->filenode ||
        strcmp(task->filenode, choice->table->filenode) != 0)
        return;
    bool lacks_values = choice->table->toasts && choice->key->n;
    if (lacks_values && !task->n_pages_done) return;
    if (sql->len) buf_append_text(sql, " AND ");
    if (lacks_values) {
        buf_append_text(sql, "NOT (");
        append_seen(choice->exported, sql);
        buf_append_text(sql, " AND ");
        append_pages_done(task, sql);
        buf_append_char(sql, ')');
        return;
    }
    append_seen(choice->exported, sql);
    if (!task->n_pages_done) return;
    buf_append_text(sql, " AND NOT ");
    append_pages_done(task, sql);
}

void chunk_sql_bound(const struct chunk_choice *choice, uint32_t n_rows, struct buf *sql) {
    struct buf condition = {0};
    const struct chunk_key *key = choice->key;
    if (choice->task->n_after) append_beyond(key, ">", choice->task->after, &condition);
    append_where(choice, &condition);
    buf_append_text(sql, "SELECT ");
    append_columns(key, sql);
    snapshot_tables_from_sql(choice->table, buf_text(&condition), sql);
    buf_append_text(sql, " ORDER BY ");
    append_columns(key, sql);
    buf_printf(sql, " OFFSET %u LIMIT 1", n_rows ? n_rows - 1 : 0);
    buf_deinit(&condition);
}

void chunk_sql_copy(const struct chunk_choice *choice, struct buf *sql) {
    struct buf condition = {0};
    struct buf tail = {0};
    const struct chunk_key *key = choice->key;
    if (key->n) {
        if (choice->task->n_after) append_beyond(key, ">", choice->task->after, &condition);
        if (choice->bound) append_beyond(key, "<=", choice->bound, &condition);
        buf_append_text(&tail, " ORDER BY ");
        append_columns(key, &tail);
    } else {
        buf_printf(&condition, "(ctid >= '(%u,0)'", choice->from_page);
        if (choice->to_page != PAGES_TO_END)
            buf_printf(&condition, " AND ctid < '(%u,0)'", choice->to_page);
        buf_append_char(&condition, ')');
    }
    append_where(choice, &condition);
    append_rest(choice, &condition);
    snapshot_tables_copy_sql(choice->table, buf_text(&condition), buf_text(&tail), sql);
    buf_deinit(&condition);
    buf_deinit(&tail);
}

#include "base/publication.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/mem.h"
#include "base/pg.h"

enum {
    PUBLICATION_BLOCK_BYTES = 16 * 1024,
    FIRST_COLUMN_LISTS = 150000,
    ENSURE_TRIES = 3,
    LONGEST_SQL_IN_MESSAGE = 400,
};

static PGresult *query_with_name(PGconn *conn, const char *sql, const char *name,
                                 struct error *err) {
    return pg_query_params(conn, sql, 1, &name, err);
}

static bool is_true(const PGresult *rows, int row, int field) {
    return *PQgetvalue(rows, row, field) == 't';
}

/* An int2vector prints as "1 3". */
static void read_attnums(struct arena *arena, const char *text, struct publication_member *member) {
    int16_t *attnums = arena_alloc(arena, strlen(text) * sizeof *attnums + 1);
    for (char *end = NULL; *text; text = end) {
        attnums[member->n_columns++] = (int16_t)strtol(text, &end, 10);
        if (end == text) break;
    }
    member->attnums = attnums;
}

static bool load_members(PGconn *conn, const char *name, struct publication *publication,
                         struct error *err) {
    bool lists = PQserverVersion(conn) >= FIRST_COLUMN_LISTS;
    struct buf sql = {0};
    buf_printf(&sql,
               "SELECT r.prrelid, %s FROM pg_catalog.pg_publication_rel r "
               "JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1 "
               "ORDER BY r.prrelid",
               lists ? "pg_get_expr(r.prqual, r.prrelid), r.prattrs" : "NULL, NULL");
    PGresult *rows = query_with_name(conn, buf_text(&sql), name, err);
    buf_deinit(&sql);
    if (!rows) return false;
    uint32_t n = (uint32_t)PQntuples(rows);
    struct publication_member *members =
        arena_zalloc(publication->arena, (n + 1) * sizeof *members);
    for (uint32_t i = 0; i < n; i++) {
        members[i].oid = (uint32_t)strtoul(PQgetvalue(rows, (int)i, 0), NULL, 10);
        if (!PQgetisnull(rows, (int)i, 1))
            members[i].row_filter = arena_strdup(publication->arena, PQgetvalue(rows, (int)i, 1));
        read_attnums(publication->arena, PQgetvalue(rows, (int)i, 2), &members[i]);
    }
    PQclear(rows);
    publication->n_members = n;
    publication->members = members;
    return true;
}

static bool load_flags(PGconn *conn, const char *name, struct publication *publication,
                       struct error *err) {
    bool schemas = PQserverVersion(conn) >= FIRST_COLUMN_LISTS;
    struct buf sql = {0};
    buf_printf(&sql,
               "SELECT puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, %s "
               "FROM pg_catalog.pg_publication p WHERE pubname = $1",
               schemas ? "EXISTS (SELECT 1 FROM pg_catalog.pg_publication_namespace s "
                         "WHERE s.pnpubid = p.oid)"
                       : "false");
    PGresult *rows = query_with_name(conn, buf_text(&sql), name, err);
    buf_deinit(&sql);
    if (!rows) return false;
    publication->exists = PQntuples(rows) > 0;
    if (publication->exists) {
        publication->all_tables = is_true(rows, 0, 0);
        publication->inserts = is_true(rows, 0, 1);
        publication->updates = is_true(rows, 0, 2);
        publication->deletes = is_true(rows, 0, 3);
        publication->truncates = is_true(rows, 0, 4);
        publication->via_root = is_true(rows, 0, 5);
        publication->schemas = is_true(rows, 0, 6);
    }
    PQclear(rows);
    return true;
}

struct publication *publication_load(PGconn *conn, const char *name, struct error *err) {
    struct arena *arena = arena_create(PUBLICATION_BLOCK_BYTES);
    struct publication *publication = arena_zalloc(arena, sizeof *publication);
    publication->arena = arena;
    if (!load_flags(conn, name, publication, err) || !load_members(conn, name, publication, err))
        publication_destroy(&publication);
    return publication;
}

void publication_destroy(struct publication **publication) {
    if (!*publication) return;
    struct arena *arena = (*publication)->arena; /* the struct itself lies in it */
    *publication = NULL;
    arena_destroy(&arena);
}

static int by_oid(const void *key, const void *member) {
    uint32_t oid = *(const uint32_t *)key;
    uint32_t other = ((const struct publication_member *)member)->oid;
    return (oid > other) - (oid < other);
}

const struct publication_member *publication_find(const struct publication *publication,
                                                  uint32_t oid) {
    if (publication->n_members == 0) return NULL;
    return bsearch(&oid, publication->members, publication->n_members, sizeof *publication->members,
                   by_oid);
}

bool publication_narrows(const struct publication *publication,
                         const struct publication_table *planned, struct buf *what) {
    const struct publication_member *member = publication_find(publication, planned->table->oid);
    if (planned->exact || !member || (!member->row_filter && !member->n_columns)) return false;
    if (member->row_filter) buf_printf(what, "only rows where %s", member->row_filter);
    if (member->n_columns)
        buf_printf(what, "%sonly %u of its %u columns", member->row_filter ? ", and " : "",
                   (unsigned)member->n_columns, (unsigned)planned->table->n_columns);
    return true;
}

/* One comparison of plan and publication; its statements are composed into `sql`. */
struct difference {
    PGconn *conn;
    const struct publication_plan *plan;
    const struct publication *now;
    const struct catalog *catalog; /* for the tables that are in but not in the plan */
    bool column_lists;             /* the server has them */
    struct buf *sql;
};

static void append_column(struct buf *sql, const char **separator, const char *name) {
    buf_append_text(sql, *separator);
    pg_quote_ident(sql, name);
    *separator = ", ";
}

static bool lists_attnum(const struct publication_member *member, int16_t attnum) {
    for (uint16_t i = 0; i < member->n_columns; i++) {
        if (member->attnums[i] == attnum) return true;
    }
    return false;
}

static bool plans_place(const struct publication_table *planned, uint16_t place) {
    for (uint16_t i = 0; i < planned->n_columns; i++) {
        if (planned->columns[i] == place) return true;
    }
    return false;
}

/* Without ONLY the tables that inherit from it come along, and one of them without a key would refuse UPDATE from then
 * on. (A partitioned table stands for its partitions all the same.) */
static void append_only(struct buf *sql, const struct catalog_table *table) {
    if (table->kind == 'r') buf_append_text(sql, "ONLY ");
    pg_quote_table(sql, table->schema, table->name);
}

static void append_filter(struct difference *d, const struct publication_table *planned) {
    if (planned->row_filter && d->column_lists)
        buf_printf(d->sql, " WHERE (%s)", planned->row_filter);
}

/* ("a", "b"), in the table's own order. `member`'s columns are kept where given. */
static void append_list(struct difference *d, const struct publication_table *planned,
                        const struct publication_member *member) {
    const struct catalog_table *table = planned->table;
    if (planned->n_columns == 0 || !d->column_lists) return;
    if (member && member->n_columns == 0) return;
    const char *separator = " (";
    for (uint16_t place = 0; place < table->n_columns; place++) {
        const struct catalog_column *column = &table->columns[place];
        if (plans_place(planned, place) || (member && lists_attnum(member, column->attnum)))
            append_column(d->sql, &separator, column->name);
    }
    buf_append_text(d->sql, ")");
}

/* ONLY "schema"."table" ("a", "b") WHERE (...) */
static void append_table(struct difference *d, const struct publication_table *planned,
                         const struct publication_member *member) {
    append_only(d->sql, planned->table);
    append_list(d, planned, member);
    append_filter(d, planned);
}

static void append_name(struct difference *d, const char *statement) {
    buf_append_text(d->sql, statement);
    pg_quote_ident(d->sql, d->plan->name);
}

#define PUBLISH_OPTIONS                                                                            \
    "(publish = 'insert, update, delete, truncate', publish_via_partition_root = true);\n"

static void append_create(struct difference *d) {
    append_name(d, "CREATE PUBLICATION ");
    const char *separator = " FOR TABLE ";
    for (uint32_t i = 0; i < d->plan->n_tables; i++) {
        buf_append_text(d->sql, separator);
        append_table(d, &d->plan->tables[i], NULL);
        separator = ", ";
    }
    buf_append_text(d->sql, " WITH " PUBLISH_OPTIONS);
}

/* The server's own wording of a filter: of a publication that is gone again at once. NULL: it cannot be had. */
static char *reword(struct difference *d, const struct publication_table *planned) {
    struct buf sql = {0};
    char name[64];
    snprintf(name, sizeof name, "freshet_probe_%d", PQbackendPID(d->conn));
    buf_printf(&sql, "BEGIN; CREATE PUBLICATION %s FOR TABLE ", name);
    struct difference probe = {.column_lists = true, .sql = &sql};
    append_only(&sql, planned->table);
    append_filter(&probe, planned);
    PGresult *made = PQexec(d->conn, buf_text(&sql));
    sql.len = 0;
    buf_printf(&sql,
               "SELECT pg_get_expr(r.prqual, r.prrelid) FROM pg_catalog.pg_publication_rel r JOIN "
               "pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE p.pubname = '%s'",
               name);
    PGresult *row =
        PQresultStatus(made) == PGRES_COMMAND_OK ? PQexec(d->conn, buf_text(&sql)) : NULL;
    char *text = row && PQntuples(row) == 1 ? mem_strdup(PQgetvalue(row, 0, 0)) : NULL;
    PQclear(row);
    PQclear(made);
    PQclear(PQexec(d->conn, "ROLLBACK"));
    buf_deinit(&sql);
    return text;
}

static bool same_filter(struct difference *d, const struct publication_table *planned,
                        const struct publication_member *member) {
    if (!planned->row_filter || !member->row_filter)
        return !planned->row_filter == !member->row_filter;
    char *text = reword(d, planned);
    bool same = text && strcmp(text, member->row_filter) == 0;
    mem_free(text);
    return same;
}

/* Is the table in with exactly what the plan narrows it to? */
static bool narrowed_so(struct difference *d, const struct publication_table *planned,
                        const struct publication_member *member) {
    if (!d->column_lists || !planned->exact) return true;
    if (planned->n_columns != member->n_columns || !same_filter(d, planned, member)) return false;
    for (uint16_t i = 0; i < planned->n_columns; i++) {
        if (!lists_attnum(member, planned->table->columns[planned->columns[i]].attnum))
            return false;
    }
    return true;
}

/* Does the member bring what the plan asks of the table? */
static bool suffices(struct difference *d, const struct publication_table *planned,
                     const struct publication_member *member) {
    if (!d->plan->unfiltered) return narrowed_so(d, planned, member);
    if (member->row_filter) return false;
    if (member->n_columns == 0) return true;
    if (planned->n_columns == 0) return false;
    for (uint16_t i = 0; i < planned->n_columns; i++) {
        if (!lists_attnum(member, planned->table->columns[planned->columns[i]].attnum))
            return false;
    }
    return true;
}

/* Does the member narrow the columns for nobody? A publication of our own loses what the plan no longer lists. */
static bool lists_too_much(const struct difference *d, const struct publication_table *planned,
                           const struct publication_member *member) {
    if (d->plan->shared || !d->plan->unfiltered || !d->column_lists) return false;
    return planned->n_columns != 0 && member->n_columns != planned->n_columns;
}

static void append_drop(struct difference *d, const struct catalog_table *table) {
    append_name(d, "ALTER PUBLICATION ");
    buf_append_text(d->sql, " DROP TABLE ");
    append_only(d->sql, table);
    buf_append_text(d->sql, ";\n");
}

static void append_add(struct difference *d, const struct publication_table *planned,
                       const struct publication_member *member) {
    append_name(d, "ALTER PUBLICATION ");
    buf_append_text(d->sql, " ADD TABLE ");
    append_table(d, planned, member);
    buf_append_text(d->sql, ";\n");
}

/* A column list is changed by dropping and adding the table, within one transaction. */
static void append_planned(struct difference *d, const struct publication_table *planned) {
    ASSERT(catalog_table_publishable(planned->table));
    const struct publication_member *member = publication_find(d->now, planned->table->oid);
    if (!member) {
        append_add(d, planned, NULL);
    } else if (!suffices(d, planned, member) || lists_too_much(d, planned, member)) {
        append_drop(d, planned->table);
        append_add(d, planned, d->plan->shared ? member : NULL);
    }
}

static bool planned(const struct publication_plan *plan, uint32_t oid) {
    for (uint32_t i = 0; i < plan->n_tables; i++) {
        if (plan->tables[i].table->oid == oid) return true;
    }
    return false;
}

/* Tables whose identity is gone go whoever relies on them: their writes fail while they are in. */
static void append_unplanned(struct difference *d) {
    for (uint32_t i = 0; i < d->now->n_members; i++) {
        uint32_t oid = d->now->members[i].oid;
        if (planned(d->plan, oid)) continue;
        const struct catalog_table *table = catalog_find_oid(d->catalog, oid);
        if (!table)
            continue; /* a partition or a system table that someone added: not ours to judge */
        if (!d->plan->shared || !catalog_table_publishable(table)) append_drop(d, table);
    }
}

static bool refuse_all_tables(const struct publication_plan *plan, struct error *err) {
    return error_set(
        err, ERROR_CONFLICT, false,
        "publication \"%s\" is FOR ALL TABLES or FOR TABLES IN SCHEMA, which makes UPDATE "
        "and DELETE fail on tables without a replica identity; drop it (DROP PUBLICATION "
        "\"%s\") and one that names its tables will be made",
        plan->name, plan->name);
}

static bool append_difference(struct difference *d, struct error *err) {
    const struct publication *now = d->now;
    if (!now->exists) {
        append_create(d);
        return true;
    }
    if (now->all_tables || now->schemas) {
        /* A user who made such a stream by hand may keep it; a cache makes its own, or harm is done. */
        return d->plan->unfiltered ? refuse_all_tables(d->plan, err) : true;
    }
    bool all = now->inserts && now->updates && now->deletes && now->truncates;
    if (!now->via_root || (d->plan->unfiltered && !all)) {
        append_name(d, "ALTER PUBLICATION ");
        buf_append_text(d->sql, d->plan->unfiltered
                                    ? " SET " PUBLISH_OPTIONS
                                    : " SET (publish_via_partition_root = true);\n");
    }
    append_unplanned(d);
    for (uint32_t i = 0; i < d->plan->n_tables; i++)
        append_planned(d, &d->plan->tables[i]);
    return true;
}

bool publication_sql(PGconn *conn, const struct publication_plan *plan, struct buf *sql,
                     struct error *err) {
    struct publication *now = publication_load(conn, plan->name, err);
    if (!now) return false;
    struct catalog *catalog = catalog_load_shapes(conn, err);
    bool done = false;
    if (catalog) {
        struct difference difference = {
            .conn = conn,
            .plan = plan,
            .now = now,
            .catalog = catalog,
            .column_lists = PQserverVersion(conn) >= FIRST_COLUMN_LISTS,
            .sql = sql,
        };
        done = append_difference(&difference, err);
    }
    catalog_destroy(&catalog);
    publication_destroy(&now);
    return done;
}

/* All statements or none. *raced: another process changed the publication meanwhile; compare anew. */
static bool run_statements(PGconn *conn, const char *sql, bool *raced, struct error *err) {
    static const char *const races[] = {
        "42710", /* duplicate_object: created or added by another */
        "23505", /* unique_violation: the same, a moment earlier */
        "42704", /* undefined_object: dropped by another */
        "XX000", /* "tuple concurrently updated" */
    };
    struct buf all = {0};
    buf_printf(&all, "BEGIN;\n%sCOMMIT", sql);
    PGresult *result = PQexec(conn, buf_text(&all));
    buf_deinit(&all);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    *raced = false;
    if (!done) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        for (size_t i = 0; state && i < sizeof races / sizeof *races; i++)
            *raced |= strcmp(state, races[i]) == 0;
        pg_error(err, conn, result, "publication");
        /* The caller's catalog is out of date, and its next one will not be. */
        if (err && (*raced || err->code == ERROR_NOT_FOUND)) err->retriable = true;
        if (PQtransactionStatus(conn) != PQTRANS_IDLE) PQclear(PQexec(conn, "ROLLBACK"));
    }
    PQclear(result);
    return done;
}

/* What an owner has to run stands in the message where it is short enough. */
static bool explain_refusal(const struct publication_plan *plan, const char *sql,
                            struct error *err) {
    if (!err || err->code != ERROR_REFUSED) return false;
    char cause[sizeof err->message];
    memcpy(cause, err->message, sizeof cause);
    if (strlen(sql) > LONGEST_SQL_IN_MESSAGE)
        return error_set(err, ERROR_REFUSED, false,
                         "%.250s; publication \"%s\": a role that owns the tables must make it; "
                         "`freshet check` prints the SQL",
                         cause, plan->name);
    return error_set(err, ERROR_REFUSED, false, "%.250s; a role that owns the tables must run: %s",
                     cause, sql);
}

bool publication_ensure(PGconn *conn, const struct publication_plan *plan, bool *changed,
                        struct error *err) {
    *changed = false;
    for (int tries = 0;; tries++) {
        struct buf sql = {0};
        bool raced = false;
        bool done = publication_sql(conn, plan, &sql, err);
        if (done && sql.len > 0) {
            done = run_statements(conn, buf_text(&sql), &raced, err);
            if (done)
                *changed = true;
            else if (!raced)
                explain_refusal(plan, buf_text(&sql), err);
        }
        buf_deinit(&sql);
        if (!raced || tries == ENSURE_TRIES) return done;
    }
}

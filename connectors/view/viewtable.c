#include "connectors/view/viewtable.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"

/* The texts of values are those of the feed's session. Our statements go by the key's index, whatever the statistics of a table
 * that has just been made say. */
static const char session_settings[] =
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c statement_timeout=0"
    " -c extra_float_digits=1 -c bytea_output=hex"
    " -c default_transaction_isolation=read\\ committed -c enable_seqscan=off"
    " -c enable_hashjoin=off -c enable_mergejoin=off";

#define POSITIONS "freshet_positions"

void viewtable_init(struct viewtable *target, const char *url, const char *connector,
                    const char *into, struct log *log) {
    const char *dot = strchr(into, '.');
    *target = (struct viewtable){
        .url = mem_strdup(url),
        .application_name = mem_printf("freshet_%.54s", connector),
        .connector = mem_strdup(connector),
        .schema = dot ? mem_slicedup(slice_make(into, (size_t)(dot - into))) : mem_strdup("public"),
        .table = mem_strdup(dot ? dot + 1 : into),
        .log = log,
        .source = mem_strdup(""),
        .keys = mem_strdup(""),
    };
}

static void forget_columns(struct viewtable *target) {
    for (struct viewtable_column *column = target->columns; column && column->type; column++) {
        mem_free(column->type);
        mem_free(column->exact_type);
    }
    mem_free(target->columns);
    target->columns = NULL;
}

static void disconnect(struct viewtable *target) {
    if (target->conn) PQfinish(target->conn);
    target->conn = NULL;
    target->begun = target->written = false;
}

void viewtable_deinit(struct viewtable *target) {
    disconnect(target);
    forget_columns(target);
    mem_free(target->url);
    mem_free(target->application_name);
    mem_free(target->connector);
    mem_free(target->schema);
    mem_free(target->table);
    mem_free(target->source);
    mem_free(target->keys);
    mem_free(target->note);
}

static bool connect_target(struct viewtable *target, struct error *err) {
    if (target->conn && PQstatus(target->conn) == CONNECTION_OK) return true;
    disconnect(target);
    target->conn = pg_connect(target->url,
                              &(struct pg_options){.application_name = target->application_name,
                                                   .server_options = session_settings},
                              err);
    return target->conn != NULL;
}

static void append_positions(const struct viewtable *target, struct buf *sql) {
    pg_quote_table(sql, target->schema, POSITIONS);
}

static bool run(struct viewtable *target, struct buf *sql, struct error *err) {
    bool done = pg_exec(target->conn, buf_text(sql), err);
    buf_deinit(sql);
    return done;
}

/* ---- what there is ---- */

/* Its columns, (name, type to cast to, exact type), none where it is absent; *oid: 0 then. */
static PGresult *read_columns(struct viewtable *target, struct error *err) {
    const char *params[] = {target->schema, target->table};
    PGresult *rows = pg_query_params(
        target->conn,
        "SELECT c.oid, a.attname, pg_catalog.format_type(a.atttypid, -1), "
        "pg_catalog.format_type(a.atttypid, a.atttypmod) "
        "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "AND NOT a.attisdropped WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', "
        "'p')",
        2, params, err);
    if (rows)
        target->oid = PQntuples(rows) ? (uint32_t)strtoul(PQgetvalue(rows, 0, 0), NULL, 10) : 0;
    return rows;
}

static int find_column(const PGresult *rows, const char *name) {
    for (int i = 0; i < PQntuples(rows); i++) {
        if (!PQgetisnull(rows, i, 1) && strcmp(PQgetvalue(rows, i, 1), name) == 0) return i;
    }
    return -1;
}

/* The types of the shape's columns, all of which must be there. */
static bool take_columns(struct viewtable *target, const struct shape *shape, struct error *err) {
    PGresult *rows = read_columns(target, err);
    if (!rows) return false;
    forget_columns(target);
    target->columns = mem_calloc(shape->n_columns + 1u, sizeof *target->columns);
    bool found = true;
    for (uint16_t i = 0; i < shape->n_columns && found; i++) {
        int at = find_column(rows, shape->columns[i].name);
        found = at >= 0;
        if (found)
            target->columns[i] =
                (struct viewtable_column){.type = mem_strdup(PQgetvalue(rows, at, 2)),
                                          .exact_type = mem_strdup(PQgetvalue(rows, at, 3))};
        else
            error_set(err, ERROR_NOT_FOUND, true, "table %s.%s has no column \"%s\"",
                      target->schema, target->table, shape->columns[i].name);
    }
    PQclear(rows);
    return found;
}

/* ---- what is made ---- */

static bool known_type(const struct viewtable *target, const struct shape *shape, uint16_t i,
                       struct error *err) {
    if (shape->columns[i].type_name) return true;
    return error_set(err, ERROR_CONFIG, true,
                     "table %s.%s: the type of column \"%s\" is not known; make the column there",
                     target->schema, target->table, shape->columns[i].name);
}

static bool make_table(struct viewtable *target, const struct shape *shape, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "CREATE TABLE ");
    pg_quote_table(&sql, target->schema, target->table);
    for (uint16_t i = 0; i < shape->n_columns; i++) {
        if (!known_type(target, shape, i, err)) {
            buf_deinit(&sql);
            return false;
        }
        buf_append_text(&sql, i ? ", " : " (");
        pg_quote_ident(&sql, shape->columns[i].name);
        buf_printf(&sql, " %s", shape->columns[i].type_name);
    }
    /* A group may be of NULLs, which are one. */
    bool nulls = shape->deltas && PQserverVersion(target->conn) >= 150000;
    const char *key = nulls ? ", UNIQUE NULLS NOT DISTINCT " : ", PRIMARY KEY ";
    buf_append_text(&sql, shape->many ? "); CREATE INDEX ON " : key);
    if (shape->many) pg_quote_table(&sql, target->schema, target->table);
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        buf_append_text(&sql, i ? ", " : " (");
        pg_quote_ident(&sql, shape->columns[shape->keys[i]].name);
    }
    buf_append_text(&sql, shape->many ? ")" : "))");
    if (!run(target, &sql, err)) return error_prefix(err, "making the target's table");
    log_info(target->log, "target_made", "connector=%s table=%s.%s", target->connector,
             target->schema, target->table);
    return true;
}

static bool add_columns(struct viewtable *target, const struct shape *shape, struct error *err) {
    PGresult *rows = read_columns(target, err);
    bool done = rows != NULL;
    for (uint16_t i = 0; i < shape->n_columns && done; i++) {
        if (find_column(rows, shape->columns[i].name) >= 0) continue;
        struct buf sql = {0};
        buf_append_text(&sql, "ALTER TABLE ");
        pg_quote_table(&sql, target->schema, target->table);
        buf_append_text(&sql, " ADD COLUMN ");
        pg_quote_ident(&sql, shape->columns[i].name);
        done = known_type(target, shape, i, err);
        if (done) buf_printf(&sql, " %s", shape->columns[i].type_name);
        done = done && pg_exec(target->conn, buf_text(&sql), err);
        buf_deinit(&sql);
    }
    PQclear(rows);
    return done;
}

/* *noted: it has the column that one which an older Freshet made lacks. */
static bool find_positions(struct viewtable *target, bool *exists, bool *noted, struct error *err) {
    const char *params[] = {target->schema, POSITIONS};
    PGresult *rows = pg_query_params(
        target->conn,
        "SELECT a.attname FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = 'note' "
        "WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
        2, params, err);
    if (!rows) return false;
    *exists = PQntuples(rows) == 1;
    *noted = *exists && !PQgetisnull(rows, 0, 0);
    PQclear(rows);
    return true;
}

static bool make_positions(struct viewtable *target, struct error *err) {
    struct buf sql = {0};
    bool exists, noted;
    if (!find_positions(target, &exists, &noted, err)) return false;
    if (noted) return true;
    buf_append_text(&sql, exists ? "ALTER TABLE " : "CREATE TABLE IF NOT EXISTS ");
    append_positions(target, &sql);
    buf_append_text(
        &sql, exists ? " ADD COLUMN IF NOT EXISTS note text NOT NULL DEFAULT ''"
                     : " (target text PRIMARY KEY, target_oid oid NOT NULL, "
                       "connector text NOT NULL, source text NOT NULL, keys text NOT NULL, "
                       "system_identifier numeric NOT NULL, end_lsn pg_lsn NOT NULL, "
                       "loaded boolean NOT NULL, last_end_lsn pg_lsn NOT NULL DEFAULT '0/0', "
                       "timeline bigint NOT NULL DEFAULT 0, "
                       "timeline_lsn pg_lsn NOT NULL DEFAULT '0/0', "
                       "moved timestamptz NOT NULL DEFAULT now(), note text NOT NULL DEFAULT '')");
    return run(target, &sql, err);
}

/* ---- the position's row ---- */

enum {
    ROW_OID,
    ROW_CONNECTOR,
    ROW_SOURCE,
    ROW_KEYS,
    ROW_SYSTEM,
    ROW_LSN,
    ROW_LOADED,
    ROW_LAST_LSN,
    ROW_TIMELINE,
    ROW_TIMELINE_LSN,
    ROW_NOTE
};

static PGresult *read_row(struct viewtable *target, struct error *err) {
    struct buf sql = {0};
    const char *params[] = {target->table};
    buf_append_text(&sql, "SELECT target_oid, connector, source, keys, system_identifier, end_lsn, "
                          "loaded, last_end_lsn, timeline, timeline_lsn, note FROM ");
    append_positions(target, &sql);
    buf_append_text(&sql, " WHERE target = $1");
    PGresult *rows = pg_query_params(target->conn, buf_text(&sql), 1, params, err);
    buf_deinit(&sql);
    return rows;
}

static bool is_empty(struct viewtable *target, bool *empty, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SELECT FROM ");
    pg_quote_table(&sql, target->schema, target->table);
    buf_append_text(&sql, " LIMIT 1");
    PGresult *rows = pg_query(target->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (rows) *empty = PQntuples(rows) == 0;
    PQclear(rows);
    return rows != NULL;
}

/* Whose is it? A table with rows that no connector has written would lose them to a load. */
static bool check_owner(struct viewtable *target, struct sink_target *found, struct error *err) {
    PGresult *rows = read_row(target, err);
    if (!rows) return false;
    bool known = PQntuples(rows) == 1;
    char *owner = mem_strdup(known ? PQgetvalue(rows, 0, ROW_CONNECTOR) : "");
    PQclear(rows);
    bool ok = is_empty(target, &found->empty, err);
    found->ours = known && strcmp(owner, target->connector) == 0;
    if (ok && known && !found->ours)
        ok = error_set(err, ERROR_CONFLICT, false,
                       "table %s.%s is kept by connector %s; name another, or delete its row of "
                       "%s.%s",
                       target->schema, target->table, owner, target->schema, POSITIONS);
    else if (ok && !known && !found->empty)
        ok = error_set(err, ERROR_CONFLICT, false,
                       "table %s.%s holds rows that Freshet did not write, and would lose them: "
                       "empty it, or name another",
                       target->schema, target->table);
    mem_free(owner);
    return ok;
}

/* Where it is not there: zero. What stands there is not touched. */
static bool make_row(struct viewtable *target, struct error *err) {
    struct buf sql = {0};
    char oid[16];
    char system[24];
    snprintf(oid, sizeof oid, "%u", target->oid);
    snprintf(system, sizeof system, "%" PRIu64, target->system_identifier);
    const char *params[] = {target->table,  oid,          target->connector,
                            target->source, target->keys, system};
    buf_append_text(&sql, "INSERT INTO ");
    append_positions(target, &sql);
    buf_append_text(&sql, " VALUES ($1, $2, $3, $4, $5, $6, '0/0', false) ON CONFLICT DO NOTHING");
    PGresult *done = pg_query_params(target->conn, buf_text(&sql), 6, params, err);
    buf_deinit(&sql);
    PQclear(done);
    return done != NULL;
}

static void name_shape(struct viewtable *target, const struct shape *shape) {
    struct buf keys = {0};
    shape_append_keys(shape, &keys);
    mem_free(target->source);
    mem_free(target->keys);
    target->keys = mem_strdup(buf_text(&keys));
    keys.len = 0;
    shape_append_origin(shape, &keys);
    target->source = mem_strdup(buf_text(&keys));
    buf_deinit(&keys);
}

/* ---- the contract ---- */

static bool open_table(struct viewtable *target, const struct shape *shape,
                       struct sink_target *found, struct error *err) {
    PGresult *rows = read_columns(target, err);
    if (!rows) return false;
    PQclear(rows);
    found->made = target->oid == 0;
    if (found->made && !make_table(target, shape, err)) return false;
    return make_positions(target, err) && check_owner(target, found, err) &&
           viewtable_reshape(target, shape, err) && make_row(target, err);
}

bool viewtable_open(struct viewtable *target, const struct shape *shape, uint64_t system_identifier,
                    struct sink_target *found, struct error *err) {
    disconnect(target); /* with it what was not committed */
    *found = (struct sink_target){0};
    target->system_identifier = system_identifier;
    name_shape(target, shape);
    if (!connect_target(target, err) || !open_table(target, shape, found, err)) return false;
    snprintf(found->id, sizeof found->id, "%u", target->oid);
    return true;
}

bool viewtable_attach(struct viewtable *target, const struct shape *shape, struct error *err) {
    return connect_target(target, err) && take_columns(target, shape, err);
}

bool viewtable_reshape(struct viewtable *target, const struct shape *shape, struct error *err) {
    return add_columns(target, shape, err) && take_columns(target, shape, err);
}

bool viewtable_load_position(struct viewtable *target, struct change_position *position,
                             struct error *err) {
    PGresult *rows = read_row(target, err);
    if (!rows) return false;
    uint64_t system = strtoull(PQgetvalue(rows, 0, ROW_SYSTEM), NULL, 10);
    bool same = strtoul(PQgetvalue(rows, 0, ROW_OID), NULL, 10) == target->oid &&
                strcmp(PQgetvalue(rows, 0, ROW_SOURCE), target->source) == 0 &&
                shape_same_keys(PQgetvalue(rows, 0, ROW_KEYS), target->keys);
    bool loaded = PQgetvalue(rows, 0, ROW_LOADED)[0] == 't';
    target->position = (struct change_position){.snapshot_done = loaded};
    bool known = lsn_parse(PQgetvalue(rows, 0, ROW_LSN), &target->position.end_lsn) &&
                 lsn_parse(PQgetvalue(rows, 0, ROW_LAST_LSN), &target->position.last_end_lsn) &&
                 lsn_parse(PQgetvalue(rows, 0, ROW_TIMELINE_LSN), &target->position.timeline_lsn);
    target->position.timeline = (uint32_t)strtoul(PQgetvalue(rows, 0, ROW_TIMELINE), NULL, 10);
    target->position.system_identifier = target->system_identifier;
    mem_free(target->note);
    const char *note = PQgetvalue(rows, 0, ROW_NOTE);
    target->note = !loaded && *note ? mem_strdup(note) : NULL;
    PQclear(rows);
    *position = (struct change_position){.system_identifier = target->system_identifier};
    if (system != target->system_identifier)
        return error_set(err, ERROR_CONFLICT, false,
                         "table %s.%s was filled from PostgreSQL system %" PRIu64
                         ", and this is %" PRIu64
                         ": another cluster. Correct database.url; or delete the row of %s.%s and "
                         "empty the table, and it is filled anew from this one",
                         target->schema, target->table, system, target->system_identifier,
                         target->schema, POSITIONS);
    if (known && same && (loaded || target->note)) {
        *position = target->position;
        position->note = target->note;
    }
    return true;
}

bool viewtable_begin(struct viewtable *target, struct error *err) {
    if (!connect_target(target, err)) return false;
    if (target->begun) return true;
    target->begun = pg_exec(target->conn, "BEGIN", err);
    return target->begun;
}

static bool move_position(struct viewtable *target, const struct change_position *position,
                          struct error *err) {
    char oid[16];
    char to[32];
    char from[32];
    char last[32];
    char timeline[16];
    char timeline_lsn[32];
    snprintf(oid, sizeof oid, "%u", target->oid);
    snprintf(to, sizeof to, LSN_FMT, LSN_ARG(position->end_lsn));
    snprintf(from, sizeof from, LSN_FMT, LSN_ARG(target->position.end_lsn));
    snprintf(last, sizeof last, LSN_FMT, LSN_ARG(position->last_end_lsn));
    snprintf(timeline, sizeof timeline, "%u", position->timeline);
    snprintf(timeline_lsn, sizeof timeline_lsn, LSN_FMT, LSN_ARG(position->timeline_lsn));
    struct buf sql = {0};
    struct buf name = {0};
    pg_quote_table(&name, target->schema, target->table);
    const char *params[] = {target->table,
                            oid,
                            target->connector,
                            target->source,
                            target->keys,
                            to,
                            position->snapshot_done ? "t" : "f",
                            from,
                            buf_text(&name),
                            last,
                            timeline,
                            timeline_lsn,
                            position->note ? position->note : ""};
    buf_append_text(&sql, "UPDATE ");
    append_positions(target, &sql);
    buf_append_text(&sql, " SET target_oid = $2, source = $4, keys = $5, end_lsn = $6, loaded = $7,"
                          " last_end_lsn = $10, timeline = $11, timeline_lsn = $12, note = $13, "
                          "moved = now() "
                          "WHERE target = $1 AND connector = $3 AND end_lsn = $8"
                          " AND pg_catalog.to_regclass($9)::oid = $2::oid");
    PGresult *done = pg_query_params(target->conn, buf_text(&sql), 13, params, err);
    buf_deinit(&sql);
    buf_deinit(&name);
    if (!done) return false;
    bool moved = strcmp(PQcmdTuples(done), "1") == 0;
    PQclear(done);
    return moved || error_set(err, ERROR_NOT_FOUND, true,
                              "the position of %s.%s is not where it was left, " LSN_FMT
                              ": somebody else has moved it, or the table is another one",
                              target->schema, target->table, LSN_ARG(target->position.end_lsn));
}

bool viewtable_commit(struct viewtable *target, const struct change_position *position,
                      struct error *err) {
    bool done = viewtable_begin(target, err) && move_position(target, position, err) &&
                pg_exec(target->conn, "COMMIT", err);
    if (!done) {
        viewtable_abandon(target, err);
        return false;
    }
    target->begun = target->written = false;
    target->position = *position;
    target->position.note = NULL; /* the caller's */
    return true;
}

void viewtable_abandon(struct viewtable *target, struct error *err) {
    if (target->written) err->code = ERROR_NOT_FOUND;
    disconnect(target);
}

#include "cdc/feed/slot.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lsn.h"

enum { FIRST_WITH_FAILOVER = 170000 };

/* failover and invalidation_reason came with 17, conflicting with 16, two_phase with 14; to_jsonb asks for a column that may not be there. */
static const char lookup_sql[] =
    "SELECT s.slot_type = 'logical', coalesce(s.database = current_database(), false),"
    " coalesce(s.plugin, ''), coalesce(s.database, ''), s.temporary, coalesce(s.active_pid, 0),"
    " coalesce(s.wal_status = 'lost', false)"
    "  OR coalesce((to_jsonb(s)->>'conflicting')::bool, false)"
    "  OR coalesce(to_jsonb(s)->>'invalidation_reason', '') <> '',"
    " coalesce(to_jsonb(s)->>'invalidation_reason', s.wal_status, ''),"
    " coalesce(s.confirmed_flush_lsn, '0/0'), coalesce(s.restart_lsn, '0/0'),"
    " coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()"
    "  ELSE pg_current_wal_lsn() END, s.restart_lsn), 0)::bigint,"
    " coalesce((to_jsonb(s)->>'failover')::bool, false),"
    " coalesce((to_jsonb(s)->>'two_phase')::bool, false)"
    " FROM pg_replication_slots s WHERE s.slot_name = ";

static bool is_true(const PGresult *rows, int column) {
    return PQgetvalue(rows, 0, column)[0] == 't';
}

static bool read_info(const PGresult *rows, struct slot_info *info) {
    info->exists = true;
    info->logical = is_true(rows, 0);
    info->in_this_database = is_true(rows, 1);
    snprintf(info->plugin, sizeof info->plugin, "%s", PQgetvalue(rows, 0, 2));
    snprintf(info->database, sizeof info->database, "%s", PQgetvalue(rows, 0, 3));
    info->temporary = is_true(rows, 4);
    info->active_pid = atoi(PQgetvalue(rows, 0, 5));
    info->lost = is_true(rows, 6);
    snprintf(info->status, sizeof info->status, "%s", PQgetvalue(rows, 0, 7));
    info->retained_bytes = atoll(PQgetvalue(rows, 0, 10));
    info->failover = is_true(rows, 11);
    info->two_phase = is_true(rows, 12);
    return lsn_parse(PQgetvalue(rows, 0, 8), &info->confirmed_lsn) &&
           lsn_parse(PQgetvalue(rows, 0, 9), &info->restart_lsn);
}

bool slot_lookup(const struct pgwait *wait, PGconn *conn, const char *name, struct slot_info *info,
                 struct error *err) {
    *info = (struct slot_info){0};
    struct buf sql = {0};
    buf_append_text(&sql, lookup_sql);
    pg_quote_literal(&sql, name);
    PGresult *rows = pgwait_query(wait, conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return error_prefix(err, "looking up slot \"%s\"", name);
    bool ok = PQntuples(rows) == 0 || read_info(rows, info);
    PQclear(rows);
    if (!ok)
        return error_set(err, ERROR_PROTOCOL, false,
                         "slot \"%s\": pg_replication_slots holds a malformed LSN", name);
    return true;
}

bool slot_create(const struct pgwait *wait, PGconn *walsender, const struct slot_plan *plan,
                 struct slot_made *made, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "CREATE_REPLICATION_SLOT ");
    pg_quote_ident(&sql, plan->name);
    buf_append_text(&sql, plan->temporary ? " TEMPORARY LOGICAL pgoutput" : " LOGICAL pgoutput");
    if (plan->failover && PQserverVersion(walsender) >= FIRST_WITH_FAILOVER)
        buf_printf(&sql, " (SNAPSHOT '%s', FAILOVER)",
                   plan->export_snapshot ? "export" : "nothing");
    else
        buf_append_text(&sql, plan->export_snapshot ? " EXPORT_SNAPSHOT" : " NOEXPORT_SNAPSHOT");
    PGresult *rows = pgwait_query(wait, walsender, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return error_prefix(err, "creating slot \"%s\"", plan->name);
    bool ok = PQntuples(rows) == 1 && PQnfields(rows) == 4 &&
              lsn_parse(PQgetvalue(rows, 0, 1), &made->consistent_lsn);
    if (ok) snprintf(made->snapshot, sizeof made->snapshot, "%s", PQgetvalue(rows, 0, 2));
    PQclear(rows);
    if (!ok)
        return error_set(err, ERROR_PROTOCOL, false,
                         "creating slot \"%s\": unexpected answer of CREATE_REPLICATION_SLOT",
                         plan->name);
    return true;
}

bool slot_drop(const struct pgwait *wait, PGconn *conn, const char *name, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SELECT pg_drop_replication_slot(");
    pg_quote_literal(&sql, name);
    buf_append_text(&sql, ")");
    PGresult *rows = pgwait_query(wait, conn, buf_text(&sql), err);
    buf_deinit(&sql);
    PQclear(rows);
    return rows || error_prefix(err, "dropping slot \"%s\"", name);
}

bool slot_set_failover(const struct pgwait *wait, PGconn *walsender, const char *name,
                       struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "ALTER_REPLICATION_SLOT ");
    pg_quote_ident(&sql, name);
    buf_append_text(&sql, " (FAILOVER true)");
    PGresult *rows = pgwait_query(wait, walsender, buf_text(&sql), err);
    buf_deinit(&sql);
    PQclear(rows);
    return rows || error_prefix(err, "letting standbys keep slot \"%s\"", name);
}

bool slot_name_valid(const char *name) {
    size_t len = strlen(name);
    return len > 0 && len < SLOT_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

void slot_blocker(const char *url, int pid, char *text, size_t size) {
    static const char sql[] =
        "SELECT coalesce((SELECT format('the transaction of PID %s (%s, open for %s s): %s',"
        "  a.pid, a.usename, extract(epoch FROM now() - a.xact_start)::int, left(a.query, 100))"
        "  FROM pg_stat_activity a WHERE a.pid = ANY (pg_blocking_pids($1::int))"
        "  ORDER BY a.xact_start LIMIT 1),"
        " (SELECT format('the prepared transaction %L', p.gid) FROM pg_prepared_xacts p"
        "  WHERE 0 = ANY (pg_blocking_pids($1::int)) ORDER BY p.prepared LIMIT 1), '')";
    text[0] = '\0';
    char number[16];
    snprintf(number, sizeof number, "%d", pid);
    struct pg_options options = {.application_name = "freshet", .connect_timeout_s = 3};
    PGconn *conn = pg_connect(url, &options, NULL);
    if (!conn) return;
    PGresult *rows = pg_query_params(conn, sql, 1, (const char *[]){number}, NULL);
    if (rows) snprintf(text, size, "%s", PQgetvalue(rows, 0, 0));
    PQclear(rows);
    PQfinish(conn);
}

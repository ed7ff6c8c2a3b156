/* Are the replicas standbys of the database, and does the pooler lead to it? */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/pg.h"
#include "server/checks.h"

/* What tells one running server from all others. */
#define SERVER_START "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"

static char *ask(PGconn *conn, const char *sql, struct error *err) {
    PGresult *row = pg_query(conn, sql, err);
    char *answer = row && PQntuples(row) ? mem_strdup(PQgetvalue(row, 0, 0)) : NULL;
    PQclear(row);
    return answer;
}

/* It has to say which timeline it replays: a walsender does; else the role needs to read all statistics. */
static const char *timeline_trouble(const struct check_context *context, const char *url) {
    struct error err;
    struct pg_options wanted = {
        .application_name = "freshet_check", .replication = true, .wanted_server = "standby"};
    PGconn *standby = pg_connect(url, &wanted, &err);
    PGconn *primary = pg_connect(
        context->config->database_url,
        &(struct pg_options){.application_name = "freshet_check", .replication = true}, &err);
    const char *trouble = NULL;
    PGresult *here = standby ? pg_query(standby, "IDENTIFY_SYSTEM", &err) : NULL;
    PGresult *there = primary ? pg_query(primary, "IDENTIFY_SYSTEM", &err) : NULL;
    if (!here && there)
        trouble = "takes no replication connection, so that its timeline is known late: allow the "
                  "role one in its pg_hba.conf";
    if (here && there && strcmp(PQgetvalue(here, 0, 0), PQgetvalue(there, 0, 0)) != 0)
        trouble = "is a standby of another system";
    else if (here && there && strcmp(PQgetvalue(here, 0, 1), PQgetvalue(there, 0, 1)) != 0)
        trouble = "is on another timeline than the primary";
    PQclear(here);
    PQclear(there);
    PQfinish(standby);
    PQfinish(primary);
    return trouble;
}

static void report_lag(struct check_context *context, const char *name, PGconn *conn) {
    struct error err;
    char *lsn = ask(conn, "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0')", &err);
    struct buf sql = {0};
    buf_printf(&sql, "SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), '%s'), 0)",
               lsn ? lsn : "0/0");
    char *bytes = ask(context->conn, buf_text(&sql), &err);
    check_report(context, CHECK_OK, NULL, "%s is a standby, %s bytes behind", name,
                 bytes ? bytes : "an unknown number of");
    buf_deinit(&sql);
    mem_free(bytes);
    mem_free(lsn);
}

static void check_replica(struct check_context *context, const char *url) {
    struct error err;
    char *name = pg_hosts(url);
    PGconn *conn = pg_connect(
        url, &(struct pg_options){.application_name = "freshet_check", .wanted_server = "standby"},
        &err);
    char *recovers = conn ? ask(conn, "SELECT pg_is_in_recovery()", &err) : NULL;
    if (!recovers) {
        check_report(context, CHECK_WARN,
                     "start it, or correct database.replicas; until then the primary is read",
                     "%s: %s", name, err.message);
    } else if (*recovers != 't') {
        check_report(context, CHECK_WARN, "take it out of database.replicas",
                     "%s is no standby, and is not read from", name);
    } else {
        const char *trouble = timeline_trouble(context, url);
        if (trouble)
            check_report(context, CHECK_WARN, NULL, "%s %s", name, trouble);
        else
            report_lag(context, name, conn);
    }
    mem_free(recovers);
    mem_free(name);
    PQfinish(conn);
}

void check_replicas(struct check_context *context) {
    const struct cache_config *cache = &context->config->cache;
    for (uint32_t i = 0; i < cache->n_replicas && context->config->cache_read_through; i++)
        check_replica(context, cache->replicas[i]);
}

void check_pooler(struct check_context *context) {
    const char *url = context->config->cache.pooler_url;
    if (!url || !context->config->cache_read_through) return;
    struct error err;
    PGconn *conn = pg_connect(url, &(struct pg_options){.application_name = "freshet_check"}, &err);
    char *here = conn ? ask(conn, "SELECT " SERVER_START, &err) : NULL;
    char *there = ask(context->conn, "SELECT " SERVER_START, &err);
    if (!here)
        check_report(context, CHECK_FAIL, "start the pooler, or correct database.pooler", "%s",
                     err.message);
    else if (there && strcmp(here, there) != 0)
        check_report(context, CHECK_FAIL, "let it lead to the server that database.url names",
                     "it leads to another server: what is read there is never kept");
    else
        check_report(context, CHECK_OK, NULL, "%s:%s leads to the database", PQhost(conn),
                     PQport(conn));
    mem_free(here);
    mem_free(there);
    PQfinish(conn);
}

/* The database server: is it there, and does it let its changes be read? */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/pg.h"
#include "server/checks.h"

enum { OLDEST_VERSION = 140000 /* streams transactions that are still open: proto_version 2 */ };

/* One row of text fields; NULL: the failure was reported. */
static PGresult *ask(struct check_context *context, const char *sql) {
    struct error err;
    PGresult *row = pg_query(context->conn, sql, &err);
    if (!row) check_report(context, CHECK_FAIL, NULL, "%s", err.message);
    return row;
}

void check_connection(struct check_context *context) {
    struct config *config = context->config;
    if (!config->database_url) {
        config_finish(config, "");
        return;
    }
    struct error err;
    struct pg_options wanted = {.application_name = "freshet_check"};
    context->conn = pg_connect(config->database_url, &wanted, &err);
    if (!context->conn) {
        check_report(context, CHECK_FAIL,
                     "start PostgreSQL, or correct database.url (--database URL)", "%s",
                     err.message);
        return;
    }
    config_finish(config, PQdb(context->conn));
    context->catalog = catalog_load_shapes(context->conn, &err);
    if (!context->catalog) check_report(context, CHECK_FAIL, NULL, "%s", err.message);
    check_report(context, CHECK_OK, NULL, "\"%s\" on %s:%s as role \"%s\"", PQdb(context->conn),
                 PQhost(context->conn), PQport(context->conn), PQuser(context->conn));
    if (!context->catalog) {
        PQfinish(context->conn);
        context->conn = NULL;
    }
}

void check_version(struct check_context *context) {
    int version = PQserverVersion(context->conn);
    const char *shown = PQparameterStatus(context->conn, "server_version");
    if (version < OLDEST_VERSION)
        check_report(context, CHECK_FAIL, "upgrade to PostgreSQL 14 or newer",
                     "PostgreSQL %s is too old", shown);
    else
        check_report(context, CHECK_OK, NULL, "PostgreSQL %s", shown);
}

void check_primary(struct check_context *context) {
    PGresult *row = ask(context, "SELECT pg_is_in_recovery()");
    if (!row) return;
    if (*PQgetvalue(row, 0, 0) == 't')
        check_report(context, CHECK_FAIL, "let database.url name the primary",
                     "this server is a standby");
    PQclear(row);
}

void check_wal_level(struct check_context *context) {
    PGresult *row = ask(context, "SELECT current_setting('wal_level')");
    if (!row) return;
    const char *level = PQgetvalue(row, 0, 0);
    if (strcmp(level, "logical") == 0)
        check_report(context, CHECK_OK, NULL, "logical");
    else if (!check_streams(context) && context->config->cache.coherence == COHERENCE_TTL)
        check_report(context, CHECK_OK, NULL,
                     "%s; cache.coherence: ttl does not read the WAL, so the TTL is the only bound",
                     level);
    else
        check_report(context, CHECK_FAIL,
                     "ALTER SYSTEM SET wal_level = 'logical';  -- then restart PostgreSQL. A cache "
                     "alone also runs with cache.coherence: ttl",
                     "is %s, so committed changes cannot be followed; it must be logical", level);
    PQclear(row);
}

/* The attribute, and then the thing itself: pg_hba.conf may say no to a role that has it. */
void check_replication_right(struct check_context *context) {
    if (!check_streams(context)) return;
    PGresult *row =
        ask(context, "SELECT rolsuper OR rolreplication OR EXISTS (SELECT 1 FROM "
                     "pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid "
                     "WHERE m.member = u.oid AND r.rolname = 'rds_replication'), "
                     "quote_ident(rolname) FROM pg_roles u WHERE rolname = current_user");
    if (!row) return;
    bool allowed = PQntuples(row) && *PQgetvalue(row, 0, 0) == 't';
    if (!allowed) {
        struct buf sql = {0};
        buf_printf(&sql, "ALTER ROLE %s REPLICATION;",
                   PQntuples(row) ? PQgetvalue(row, 0, 1) : "...");
        check_report(context, CHECK_FAIL, buf_text(&sql), "role \"%s\" may not replicate",
                     PQuser(context->conn));
        buf_deinit(&sql);
    }
    PQclear(row);
    if (!allowed) return;
    struct error err;
    struct pg_options wanted = {.application_name = "freshet_check", .replication = true};
    PGconn *conn = pg_connect(context->config->database_url, &wanted, &err);
    if (conn)
        check_report(context, CHECK_OK, NULL, "role \"%s\" has it", PQuser(context->conn));
    else
        check_report(context, CHECK_FAIL,
                     "allow the role's replication connections to this database in pg_hba.conf",
                     "a replication connection is refused: %s", err.message);
    PQfinish(conn);
}

/* A permanent slot of ours: 1 if it has to be made. */
static int check_slot(struct check_context *context, const char *slot) {
    struct error err;
    PGresult *row = pg_query_params(
        context->conn,
        "SELECT coalesce(plugin, ''), coalesce(database = current_database(), false), active, "
        "coalesce(wal_status, ''), coalesce(active_pid, 0) FROM pg_replication_slots "
        "WHERE slot_name = $1",
        1, &slot, &err);
    if (!row) {
        check_report(context, CHECK_FAIL, NULL, "%s", err.message);
        return 0;
    }
    int missing = PQntuples(row) == 0;
    if (missing) {
        check_report(context, CHECK_OK, NULL, "\"%s\" does not exist yet; it will be made", slot);
    } else if (strcmp(PQgetvalue(row, 0, 0), "pgoutput") != 0 || *PQgetvalue(row, 0, 1) != 't') {
        check_report(context, CHECK_FAIL, "choose another name, or drop that slot",
                     "\"%s\" is not a pgoutput slot of this database", slot);
    } else if (*PQgetvalue(row, 0, 2) == 't') {
        check_report(context, CHECK_OK, NULL,
                     "\"%s\" exists, and is active for PID %s: `freshet run` would be that one's "
                     "standby",
                     slot, PQgetvalue(row, 0, 4));
    } else if (strcmp(PQgetvalue(row, 0, 3), "lost") == 0) {
        check_report(
            context, CHECK_WARN,
            "freshet cdc reset --from snapshot   # the publisher's; a connector's: drop it",
            "\"%s\" is lost: the server removed WAL that it needed", slot);
    } else {
        check_report(context, CHECK_OK, NULL, "\"%s\" exists", slot);
    }
    PQclear(row);
    return missing;
}

/* A temporary slot is always to be made. */
static int check_cache_slot(struct check_context *context) {
    const struct config *config = context->config;
    if (!check_cache_has_slot(config)) return 0;
    if (!config->cache.slot) return 1;
    check_report(
        context, CHECK_WARN,
        "watch its retained WAL, or bound it by max_slot_wal_keep_size; or leave cache.slot "
        "out, and the slot goes with the connection",
        "\"%s\" of cache.slot is permanent: while the cache is away the server keeps all "
        "WAL for it",
        config->cache.slot);
    return check_slot(context, config->cache.slot);
}

/* Slots that are to be made. */
void check_slots(struct check_context *context) {
    const struct config *config = context->config;
    if (!check_streams(context)) return;
    int needed = check_cache_slot(context);
    if (config->roles & ROLE_CDC) needed += check_slot(context, config->cdc.slot);
    for (uint32_t i = 0; i < config->n_connectors && config->roles & ROLE_CONNECTORS; i++) {
        if (config->connectors[i].from == CONNECTOR_FROM_SLOT)
            needed += check_slot(context, config->connectors[i].slot);
    }
    PGresult *row = ask(context, "SELECT current_setting('max_replication_slots')::int, "
                                 "(SELECT count(*) FROM pg_replication_slots)");
    if (!row) return;
    int most = atoi(PQgetvalue(row, 0, 0));
    int used = atoi(PQgetvalue(row, 0, 1));
    PQclear(row);
    if (most - used < needed)
        check_report(context, CHECK_FAIL,
                     "SELECT slot_name, active FROM pg_replication_slots;  -- and "
                     "pg_drop_replication_slot() what nobody needs, or raise max_replication_slots "
                     "and restart PostgreSQL",
                     "%d of %d are free, %d needed", most - used, most, needed);
    else
        check_report(context, CHECK_OK, NULL, "%d of %d are free, %d needed", most - used, most,
                     needed);
}

void check_senders(struct check_context *context) {
    const struct config *config = context->config;
    if (!check_streams(context)) return;
    int needed = check_cache_has_slot(config);
    if (config->roles & ROLE_CDC) needed++;
    needed += (int)config_slot_connectors(config);
    PGresult *row = ask(context, "SELECT current_setting('max_wal_senders')::int, "
                                 "(SELECT count(*) FROM pg_stat_activity "
                                 "WHERE backend_type = 'walsender')");
    if (!row) return;
    int most = atoi(PQgetvalue(row, 0, 0));
    int used = atoi(PQgetvalue(row, 0, 1));
    PQclear(row);
    if (most - used < needed)
        check_report(context, CHECK_FAIL,
                     "ALTER SYSTEM SET max_wal_senders = 20;  -- then restart PostgreSQL",
                     "%d of %d are free, %d needed", most - used, most, needed);
    else
        check_report(context, CHECK_OK, NULL, "%d of %d are free, %d needed", most - used, most,
                     needed);
}

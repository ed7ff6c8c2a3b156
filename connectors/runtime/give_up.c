#include "connectors/runtime/give_up.h"

#include "base/pg.h"

enum { CONNECT_TIMEOUT_S = 10 };

bool give_up_slot(const char *database_url, const char *slot, bool *dropped, struct error *err) {
    struct pg_options options = {.application_name = "freshet_connectors",
                                 .server_options = "-c statement_timeout=30s",
                                 .connect_timeout_s = CONNECT_TIMEOUT_S};
    PGconn *conn = pg_connect(database_url, &options, err);
    if (!conn) return false;
    const char *params[] = {slot};
    PGresult *rows = pg_query_params(conn,
                                     "SELECT pg_catalog.pg_drop_replication_slot(slot_name) "
                                     "FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
                                     1, params, err);
    bool done = rows != NULL;
    *dropped = done && PQntuples(rows) == 1;
    if (!done) err->retriable = true;
    PQclear(rows);
    PQfinish(conn);
    return done;
}

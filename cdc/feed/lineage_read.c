/* A server's lineage, from a replication connection to it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/lsn.h"
#include "cdc/feed/lineage.h"

/* Of the first timeline there is none. */
static bool read_history(const struct pgwait *wait, PGconn *walsender, struct lineage *lineage,
                         struct error *err) {
    if (lineage->timeline <= 1) return true;
    char sql[48];
    snprintf(sql, sizeof sql, "TIMELINE_HISTORY %u", lineage->timeline);
    PGresult *rows = pgwait_query(wait, walsender, sql, err);
    if (!rows) return error_prefix(err, "the server's history");
    bool ok = PQntuples(rows) == 1 && PQnfields(rows) >= 2;
    if (ok) {
        size_t len = (size_t)PQgetlength(rows, 0, 1);
        ok = lineage_parse(slice_make(PQgetvalue(rows, 0, 1), len), lineage);
    }
    PQclear(rows);
    return ok || error_set(err, ERROR_PROTOCOL, false, "unexpected answer of TIMELINE_HISTORY");
}

/* IDENTIFY_SYSTEM: systemid, timeline, xlogpos, dbname. */
bool lineage_read(const struct pgwait *wait, PGconn *walsender, struct lineage *lineage,
                  struct error *err) {
    PGresult *rows = pgwait_query(wait, walsender, "IDENTIFY_SYSTEM", err);
    if (!rows) return false;
    bool ok = PQntuples(rows) == 1 && PQnfields(rows) >= 4;
    if (ok) {
        *lineage = (struct lineage){0};
        lineage->system_identifier = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
        lineage->timeline = (uint32_t)strtoul(PQgetvalue(rows, 0, 1), NULL, 10);
        ok = lsn_parse(PQgetvalue(rows, 0, 2), &lineage->wal_lsn);
    }
    PQclear(rows);
    if (!ok) return error_set(err, ERROR_PROTOCOL, false, "unexpected answer of IDENTIFY_SYSTEM");
    return read_history(wait, walsender, lineage, err);
}

#include "connectors/source/row_reader.h"

#include <stdlib.h>

#include "base/lsn.h"
#include "base/pg.h"

enum {
    PAGE_HEADER_BYTES = 24, /* of the WAL: XLogPageHeaderData, and at a segment's start */
    LONG_PAGE_HEADER_BYTES = 40,
    MIN_PAGE_BYTES = 4096,
    MIN_SEGMENT_BYTES = 1024 * 1024,
};

/* Right behind a page's end the insert position stands behind the next page's header, which does not exist yet and which no
 * walsender's position ever includes. */
static uint64_t normal_lsn(uint64_t insert_lsn) {
    if (insert_lsn % MIN_SEGMENT_BYTES == LONG_PAGE_HEADER_BYTES)
        return insert_lsn - LONG_PAGE_HEADER_BYTES;
    if (insert_lsn % MIN_PAGE_BYTES == PAGE_HEADER_BYTES) return insert_lsn - PAGE_HEADER_BYTES;
    return insert_lsn;
}

/* A snapshot's xmax is behind the last transaction that has ended: what has begun since is open, and is not in it. But each holds
 * a lock on its own number before it writes. `xids`: theirs, 32 bits each, which go round. */
static uint64_t behind_all(uint64_t xmax, const char *xids) {
    uint64_t behind = xmax;
    for (char *end; *xids; xids = *end ? end + 1 : end) {
        int32_t ahead = (int32_t)((uint32_t)strtoul(xids, &end, 10) - (uint32_t)xmax);
        if (ahead >= 0 && xmax + (uint64_t)ahead >= behind) behind = xmax + (uint64_t)ahead + 1;
    }
    return behind;
}

bool row_reader_moment(PGconn *conn, struct reader_moment *moment, struct error *err) {
    PGresult *rows = pg_query(
        conn,
        "SELECT pg_catalog.pg_current_wal_insert_lsn(), pg_catalog.pg_current_wal_flush_lsn(), "
        "pg_catalog.pg_snapshot_xmin(s), pg_catalog.pg_snapshot_xmax(s), "
        "pg_catalog.current_setting('synchronous_standby_names') <> '', c.redo_lsn, "
        "pg_catalog.split_part(c.next_xid, ':', 2), "
        "(SELECT pg_catalog.string_agg(DISTINCT l.transactionid::text, ' ') "
        "FROM pg_catalog.pg_locks l WHERE l.locktype = 'transactionid'), "
        "(EXTRACT(epoch FROM pg_catalog.current_setting('wal_writer_delay')::interval) * "
        "1000)::int8 "
        "FROM pg_catalog.pg_current_snapshot() s, pg_catalog.pg_control_checkpoint() c",
        err);
    if (!rows) return false;
    uint64_t insert_lsn = 0;
    bool read = PQntuples(rows) == 1 && lsn_parse(PQgetvalue(rows, 0, 0), &insert_lsn) &&
                lsn_parse(PQgetvalue(rows, 0, 1), &moment->flush_lsn) &&
                lsn_parse(PQgetvalue(rows, 0, 5), &moment->checkpoint_lsn);
    if (read) {
        moment->lsn = normal_lsn(insert_lsn);
        moment->xmin = strtoull(PQgetvalue(rows, 0, 2), NULL, 10);
        moment->xmax =
            behind_all(strtoull(PQgetvalue(rows, 0, 3), NULL, 10), PQgetvalue(rows, 0, 7));
        moment->waits_for_standbys = PQgetvalue(rows, 0, 4)[0] == 't';
        /* "Asynchronous Commit" of the manual: three times wal_writer_delay. */
        moment->flushed_after_us = 3000 * strtoll(PQgetvalue(rows, 0, 8), NULL, 10);
        moment->checkpoint_xid = (uint32_t)strtoul(PQgetvalue(rows, 0, 6), NULL, 10);
    }
    PQclear(rows);
    return read || error_set(err, ERROR_PROTOCOL, true, "the server's WAL position is not told");
}

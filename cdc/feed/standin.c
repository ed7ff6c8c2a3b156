#include "cdc/feed/standin.h"

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/standbys.h"
#include "cdc/feed/stream.h"

struct standin {
    struct stream *stream;
    uint64_t lsn;
};

static bool is_awaited(const struct pgwait *wait, PGconn *conn, const char *name,
                       struct error *err) {
    PGresult *rows =
        pgwait_query(wait, conn, "SELECT current_setting('synchronous_standby_names')", err);
    struct standbys standbys = {0};
    bool awaited = rows && standbys_parse(PQgetvalue(rows, 0, 0), &standbys) &&
                   standbys_role(&standbys, name) != STANDBY_NOT_NAMED;
    standbys_deinit(&standbys);
    PQclear(rows);
    return awaited;
}

/* From the server's flush position on: whoever waits now waits for something before it. */
static bool begin(struct standin *standin, const struct pgwait *wait, PGconn **conn,
                  struct error *err) {
    PGresult *rows = pgwait_query(wait, *conn, "IDENTIFY_SYSTEM", err);
    if (!rows) return false;
    bool ok = PQntuples(rows) == 1 && PQnfields(rows) >= 3 &&
              lsn_parse(PQgetvalue(rows, 0, 2), &standin->lsn);
    char *sql = ok ? mem_printf("START_REPLICATION PHYSICAL " LSN_FMT " TIMELINE %s",
                                LSN_ARG(standin->lsn), PQgetvalue(rows, 0, 1))
                   : NULL;
    PQclear(rows);
    if (!sql) return error_set(err, ERROR_PROTOCOL, false, "unexpected answer of IDENTIFY_SYSTEM");
    rows = pgwait_query(wait, *conn, sql, err);
    mem_free(sql);
    if (!rows) return false;
    PQclear(rows);
    standin->stream = stream_open(conn);
    return true;
}

struct standin *standin_open(const struct pgwait *wait, const char *url,
                             const struct pg_options *options, struct error *err) {
    *err = (struct error){0};
    struct standin *standin = mem_zalloc(sizeof *standin);
    PGconn *conn = pgwait_connect(wait, url, options, err);
    if (conn && is_awaited(wait, conn, options->application_name, err) &&
        begin(standin, wait, &conn, err))
        return standin;
    PQfinish(conn);
    mem_free(standin);
    return NULL;
}

bool standin_turn(struct standin *standin, struct error *err) {
    struct frame frame;
    if (!stream_fill(standin->stream, err)) return false;
    enum stream_result result;
    while ((result = stream_next(standin->stream, &frame, err)) == STREAM_FRAME) {
        uint64_t lsn =
            frame.kind == FRAME_DATA ? frame.start_lsn + frame.payload.len : frame.wal_end_lsn;
        if (lsn > standin->lsn) standin->lsn = lsn;
    }
    return result == STREAM_EMPTY &&
           stream_send_status(standin->stream, standin->lsn, clock_wall_us(), false, err);
}

void standin_close(struct standin **standin) {
    struct standin *old = *standin;
    *standin = NULL;
    if (!old) return;
    stream_close(&old->stream);
    mem_free(old);
}

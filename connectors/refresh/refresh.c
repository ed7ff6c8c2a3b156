#include "connectors/refresh/refresh.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"
#include "base/pgsnapshot.h"
#include "connectors/refresh/matviews.h"

enum { WAIT_STEP_US = 50 * 1000, VISIBLE_WAIT_US = 2000, VISIBLE_TRIES = 40 };

/* Of a view, what its last refresh saw. */
struct refreshed {
    int64_t began_us; /* monotonic; 0: not by us */
    struct pgsnapshot snapshot;
};

struct sink {
    char *url;
    char *application_name;
    uint32_t n_names;
    const char *const *names;
    int64_t min_interval_us;
    struct log *log;
    const _Atomic bool *stop;
    PGconn *conn;
    struct matviews *views; /* of this session */
    struct refreshed *refreshed;
};

static struct sink *refresh_create(const struct connector_config *config,
                                   const struct sink_deps *deps, struct error *err) {
    (void)err;
    struct sink *sink = mem_zalloc(sizeof *sink);
    sink->url = mem_strdup(config->database_url);
    sink->application_name = mem_printf("freshet_%.54s", config->name);
    sink->n_names = config->n_views;
    sink->names = config->views;
    sink->min_interval_us = config->min_interval_ms * 1000;
    sink->log = deps->log;
    sink->stop = deps->stop;
    return sink;
}

static void forget_session(struct sink *sink) {
    if (sink->conn) PQfinish(sink->conn);
    sink->conn = NULL;
    for (uint32_t i = 0; sink->views && i < sink->views->n; i++)
        if (sink->refreshed[i].began_us) pgsnapshot_deinit(&sink->refreshed[i].snapshot);
    mem_free(sink->refreshed);
    sink->refreshed = NULL;
    matviews_destroy(&sink->views);
}

static void refresh_destroy(struct sink **sink) {
    struct sink *old = *sink;
    *sink = NULL;
    if (!old) return;
    forget_session(old);
    mem_free(old->url);
    mem_free(old->application_name);
    mem_free(old);
}

static bool connect_again(struct sink *sink, struct error *err) {
    if (sink->conn && PQstatus(sink->conn) == CONNECTION_OK) return true;
    if (sink->conn) PQfinish(sink->conn);
    sink->conn = pg_connect(sink->url,
                            &(struct pg_options){.application_name = sink->application_name,
                                                 .server_options = "-c statement_timeout=0"},
                            err);
    return sink->conn != NULL;
}

static bool refresh_open(struct sink *sink, const struct shape *shape, uint64_t system_identifier,
                         struct sink_target *target, struct error *err) {
    (void)shape, (void)system_identifier;
    forget_session(sink);
    if (!connect_again(sink, err)) return false;
    sink->views = matviews_load(sink->conn, sink->n_names, sink->names, err);
    if (!sink->views) return false;
    sink->refreshed = mem_calloc(sink->views->n + 1u, sizeof *sink->refreshed);
    *target = (struct sink_target){.id = "views", .ours = true};
    return true;
}

static bool refresh_reshape(struct sink *sink, const struct shape *shape, struct error *err) {
    (void)sink, (void)shape, (void)err;
    return true;
}

/* ---- one view ---- */

static bool wait_until(const struct sink *sink, int64_t due_us, struct error *err) {
    while (clock_mono_us() < due_us) {
        if (atomic_load(sink->stop))
            return error_set(err, ERROR_STOPPED, true, "stopped before a refresh was due");
        nanosleep(&(struct timespec){.tv_nsec = WAIT_STEP_US * 1000L}, NULL);
    }
    return true;
}

/* A snapshot from before the refresh, which sees no less: once it sees `xid`, so will that. */
static bool take_snapshot(struct sink *sink, uint64_t xid, struct pgsnapshot *snapshot,
                          struct error *err) {
    for (int i = 0; i < VISIBLE_TRIES; i++) {
        PGresult *row = pg_query(sink->conn, "SELECT pg_catalog.pg_current_snapshot()", err);
        if (!row) return false;
        bool parsed = pgsnapshot_parse(slice_from(PQgetvalue(row, 0, 0)), snapshot);
        PQclear(row);
        if (!parsed)
            return error_set(err, ERROR_PROTOCOL, true, "pg_current_snapshot() is unreadable");
        if (xid == 0 || pgsnapshot_sees(snapshot, xid)) return true;
        pgsnapshot_deinit(snapshot);
        nanosleep(&(struct timespec){.tv_nsec = VISIBLE_WAIT_US * 1000L}, NULL);
    }
    return error_set(err, ERROR_TIMEOUT, true,
                     "transaction %" PRIu64
                     " is committed and not visible yet (a synchronous standby is awaited?)",
                     xid);
}

/* What a view's own query, or a missing index, does: nobody but the view's owner can mend it, and the others must not wait for
 * that. All else is trouble of the server's. */
static bool is_refusal(const char *sqlstate) {
    static const char *const classes[] = {"0A", "21", "22", "23", "42", "55000", "P0"};
    if (!sqlstate || strcmp(sqlstate, "42501") == 0) return false; /* rights are waited for */
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0) return true;
    }
    return false;
}

static bool run_refresh(struct sink *sink, const struct matview *view, bool *refused,
                        struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "REFRESH MATERIALIZED VIEW ");
    /* One that was never filled shows nothing to anybody, and cannot be refreshed beside readers. */
    if (view->populated) buf_append_text(&sql, "CONCURRENTLY ");
    pg_quote_table(&sql, view->schema, view->name);
    PGresult *result = PQexec(sink->conn, buf_text(&sql));
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    *refused = !done && is_refusal(PQresultErrorField(result, PG_DIAG_SQLSTATE));
    if (!done) pg_error(err, sink->conn, result, buf_text(&sql));
    PQclear(result);
    buf_deinit(&sql);
    return done;
}

/* *refused, and false: by the view itself. */
static bool refresh_view(struct sink *sink, uint32_t i, const struct write *write, bool *refused,
                         struct error *err) {
    struct matview *view = &sink->views->views[i];
    struct refreshed *last = &sink->refreshed[i];
    uint64_t xid = write->stamp.xid;
    *refused = false;
    if (last->began_us && (xid == 0 || pgsnapshot_sees(&last->snapshot, xid))) return true;
    if (last->began_us && !wait_until(sink, last->began_us + sink->min_interval_us, err))
        return false;
    struct pgsnapshot snapshot;
    if (!connect_again(sink, err) || !take_snapshot(sink, xid, &snapshot, err)) return false;
    int64_t began_us = clock_mono_us();
    if (!run_refresh(sink, view, refused, err)) {
        pgsnapshot_deinit(&snapshot);
        return false;
    }
    if (last->began_us) pgsnapshot_deinit(&last->snapshot);
    *last = (struct refreshed){.began_us = began_us, .snapshot = snapshot};
    view->populated = true;
    log_info(sink->log, "view_refreshed", "view=%s seconds=%.3f", view->qualified,
             (double)(clock_mono_us() - began_us) / 1e6);
    return true;
}

static struct write *find_write(struct batch *batch, const char *name) {
    struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        if (slice_equal(write->key, slice_from(name))) return write;
    }
    return NULL;
}

/* In the views' order, whatever the batch's. */
static bool refresh_apply(struct sink *sink, struct batch *batch, struct error *err) {
    for (uint32_t i = 0; i < sink->views->n; i++) {
        struct write *write = find_write(batch, sink->views->views[i].qualified);
        if (!write) continue;
        bool refused;
        bool done = refresh_view(sink, i, write, &refused, err);
        if (!done && !refused) return false;
        if (done)
            write->outcome = WRITE_DONE;
        else
            batch_refuse_text(batch, write, 0, slice_from(err->message));
    }
    struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));)
        write->outcome = WRITE_STALE; /* of an earlier session's views */
    return true;
}

static bool refresh_clear_older(struct sink *sink, const struct clearing *clearing,
                                uint64_t *removed, struct error *err) {
    (void)sink, (void)clearing, (void)err;
    *removed = 0; /* a refresh leaves nothing of what was */
    return true;
}

static bool refresh_flush(struct sink *sink, const struct change_position *position,
                          struct error *err) {
    (void)sink, (void)position, (void)err;
    return true; /* a refresh is a commit */
}

const struct sink_type refresh_sink = {
    .name = "refresh",
    .help = "Materialized views of the database itself, refreshed when their tables have changed",
    .needs = "views",
    .takes = "min_interval",
    .ops =
        {
            .create = refresh_create,
            .destroy = refresh_destroy,
            .open = refresh_open,
            .reshape = refresh_reshape,
            .apply = refresh_apply,
            .clear_older = refresh_clear_older,
            .flush = refresh_flush,
        },
};

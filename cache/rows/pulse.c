#include "cache/rows/pulse.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cache/rows/control.h"
#include "cache/rows/forgetting.h"
#include "cache/rows/lsntimes.h"

enum {
    NUDGE_AFTER_US = 300 * 1000, /* that long may a sample wait for WAL that nobody flushes */
    NUDGE_INTERVAL_US = 500 * 1000,
};

struct pulse {
    struct core *core;
    struct control *control;
    /* Under the mutex: */
    pthread_mutex_t mutex;
    bool streams;
    uint64_t join;     /* number of the join under way; a step of an older one is void */
    bool join_wanted;  /* tables wait: take an LSN first */
    uint64_t join_lsn; /* then, once this is applied, S0; 0: none */
    bool joined;       /* nothing waits */
    char stream_cause[512];
    /* The thread's own: */
    _Atomic uint32_t wal_block_bytes; /* 0: not known yet */
    _Atomic uint64_t wal_segment_bytes;
    int64_t server_start_us; /* of the server that we ask */
    int64_t nudged_us;
    bool nudge_refused;
    struct forgetting forgetting;
};

/* ---- rule 5 ---- */

/* All tables that the stream covers, but for those that have joined already. */
static void set_horizons(struct pulse *pulse, uint64_t horizon_xid, uint64_t horizon_lsn) {
    struct tablemap *map = tablemaps_acquire(pulse->core->maps);
    for (uint32_t i = 0; map && i < tablemap_count(map); i++) {
        const struct table *table = tablemap_at(map, i);
        if (table->uncovered || atomic_load(&table->state->horizon_xid) != TABLESTATE_NOT_JOINED)
            continue;
        tablestate_set_horizon(table->state, horizon_xid, horizon_lsn);
    }
    tablemap_release(&map);
}

/* What the state was before the primary was asked: only that is proven by the answer. */
struct before {
    bool streams;
    bool foreign; /* the stream comes, or came, from another server */
    uint64_t join;
    bool wanted;
    bool passed; /* everything that the join waits for is applied */
};

static bool is_foreign(const struct pulse *pulse) {
    int64_t server_start_us = sources_origin(pulse->core->sources).server_start_us;
    return server_start_us != 0 && server_start_us != pulse->server_start_us;
}

static struct before look(struct pulse *pulse) {
    pthread_mutex_lock(&pulse->mutex);
    struct before before = {
        .streams = pulse->streams,
        .foreign = is_foreign(pulse),
        .join = pulse->join,
        .wanted = pulse->streams && pulse->join_wanted,
        .passed = pulse->streams && pulse->join_lsn != 0 &&
                  lease_applied_lsn(pulse->core->lease) >= pulse->join_lsn,
    };
    pthread_mutex_unlock(&pulse->mutex);
    return before;
}

/* The bound of rule 5: an xid of our own, taken now. Every transaction that had one before has a smaller one. (A
 * snapshot's xmax will not do: it lies behind the last xid that is over, not the last that was given, and a transaction
 * whose commit waits for a standby may have that very number.) */
static bool take_horizon(PGconn *conn, uint64_t *horizon_xid, struct error *err) {
    PGresult *result = pg_query(conn, "SELECT pg_current_xact_id()", err);
    if (!result) return false;
    *horizon_xid = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return true;
}

/* First an LSN that lies behind all that was sent under the old map; when that is applied, the horizon. */
static bool go_on_joining(struct pulse *pulse, PGconn *conn, const struct before *before,
                          uint64_t insert_lsn, struct error *err) {
    uint64_t horizon_xid = 0;
    if (before->passed && !take_horizon(conn, &horizon_xid, err)) return false;
    pthread_mutex_lock(&pulse->mutex);
    bool valid = pulse->streams && pulse->join == before->join;
    if (valid && before->wanted) {
        pulse->join_lsn = insert_lsn;
        pulse->join_wanted = false;
    } else if (valid && before->passed) {
        set_horizons(pulse, horizon_xid, pulse->join_lsn);
        pulse->join_lsn = 0;
        pulse->joined = true;
        log_info(pulse->core->log, "cache_tables_joined", "horizon_xid=%llu",
                 (unsigned long long)horizon_xid);
    }
    pthread_mutex_unlock(&pulse->mutex);
    return true;
}

/* ---- a tick ---- */

/* What holds the stream back may be WAL that was written and not flushed (by a commit with synchronous_commit off, or by
 * pruning), which nobody flushes soon. A tiny transaction does. */
static bool nudge(struct pulse *pulse, PGconn *conn, uint64_t flush_lsn, int64_t now_us,
                  struct error *err) {
    int64_t taken_us;
    uint64_t waiting_lsn = lease_waiting_lsn(pulse->core->lease, &taken_us);
    if (waiting_lsn == 0 || flush_lsn >= waiting_lsn || now_us - taken_us < NUDGE_AFTER_US ||
        now_us - pulse->nudged_us < NUDGE_INTERVAL_US || pulse->nudge_refused)
        return true;
    pulse->nudged_us = now_us;
    PGresult *result = pg_query(conn, "SELECT pg_logical_emit_message(true, 'freshet', '')", err);
    if (!result && err->code == ERROR_UNAVAILABLE) return false;
    if (!result) {
        log_warn(pulse->core->log, "cache_nudge_refused", "cause=\"%s\"", err->message);
        pulse->nudge_refused = true;
        *err = (struct error){0};
    }
    PQclear(result);
    return true;
}

static bool read_pulse(const PGresult *result, struct pgsnapshot *snapshot, uint64_t *insert_lsn,
                       uint64_t *flush_lsn, struct error *err) {
    if (PQntuples(result) == 1 && lsn_parse(PQgetvalue(result, 0, 0), insert_lsn) &&
        lsn_parse(PQgetvalue(result, 0, 1), flush_lsn) &&
        pgsnapshot_parse(slice_from(PQgetvalue(result, 0, 2)), snapshot))
        return true;
    return error_set(err, ERROR_PROTOCOL, true, "the server's LSN or snapshot cannot be read");
}

/* Positions of another server than the stream's prove nothing. */
static void take_sample(struct pulse *pulse, int64_t taken_us, uint64_t insert_lsn) {
    pthread_mutex_lock(&pulse->mutex);
    if (!is_foreign(pulse)) {
        lease_sample(pulse->core->lease, taken_us, insert_lsn);
        lsntimes_add(pulse->core->lsntimes, taken_us, insert_lsn);
    }
    pthread_mutex_unlock(&pulse->mutex);
    metric_add(pulse->core->count.samples, 1);
}

static bool tick(void *self, PGconn *conn, int64_t now_us, int64_t *due_us, struct error *err) {
    struct pulse *pulse = self;
    struct before before = look(pulse);
    *due_us = now_us + pulse->core->config->sample_interval_ms * 1000;
    if (before.foreign && !before.streams) return true; /* the feed will follow, or we shall */
    if (before.foreign)
        return error_set(err, ERROR_UNAVAILABLE, true,
                         "the change stream comes from another server now");
    PGresult *result = pg_query(conn,
                                "SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(), "
                                "pg_current_snapshot()",
                                err);
    if (!result) return false;
    struct pgsnapshot snapshot;
    uint64_t insert_lsn;
    uint64_t flush_lsn;
    bool read = read_pulse(result, &snapshot, &insert_lsn, &flush_lsn, err);
    PQclear(result);
    if (!read) return false;
    snapshot.lsn = insert_lsn;
    insert_lsn = lease_normal_lsn(insert_lsn, pulse->wal_block_bytes, pulse->wal_segment_bytes);
    take_sample(pulse, now_us, insert_lsn);
    atomic_store(&pulse->core->seen_xmin, snapshot.xmin);
    recent_keep_past(pulse->core->recent, sources_least_replayed(pulse->core->sources));
    forgetting_go_on(pulse->core, &pulse->forgetting);
    if (!forgetting_waits(&pulse->forgetting))
        forgetting_begin(pulse->core, &pulse->forgetting, &snapshot);
    forgetting_go_on(pulse->core, &pulse->forgetting);
    pgsnapshot_deinit(&snapshot);
    return go_on_joining(pulse, conn, &before, insert_lsn, err) &&
           nudge(pulse, conn, flush_lsn, now_us, err);
}

static bool connected(void *self, PGconn *conn, struct error *err) {
    struct pulse *pulse = self;
    PGresult *result =
        pg_query(conn,
                 "SELECT current_setting('wal_block_size'), "
                 "pg_size_bytes(current_setting('wal_segment_size')), "
                 "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint",
                 err);
    if (!result) return false;
    pulse->wal_block_bytes = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    pulse->wal_segment_bytes = strtoull(PQgetvalue(result, 0, 1), NULL, 10);
    pulse->server_start_us = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
    PQclear(result);
    pulse->nudge_refused = false;
    if (pulse->wal_block_bytes == 0 || pulse->wal_segment_bytes == 0)
        return error_set(err, ERROR_PROTOCOL, false, "the server tells no size of its WAL pages");
    /* Where the stream comes from, or would, there rows are read. */
    struct before before = look(pulse);
    if (!before.foreign || !before.streams) source_found(sources_at(pulse->core->sources, 0), conn);
    return true;
}

/* ---- the whole ---- */

struct pulse *pulse_create(struct core *core) {
    struct pulse *pulse = mem_zalloc(sizeof *pulse);
    pulse->core = core;
    pthread_mutex_init(&pulse->mutex, NULL);
    snprintf(pulse->stream_cause, sizeof pulse->stream_cause, "it has not begun yet");
    struct control_config config = {
        .name = "freshet-pulse",
        .database_url = core->config->database_url,
        .application_name = core->config->application_name,
        .server_options = "-c synchronous_commit=local -c statement_timeout=3s",
        .longest_tick_us = 5 * 1000 * 1000,
        .log = core->log,
        .connected = connected,
        .tick = tick,
        .self = pulse,
    };
    pulse->control = control_create(&config);
    return pulse;
}

void pulse_destroy(struct pulse **pulse) {
    if (!*pulse) return;
    control_destroy(&(*pulse)->control);
    forgetting_deinit(&(*pulse)->forgetting);
    pthread_mutex_destroy(&(*pulse)->mutex);
    mem_free(*pulse);
    *pulse = NULL;
}

bool pulse_start(struct pulse *pulse, struct error *err) {
    return control_start(pulse->control, err);
}

void pulse_stop(struct pulse *pulse) { control_stop(pulse->control); }

void pulse_watch(struct pulse *pulse, int64_t now_us) { control_watch(pulse->control, now_us); }

void pulse_stream_started(struct pulse *pulse, const struct origin *origin, bool moved,
                          void (*reset)(struct core *core)) {
    pthread_mutex_lock(&pulse->mutex);
    sources_set_origin(pulse->core->sources, origin);
    if (moved) {
        lease_reset(pulse->core->lease);
        lsntimes_clear(pulse->core->lsntimes);
    }
    pulse->join++;
    pulse->streams = true;
    pulse->join_wanted = true;
    pulse->join_lsn = 0;
    pulse->joined = false;
    pulse->stream_cause[0] = '\0';
    reset(pulse->core);
    pthread_mutex_unlock(&pulse->mutex);
    control_wake(pulse->control);
}

/* A join that the cut has interrupted begins again. */
void pulse_stream_resumed(struct pulse *pulse, const struct origin *origin) {
    pthread_mutex_lock(&pulse->mutex);
    sources_set_origin(pulse->core->sources, origin);
    pulse->join++;
    pulse->streams = true;
    pulse->join_wanted |= pulse->join_lsn != 0 || !pulse->joined;
    pulse->join_lsn = 0;
    pulse->stream_cause[0] = '\0';
    pthread_mutex_unlock(&pulse->mutex);
    control_wake(pulse->control);
}

void pulse_stream_ended(struct pulse *pulse, const char *cause) {
    pthread_mutex_lock(&pulse->mutex);
    pulse->streams = false;
    sources_stream_ended(pulse->core->sources);
    snprintf(pulse->stream_cause, sizeof pulse->stream_cause, "%s", cause);
    pthread_mutex_unlock(&pulse->mutex);
}

void pulse_join(struct pulse *pulse, void (*change)(void *arg), void *arg) {
    pthread_mutex_lock(&pulse->mutex);
    change(arg);
    pulse->join++;
    pulse->join_wanted = true;
    pulse->join_lsn = 0;
    pthread_mutex_unlock(&pulse->mutex);
    control_wake(pulse->control);
}

uint64_t pulse_normal_lsn(struct pulse *pulse, uint64_t lsn) {
    uint32_t block_bytes = pulse->wal_block_bytes;
    uint64_t segment_bytes = pulse->wal_segment_bytes;
    return block_bytes && segment_bytes ? lease_normal_lsn(lsn, block_bytes, segment_bytes) : lsn;
}

bool pulse_streams(struct pulse *pulse) {
    pthread_mutex_lock(&pulse->mutex);
    bool streams = pulse->streams;
    pthread_mutex_unlock(&pulse->mutex);
    return streams;
}

bool pulse_joined(struct pulse *pulse) {
    pthread_mutex_lock(&pulse->mutex);
    bool joined = pulse->streams && pulse->joined;
    pthread_mutex_unlock(&pulse->mutex);
    return joined;
}

bool pulse_trouble(struct pulse *pulse, struct buf *text) {
    pthread_mutex_lock(&pulse->mutex);
    bool streams = pulse->streams;
    if (!streams)
        buf_printf(text, "the change stream does not run%s%s", pulse->stream_cause[0] ? ": " : "",
                   pulse->stream_cause);
    pthread_mutex_unlock(&pulse->mutex);
    if (!streams) return true;
    struct buf cause = {0};
    bool is_connected = control_is_connected(pulse->control, &cause);
    if (!is_connected)
        buf_printf(text, "the primary's position cannot be read: %s", buf_text(&cause));
    buf_deinit(&cause);
    if (!is_connected) return true;
    int64_t staleness_us = lease_staleness_us(pulse->core->lease, clock_mono_us());
    int64_t bound_us = pulse->core->config->max_staleness_ms * 1000;
    if (staleness_us >= 0 && staleness_us <= bound_us) return false;
    buf_append_text(text, "the change stream is behind");
    return true;
}

#include "cache/rows/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cache/rows/coherence.h"
#include "cache/rows/control.h"
#include "cache/rows/lsntimes.h"
#include "cache/rows/pulse.h"

/* What a standby is. */
struct standing {
    uint64_t system_identifier;
    uint32_t timeline; /* 0: it does not tell us */
    bool in_recovery;
    int64_t server_start_us;
    uint64_t replayed_lsn;
};

struct replica {
    struct core *core;
    struct source *source;
    struct control *control;
    struct standing last;    /* when it was ours */
    int64_t origin_start_us; /* of the origin that it was compared with */
};

/* ---- asking ---- */

/* A walsender tells the timeline that is being replayed to anyone who may replicate. */
static bool identify(PGconn *conn, struct standing *standing, struct error *err) {
    PGresult *row = pg_query(conn, "IDENTIFY_SYSTEM", err);
    if (!row) return false;
    standing->system_identifier = strtoull(PQgetvalue(row, 0, 0), NULL, 10);
    standing->timeline = (uint32_t)strtoul(PQgetvalue(row, 0, 1), NULL, 10);
    PQclear(row);
    return true;
}

/* An ordinary session learns it where the role may read all statistics; else of the last restartpoint, which is late. */
static bool identify_plainly(PGconn *conn, struct standing *standing, struct error *err) {
    PGresult *row = pg_query(conn,
                             "SELECT (SELECT system_identifier FROM pg_control_system()), "
                             "coalesce((SELECT received_tli FROM pg_stat_get_wal_receiver()), "
                             "(SELECT timeline_id FROM pg_control_checkpoint()))",
                             err);
    if (!row) return false;
    standing->system_identifier = strtoull(PQgetvalue(row, 0, 0), NULL, 10);
    standing->timeline = (uint32_t)strtoul(PQgetvalue(row, 0, 1), NULL, 10);
    PQclear(row);
    return true;
}

static bool is_walsender(const PGconn *conn) {
    PQconninfoOption *options = PQconninfo((PGconn *)(uintptr_t)conn);
    bool replicates = false;
    for (const PQconninfoOption *o = options; o && o->keyword; o++) {
        if (strcmp(o->keyword, "replication") == 0) replicates = o->val && *o->val;
    }
    PQconninfoFree(options);
    return replicates;
}

/* The LSN first: what it is found to be afterwards, it was then. */
static bool ask(PGconn *conn, struct standing *standing, struct error *err) {
    PGresult *row =
        pg_query(conn,
                 "SELECT coalesce(pg_last_wal_replay_lsn(), '0/0'), pg_is_in_recovery(), "
                 "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint",
                 err);
    if (!row) return false;
    bool read = lsn_parse(PQgetvalue(row, 0, 0), &standing->replayed_lsn);
    standing->in_recovery = *PQgetvalue(row, 0, 1) == 't';
    standing->server_start_us = strtoll(PQgetvalue(row, 0, 2), NULL, 10);
    PQclear(row);
    if (!read) return error_set(err, ERROR_PROTOCOL, true, "the replica's LSN cannot be read");
    return is_walsender(conn) ? identify(conn, standing, err)
                              : identify_plainly(conn, standing, err);
}

/* ---- judging ---- */

static const char not_begun[] = "the change stream has not begun yet";

/* NULL: its history is the origin's. */
static const char *foreign(const struct standing *standing, const struct origin *origin) {
    if (!standing->in_recovery) return "it is no standby";
    if (origin->server_start_us == 0) return not_begun;
    if (standing->system_identifier != origin->system_identifier)
        return "it is a standby of another system";
    if (standing->timeline != origin->timeline) return "it is on another timeline than the primary";
    return NULL;
}

static void clear_rows(void *arg) { coherence_reset(arg); }

/* A standby that has taken another timeline between two looks may have given rows of that one meanwhile. (One that was
 * promoted has not: each read looks whether it is still a standby.) */
static void part(struct replica *replica, const struct standing *standing) {
    struct core *core = replica->core;
    bool served = replica->last.system_identifier != 0;
    bool other_history = standing->system_identifier != replica->last.system_identifier ||
                         standing->timeline != replica->last.timeline;
    source_disown(replica->source);
    replica->last = (struct standing){0};
    if (!served || !other_history) return;
    log_warn(core->log, "cache_replica_moved", "replica=%s timeline=%u",
             source_name(replica->source), standing->timeline);
    pulse_join(core->pulse, clear_rows, core);
}

static bool is_near(const struct replica *replica, int64_t lag_us) {
    int64_t bound_us = replica->core->config->max_staleness_ms * 1000;
    if (lag_us < 0) return false;
    return lag_us <= (source_is_fit(replica->source) ? bound_us : bound_us / 2);
}

static void tell(struct replica *replica, const struct source_measure *measure) {
    if (!source_measured(replica->source, measure)) return;
    if (measure->fit)
        log_info(replica->core->log, "cache_replica_in_use", "replica=%s lag_ms=%lld",
                 source_name(replica->source), (long long)measure->lag_us / 1000);
    else if (measure->cause != not_begun)
        log_warn(replica->core->log, "cache_replica_left_out", "replica=%s cause=\"%s\"",
                 source_name(replica->source), measure->cause);
}

static void judge(struct replica *replica, const struct standing *standing) {
    struct core *core = replica->core;
    struct origin origin = sources_origin(core->sources);
    struct source_measure measure = {
        .server_start_us = standing->server_start_us,
        .replayed_lsn = standing->replayed_lsn,
        .lag_us = -1,
        .cause = foreign(standing, &origin),
    };
    bool ours = !measure.cause;
    bool known = ours && standing->timeline == replica->last.timeline &&
                 standing->server_start_us == replica->last.server_start_us &&
                 origin.server_start_us == replica->origin_start_us;
    if (!ours) {
        part(replica, standing);
        tell(replica, &measure);
        return;
    }
    if (!known || atomic_load(source_serves(replica->source)) == 0) {
        source_disown(replica->source);
        source_own(replica->source, &origin);
        replica->last = *standing;
        replica->origin_start_us = origin.server_start_us;
    }
    int64_t fresh_at_us = lsntimes_at(core->lsntimes, standing->replayed_lsn);
    if (fresh_at_us) measure.lag_us = clock_mono_us() - fresh_at_us;
    measure.fit = is_near(replica, measure.lag_us);
    if (!measure.fit) measure.cause = "it is too far behind the primary";
    tell(replica, &measure);
}

/* ---- the thread ---- */

static bool connected(void *self, PGconn *conn, struct error *err) {
    struct replica *replica = self;
    (void)err;
    source_found(replica->source, conn);
    return true;
}

static void ended(void *self, const char *cause) {
    struct replica *replica = self;
    source_disown(replica->source);
    tell(replica, &(struct source_measure){.lag_us = -1, .cause = cause});
}

static bool tick(void *self, PGconn *conn, int64_t now_us, int64_t *due_us, struct error *err) {
    struct replica *replica = self;
    struct standing standing = {0};
    if (!ask(conn, &standing, err)) return false;
    judge(replica, &standing);
    *due_us = now_us + replica->core->config->sample_interval_ms * 1000;
    /* A URL with several hosts may lead to another that is a standby. */
    if (!standing.in_recovery && pg_has_several_hosts(source_url(replica->source)))
        return error_set(err, ERROR_UNAVAILABLE, true, "it is no standby any more");
    return true;
}

struct replica *replica_create(struct core *core, struct source *source) {
    struct replica *replica = mem_zalloc(sizeof *replica);
    replica->core = core;
    replica->source = source;
    struct control_config config = {
        .name = "freshet-replica",
        .database_url = source_url(source),
        .server_options = "-c statement_timeout=3s",
        .longest_tick_us = 5 * 1000 * 1000,
        .application_name = core->config->application_name,
        .wanted_server = "standby",
        .replication = true,
        .log = core->log,
        .connected = connected,
        .ended = ended,
        .tick = tick,
        .self = replica,
    };
    replica->control = control_create(&config);
    return replica;
}

void replica_destroy(struct replica **replica) {
    if (!*replica) return;
    control_destroy(&(*replica)->control);
    mem_free(*replica);
    *replica = NULL;
}

bool replica_start(struct replica *replica, struct error *err) {
    return control_start(replica->control, err);
}

void replica_stop(struct replica *replica) { control_stop(replica->control); }

void replica_watch(struct replica *replica, int64_t now_us) {
    control_watch(replica->control, now_us);
}

json_t *replica_status(struct source *source) {
    char lsn[32];
    snprintf(lsn, sizeof lsn, LSN_FMT, LSN_ARG(source_replayed_lsn(source)));
    int64_t lag_us = source_lag_us(source);
    struct buf cause = {0};
    source_cause(source, &cause);
    json_t *status = json_object();
    json_object_set_new(status, "replica", json_string(source_name(source)));
    json_object_set_new(status, "in_use", json_boolean(source_is_fit(source)));
    json_object_set_new(status, "replayed_lsn", json_string(lsn));
    json_object_set_new(status, "lag_ms", lag_us < 0 ? json_null() : json_integer(lag_us / 1000));
    json_object_set_new(status, "trouble", cause.len ? json_string(buf_text(&cause)) : json_null());
    buf_deinit(&cause);
    return status;
}

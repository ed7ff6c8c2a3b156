#include "cache/rows/sources.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

enum { MEASURED_LATELY_US = 500 * 1000 };

struct source {
    struct sources *all;
    const struct cache_config *config;
    const char *url;
    char *name;
    bool standby;
    bool pooled;
    struct source_metrics metrics;
    _Atomic int64_t serves;
    _Atomic uint64_t version;
    _Atomic bool fit;
    _Atomic int64_t measured_us;
    _Atomic uint64_t replayed_lsn;
    _Atomic int64_t lag_us;
    _Atomic int64_t server_start_us;
    pthread_mutex_t mutex; /* over the next two */
    char *conninfo;        /* NULL: not found yet */
    char cause[256];
};

struct sources {
    struct metrics *registry;
    pthread_mutex_t mutex; /* over the next two, and over changes of what standbys serve */
    struct origin origin;
    _Atomic int64_t streams_from_us;
    int64_t last_number;
    uint32_t n;
    struct source *sources;
};

/* ---- conninfo ---- */

/* Settings of a session do not come through a pooler: they go into each transaction (pipe.c). */
static char *compose_conninfo(const struct source *source, const struct pg_address *at) {
    const struct cache_config *config = source->config;
    int64_t timeout_ms =
        config->statement_timeout_ms ? config->statement_timeout_ms : config->fill_timeout_ms;
    char *options = mem_printf("-c statement_timeout=%lld -c default_transaction_read_only=on "
                               "-c plan_cache_mode=force_generic_plan -c jit=off",
                               (long long)timeout_ms);
    struct pg_options pg = {.application_name = config->application_name,
                            .server_options = source->pooled ? NULL : options,
                            .wanted_server = source->standby ? "standby" : "any",
                            .at = at};
    struct error err = {0};
    char *conninfo = pg_conninfo(source->url, &pg, &err);
    ASSERT(conninfo); /* whoever made the configuration has looked at the URL */
    mem_free(options);
    return conninfo;
}

static void set_conninfo(struct source *source, char *conninfo) {
    pthread_mutex_lock(&source->mutex);
    bool same = source->conninfo && strcmp(source->conninfo, conninfo) == 0;
    char *old = same ? conninfo : source->conninfo;
    if (!same) {
        source->conninfo = conninfo;
        atomic_fetch_add(&source->version, 1);
    }
    pthread_mutex_unlock(&source->mutex);
    mem_free(old);
}

void source_found(struct source *source, const PGconn *conn) {
    if (source->pooled) return;
    struct pg_address address;
    pg_address_of(conn, &address);
    set_conninfo(source, compose_conninfo(source, &address));
}

uint64_t source_version(const struct source *source) { return atomic_load(&source->version); }

uint64_t source_conninfo(struct source *source, struct buf *conninfo) {
    pthread_mutex_lock(&source->mutex);
    if (source->conninfo) buf_append_text(conninfo, source->conninfo);
    uint64_t version = atomic_load(&source->version);
    pthread_mutex_unlock(&source->mutex);
    return version;
}

/* ---- the whole ---- */

static double read_lag(void *owner) {
    int64_t lag_us = atomic_load(&((struct source *)owner)->lag_us);
    return lag_us < 0 ? -1 : (double)lag_us / 1e6;
}

static double read_fit(void *owner) { return source_is_fit(owner); }

static void register_metrics(struct source *source, struct metrics *metrics) {
    static const char *const reasons[] = {[REFUSED_LSN] = "lsn",
                                          [REFUSED_STALE] = "stale",
                                          [REFUSED_MOVED] = "moved",
                                          [REFUSED_ERROR] = "error"};
    char *label = mem_printf("replica=\"%s\"", source->name);
    metrics_gauge_fn(metrics, "freshet_cache_replica_lag_seconds",
                     "How far the replica is behind the primary; -1: not known.", label, read_lag,
                     source);
    metrics_gauge_fn(metrics, "freshet_cache_replica_in_use",
                     "1 while rows are read from the replica.", label, read_fit, source);
    source->metrics.fills = metrics_counter(metrics, "freshet_cache_replica_fills_total",
                                            "Rows that were read from the replica.", label);
    for (int i = 0; i < REFUSALS; i++) {
        char *both = mem_printf("%s,why=\"%s\"", label, reasons[i]);
        source->metrics.refused[i] = metrics_counter(
            metrics, "freshet_cache_replica_refusals_total",
            "Rows that were read again from the primary, by why: the replica had not replayed what "
            "touched them, was too far behind, had changed its role, answered an error.",
            both);
        mem_free(both);
    }
    mem_free(label);
}

static void init_source(struct sources *sources, uint32_t i, const struct cache_config *config) {
    struct source *source = &sources->sources[i];
    source->all = sources;
    source->config = config;
    source->standby = i > 0;
    source->pooled = !source->standby && config->pooler_url;
    source->url = source->standby  ? config->replicas[i - 1]
                  : source->pooled ? config->pooler_url
                                   : config->database_url;
    source->name = pg_hosts(source->url);
    atomic_init(&source->lag_us, -1);
    pthread_mutex_init(&source->mutex, NULL);
    snprintf(source->cause, sizeof source->cause, "not connected yet");
    /* One host needs no finding; but a session that may only read would be found unfit by attributes that are asked for. */
    if (source->pooled ||
        (!pg_has_several_hosts(source->url) && !strstr(source->url, "target_session_attrs")))
        set_conninfo(source, compose_conninfo(source, NULL));
    if (source->standby) register_metrics(source, sources->registry);
}

struct sources *sources_create(const struct cache_config *config, struct metrics *metrics) {
    struct sources *sources = mem_zalloc(sizeof *sources);
    sources->registry = metrics;
    pthread_mutex_init(&sources->mutex, NULL);
    sources->n = 1 + config->n_replicas;
    sources->sources = mem_calloc(sources->n, sizeof *sources->sources);
    for (uint32_t i = 0; i < sources->n; i++)
        init_source(sources, i, config);
    return sources;
}

void sources_destroy(struct sources **sources) {
    struct sources *old = *sources;
    *sources = NULL;
    if (!old) return;
    for (uint32_t i = 0; i < old->n; i++) {
        struct source *source = &old->sources[i];
        metrics_forget(old->registry, source);
        pthread_mutex_destroy(&source->mutex);
        mem_free(source->conninfo);
        mem_free(source->name);
    }
    pthread_mutex_destroy(&old->mutex);
    mem_free(old->sources);
    mem_free(old);
}

uint32_t sources_count(const struct sources *sources) { return sources->n; }

struct source *sources_at(struct sources *sources, uint32_t i) {
    ASSERT(i < sources->n);
    return &sources->sources[i];
}

/* ---- the origin ---- */

void sources_set_origin(struct sources *sources, const struct origin *origin) {
    pthread_mutex_lock(&sources->mutex);
    sources->origin = *origin;
    atomic_store(&sources->streams_from_us, origin->streams ? origin->server_start_us : 0);
    atomic_store(&sources->sources[0].serves, origin->server_start_us);
    for (uint32_t i = 1; i < sources->n; i++)
        atomic_store(&sources->sources[i].serves, 0);
    pthread_mutex_unlock(&sources->mutex);
}

struct origin sources_origin(struct sources *sources) {
    pthread_mutex_lock(&sources->mutex);
    struct origin origin = sources->origin;
    pthread_mutex_unlock(&sources->mutex);
    return origin;
}

void sources_stream_ended(struct sources *sources) {
    pthread_mutex_lock(&sources->mutex);
    sources->origin.streams = false;
    atomic_store(&sources->streams_from_us, 0);
    pthread_mutex_unlock(&sources->mutex);
}

int64_t sources_streams_from(const struct sources *sources) {
    return atomic_load(&sources->streams_from_us);
}

void source_disown(struct source *source) {
    pthread_mutex_lock(&source->all->mutex);
    atomic_store(&source->serves, 0);
    pthread_mutex_unlock(&source->all->mutex);
}

void source_own(struct source *source, const struct origin *origin) {
    struct sources *all = source->all;
    pthread_mutex_lock(&all->mutex);
    /* The origin that it was compared with may have gone meanwhile. */
    if (all->origin.server_start_us == origin->server_start_us &&
        all->origin.timeline == origin->timeline)
        atomic_store(&source->serves, ++all->last_number);
    pthread_mutex_unlock(&all->mutex);
}

uint64_t sources_least_replayed(struct sources *sources) {
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 1; i < sources->n; i++) {
        uint64_t lsn = source_replayed_lsn(&sources->sources[i]);
        if (source_is_fit(&sources->sources[i]) && lsn < least) least = lsn;
    }
    return least;
}

uint64_t sources_most_replayed(struct sources *sources) {
    uint64_t most = 0;
    for (uint32_t i = 1; i < sources->n; i++) {
        uint64_t lsn = source_replayed_lsn(&sources->sources[i]);
        if (source_is_fit(&sources->sources[i]) && lsn > most) most = lsn;
    }
    return most;
}

/* ---- one of them ---- */

const char *source_name(const struct source *source) { return source->name; }
const char *source_url(const struct source *source) { return source->url; }
bool source_is_standby(const struct source *source) { return source->standby; }
bool source_is_pooled(const struct source *source) { return source->pooled; }
struct source_metrics *source_metrics(struct source *source) {
    return &source->metrics;
}
const _Atomic int64_t *source_serves(const struct source *source) { return &source->serves; }

bool source_measured(struct source *source, const struct source_measure *measure) {
    atomic_store(&source->server_start_us, measure->server_start_us);
    atomic_store(&source->replayed_lsn, measure->replayed_lsn);
    atomic_store(&source->lag_us, measure->lag_us);
    atomic_store(&source->measured_us, clock_mono_us());
    pthread_mutex_lock(&source->mutex);
    bool changed = atomic_exchange(&source->fit, measure->fit) != measure->fit ||
                   (!measure->fit && strcmp(source->cause, measure->cause) != 0);
    snprintf(source->cause, sizeof source->cause, "%s", measure->fit ? "" : measure->cause);
    pthread_mutex_unlock(&source->mutex);
    return changed;
}

bool source_is_fit(const struct source *source) {
    int64_t limit_us = MEASURED_LATELY_US + 5 * source->config->sample_interval_ms * 1000;
    return atomic_load(&source->fit) && atomic_load(&source->serves) != 0 &&
           clock_mono_us() - atomic_load(&source->measured_us) < limit_us;
}

uint64_t source_replayed_lsn(const struct source *source) {
    return atomic_load(&source->replayed_lsn);
}

int64_t source_lag_us(const struct source *source) { return atomic_load(&source->lag_us); }

int64_t source_server_start_us(const struct source *source) {
    return atomic_load(&source->server_start_us);
}

void source_cause(struct source *source, struct buf *cause) {
    pthread_mutex_lock(&source->mutex);
    buf_append_text(cause, source->cause);
    pthread_mutex_unlock(&source->mutex);
}

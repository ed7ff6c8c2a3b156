#include "cache/rows/readthrough.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cache/front/worker.h"
#include "cache/rows/coherence.h"
#include "cache/rows/core.h"
#include "cache/rows/fetch.h"
#include "cache/rows/flights.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/loader.h"
#include "cache/rows/lsntimes.h"
#include "cache/rows/pace.h"
#include "cache/rows/pulse.h"
#include "cache/rows/query_figures.h"
#include "cache/rows/reaper.h"
#include "cache/rows/replica.h"
#include "cache/rows/sources.h"
#include "cache/rows/verify.h"
#include "cache/rows/warden.h"
#include "cache/rows/warm.h"
#include "cache/signals/awaits.h"
#include "cache/writes/writer.h"

enum {
    WATCH_INTERVAL_US = 1000 * 1000,
    MIN_NOTES = 1 << 16, /* of the recent set, each of 48 to 96 bytes */
    MAX_NOTES = 1 << 20,
    BYTES_A_NOTE = 1 << 10, /* of max_memory */
    MIN_LINKS = 1 << 18,
    MAX_LINKS = 1 << 22, /* 64 bytes and the key's own each, of max_memory */
    BYTES_A_LINK = 1 << 10,
};

struct readthrough {
    struct core core;
    struct coherence *coherence;
    struct reaper *reaper;                        /* NULL: nothing is to be deleted */
    struct keyspace *keyspaces[CORE_MAX_WORKERS]; /* by the worker's index */
    uint32_t n_replicas;
    struct replica **replicas;
    struct loop_timer watch; /* of the first worker */
    struct loop *watch_loop;
};

/* ---- metrics ---- */

static double read_staleness(void *owner) {
    const struct core *core = owner;
    int64_t staleness_us = lease_staleness_us(core->lease, clock_mono_us());
    return staleness_us < 0 ? -1 : (double)staleness_us / 1e6;
}

static double read_applied(void *owner) {
    const struct core *core = owner;
    return (double)lease_applied_lsn(core->lease);
}

static double read_lease(void *owner) {
    const struct core *core = owner;
    return clock_mono_us() < lease_deadline_us(lease_deadline(core->lease));
}

static double read_recent(void *owner) {
    const struct core *core = owner;
    return (double)recent_size(core->recent);
}

static double read_recent_bytes(void *owner) {
    const struct core *core = owner;
    return (double)recent_bytes(core->recent);
}

static double read_links_bytes(void *owner) {
    const struct core *core = owner;
    return (double)links_bytes(core->links);
}

static double read_links(void *owner) {
    const struct core *core = owner;
    return (double)links_size(core->links);
}

static void register_gauges(struct core *core) {
    static const struct {
        const char *name;
        const char *help;
        metric_reader *read;
    } gauges[] = {
        {"freshet_cache_staleness_seconds",
         "How far memory may be behind the primary's commits; -1: not known.", read_staleness},
        {"freshet_cache_applied_lsn_bytes",
         "The WAL position up to which committed changes are applied.", read_applied},
        {"freshet_cache_lease_held",
         "1 while memory may answer for rows: its staleness is proven to be within the bound.",
         read_lease},
        {"freshet_cache_recent_keys",
         "Keys touched by applied transactions that new snapshots may not see yet.", read_recent},
        {"freshet_cache_recent_bytes", "Memory of the recent keys.", read_recent_bytes},
        {"freshet_cache_links_bytes", "Memory of that index of keys.", read_links_bytes},
        {"freshet_cache_links",
         "Keys in the index from a row's own key to the others that it was asked for by.",
         read_links},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        metrics_gauge_fn(core->metrics, gauges[i].name, gauges[i].help, NULL, gauges[i].read, core);
}

static void register_counters(struct core *core) {
    static const char fills[] = "Rows read from the database, by what became of them.";
    static const char evicted[] = "Entries of rows that changes took out, by how.";
    struct metrics *metrics = core->metrics;
    struct core_metrics *count = &core->count;
#define FILLS(outcome)                                                                             \
    metrics_counter(metrics, "freshet_cache_fills_total", fills, "outcome=\"" outcome "\"")
    count->fills_installed = FILLS("installed");
    count->fills_retried = FILLS("retried");
    count->fills_uncached = FILLS("uncached");
    count->fills_failed = FILLS("failed");
    count->fills_timeout = FILLS("timeout");
    count->fills_blocked = metrics_counter(
        metrics, "freshet_cache_fills_blocked_total",
        "Rows read that did not show a commit already applied, and so were not kept.", NULL);
#undef FILLS
    count->evicted_commit =
        metrics_counter(metrics, "freshet_cache_row_evictions_total", evicted, "cause=\"commit\"");
    count->evicted_table =
        metrics_counter(metrics, "freshet_cache_row_evictions_total", evicted, "cause=\"table\"");
    count->links_refused =
        metrics_counter(metrics, "freshet_cache_links_refused_total",
                        "Rows that were not kept since that index was full.", NULL);
    static const char starts[] = "Sessions of the cache's feed: from an empty memory, or resumed.";
    count->feed_anew =
        metrics_counter(metrics, "freshet_cache_feed_starts_total", starts, "how=\"anew\"");
    count->feed_resumed =
        metrics_counter(metrics, "freshet_cache_feed_starts_total", starts, "how=\"resumed\"");
    count->fences = metrics_counter(metrics, "freshet_cache_table_fences_total",
                                    "Transactions that touched a whole table.", NULL);
    count->joined = metrics_counter(metrics, "freshet_cache_fills_joined_total",
                                    "Reads that joined a fill which was under way.", NULL);
    count->paced = metrics_counter(metrics, "freshet_cache_fills_paced_total",
                                   "Fills put off by cache.min_refill_interval.", NULL);
    static const char refreshes[] = "freshet_cache_refreshes_total";
    static const char refreshes_help[] = "Rows in memory that were read again before their end.";
    count->refreshed_early =
        metrics_counter(metrics, refreshes, refreshes_help, "reason=\"early\"");
    count->refreshed_stale =
        metrics_counter(metrics, refreshes, refreshes_help, "reason=\"stale\"");
    count->samples = metrics_counter(metrics, "freshet_cache_samples_total",
                                     "Looks at the primary's position and snapshot.", NULL);
    count->queries = metrics_counter(metrics, "freshet_cache_fill_queries_total",
                                     "Statements sent to read rows.", NULL);
    count->in_flight = metrics_gauge(metrics, "freshet_cache_fills_in_flight",
                                     "Rows that are being read from the database.", NULL);
    count->connections = metrics_gauge(metrics, "freshet_cache_pool_connections",
                                       "Connections to read rows that are up.", NULL);
    count->reconnects = metrics_counter(metrics, "freshet_cache_pool_failures_total",
                                        "Connections to read rows that failed.", NULL);
}

/* ---- the whole ---- */

static unsigned rules_taken_out(void) {
#ifdef FRESHET_TEST_SWITCHES
    char *at = getenv("FRESHET_TEST_RULES_OFF"); /* numbers, and anything between them */
    unsigned off = 0;
    while (at && *at) {
        char *end;
        unsigned long number = strtoul(at, &end, 10);
        if (end != at && number < 32) off |= 1u << number;
        at = end == at ? at + 1 : end;
    }
    return off;
#else
    return 0;
#endif
}

/* One link for each row that memory may hold by a unique key, more or less. */
static size_t links_of(const struct cache_config *config) {
    uint64_t links = config->max_memory_bytes / BYTES_A_LINK;
    return links < MIN_LINKS ? MIN_LINKS : links > MAX_LINKS ? MAX_LINKS : (size_t)links;
}

static size_t notes_of(const struct cache_config *config) {
    uint64_t notes = config->max_memory_bytes / BYTES_A_NOTE;
    return notes < MIN_NOTES ? MIN_NOTES : notes > MAX_NOTES ? MAX_NOTES : (size_t)notes;
}

static void make_replicas(struct readthrough *rt) {
    rt->n_replicas = sources_count(rt->core.sources) - 1;
    rt->replicas = mem_calloc(rt->n_replicas + 1u, sizeof(struct replica *));
    for (uint32_t i = 0; i < rt->n_replicas; i++)
        rt->replicas[i] = replica_create(&rt->core, sources_at(rt->core.sources, i + 1));
}

struct readthrough *readthrough_create(const struct cache_config *config,
                                       const struct readthrough_deps *deps, struct error *err) {
    if (config->database_url) {
        char *conninfo = pg_conninfo(config->database_url, &(struct pg_options){0}, err);
        if (!conninfo) return NULL;
        mem_free(conninfo);
    }
    struct readthrough *rt = mem_aligned(64, sizeof *rt);
    memset(rt, 0, sizeof *rt);
    struct core *core = &rt->core;
    core->config = config;
    core->log = deps->log;
    core->metrics = deps->metrics;
    core->store = deps->store;
    core->watches = deps->watches;
    core->tracking = deps->tracking;
    core->maps = tablemaps_create();
    core->states = tablestates_create();
    core->recent = recent_create(notes_of(config));
    core->links = links_create(links_of(config));
    core->query_figures = query_figures_create(core->metrics, config);
    core->lease = lease_create(config->max_staleness_ms * 1000);
    core->lsntimes = lsntimes_create(config->max_staleness_ms * 1000);
    if (config->feed == CACHE_FEED_KAFKA) lease_rely_on_feed(core->lease);
    core->flights = flights_create();
    core->pace = pace_create(config->min_refill_interval_ms * 1000);
    core->awaits = awaits_create();
    core->rules_off = rules_taken_out();
    register_gauges(core);
    register_counters(core);
    if (config->database_url) {
        core->sources = sources_create(config, core->metrics);
        core->pulse = pulse_create(core);
        make_replicas(rt);
        core->warden = warden_create(core);
        core->verify = verify_create(core);
        core->warm = warm_create(core);
    }
    rt->coherence = coherence_create(core);
    rt->reaper = reaper_create(core);
    return rt;
}

void readthrough_destroy(struct readthrough **rt) {
    struct readthrough *old = *rt;
    *rt = NULL;
    if (!old) return;
    struct core *core = &old->core;
    metrics_forget(core->metrics, core);
    reaper_destroy(&old->reaper);
    coherence_destroy(&old->coherence);
    for (uint32_t i = 0; i < old->n_replicas; i++)
        replica_destroy(&old->replicas[i]);
    mem_free(old->replicas);
    warm_destroy(&core->warm);
    verify_destroy(&core->verify);
    warden_destroy(&core->warden);
    pulse_destroy(&core->pulse);
    awaits_destroy(&core->awaits);
    flights_destroy(&core->flights);
    pace_destroy(&core->pace);
    lease_destroy(&core->lease);
    lsntimes_destroy(&core->lsntimes);
    sources_destroy(&core->sources);
    links_destroy(&core->links);
    query_figures_destroy(&core->query_figures);
    recent_destroy(&core->recent);
    tablemaps_destroy(&core->maps);
    tablestates_destroy(&core->states);
    mem_free(old);
}

static bool start_replicas(struct readthrough *rt, struct error *err) {
    for (uint32_t i = 0; i < rt->n_replicas; i++) {
        if (!replica_start(rt->replicas[i], err)) return false;
    }
    return true;
}

static void stop_replicas(struct readthrough *rt) {
    for (uint32_t i = 0; i < rt->n_replicas; i++)
        replica_stop(rt->replicas[i]);
}

bool readthrough_start(struct readthrough *rt, struct error *err) {
    struct core *core = &rt->core;
    if (!core->warden) return true;
    if (core_streams(core) && !pulse_start(core->pulse, err)) return false;
    if (start_replicas(rt, err) && warden_start(core->warden, err) &&
        reaper_start(rt->reaper, err) && warm_start(core->warm, err))
        return true;
    reaper_stop(rt->reaper);
    warden_stop(core->warden);
    stop_replicas(rt);
    pulse_stop(core->pulse);
    return false;
}

void readthrough_stop(struct readthrough *rt) {
    if (!rt->core.warden) return;
    reaper_stop(rt->reaper);
    warm_stop(rt->core.warm);
    warden_stop(rt->core.warden);
    stop_replicas(rt);
    pulse_stop(rt->core.pulse);
}

struct change_sink readthrough_sink(struct readthrough *rt) {
    return coherence_sink(rt->coherence);
}

/* ---- telling ---- */

bool readthrough_ready(struct readthrough *rt, const char **why) {
    *why = "";
    return !rt->core.warden || warden_ready(rt->core.warden, why);
}

static const char *coherence_name(const struct core *core) {
    return !core->warden ? "none" : core_streams(core) ? "stream" : "ttl";
}

json_t *readthrough_verification(struct readthrough *rt) {
    struct verify_report report;
    if (!rt->core.verify) return NULL;
    verify_report(rt->core.verify, &report);
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "running", report.running,
                     "rate", (json_int_t)(report.running ? report.rate : 0), "passes",
                     (json_int_t)report.passes, "checked", (json_int_t)report.checked, "stale",
                     (json_int_t)report.stale, "changed", (json_int_t)report.changed, "ttl_only",
                     (json_int_t)report.by_ttl, "undecided", (json_int_t)report.undecided, "unread",
                     (json_int_t)report.unread);
}

bool readthrough_verify(struct readthrough *rt, uint32_t rate, struct error *err) {
    struct verify *verify = rt->core.verify;
    if (!verify) return error_set(err, ERROR_CONFIG, false, "no database is configured");
    if (rate > VERIFY_MAX_RATE)
        return error_set(err, ERROR_CONFIG, false,
                         "the rate is a number of entries a second, from 1 to %d", VERIFY_MAX_RATE);
    if (rate)
        verify_start(verify, rate);
    else
        verify_stop(verify);
    return true;
}

json_t *readthrough_status(struct readthrough *rt) {
    struct core *core = &rt->core;
    json_t *status = json_object();
    char lsn[32];
    snprintf(lsn, sizeof lsn, LSN_FMT, LSN_ARG(lease_applied_lsn(core->lease)));
    int64_t staleness_us = lease_staleness_us(core->lease, clock_mono_us());
    json_object_set_new(status, "coherence", json_string(coherence_name(core)));
    if (!core->warden) return status;
    if (core_streams(core)) {
        json_object_set_new(status, "applied_lsn", json_string(lsn));
        json_object_set_new(status, "staleness_ms",
                            staleness_us < 0 ? json_null() : json_integer(staleness_us / 1000));
        json_object_set_new(status, "max_staleness_ms",
                            json_integer(core->config->max_staleness_ms));
        json_object_set_new(status, "lease_held", json_boolean(read_lease(core) > 0));
        json_object_set_new(status, "recent_keys",
                            json_integer((json_int_t)recent_size(core->recent)));
    } else {
        json_object_set_new(status, "bound",
                            json_string("the TTL alone: rows are not evicted when they change"));
    }
    json_object_set_new(status, "verification", readthrough_verification(rt));
    warden_status(core->warden, status);
    if (rt->n_replicas) {
        json_t *replicas = json_array();
        for (uint32_t i = 0; i < rt->n_replicas; i++)
            json_array_append_new(replicas, replica_status(sources_at(core->sources, i + 1)));
        json_object_set_new(status, "replicas", replicas);
    }
    return status;
}

void readthrough_info(struct readthrough *rt, struct buf *out) {
    struct core *core = &rt->core;
    buf_printf(out, "coherence:%s\r\n", coherence_name(core));
    if (!core->warden || !core_streams(core)) return;
    int64_t staleness_us = lease_staleness_us(core->lease, clock_mono_us());
    buf_printf(out, "applied_lsn:" LSN_FMT "\r\n", LSN_ARG(lease_applied_lsn(core->lease)));
    buf_printf(out, "staleness_ms:%lld\r\n",
               staleness_us < 0 ? -1LL : (long long)staleness_us / 1000);
    buf_printf(out, "max_staleness_ms:%lld\r\n", (long long)core->config->max_staleness_ms);
    buf_printf(out, "lease:%s\r\n", read_lease(core) > 0 ? "held" : "lapsed");
    buf_printf(out, "recent_keys:%zu\r\n", recent_size(core->recent));
}

/* ---- workers ---- */

/* A call that hangs in a server which was frozen, and not killed, is nobody's but ours to end. */
static void watch_controls(void *arg, int64_t now_us) {
    struct readthrough *rt = arg;
    pulse_watch(rt->core.pulse, now_us);
    warden_watch(rt->core.warden, now_us);
    for (uint32_t i = 0; i < rt->n_replicas; i++)
        replica_watch(rt->replicas[i], now_us);
    loop_timer_set(rt->watch_loop, &rt->watch, now_us + WATCH_INTERVAL_US);
}

static void begin_watching(struct readthrough *rt, struct loop *loop) {
    rt->watch_loop = loop;
    rt->watch = (struct loop_timer){.fire = watch_controls, .arg = rt};
    loop_timer_set(loop, &rt->watch, loop_now_us(loop) + WATCH_INTERVAL_US);
}

static bool writes_anything(const struct cache_config *config) {
    for (uint32_t i = 0; i < config->n_tables; i++) {
        const char *writes = config->tables[i].writes;
        if (writes && strcmp(writes, "through") == 0) return true;
    }
    return config->writes == WRITES_THROUGH;
}

void readthrough_attach(struct readthrough *rt, struct worker *worker) {
    struct core *core = &rt->core;
    struct keyspace *keyspace = mem_zalloc(sizeof *keyspace);
    keyspace->core = core;
    keyspace->worker = worker;
    keyspace->loop = worker_loop(worker);
    keyspace->index = worker_index(worker);
    keyspace->ahead =
        (struct ahead){core->config->early_refresh, core->config->stale_while_revalidate_ms};
    keyspace->random = (uint64_t)clock_mono_us() + keyspace->index;
    ASSERT(keyspace->index < CORE_VERIFY_CLOCK);
    struct keyspace_metrics *count = &keyspace->count;
    struct metrics *metrics = core->metrics;
    count->hits = metrics_counter(metrics, "freshet_cache_hits_total",
                                  "Reads of rows answered from memory.", NULL);
    count->negative_hits =
        metrics_counter(metrics, "freshet_cache_negative_hits_total",
                        "Reads of rows answered from memory: known not to be there.", NULL);
    count->misses = metrics_counter(metrics, "freshet_cache_misses_total",
                                    "Reads of rows that had to ask the database.", NULL);
    count->refused = metrics_counter(
        metrics, "freshet_cache_reads_refused_total",
        "Reads of rows refused because cache.max_pending_reads waited already.", NULL);
    count->bypassed =
        metrics_counter(metrics, "freshet_cache_bypassed_total",
                        "Reads of rows that were in memory, but not provably fresh enough.", NULL);
    if (core->config->database_url) keyspace->loader = loader_create(keyspace);
    if (core->config->database_url && keyspace->index == 0) begin_watching(rt, keyspace->loop);
    if (keyspace->loader && writes_anything(core->config))
        keyspace->writer = writer_create(keyspace);
    rt->keyspaces[keyspace->index] = keyspace;
    worker_attach(worker, keyspace, keyspace->loader);
}

void readthrough_detach(struct readthrough *rt, struct worker *worker) {
    struct keyspace *keyspace = rt->keyspaces[worker_index(worker)];
    rt->keyspaces[worker_index(worker)] = NULL;
    if (!keyspace) return;
    if (keyspace->loop == rt->watch_loop) loop_timer_clear(rt->watch_loop, &rt->watch);
    fetch_abandon(keyspace);
    writer_destroy(&keyspace->writer);
    loader_destroy(&keyspace->loader);
    tablemap_release(&keyspace->map);
    buf_deinit(&keyspace->failure);
    buf_deinit(&keyspace->scratch);
    worker_attach(worker, NULL, NULL);
    mem_free(keyspace);
}

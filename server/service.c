#include "server/service.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "server/fleet.h"
#include "server/publishing.h"
#include "server/rebuilding.h"
#include "server/sources.h"

enum { FEED_RESTART_US = 5 * 1000 * 1000, RATE_INTERVAL_US = 1000 * 1000 };

/* A feed, the object whose sink it drives, and what was last told about it. */
struct pump {
    const char *role;   /* "cache", "cdc", "connectors" */
    const char *name;   /* of the connector; else the role */
    struct feed *feed;  /* NULL: cache without a stream */
    int64_t restart_us; /* main thread; 0: none is due */
    int64_t rated_us;   /* main thread: when the rate was last taken, over the changes by then */
    uint64_t rated_changes;
    _Atomic uint64_t changes_per_second;
};

/* The publisher of the main configuration, or of a source. */
struct publishing {
    const struct config *config;
    struct metrics *metrics; /* a source's own, with its label; NULL: the service's */
    struct publisher *publisher;
    struct pump pump;
};

struct service {
    const struct config *config;
    struct log *log;
    struct metrics *metrics;
    struct cache *cache;
    uint32_t n_publishings;
    struct publishing *publishings;
    uint32_t n_connectors;
    struct connector **connectors;
    struct rebuilding **rebuildings; /* of each connector */
    struct pump cache_pump;
    struct pump *connector_pumps;
    uint32_t n_started_connectors;
    bool cache_started;
    int64_t start_us; /* monotonic */
};

static void pump_init(struct pump *pump, struct service *s, const char *role, const char *name,
                      const struct feed_config *config, struct change_sink sink,
                      struct metrics *metrics) {
    struct feed_deps deps = {.log = s->log, .metrics = metrics};
    pump->role = role;
    pump->name = name;
    pump->feed = feed_create(config, sink, &deps);
}

static void create_cache_feed(struct service *s) {
    const struct config *config = s->config;
    bool streams = config->cache.database_url && config->cache.coherence == COHERENCE_STREAM;
    if (!streams) return;
    struct feed_topic topic = {.kafka = config->cache_kafka,
                               .name = config->cache_topic,
                               .database = config->cdc.database};
    struct feed_config feed = {
        .topic = fleet_follows(config) ? &topic : NULL,
        .database_url = config->database_url,
        .application_name = config->cache.feed_name,
        .slot = config->cache.slot ? config->cache.slot : "freshet_cache",
        .temporary = !config->cache.slot,
        .disposable = true,
        .publication = config->cache.publication,
        .snapshot = FEED_SNAPSHOT_NEVER,
        /* A transaction is streamed while it is open once its changes pass this. */
        .streaming = true,
        .server_options = "-c logical_decoding_work_mem=1MB",
        .status_interval_ms = 1000,
    };
    pump_init(&s->cache_pump, s, "cache", "cache", &feed, cache_sink(s->cache), s->metrics);
}

static bool create_cache(struct service *s, struct error *err) {
    struct cache_deps deps = {.log = s->log, .metrics = s->metrics, .version = FRESHET_VERSION};
    s->cache = cache_create(&s->config->cache, &deps, err);
    if (!s->cache) return error_prefix(err, "cache");
    create_cache_feed(s);
    return true;
}

static bool create_publisher(struct service *s, const struct config *config, struct error *err) {
    struct publishing *p = &s->publishings[s->n_publishings++];
    p->config = config;
    const char *name = config->source ? config->source : "cdc";
    if (config->source) {
        char *label = mem_printf("source=\"%s\"", config->source);
        p->metrics = metrics_labelled(s->metrics, label);
        mem_free(label);
    }
    struct metrics *metrics = p->metrics ? p->metrics : s->metrics;
    struct publisher_deps deps = {.log = s->log, .metrics = metrics};
    p->publisher = publisher_create(&config->cdc, &deps, err);
    if (!p->publisher) return error_prefix(err, "%s", name);
    struct feed_config feed = publishing_feed(config);
    pump_init(&p->pump, s, "cdc", name, &feed, publisher_sink(p->publisher), metrics);
    return true;
}

static bool create_publishers(struct service *s, struct error *err) {
    const struct config *config = s->config;
    s->publishings = mem_calloc(config->n_sources + 1, sizeof *s->publishings);
    if (sources_main_publishes(config) && !create_publisher(s, config, err)) return false;
    for (uint32_t i = 0; i < config->n_sources; i++) {
        if (!create_publisher(s, config->sources[i], err)) return false;
    }
    return true;
}

/* A load that is cut off goes on at a part: about a batch of rows, but no query for a handful. */
static uint64_t load_part_bytes(const struct connector_config *config) {
    enum { MIN_BYTES = 256 * 1024 };
    bool small = config->batch_bytes && config->batch_bytes < MIN_BYTES;
    return small ? MIN_BYTES : config->batch_bytes;
}

static bool create_connector(struct service *s, uint32_t i, struct error *err) {
    const struct connector_config *config = &s->config->connectors[i];
    struct connector_deps deps = {.log = s->log, .metrics = s->metrics};
    s->connectors[i] = connector_create(config, &deps, err);
    if (!s->connectors[i]) return error_prefix(err, "connector \"%s\"", config->name);
    char *application_name = mem_printf("freshet_%.54s", config->name);
    struct feed_config feed = {
        .database_url = config->database_url,
        .application_name = application_name,
        .slot = config->slot,
        .publication = config->publication,
        .snapshot =
            connector_starts_over(config) ? FEED_SNAPSHOT_WHEN_NEEDED : FEED_SNAPSHOT_INITIAL,
        .snapshot_readers = config->load_readers,
        .snapshot_part_bytes = load_part_bytes(config),
        .n_patterns = config->query || config->n_views ? 0 : 1, /* they read by SQL */
        .patterns = &config->table,
        .messages = true, /* of what is read beside the stream: a load that goes on */
        .whole_snapshot = true,
        .status_interval_ms = 1000,
        .streaming = s->config->cdc_streaming,
        .spool = &s->config->cdc_spool,
        .failover = s->config->cdc_failover,
    };
    s->connector_pumps[i] = (struct pump){.role = "connectors", .name = config->name};
    if (config->from == CONNECTOR_FROM_SLOT) /* else it has its feed itself */
        pump_init(&s->connector_pumps[i], s, "connectors", config->name, &feed,
                  connector_sink(s->connectors[i]), s->metrics);
    s->rebuildings[i] =
        rebuilding_create(&(struct rebuilding_config){.connector = config, .feed = &feed},
                          &(struct rebuilding_deps){.connector = s->connectors[i],
                                                    .feed = s->connector_pumps[i].feed,
                                                    .log = s->log,
                                                    .metrics = s->metrics});
    mem_free(application_name);
    return true;
}

static bool create_parts(struct service *s, struct error *err) {
    uint32_t roles = s->config->roles;
    if (roles & ROLE_CACHE && !create_cache(s, err)) return false;
    if (roles & ROLE_CDC && !create_publishers(s, err)) return false;
    uint32_t n = roles & ROLE_CONNECTORS ? s->config->n_connectors : 0;
    s->connectors = mem_calloc(n + 1, sizeof *s->connectors);
    s->rebuildings = mem_calloc(n + 1, sizeof *s->rebuildings);
    s->connector_pumps = mem_calloc(n + 1, sizeof *s->connector_pumps);
    for (; s->n_connectors < n; s->n_connectors++) {
        if (!create_connector(s, s->n_connectors, err)) return false;
    }
    return true;
}

struct service *service_create(const struct config *config, const struct service_deps *deps,
                               struct error *err) {
    struct service *s = mem_zalloc(sizeof *s);
    s->config = config;
    s->log = deps->log;
    s->metrics = deps->metrics;
    s->start_us = clock_mono_us();
    if (!create_parts(s, err)) service_destroy(&s);
    return s;
}

void service_destroy(struct service **service) {
    struct service *s = *service;
    if (!s) return;
    *service = NULL;
    /* Feeds first: a sink must outlive its feed. */
    for (uint32_t i = 0; i < s->n_connectors; i++) {
        rebuilding_destroy(&s->rebuildings[i]);
        feed_destroy(&s->connector_pumps[i].feed);
        connector_destroy(&s->connectors[i]);
    }
    for (uint32_t i = 0; i < s->n_publishings; i++) {
        feed_destroy(&s->publishings[i].pump.feed);
        publisher_destroy(&s->publishings[i].publisher);
        if (s->publishings[i].metrics) metrics_destroy(&s->publishings[i].metrics);
    }
    mem_free(s->publishings);
    if (s->cache_pump.feed) feed_destroy(&s->cache_pump.feed);
    if (s->cache) cache_destroy(&s->cache);
    mem_free(s->connectors);
    mem_free(s->rebuildings);
    mem_free(s->connector_pumps);
    mem_free(s);
}

static bool start_parts(struct service *s, struct error *err) {
    if (s->cache) {
        if (!cache_start(s->cache, err)) return error_prefix(err, "cache");
        s->cache_started = true;
    }
    if (s->cache_pump.feed && !feed_start(s->cache_pump.feed, err)) return false;
    for (uint32_t i = 0; i < s->n_publishings; i++) {
        if (!feed_start(s->publishings[i].pump.feed, err)) return false;
    }
    for (; s->n_started_connectors < s->n_connectors; s->n_started_connectors++) {
        uint32_t i = s->n_started_connectors;
        if (!connector_start(s->connectors[i], err) ||
            (s->connector_pumps[i].feed && !feed_start(s->connector_pumps[i].feed, err)) ||
            !rebuilding_resume(s->rebuildings[i], err))
            return error_prefix(err, "connector \"%s\"", s->connector_pumps[i].name);
    }
    return true;
}

bool service_start(struct service *service, struct error *err) {
    if (start_parts(service, err)) return true;
    service_stop(service);
    return false;
}

void service_stop(struct service *s) {
    /* The cache's clients are answered while its feed still streams, so their replies are as fresh as ever. */
    if (s->cache_started) cache_stop(s->cache);
    s->cache_started = false;
    if (s->cache_pump.feed) feed_stop(s->cache_pump.feed);
    for (uint32_t i = 0; i < s->n_publishings; i++)
        feed_stop(s->publishings[i].pump.feed);
    for (uint32_t i = 0; i < s->n_started_connectors; i++) {
        rebuilding_stop(s->rebuildings[i]);
        if (s->connector_pumps[i].feed) feed_stop(s->connector_pumps[i].feed);
        connector_stop(s->connectors[i]);
    }
    s->n_started_connectors = 0;
}

static void rate_pump(struct pump *pump, const struct feed_status *status, int64_t now_us) {
    int64_t elapsed_us = now_us - pump->rated_us;
    if (elapsed_us < RATE_INTERVAL_US) return;
    uint64_t changes = status->changes - pump->rated_changes;
    if (pump->rated_us)
        atomic_store(&pump->changes_per_second, changes * 1000000 / (uint64_t)elapsed_us);
    pump->rated_us = now_us;
    pump->rated_changes = status->changes;
}

static void supervise_pump(struct service *s, struct pump *pump, int64_t now_us) {
    if (!pump->feed) return;
    struct feed_status status;
    feed_status(pump->feed, &status);
    rate_pump(pump, &status, now_us);
    bool restarts = status.state == FEED_FAILED && !status.looks_again && pump == &s->cache_pump;
    if (!restarts) {
        pump->restart_us = 0;
    } else if (!pump->restart_us) {
        pump->restart_us = now_us + FEED_RESTART_US;
    } else if (now_us >= pump->restart_us) {
        struct error err;
        feed_stop(pump->feed);
        if (!feed_start(pump->feed, &err))
            log_error(s->log, "feed_failed", "role=%s cause=\"%s\"", pump->role, err.message);
        pump->restart_us = 0;
    }
}

void service_supervise(struct service *s, int64_t now_us) {
    supervise_pump(s, &s->cache_pump, now_us);
    for (uint32_t i = 0; i < s->n_publishings; i++)
        supervise_pump(s, &s->publishings[i].pump, now_us);
    for (uint32_t i = 0; i < s->n_connectors; i++)
        supervise_pump(s, &s->connector_pumps[i], now_us);
}

static bool has_failed(struct pump *pump) {
    if (!pump->feed) return false;
    struct feed_status status;
    feed_status(pump->feed, &status);
    return status.state == FEED_FAILED && !status.looks_again;
}

bool service_failed(struct service *s) {
    if (s->cache) return false;
    for (uint32_t i = 0; i < s->n_publishings; i++) {
        if (!has_failed(&s->publishings[i].pump)) return false;
    }
    for (uint32_t i = 0; i < s->n_connectors; i++) {
        if (!has_failed(&s->connector_pumps[i])) return false;
    }
    return true;
}

bool service_done(struct service *s) {
    if (s->cache || s->n_connectors || !s->n_publishings) return false;
    for (uint32_t i = 0; i < s->n_publishings; i++) {
        struct feed_status status;
        feed_status(s->publishings[i].pump.feed, &status);
        if (status.state != FEED_DONE) return false;
    }
    return true;
}

static void note(char *out, size_t size, const char *name, const struct feed_status *status) {
    size_t used = strlen(out);
    snprintf(out + used, size - used, "%s%s: %s%s%s", used ? "; " : "", name,
             feed_state_name(status->state), *status->cause ? ": " : "", status->cause);
}

static void judge_pump(struct service *s, struct pump *pump, struct service_health *health) {
    if (!pump->feed) return;
    struct feed_status status;
    feed_status(pump->feed, &status);
    /* A standby is well: it is what it was started for. */
    bool well = status.state == FEED_DONE || status.state == FEED_STREAMING ||
                status.state == FEED_SNAPSHOTTING || status.state == FEED_STANDBY;
    if (well) return;
    if (s->cache) {
        note(health->degraded, sizeof health->degraded, pump->name, &status);
    } else {
        health->ready = false;
        note(health->reason, sizeof health->reason, pump->name, &status);
    }
}

void service_health(struct service *s, struct service_health *health) {
    *health = (struct service_health){.ready = true};
    const char *why = NULL;
    if (s->cache && !cache_ready(s->cache, &why)) {
        health->ready = false;
        snprintf(health->reason, sizeof health->reason, "cache: %s", why ? why : "not ready");
        struct feed_status status;
        if (s->cache_pump.feed) {
            feed_status(s->cache_pump.feed, &status);
            if (*status.cause) note(health->reason, sizeof health->reason, "feed", &status);
        }
    }
    for (uint32_t i = 0; i < s->n_publishings; i++)
        judge_pump(s, &s->publishings[i].pump, health);
    for (uint32_t i = 0; i < s->n_connectors; i++) {
        if (!rebuilding_holds(s->rebuildings[i])) judge_pump(s, &s->connector_pumps[i], health);
    }
}

static struct pump *find_publisher(struct service *s, const char *source) {
    if (!source) return s->n_publishings ? &s->publishings[0].pump : NULL;
    for (uint32_t i = 0; i < s->n_publishings; i++) {
        if (strcmp(s->publishings[i].pump.name, source) == 0) return &s->publishings[i].pump;
    }
    return NULL;
}

bool service_snapshot(struct service *s, const char *source, const char *schema, const char *name,
                      const char *where, uint64_t *id, struct error *err) {
    struct pump *pump = find_publisher(s, source);
    if (!pump)
        return error_set(err, ERROR_NOT_FOUND, false, "no publisher%s%s runs here",
                         source ? " of source " : "", source ? source : "");
    return feed_snapshot_table(pump->feed, schema, name, where, id, err);
}

json_t *service_snapshots(struct service *s, const char *source) {
    struct pump *pump = find_publisher(s, source);
    return pump ? feed_increment(pump->feed) : NULL;
}

void service_retains(struct service *s, const char *slot, uint64_t wal_bytes) {
    for (uint32_t i = 0; i < s->n_connectors; i++) {
        if (s->connector_pumps[i].feed && strcmp(s->config->connectors[i].slot, slot) == 0)
            connector_retains(s->connectors[i], wal_bytes);
    }
}

static bool find_place(struct service *s, const char *name, uint32_t *place, struct error *err) {
    for (*place = 0; *place < s->n_connectors; ++*place) {
        if (strcmp(connector_name(s->connectors[*place]), name) == 0) return true;
    }
    return error_set(err, ERROR_NOT_FOUND, false, "no connector \"%.80s\" runs here", name);
}

static struct connector *find_connector(struct service *s, const char *name, struct error *err) {
    uint32_t i;
    return find_place(s, name, &i, err) ? s->connectors[i] : NULL;
}

bool service_pause(struct service *s, const char *name, bool paused, struct error *err) {
    struct connector *connector = find_connector(s, name, err);
    if (!connector || !connector_pause(connector, paused, err)) return false;
    log_info(s->log, paused ? "connector_paused" : "connector_resumed", "connector=%s", name);
    return true;
}

bool service_retry(struct service *s, const char *name, uint64_t *run, struct error *err) {
    struct connector *connector = find_connector(s, name, err);
    return connector && connector_retry(connector, run, err);
}

bool service_verify(struct service *s, const char *name, bool repair, uint32_t rate, uint64_t *id,
                    struct error *err) {
    struct connector *connector = find_connector(s, name, err);
    return connector && connector_verify(connector, repair, rate, id, err);
}

json_t *service_verification(struct service *s, const char *name, uint64_t id, struct error *err) {
    struct connector *connector = find_connector(s, name, err);
    json_t *state = connector ? connector_verification(connector, id) : NULL;
    if (connector && !state)
        error_set(err, ERROR_NOT_FOUND, false,
                  "no such verification is known any more: another was begun since, or Freshet");
    return state;
}

static bool has_cache(const struct service *s, struct error *err) {
    return s->cache || error_set(err, ERROR_NOT_FOUND, false, "no cache runs here");
}

bool service_verify_cache(struct service *s, uint32_t rate, struct error *err) {
    return has_cache(s, err) && cache_verify(s->cache, rate, err);
}

json_t *service_cache_verification(struct service *s, struct error *err) {
    json_t *state = has_cache(s, err) ? cache_verification(s->cache) : NULL;
    if (s->cache && !state) error_set(err, ERROR_CONFIG, false, "no database is configured");
    return state;
}

bool service_rebuild(struct service *s, const char *name, struct error *err) {
    uint32_t i;
    return find_place(s, name, &i, err) && rebuilding_begin(s->rebuildings[i], err);
}

static json_t *connector_json(struct service *s, uint32_t i) {
    json_t *json = connector_status(s->connectors[i]);
    json_t *rebuild = rebuilding_status(s->rebuildings[i]);
    if (rebuild) json_object_set_new(json, "rebuild", rebuild);
    return json;
}

json_t *service_connector(struct service *s, const char *name, struct error *err) {
    uint32_t i;
    return find_place(s, name, &i, err) ? connector_json(s, i) : NULL;
}

static json_t *lsn_json(uint64_t lsn) {
    return lsn ? json_sprintf(LSN_FMT, LSN_ARG(lsn)) : json_null();
}

static json_t *snapshot_json(const struct feed_snapshot_status *snapshot) {
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f}", "table", snapshot->table, "tables_done",
                     (json_int_t)snapshot->tables, "tables", (json_int_t)snapshot->all_tables,
                     "rows", (json_int_t)snapshot->rows, "rows_per_second",
                     (json_int_t)snapshot->rows_per_second, "percent", snapshot->share * 100,
                     "seconds_left", snapshot->seconds_left);
}

static json_t *feed_json(struct pump *pump) {
    if (!pump->feed) return json_null();
    struct feed_status status;
    feed_status(pump->feed, &status);
    int64_t silent_us = status.last_message_us ? clock_mono_us() - status.last_message_us : -1;
    json_t *json = json_pack(
        "{s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:f}", "state", feed_state_name(status.state), "slot",
        status.slot, "received_lsn", lsn_json(status.received_lsn), "confirmed_lsn",
        lsn_json(status.confirmed_lsn), "transactions", (json_int_t)status.transactions, "changes",
        (json_int_t)status.changes, "lag_bytes",
        (json_int_t)(status.received_lsn > status.confirmed_lsn
                         ? status.received_lsn - status.confirmed_lsn
                         : 0),
        "lag_seconds", (double)status.lag_us / 1e6);
    json_t *increment = feed_increment(pump->feed);
    if (increment) json_object_set_new(json, "increment", increment);
    if (status.state == FEED_SNAPSHOTTING)
        json_object_set_new(json, "snapshot", snapshot_json(&status.snapshot));
    json_object_set_new(json, "changes_per_second",
                        json_integer((json_int_t)atomic_load(&pump->changes_per_second)));
    if (status.open_transactions)
        json_object_set_new(json, "open_transactions",
                            json_pack("{s:I, s:I, s:I}", "count",
                                      (json_int_t)status.open_transactions, "memory_bytes",
                                      (json_int_t)status.spool_memory_bytes, "disk_bytes",
                                      (json_int_t)status.spool_disk_bytes));
    if (silent_us >= 0)
        json_object_set_new(json, "silent_seconds", json_real((double)silent_us / 1e6));
    json_object_set_new(json, "cause", *status.cause ? json_string(status.cause) : json_null());
    return json;
}

/* A wing's own status with its feed's beside it. */
static json_t *with_feed(json_t *status, struct pump *pump) {
    if (!status) status = json_object();
    json_object_set_new(status, "feed", feed_json(pump));
    return status;
}

static json_t *reads_json(struct service *s) {
    static const struct {
        const char *key;
        const char *metric;
    } counts[] = {
        {"hits", "freshet_cache_hits_total"},
        {"negative_hits", "freshet_cache_negative_hits_total"},
        {"misses", "freshet_cache_misses_total"},
        {"bypassed", "freshet_cache_bypassed_total"},
    };
    json_t *reads = json_object();
    int64_t all = 0;
    int64_t hits = 0;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        int64_t count = metrics_sum(s->metrics, counts[i].metric, NULL);
        all += count;
        if (i < 2) hits += count;
        json_object_set_new(reads, counts[i].key, json_integer(count));
    }
    json_object_set_new(reads, "hit_rate",
                        all ? json_real((double)hits / (double)all) : json_null());
    return reads;
}

static json_t *cache_json(struct service *s) {
    json_t *status = with_feed(cache_status(s->cache), &s->cache_pump);
    json_object_set_new(status, "reads", reads_json(s));
    return status;
}

/* The main publisher is "cdc"; those of sources stand in a list. */
static void publishings_json(struct service *s, json_t *status) {
    json_t *sources = json_array();
    for (uint32_t i = 0; i < s->n_publishings; i++) {
        struct publishing *p = &s->publishings[i];
        json_t *json = with_feed(publisher_status(p->publisher), &p->pump);
        if (!p->config->source) {
            json_object_set_new(status, "cdc", json);
            continue;
        }
        json_object_set_new(json, "name", json_string(p->config->source));
        json_object_set_new(json, "database", json_string(p->config->cdc.database));
        json_array_append_new(sources, json);
    }
    if (json_array_size(sources))
        json_object_set_new(status, "sources", sources);
    else
        json_decref(sources);
}

json_t *service_status(struct service *s) {
    struct service_health health;
    service_health(s, &health);
    json_t *roles = json_array();
    if (s->cache) json_array_append_new(roles, json_string("cache"));
    if (s->n_publishings) json_array_append_new(roles, json_string("cdc"));
    if (s->n_connectors) json_array_append_new(roles, json_string("connectors"));
    json_t *status = json_pack("{s:s, s:f, s:o, s:b}", "version", FRESHET_VERSION, "uptime_seconds",
                               (double)(clock_mono_us() - s->start_us) / 1e6, "roles", roles,
                               "ready", health.ready);
    json_object_set_new(status, "reason",
                        *health.reason ? json_string(health.reason) : json_null());
    json_object_set_new(status, "degraded",
                        *health.degraded ? json_string(health.degraded) : json_null());
    if (s->cache) json_object_set_new(status, "cache", cache_json(s));
    publishings_json(s, status);
    json_t *connectors = json_array();
    for (uint32_t i = 0; i < s->n_connectors; i++)
        json_array_append_new(connectors, with_feed(connector_json(s, i), &s->connector_pumps[i]));
    json_object_set_new(status, "connectors", connectors);
    return status;
}

uint16_t service_cache_port(const struct service *service) {
    return service->cache ? cache_port(service->cache) : 0;
}

uint16_t service_tls_port(const struct service *service) {
    return service->cache ? cache_tls_port(service->cache) : 0;
}

void service_reload(struct service *s) {
    struct error err;
    if (!s->cache || !s->config->cache.tls.certificate) return;
    if (cache_reload(s->cache, &err))
        log_info(s->log, "certificates_reloaded", "certificate=%s",
                 s->config->cache.tls.certificate);
    else
        log_error(s->log, "certificates_not_reloaded", "cause=\"%s\"", err.message);
}

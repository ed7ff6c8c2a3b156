#include "cache/cache.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/access/acl.h"
#include "cache/commands/command.h"
#include "cache/commands/transaction.h"
#include "cache/front/command_stats.h"
#include "cache/front/doors.h"
#include "cache/front/gate.h"
#include "cache/front/latency.h"
#include "cache/front/output_limits.h"
#include "cache/front/roster.h"
#include "cache/front/server_info.h"
#include "cache/front/settings.h"
#include "cache/front/slowlog.h"
#include "cache/front/worker.h"
#include "cache/rows/readthrough.h"
#include "cache/signals/keywaits.h"
#include "cache/signals/notify.h"
#include "cache/signals/pubsub.h"
#include "cache/signals/tracking.h"
#include "cache/store/store.h"

enum {
    DRAIN_US = 5 * 1000 * 1000, /* how long replies on the way may take at the end */
    DESCRIPTORS_ASIDE = 256,    /* for everything that is no client: database, brokers, files */
};

struct cache {
    struct cache_config config;
    struct cache_deps deps;
    struct server_info info;
    struct settings settings;
    struct acl *acl;
    struct command_stats *stats;
    struct slowlog *slowlog;
    struct latency *latency;
    struct command_table *commands;
    struct store *store;
    struct roster *roster;
    struct pubsub *pubsub;
    struct notify *notify;
    struct gate *gate;
    struct keywaits *keywaits;
    struct watches *watches;
    struct tracking *tracking;
    struct output_limits limits;
    struct readthrough *readthrough;
    struct doors *doors;
    struct worker **workers;
    uint32_t n_workers;
    uint32_t next_worker; /* on worker 0's thread: where the search for the least loaded begins */
    _Atomic bool running; /* any thread asks */
};

/* --- making ------------------------------------------------------------------------------------------------ */

static uint32_t count_cores(void) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores > 0 ? (uint32_t)cores : 1;
}

/* A client is a descriptor, and the usual soft limit is 1024. */
static void raise_descriptor_limit(struct cache *cache) {
    struct rlimit limit;
    rlim_t wanted = (rlim_t)cache->config.max_clients + DESCRIPTORS_ASIDE;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted) return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
    if (limit.rlim_cur < wanted)
        log_warn(cache->deps.log, "few_descriptors", "limit=%llu max_clients=%u wanted=%llu",
                 (unsigned long long)limit.rlim_cur, cache->config.max_clients,
                 (unsigned long long)wanted);
}

static void fill_info(struct cache *cache) {
    unsigned char bytes[20];
    ASSERT(getrandom(bytes, sizeof bytes, 0) == sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        static const char hex[] = "0123456789abcdef";
        cache->info.run_id[2 * i] = hex[bytes[i] >> 4];
        cache->info.run_id[2 * i + 1] = hex[bytes[i] & 15];
    }
    cache->info.version = cache->deps.version;
    cache->info.started_wall_us = clock_wall_us();
    cache->info.readthrough = cache->readthrough;
}

static struct store *make_store(struct cache *cache) {
    struct store_config config = {.max_memory_bytes = cache->config.max_memory_bytes,
                                  .max_readers = cache->n_workers};
    ASSERT(getrandom(&config.seed, sizeof config.seed, 0) == sizeof config.seed);
    return store_create(&config, cache->deps.metrics);
}

static bool make_workers(struct cache *cache, struct error *err) {
    struct worker_deps deps = {
        .config = &cache->config,
        .info = &cache->info,
        .settings = &cache->settings,
        .acl = cache->acl,
        .stats = cache->stats,
        .slowlog = cache->slowlog,
        .latency = cache->latency,
        .commands = cache->commands,
        .store = cache->store,
        .roster = cache->roster,
        .pubsub = cache->pubsub,
        .notify = cache->notify,
        .keywaits = cache->keywaits,
        .watches = cache->watches,
        .tracking = cache->tracking,
        .limits = &cache->limits,
        .gate = cache->gate,
        .log = cache->deps.log,
        .metrics = cache->deps.metrics,
        .n_workers = cache->n_workers,
    };
    cache->workers = mem_calloc(cache->n_workers, sizeof cache->workers[0]);
    for (uint32_t i = 0; i < cache->n_workers; i++) {
        cache->workers[i] = worker_create(&deps, i, err);
        if (!cache->workers[i]) return false;
        readthrough_attach(cache->readthrough, cache->workers[i]);
    }
    return true;
}

/* The configuration's check has seen that they are right. */
static void apply_words(struct cache *cache) {
    const char *limits = cache->config.client_output_buffer_limit;
    const char *events = cache->config.notify_keyspace_events;
    output_limits_init(&cache->limits, cache->config.client_output_limit_bytes);
    if (limits) ASSERT(!output_limits_set(&cache->limits, slice_from(limits), true));
    uint32_t classes = 0;
    if (events) ASSERT(notify_parse(slice_from(events), &classes));
    notify_set(cache->notify, classes);
}

struct cache *cache_create(const struct cache_config *config, const struct cache_deps *deps,
                           struct error *err) {
    struct cache *cache = mem_zalloc(sizeof *cache);
    cache->config = *config;
    cache->deps = *deps;
    cache->n_workers = config->workers ? config->workers : count_cores();
    settings_init(&cache->settings, config);
    raise_descriptor_limit(cache);
    cache->commands = command_table_create();
    cache->roster = roster_create(config->max_clients);
    cache->pubsub = pubsub_create();
    cache->gate = gate_create();
    cache->keywaits = keywaits_create();
    cache->store = make_store(cache);
    cache->notify = notify_create(cache->pubsub, cache->store);
    apply_words(cache);
    cache->watches = watches_create(cache->store);
    cache->tracking = tracking_create(cache->store, &cache->settings);
    struct readthrough_deps rt_deps = {deps->log, deps->metrics, cache->store, cache->watches,
                                       cache->tracking};
    cache->acl = acl_create(&cache->config, &cache->settings, deps->log, deps->metrics, err);
    cache->slowlog = slowlog_create();
    cache->latency = latency_create();
    if (cache->acl)
        cache->stats =
            command_stats_create(acl_ids(cache->acl), cache->n_workers, &cache->settings);
    if (cache->acl) cache->readthrough = readthrough_create(&cache->config, &rt_deps, err);
    fill_info(cache);
    if (!cache->readthrough || !make_workers(cache, err)) cache_destroy(&cache);
    return cache;
}

void cache_destroy(struct cache **cache) {
    struct cache *c = *cache;
    if (!c) return;
    ASSERT(!c->running);
    for (uint32_t i = 0; c->workers && i < c->n_workers; i++) {
        if (!c->workers[i]) continue;
        readthrough_detach(c->readthrough, c->workers[i]);
        worker_destroy(&c->workers[i]);
    }
    mem_free(c->workers);
    doors_destroy(&c->doors);
    if (c->readthrough) readthrough_destroy(&c->readthrough);
    tracking_destroy(&c->tracking);
    watches_destroy(&c->watches);
    store_destroy(&c->store);
    gate_destroy(&c->gate);
    notify_destroy(&c->notify);
    keywaits_destroy(&c->keywaits);
    pubsub_destroy(&c->pubsub);
    command_stats_destroy(&c->stats);
    slowlog_destroy(&c->slowlog);
    latency_destroy(&c->latency);
    acl_destroy(&c->acl);
    roster_destroy(&c->roster);
    command_table_destroy(&c->commands);
    mem_free(c);
    *cache = NULL;
}

/* --- running ----------------------------------------------------------------------------------------------- */

/* To the worker with the fewest clients; among equals, in turn. On worker 0's thread. */
static void hand_over(void *arg, int fd, const struct transport *transport) {
    struct cache *cache = arg;
    uint32_t chosen = cache->next_worker;
    for (uint32_t i = 1; i < cache->n_workers; i++) {
        uint32_t other = (cache->next_worker + i) % cache->n_workers;
        if (worker_load(cache->workers[other]) < worker_load(cache->workers[chosen]))
            chosen = other;
    }
    cache->next_worker = (chosen + 1) % cache->n_workers;
    worker_adopt(cache->workers[chosen], fd, transport);
}

/* Workers that are running stop at once. */
static void stop_workers(struct cache *cache, int64_t deadline_us) {
    for (uint32_t i = 0; i < cache->n_workers; i++)
        worker_drain(cache->workers[i], deadline_us);
    for (uint32_t i = 0; i < cache->n_workers; i++)
        worker_join(cache->workers[i]);
}

bool cache_start(struct cache *cache, struct error *err) {
    cache->doors = doors_create(&cache->config, cache->deps.log, cache->deps.metrics, err);
    if (!cache->doors) return false;
    cache->info.port = doors_port(cache->doors);
    cache->info.tls_port = doors_tls_port(cache->doors);
    if (!readthrough_start(cache->readthrough, err)) return false;
    if (!doors_start(cache->doors, worker_loop(cache->workers[0]), hand_over, cache, err)) {
        readthrough_stop(cache->readthrough);
        return false;
    }
    for (uint32_t i = 0; i < cache->n_workers; i++) {
        if (worker_start(cache->workers[i], err)) continue;
        stop_workers(cache, clock_mono_us());
        doors_stop(cache->doors);
        readthrough_stop(cache->readthrough);
        return false;
    }
    cache->running = true;
    return true;
}

struct stop_listening {
    struct loop_message message;
    struct doors *doors;
};

static void run_stop_listening(struct loop_message *message, void *owner) {
    (void)message;
    struct stop_listening *stop = owner;
    doors_stop(stop->doors);
    mem_free(stop);
}

void cache_stop(struct cache *cache) {
    if (!cache->running) return;
    struct stop_listening *stop = mem_alloc(sizeof *stop);
    stop->message = (struct loop_message){.run = run_stop_listening, .owner = stop};
    stop->doors = cache->doors;
    loop_post(worker_loop(cache->workers[0]), &stop->message);
    stop_workers(cache, clock_mono_us() + DRAIN_US);
    readthrough_stop(cache->readthrough);
    cache->running = false;
}

struct change_sink cache_sink(struct cache *cache) {
    return readthrough_sink(cache->readthrough);
}

bool cache_ready(struct cache *cache, const char **why) {
    if (!cache->running) {
        *why = "cache: not listening yet";
        return false;
    }
    return readthrough_ready(cache->readthrough, why);
}

uint16_t cache_port(const struct cache *cache) { return cache->info.port; }
uint16_t cache_tls_port(const struct cache *cache) { return cache->info.tls_port; }

bool cache_reload(struct cache *cache, struct error *err) {
    return !cache->running || doors_reload(cache->doors, err);
}

bool cache_verify(struct cache *cache, uint32_t rate, struct error *err) {
    return readthrough_verify(cache->readthrough, rate, err);
}

json_t *cache_verification(struct cache *cache) {
    return readthrough_verification(cache->readthrough);
}

json_t *cache_status(struct cache *cache) {
    struct store_stats stats;
    store_stats(cache->store, &stats);
    json_t *workers = json_array();
    for (uint32_t i = 0; i < cache->n_workers; i++)
        json_array_append_new(workers, json_integer(worker_load(cache->workers[i])));
    struct metrics *metrics = cache->deps.metrics;
    json_t *status = json_pack(
        "{s:s, s:i, s:i, s:i, s:o, s:I, s:I, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "listen",
        cache->config.listen, "port", (int)cache->info.port, "clients",
        (int)roster_count(cache->roster), "max_clients", (int)cache->config.max_clients,
        "clients_by_worker", workers, "commands",
        (json_int_t)metrics_sum(metrics, "freshet_cache_commands_total", NULL),
        "commands_per_second", (json_int_t)cache->info.commands_per_second, "memory", "entries",
        (json_int_t)stats.entries, "with_expiry", (json_int_t)stats.with_expiry, "bytes",
        (json_int_t)stats.bytes, "max_bytes", (json_int_t)stats.max_bytes, "evicted",
        (json_int_t)stats.removed[REMOVED_EVICTED_MEMORY], "expired",
        (json_int_t)stats.removed[REMOVED_EXPIRED]);
    json_t *rows = readthrough_status(cache->readthrough);
    if (rows) json_object_set_new(status, "read_through", rows);
    return status;
}

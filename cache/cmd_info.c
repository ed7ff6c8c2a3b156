/* cmd_info.c: INFO, with the section and field names of Redis 7.0 that dashboards read, and a section of Freshet's own. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/cache.h"
#include "cache/cmd_server.h"
#include "cache/pubsub.h"
#include "cache/readthrough.h"
#include "cache/reply.h"
#include "cache/roster.h"
#include "cache/server_info.h"
#include "cache/store.h"
#include "cache/tracking.h"
#include "cache/worker.h"

/* What the sections draw from. */
struct source {
    const struct worker_deps *deps;
    struct store_stats store;
    int64_t now_us; /* wall clock */
};

static int64_t sum(const struct source *source, const char *name) {
    return metrics_sum(source->deps->metrics, name, NULL);
}

static void add_integer(struct buf *out, const char *name, int64_t value) {
    buf_printf(out, "%s:%" PRId64 "\r\n", name, value);
}

static void add_text(struct buf *out, const char *name, const char *value) {
    buf_printf(out, "%s:%s\r\n", name, value);
}

/* "1.50M", as Redis rounds bytes for people. */
static void add_human(struct buf *out, const char *name, uint64_t bytes) {
    static const char units[] = "BKMGTP";
    double amount = (double)bytes;
    size_t unit = 0;
    for (; amount >= 1024 && unit + 2 < sizeof units; unit++)
        amount /= 1024;
    if (unit == 0)
        buf_printf(out, "%s:%" PRIu64 "B\r\n", name, bytes);
    else
        buf_printf(out, "%s:%.2f%c\r\n", name, amount, units[unit]);
}

static void add_server(const struct source *source, struct buf *out) {
    const struct server_info *info = source->deps->info;
    int64_t uptime = (source->now_us - info->started_wall_us) / 1000000;
    struct utsname host = {0};
    uname(&host);
    char executable[512];
    ssize_t len = readlink("/proc/self/exe", executable, sizeof executable - 1);
    executable[len > 0 ? len : 0] = '\0';

    add_text(out, "redis_version", SERVER_REDIS_VERSION);
    add_text(out, "freshet_version", info->version);
    add_text(out, "redis_mode", "standalone");
    buf_printf(out, "os:%s %s %s\r\n", host.sysname, host.release, host.machine);
    add_integer(out, "arch_bits", (int64_t)sizeof(void *) * 8);
    add_text(out, "multiplexing_api", "epoll");
    add_integer(out, "process_id", getpid());
    add_text(out, "run_id", info->run_id);
    add_integer(out, "tcp_port", info->port);
    add_integer(out, "server_time_usec", source->now_us);
    add_integer(out, "uptime_in_seconds", uptime);
    add_integer(out, "uptime_in_days", uptime / 86400);
    add_integer(out, "hz", 10);
    add_text(out, "executable", executable);
    add_text(out, "config_file", "");
    add_integer(out, "io_threads_active", source->deps->n_workers > 1);
    add_integer(out, "workers", source->deps->n_workers);
}

static void add_clients(const struct source *source, struct buf *out) {
    add_integer(out, "connected_clients", roster_count(source->deps->roster));
    add_integer(out, "cluster_connections", 0);
    add_integer(out, "maxclients", roster_max(source->deps->roster));
    add_integer(out, "blocked_clients", sum(source, "freshet_cache_clients_waiting"));
    struct tracking_stats tracking;
    tracking_stats(source->deps->tracking, &tracking);
    add_integer(out, "tracking_clients", (int64_t)tracking.clients);
}

static uint64_t resident_bytes(void) {
    uint64_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%*u %" SCNu64, &pages) != 1) pages = 0;
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void add_memory(const struct source *source, struct buf *out) {
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    uint64_t used = source->store.bytes;
    uint64_t resident = resident_bytes();
    uint64_t peak = (uint64_t)usage.ru_maxrss * 1024;
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    add_integer(out, "used_memory", (int64_t)used);
    add_human(out, "used_memory_human", used);
    add_integer(out, "used_memory_rss", (int64_t)resident);
    add_human(out, "used_memory_rss_human", resident);
    add_integer(out, "used_memory_peak", (int64_t)peak);
    add_human(out, "used_memory_peak_human", peak);
    add_integer(out, "used_memory_dataset", (int64_t)used);
    add_integer(out, "total_system_memory", (int64_t)total);
    add_human(out, "total_system_memory_human", total);
    add_integer(out, "maxmemory", (int64_t)source->store.max_bytes);
    add_human(out, "maxmemory_human", source->store.max_bytes);
    add_text(out, "maxmemory_policy", "allkeys-lfu");
    buf_printf(out, "mem_fragmentation_ratio:%.2f\r\n",
               used ? (double)resident / (double)used : 0.0);
    add_text(out, "mem_allocator", "jemalloc");
}

static void add_persistence(const struct source *source, struct buf *out) {
    (void)source;
    add_integer(out, "loading", 0);
    add_integer(out, "async_loading", 0);
    add_integer(out, "rdb_changes_since_last_save", 0);
    add_integer(out, "rdb_bgsave_in_progress", 0);
    add_integer(out, "rdb_last_save_time", source->deps->info->started_wall_us / 1000000);
    add_text(out, "rdb_last_bgsave_status", "ok");
    add_integer(out, "aof_enabled", 0);
    add_integer(out, "aof_rewrite_in_progress", 0);
    add_text(out, "aof_last_bgrewrite_status", "ok");
    add_text(out, "aof_last_write_status", "ok");
}

static void add_stats(const struct source *source, struct buf *out) {
    const struct server_info *info = source->deps->info;
    add_integer(out, "total_connections_received", sum(source, "freshet_cache_connections_total"));
    add_integer(out, "total_commands_processed", sum(source, "freshet_cache_commands_total"));
    add_integer(out, "instantaneous_ops_per_sec", info->commands_per_second);
    add_integer(out, "total_net_input_bytes", sum(source, "freshet_cache_received_bytes_total"));
    add_integer(out, "total_net_output_bytes", sum(source, "freshet_cache_sent_bytes_total"));
    buf_printf(out, "instantaneous_input_kbps:%.2f\r\n", (double)info->bytes_in_per_second / 1024);
    buf_printf(out, "instantaneous_output_kbps:%.2f\r\n",
               (double)info->bytes_out_per_second / 1024);
    add_integer(out, "rejected_connections",
                sum(source, "freshet_cache_connections_rejected_total"));
    add_integer(out, "sync_full", 0);
    add_integer(out, "expired_keys", (int64_t)source->store.removed[REMOVED_EXPIRED]);
    add_integer(out, "evicted_keys", (int64_t)source->store.removed[REMOVED_EVICTED_MEMORY]);
    add_integer(out, "evicted_clients", 0);
    add_integer(out, "keyspace_hits",
                sum(source, "freshet_cache_hits_total") +
                    sum(source, "freshet_cache_negative_hits_total"));
    add_integer(out, "keyspace_misses", sum(source, "freshet_cache_misses_total"));
    const struct pubsub *pubsub = source->deps->pubsub;
    add_integer(out, "pubsub_channels", pubsub_topics(pubsub, PUBSUB_CHANNEL));
    add_integer(out, "pubsub_patterns", pubsub_topics(pubsub, PUBSUB_PATTERN));
    add_integer(out, "pubsubshard_channels", pubsub_topics(pubsub, PUBSUB_SHARD));
    struct tracking_stats tracking;
    tracking_stats(source->deps->tracking, &tracking);
    add_integer(out, "tracking_total_keys", (int64_t)tracking.keys);
    add_integer(out, "tracking_total_items", (int64_t)tracking.items);
    add_integer(out, "tracking_total_prefixes", (int64_t)tracking.prefixes);
    add_integer(out, "unexpected_error_replies", 0);
    add_integer(out, "total_error_replies", sum(source, "freshet_cache_error_replies_total"));
}

static void add_replication(const struct source *source, struct buf *out) {
    add_text(out, "role", "master");
    add_integer(out, "connected_slaves", 0);
    add_text(out, "master_failover_state", "no-failover");
    add_text(out, "master_replid", source->deps->info->run_id);
    add_integer(out, "master_repl_offset", 0);
    add_integer(out, "repl_backlog_active", 0);
}

static void add_cpu(const struct source *source, struct buf *out) {
    (void)source;
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    buf_printf(out, "used_cpu_sys:%ld.%06ld\r\n", (long)usage.ru_stime.tv_sec,
               (long)usage.ru_stime.tv_usec);
    buf_printf(out, "used_cpu_user:%ld.%06ld\r\n", (long)usage.ru_utime.tv_sec,
               (long)usage.ru_utime.tv_usec);
    add_text(out, "used_cpu_sys_children", "0.000000");
    add_text(out, "used_cpu_user_children", "0.000000");
}

static void add_nothing(const struct source *source, struct buf *out) {
    (void)source;
    (void)out;
}

static void add_cluster(const struct source *source, struct buf *out) {
    (void)source;
    add_integer(out, "cluster_enabled", 0);
}

static void add_keyspace(const struct source *source, struct buf *out) {
    uint64_t keys = source->store.entries - source->store.absent;
    if (keys == 0) return;
    buf_printf(out, "db0:keys=%" PRIu64 ",expires=%" PRIu64 ",avg_ttl=0\r\n", keys,
               source->store.with_expiry);
}

static void add_freshet(const struct source *source, struct buf *out) {
    add_text(out, "freshet_version", source->deps->info->version);
    add_integer(out, "absent_rows_remembered", (int64_t)source->store.absent);
    add_integer(out, "evicted_by_commit", (int64_t)source->store.removed[REMOVED_COMMIT]);
    add_integer(out, "protocol_errors", sum(source, "freshet_cache_protocol_errors_total"));
    add_integer(out, "output_limit_closes", sum(source, "freshet_cache_output_limit_closes_total"));
    if (source->deps->info->readthrough) readthrough_info(source->deps->info->readthrough, out);
}

/* In the order in which they are shown. */
static const struct section {
    const char *name;
    void (*add)(const struct source *source, struct buf *out);
} sections[] = {
    {"Server", add_server},
    {"Clients", add_clients},
    {"Memory", add_memory},
    {"Persistence", add_persistence},
    {"Stats", add_stats},
    {"Replication", add_replication},
    {"CPU", add_cpu},
    {"Modules", add_nothing},
    {"Errorstats", add_nothing},
    {"Cluster", add_cluster},
    {"Keyspace", add_keyspace},
    {"Freshet", add_freshet},
};
enum { N_SECTIONS = sizeof sections / sizeof sections[0] };

static bool is_asked_for(struct command_context *ctx, const struct section *section) {
    static const char *const all[] = {"all", "default", "everything"};
    if (ctx->argc == 1) return true;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        if (slice_equal_nocase(ctx->argv[i], slice_from(section->name))) return true;
        for (size_t j = 0; j < sizeof all / sizeof all[0]; j++)
            if (slice_equal_nocase(ctx->argv[i], slice_from(all[j]))) return true;
    }
    return false;
}

void cmd_info(struct command_context *ctx) {
    struct source source = {.deps = worker_deps(ctx->worker), .now_us = clock_wall_us()};
    store_stats(ctx->store, &source.store);
    struct buf text = {0};
    for (size_t i = 0; i < N_SECTIONS; i++) {
        if (!is_asked_for(ctx, &sections[i])) continue;
        if (text.len) buf_append_text(&text, "\r\n");
        buf_printf(&text, "# %s\r\n", sections[i].name);
        sections[i].add(&source, &text);
    }
    reply_verbatim(ctx->reply, buf_slice(&text));
    buf_deinit(&text);
}

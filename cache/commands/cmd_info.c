/* cmd_info.c: INFO, with the section and field names of Redis 7.0 that dashboards read, and a section of Freshet's own. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache/cache.h"
#include "cache/commands/cmd_server.h"
#include "cache/commands/memory_figures.h"
#include "cache/front/command_stats.h"
#include "cache/front/reply.h"
#include "cache/front/roster.h"
#include "cache/front/server_info.h"
#include "cache/front/worker.h"
#include "cache/rows/readthrough.h"
#include "cache/signals/pubsub.h"
#include "cache/signals/tracking.h"
#include "cache/store/store.h"

/* What the sections draw from. */
struct source {
    const struct worker_deps *deps;
    struct store_stats store;
    int64_t now_us; /* wall clock */
    struct memory_figures memory;
};

static int64_t sum(const struct source *source, const char *name) {
    return metrics_sum(source->deps->metrics, name, NULL);
}

/* --- counters, which CONFIG RESETSTAT begins anew ------------------------------------------------------------- */

static int64_t read_counter(const struct source *source, enum info_counter counter) {
    static const char *const metrics[INFO_COUNTERS] = {
        [COUNT_CONNECTIONS] = "freshet_cache_connections_total",
        [COUNT_COMMANDS] = "freshet_cache_commands_total",
        [COUNT_BYTES_IN] = "freshet_cache_received_bytes_total",
        [COUNT_BYTES_OUT] = "freshet_cache_sent_bytes_total",
        [COUNT_READS] = "freshet_cache_socket_reads_total",
        [COUNT_SENDS] = "freshet_cache_socket_writes_total",
        [COUNT_REJECTED] = "freshet_cache_connections_rejected_total",
        [COUNT_ERRORS] = "freshet_cache_error_replies_total",
        [COUNT_MISSES] = "freshet_cache_misses_total",
    };
    switch (counter) {
    case COUNT_HITS:
        return sum(source, "freshet_cache_hits_total") +
               sum(source, "freshet_cache_negative_hits_total");
    case COUNT_EXPIRED: return (int64_t)source->store.removed[REMOVED_EXPIRED];
    case COUNT_EVICTED: return (int64_t)source->store.removed[REMOVED_EVICTED_MEMORY];
    default: return sum(source, metrics[counter]);
    }
}

static void add_counter(const struct source *source, struct buf *out, const char *name,
                        enum info_counter counter) {
    int64_t base = source->deps->info->counter_bases[counter];
    buf_printf(out, "%s:%" PRId64 "\r\n", name, read_counter(source, counter) - base);
}

static void read_source(struct command_context *ctx, struct source *source) {
    *source = (struct source){.deps = worker_deps(ctx->worker), .now_us = clock_wall_us()};
    store_stats(ctx->store, &source->store);
    memory_figures_read(&source->store, source->deps->roster, ctx->now_ms, &source->memory);
}

void info_reset(struct command_context *ctx) {
    struct source source;
    read_source(ctx, &source);
    for (int i = 0; i < INFO_COUNTERS; i++)
        source.deps->info->counter_bases[i] = read_counter(&source, (enum info_counter)i);
}

/* --- the sections ------------------------------------------------------------------------------------------- */

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
    buf_printf(out, "gcc_version:%d.%d.%d\r\n", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
    add_integer(out, "process_id", getpid());
    add_text(out, "run_id", info->run_id);
    add_integer(out, "tcp_port", info->port);
    add_integer(out, "tls_port", info->tls_port);
    add_integer(out, "server_time_usec", source->now_us);
    add_integer(out, "uptime_in_seconds", uptime);
    add_integer(out, "uptime_in_days", uptime / 86400);
    add_integer(out, "hz", 10);
    add_integer(out, "lru_clock", source->now_us / 1000000 & 0xffffff);
    add_text(out, "executable", executable);
    add_text(out, "config_file", "");
    add_integer(out, "io_threads_active", source->deps->n_workers > 1);
    add_integer(out, "workers", source->deps->n_workers);
}

static void add_clients(const struct source *source, struct buf *out) {
    add_integer(out, "connected_clients", roster_count(source->deps->roster));
    add_integer(out, "cluster_connections", 0);
    add_integer(out, "maxclients", roster_max(source->deps->roster));
    add_integer(out, "client_recent_max_input_buffer", (int64_t)source->memory.clients_most_in);
    add_integer(out, "client_recent_max_output_buffer", (int64_t)source->memory.clients_most_out);
    add_integer(out, "blocked_clients", sum(source, "freshet_cache_clients_blocked"));
    struct tracking_stats tracking;
    tracking_stats(source->deps->tracking, &tracking);
    add_integer(out, "tracking_clients", (int64_t)tracking.clients);
}

static void add_percent(struct buf *out, const char *name, uint64_t part, uint64_t whole) {
    buf_printf(out, "%s:%.2f%%\r\n", name, 100 * memory_ratio(part, whole));
}

/* How many times `below` it is, and by how many bytes more. */
static void add_excess(struct buf *out, const char *name, uint64_t above, uint64_t below) {
    buf_printf(out, "%s_ratio:%.2f\r\n", name, memory_ratio(above, below));
    buf_printf(out, "%s_bytes:%" PRId64 "\r\n", name, (int64_t)(above - below));
}

static void add_bytes(struct buf *out, const char *name, const char *human, uint64_t bytes) {
    add_integer(out, name, (int64_t)bytes);
    add_human(out, human, bytes);
}

static void add_memory(const struct source *source, struct buf *out) {
    const struct memory_figures *memory = &source->memory;
    const struct mem_allocator *allocator = &memory->allocator;
    uint64_t total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    int64_t max = setting(source->deps->settings, SETTING_MAX_MEMORY);
    add_bytes(out, "used_memory", "used_memory_human", memory->used);
    add_bytes(out, "used_memory_rss", "used_memory_rss_human", memory->resident);
    add_bytes(out, "used_memory_peak", "used_memory_peak_human", memory->peak);
    add_percent(out, "used_memory_peak_perc", memory->used, memory->peak);
    add_integer(out, "used_memory_dataset", (int64_t)memory->used);
    add_percent(out, "used_memory_dataset_perc", memory->used, memory->used);
    add_integer(out, "allocator_allocated", (int64_t)allocator->allocated);
    add_integer(out, "allocator_active", (int64_t)allocator->active);
    add_integer(out, "allocator_resident", (int64_t)allocator->resident);
    add_bytes(out, "total_system_memory", "total_system_memory_human", total);
    add_bytes(out, "maxmemory", "maxmemory_human", (uint64_t)max);
    buf_append_text(out, "maxmemory_policy:");
    settings_append_policy(source->deps->settings, out);
    buf_append_text(out, "\r\n");
    add_excess(out, "allocator_frag", allocator->active, allocator->allocated);
    add_excess(out, "allocator_rss", allocator->resident, allocator->active);
    add_excess(out, "rss_overhead", memory->resident, allocator->resident);
    add_excess(out, "mem_fragmentation", memory->resident, memory->used);
    add_integer(out, "mem_clients_normal", (int64_t)memory->clients);
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
    add_counter(source, out, "total_connections_received", COUNT_CONNECTIONS);
    add_counter(source, out, "total_commands_processed", COUNT_COMMANDS);
    add_integer(out, "instantaneous_ops_per_sec", info->commands_per_second);
    add_counter(source, out, "total_net_input_bytes", COUNT_BYTES_IN);
    add_counter(source, out, "total_net_output_bytes", COUNT_BYTES_OUT);
    buf_printf(out, "instantaneous_input_kbps:%.2f\r\n", (double)info->bytes_in_per_second / 1024);
    buf_printf(out, "instantaneous_output_kbps:%.2f\r\n",
               (double)info->bytes_out_per_second / 1024);
    add_counter(source, out, "total_reads_processed", COUNT_READS);
    add_counter(source, out, "total_writes_processed", COUNT_SENDS);
    add_counter(source, out, "rejected_connections", COUNT_REJECTED);
    add_integer(out, "sync_full", 0);
    add_counter(source, out, "expired_keys", COUNT_EXPIRED);
    add_counter(source, out, "evicted_keys", COUNT_EVICTED);
    add_integer(out, "evicted_clients", 0);
    add_counter(source, out, "keyspace_hits", COUNT_HITS);
    add_counter(source, out, "keyspace_misses", COUNT_MISSES);
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
    add_counter(source, out, "total_error_replies", COUNT_ERRORS);
}

static void add_replication(const struct source *source, struct buf *out) {
    add_text(out, "role", "master");
    add_integer(out, "connected_slaves", 0);
    add_text(out, "master_failover_state", "no-failover");
    add_text(out, "master_replid", source->deps->info->run_id);
    add_integer(out, "master_repl_offset", 0);
    add_integer(out, "repl_backlog_active", 0);
}

static void add_seconds(struct buf *out, const char *name, struct timeval spent) {
    buf_printf(out, "%s:%ld.%06ld\r\n", name, (long)spent.tv_sec, (long)spent.tv_usec);
}

/* No thread is the main one: the worker's that answers stands for it. */
static void add_cpu(const struct source *source, struct buf *out) {
    (void)source;
    struct rusage process = {0}, thread = {0};
    getrusage(RUSAGE_SELF, &process);
    getrusage(RUSAGE_THREAD, &thread);
    add_seconds(out, "used_cpu_sys", process.ru_stime);
    add_seconds(out, "used_cpu_user", process.ru_utime);
    add_text(out, "used_cpu_sys_children", "0.000000");
    add_text(out, "used_cpu_user_children", "0.000000");
    add_seconds(out, "used_cpu_sys_main_thread", thread.ru_stime);
    add_seconds(out, "used_cpu_user_main_thread", thread.ru_utime);
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

static void add_commandstats(const struct source *source, struct buf *out) {
    command_stats_info(source->deps->stats, out);
}

static void add_errorstats(const struct source *source, struct buf *out) {
    command_stats_errors(source->deps->stats, out);
}

static void add_latencystats(const struct source *source, struct buf *out) {
    command_stats_latencies(source->deps->stats, out);
}

/* Fields that dashboards look for and that never differ here, by their section. */
static const struct {
    const char *section;
    const char *fields;
} fixed[] = {
    {"Server", "redis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0\r\n"
               "monotonic_clock:POSIX clock_gettime\r\natomicvar_api:c11-builtin\r\n"
               "process_supervised:no\r\nconfigured_hz:10\r\n"},
    {"Clients", "clients_in_timeout_table:0\r\n"},
    {"Memory", "used_memory_overhead:0\r\nused_memory_startup:0\r\n"
               "mem_not_counted_for_evict:0\r\nmem_replication_backlog:0\r\n"
               "mem_total_replication_buffers:0\r\nmem_clients_slaves:0\r\n"
               "mem_cluster_links:0\r\nmem_aof_buffer:0\r\nused_memory_lua:0\r\n"
               "used_memory_lua_human:0B\r\nused_memory_vm_eval:0\r\n"
               "used_memory_vm_functions:0\r\nused_memory_vm_total:0\r\n"
               "used_memory_vm_total_human:0B\r\nused_memory_functions:0\r\n"
               "used_memory_scripts:0\r\nused_memory_scripts_eval:0\r\n"
               "used_memory_scripts_human:0B\r\nnumber_of_cached_scripts:0\r\n"
               "number_of_functions:0\r\nnumber_of_libraries:0\r\nactive_defrag_running:0\r\n"
               "lazyfree_pending_objects:0\r\nlazyfreed_objects:0\r\n"},
    {"Persistence", "rdb_last_bgsave_time_sec:-1\r\nrdb_current_bgsave_time_sec:-1\r\n"
                    "rdb_saves:0\r\nrdb_last_cow_size:0\r\nrdb_last_load_keys_expired:0\r\n"
                    "rdb_last_load_keys_loaded:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:0\r\n"
                    "current_cow_size_age:0\r\ncurrent_fork_perc:0.00\r\n"
                    "current_save_keys_processed:0\r\ncurrent_save_keys_total:0\r\n"
                    "aof_rewrite_scheduled:0\r\naof_last_rewrite_time_sec:-1\r\n"
                    "aof_current_rewrite_time_sec:-1\r\naof_rewrites:0\r\n"
                    "aof_rewrites_consecutive_failures:0\r\naof_last_cow_size:0\r\n"
                    "module_fork_in_progress:0\r\nmodule_fork_last_cow_size:0\r\n"},
    {"Stats", "total_net_repl_input_bytes:0\r\ntotal_net_repl_output_bytes:0\r\n"
              "instantaneous_input_repl_kbps:0.00\r\ninstantaneous_output_repl_kbps:0.00\r\n"
              "sync_partial_ok:0\r\nsync_partial_err:0\r\nexpired_stale_perc:0.00\r\n"
              "expired_time_cap_reached_count:0\r\nexpire_cycle_cpu_milliseconds:0\r\n"
              "total_eviction_exceeded_time:0\r\ncurrent_eviction_exceeded_time:0\r\n"
              "latest_fork_usec:0\r\ntotal_forks:0\r\nmigrate_cached_sockets:0\r\n"
              "slave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\nactive_defrag_misses:0\r\n"
              "active_defrag_key_hits:0\r\nactive_defrag_key_misses:0\r\n"
              "total_active_defrag_time:0\r\ncurrent_active_defrag_time:0\r\n"
              "dump_payload_sanitizations:0\r\nio_threaded_reads_processed:0\r\n"
              "io_threaded_writes_processed:0\r\nreply_buffer_shrinks:0\r\n"
              "reply_buffer_expands:0\r\n"},
    {"Replication", "master_replid2:0000000000000000000000000000000000000000\r\n"
                    "second_repl_offset:-1\r\nrepl_backlog_size:0\r\n"
                    "repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n"},
};

static void add_fixed(const char *section, struct buf *out) {
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (strcmp(fixed[i].section, section) == 0) buf_append_text(out, fixed[i].fields);
}

/* In the order in which they are shown. */
static const struct section {
    const char *name;
    void (*add)(const struct source *source, struct buf *out);
    bool asked_for; /* shown by its name, by `all` and `everything`, not by default */
} sections[] = {
    {"Server", add_server, false},
    {"Clients", add_clients, false},
    {"Memory", add_memory, false},
    {"Persistence", add_persistence, false},
    {"Stats", add_stats, false},
    {"Replication", add_replication, false},
    {"CPU", add_cpu, false},
    {"Modules", add_nothing, false},
    {"Commandstats", add_commandstats, true},
    {"Errorstats", add_errorstats, false},
    {"Latencystats", add_latencystats, true},
    {"Cluster", add_cluster, false},
    {"Keyspace", add_keyspace, false},
    {"Freshet", add_freshet, false},
};
enum { N_SECTIONS = sizeof sections / sizeof sections[0] };

static bool is_asked_for(struct command_context *ctx, const struct section *section) {
    if (ctx->argc == 1) return !section->asked_for;
    for (uint32_t i = 1; i < ctx->argc; i++) {
        struct slice word = ctx->argv[i];
        if (slice_equal_nocase(word, slice_from(section->name))) return true;
        if (slice_equal_nocase(word, SLICE("all")) || slice_equal_nocase(word, SLICE("everything")))
            return true;
        if (slice_equal_nocase(word, SLICE("default")) && !section->asked_for) return true;
    }
    return false;
}

void cmd_info(struct command_context *ctx) {
    struct source source;
    struct buf text = {0};
    read_source(ctx, &source);
    for (size_t i = 0; i < N_SECTIONS; i++) {
        if (!is_asked_for(ctx, &sections[i])) continue;
        if (text.len) buf_append_text(&text, "\r\n");
        buf_printf(&text, "# %s\r\n", sections[i].name);
        sections[i].add(&source, &text);
        add_fixed(sections[i].name, &text);
    }
    reply_verbatim(ctx->reply, buf_slice(&text));
    buf_deinit(&text);
}

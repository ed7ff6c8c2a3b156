/* cmd_memory.c: MEMORY: what keys take, and what the process does. */
#include "cache/commands/cmd.h"
#include "cache/commands/memory_figures.h"
#include "cache/front/worker.h"
#include "cache/store/store.h"

/* --- USAGE --- */

enum { INDEX_BYTES_A_KEY = 13 /* index.h */ };

/* SAMPLES is read and not needed: what a container takes is known. */
static bool parse_samples(struct command_context *ctx) {
    for (uint32_t i = 3; i < ctx->argc; i += 2) {
        int64_t samples;
        if (!slice_equal_nocase(ctx->argv[i], SLICE("samples")) || i + 1 >= ctx->argc) {
            reply_syntax_error(ctx->reply);
            return false;
        }
        if (!cmd_integer(ctx, ctx->argv[i + 1], &samples)) return false;
        if (samples >= 0) continue;
        reply_syntax_error(ctx->reply);
        return false;
    }
    return true;
}

static void cmd_memory_usage(struct command_context *ctx) {
    struct slice key = ctx->argv[2];
    if (!parse_samples(ctx)) return;
    const struct entry *entry =
        store_peek(ctx->store, key, store_hash(ctx->store, key), ctx->now_ms);
    if (entry && !entry_is_absent(entry))
        reply_integer(ctx->reply, (int64_t)entry_size(entry) + INDEX_BYTES_A_KEY);
    else
        reply_null(ctx->reply);
}

/* --- STATS, DOCTOR, MALLOC-STATS, PURGE --- */

static void answer_number(struct reply *reply, const char *name, uint64_t value) {
    reply_text(reply, name);
    reply_integer(reply, (int64_t)value);
}

static void answer_ratio(struct reply *reply, const char *name, double value) {
    reply_text(reply, name);
    reply_double(reply, value);
}

/* How many times `below` it is, and by how many bytes more. */
static void answer_excess(struct reply *reply, const char *ratio, const char *bytes, uint64_t above,
                          uint64_t below) {
    answer_ratio(reply, ratio, memory_ratio(above, below));
    answer_number(reply, bytes, above - below);
}

/* Redis's names; what is kept for what there is not here takes nothing. */
static void cmd_memory_stats(struct command_context *ctx) {
    static const char *const nothing[] = {
        "startup.allocated", "replication.backlog", "clients.slaves",   "cluster.links",
        "aof.buffer",        "lua.caches",          "functions.caches", "overhead.total"};
    enum { NOTHING = sizeof nothing / sizeof nothing[0] };
    struct store_stats stats;
    struct memory_figures figures;
    struct reply *reply = ctx->reply;
    store_stats(ctx->store, &stats);
    memory_figures_read(&stats, worker_deps(ctx->worker)->roster, ctx->now_ms, &figures);
    const struct mem_allocator *allocator = &figures.allocator;
    uint64_t keys = stats.entries - stats.absent;
    reply_map(reply, NOTHING + 21);
    for (size_t i = 0; i < NOTHING; i++)
        answer_number(reply, nothing[i], 0);
    answer_number(reply, "peak.allocated", figures.peak);
    answer_number(reply, "total.allocated", stats.bytes + stats.retired_bytes);
    answer_number(reply, "clients.normal", figures.clients);
    answer_number(reply, "keys.count", keys);
    answer_number(reply, "keys.bytes-per-key", keys ? stats.bytes / keys : 0);
    answer_number(reply, "dataset.bytes", stats.bytes);
    answer_ratio(reply, "dataset.percentage", 100 * memory_ratio(figures.used, figures.used));
    answer_ratio(reply, "peak.percentage", 100 * memory_ratio(figures.used, figures.peak));
    answer_number(reply, "allocator.allocated", allocator->allocated);
    answer_number(reply, "allocator.active", allocator->active);
    answer_number(reply, "allocator.resident", allocator->resident);
    answer_excess(reply, "allocator-fragmentation.ratio", "allocator-fragmentation.bytes",
                  allocator->active, allocator->allocated);
    answer_excess(reply, "allocator-rss.ratio", "allocator-rss.bytes", allocator->resident,
                  allocator->active);
    answer_excess(reply, "rss-overhead.ratio", "rss-overhead.bytes", figures.resident,
                  allocator->resident);
    answer_excess(reply, "fragmentation", "fragmentation.bytes", figures.resident, figures.used);
    answer_number(reply, "maxmemory", stats.max_bytes);
    answer_number(reply, "retired.bytes", stats.retired_bytes);
}

static void cmd_memory_doctor(struct command_context *ctx) {
    struct store_stats stats;
    store_stats(ctx->store, &stats);
    bool full = stats.bytes >= stats.max_bytes - stats.max_bytes / 20;
    const char *advice =
        full ? "Memory is full: keys are evicted to make room for new ones. That is what a cache "
               "does; where too many reads miss, give it more (max_memory).\n"
             : "No memory problem: entries and index are below max_memory.\n";
    reply_verbatim(ctx->reply, slice_from(advice));
}

static void add_text(void *out, const char *text) { buf_append_text(out, text); }

static void cmd_memory_malloc_stats(struct command_context *ctx) {
    struct buf text = {0};
    mem_allocator_report(add_text, &text);
    reply_verbatim(ctx->reply, buf_slice(&text));
    buf_deinit(&text);
}

/* What goes is given back as its readers leave (reclaim.h): there is nothing left to do. */
static void cmd_memory_purge(struct command_context *ctx) { reply_ok(ctx->reply); }

static const struct command memory_subcommands[] = {
    {"doctor", cmd_memory_doctor, 2, 0, NO_KEYS, "4.0.0", GROUP_SERVER,
     "Tells whether memory suffices.", "O(1)", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "4.0.0", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"malloc-stats", cmd_memory_malloc_stats, 2, 0, NO_KEYS, "4.0.0", GROUP_SERVER,
     "Returns the allocator's report.", "Depends on how much memory is allocated, could be slow",
     NULL},
    {"purge", cmd_memory_purge, 2, 0, NO_KEYS, "4.0.0", GROUP_SERVER,
     "Nothing to do: memory is given back as it becomes free.", "O(1)", NULL},
    {"stats", cmd_memory_stats, 2, 0, NO_KEYS, "4.0.0", GROUP_SERVER,
     "Returns what entries and index take.", "O(1)", NULL},
    {"usage", cmd_memory_usage, -3, CMD_READONLY | CMD_LOCKS_KEYS, KEYS(2, 2, 1), "4.0.0",
     GROUP_SERVER, "Estimates the memory usage of a key.", "O(1)", NULL},
    {0},
};

const struct command commands_memory[] = {
    {"memory", NULL, -2, 0, NO_KEYS, "4.0.0", GROUP_SERVER,
     "A container for memory diagnostics commands.", "Depends on subcommand.", memory_subcommands},
    {0},
};

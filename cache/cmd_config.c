/* cmd_config.c: CONFIG GET, which tells in Redis's names what clients and tools ask for. What can be set is set in
 * Freshet's own configuration: CONFIG SET says so. */
#include <inttypes.h>
#include <string.h>

#include "cache/cache.h"
#include "cache/cmd_server.h"
#include "cache/glob.h"
#include "cache/reply.h"
#include "cache/resp.h"
#include "cache/server_info.h"
#include "cache/worker.h"

static void value_maxmemory(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->config->max_memory_bytes);
}

static void value_maxclients(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->config->max_clients);
}

static void value_port(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->info->port);
}

static void value_bind(const struct worker_deps *deps, struct buf *out) {
    const char *colon = strrchr(deps->config->listen, ':');
    buf_append(out, deps->config->listen, (size_t)(colon - deps->config->listen));
}

static void value_io_threads(const struct worker_deps *deps, struct buf *out) {
    buf_append_u64(out, deps->n_workers);
}

static void value_output_limit(const struct worker_deps *deps, struct buf *out) {
    buf_printf(out, "normal %" PRIu64 " 0 0 slave 0 0 0 pubsub %" PRIu64 " 0 0",
               deps->config->client_output_limit_bytes, deps->config->client_output_limit_bytes);
}

static void value_max_bulk(const struct worker_deps *deps, struct buf *out) {
    (void)deps;
    buf_append_u64(out, RESP_MAX_BULK_DEFAULT);
}

/* Sorted by name. A row has a fixed text, or a function. */
static const struct parameter {
    const char *name;
    const char *text;
    void (*value)(const struct worker_deps *deps, struct buf *out);
} parameters[] = {
    {"appendonly", "no", NULL},
    {"bind", NULL, value_bind},
    {"client-output-buffer-limit", NULL, value_output_limit},
    {"client-query-buffer-limit", "1073741824", NULL},
    {"databases", "1", NULL},
    {"io-threads", NULL, value_io_threads},
    {"maxclients", NULL, value_maxclients},
    {"maxmemory", NULL, value_maxmemory},
    {"maxmemory-policy", "allkeys-lfu", NULL},
    {"notify-keyspace-events", "", NULL},
    {"port", NULL, value_port},
    {"proto-max-bulk-len", NULL, value_max_bulk},
    {"save", "", NULL},
    {"tcp-keepalive", "300", NULL},
    {"timeout", "0", NULL},
};
enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

static bool is_asked_for(struct command_context *ctx, const struct parameter *parameter) {
    char lower[64];
    for (uint32_t i = 2; i < ctx->argc; i++) {
        struct slice pattern = ctx->argv[i];
        if (pattern.len > sizeof lower) continue;
        for (size_t at = 0; at < pattern.len; at++) {
            char c = pattern.data[at];
            lower[at] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
        }
        if (glob_match(slice_make(lower, pattern.len), slice_from(parameter->name))) return true;
    }
    return false;
}

static void config_cmd_get(struct command_context *ctx) {
    size_t n = 0;
    for (size_t i = 0; i < N_PARAMETERS; i++)
        n += is_asked_for(ctx, &parameters[i]);
    reply_map(ctx->reply, n);
    struct buf value = {0};
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        if (!is_asked_for(ctx, &parameters[i])) continue;
        value.len = 0;
        if (parameters[i].value)
            parameters[i].value(worker_deps(ctx->worker), &value);
        else
            buf_append_text(&value, parameters[i].text);
        reply_text(ctx->reply, parameters[i].name);
        reply_bulk(ctx->reply, buf_slice(&value));
    }
    buf_deinit(&value);
}

static void config_cmd_refuse(struct command_context *ctx) {
    reply_error(
        ctx->reply,
        "ERR CONFIG %s is not supported: Freshet is configured by its file, environment and "
        "flags, and reloads them at SIGHUP",
        slice_equal_nocase(ctx->argv[1], SLICE("set")) ? "SET" : "REWRITE");
}

static void config_cmd_resetstat(struct command_context *ctx) {
    reply_error(ctx->reply, "ERR CONFIG RESETSTAT is not supported: counters never go back, as "
                            "those who scrape /metrics rely on");
}

const struct command config_subcommands[] = {
    {"get", config_cmd_get, -3, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "2.0.0", GROUP_SERVER, "Returns the effective values of configuration parameters.",
     "O(N) where N is the number of configuration parameters provided", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "5.0.0", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"resetstat", config_cmd_resetstat, 2, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     NO_KEYS, "2.0.0", GROUP_SERVER, "Refused: counters never go back.", "O(1)", NULL},
    {"rewrite", config_cmd_refuse, 2, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "2.8.0", GROUP_SERVER, "Refused: the configuration's file is its owner's.", "O(1)", NULL},
    {"set", config_cmd_refuse, -4, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "2.0.0", GROUP_SERVER, "Refused: what can be set is set in Freshet's own configuration.",
     "O(1)", NULL},
    {0},
};

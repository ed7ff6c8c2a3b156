/* cmd_server.c: the server group's table, and its short commands. */
#include "cache/commands/cmd_server.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "cache/front/reply.h"
#include "cache/front/worker.h"
#include "cache/signals/tracking.h"
#include "cache/store/store.h"

/* Rows that were remembered as absent are no keys to a user. */
static void cmd_dbsize(struct command_context *ctx) {
    struct store_stats stats;
    store_stats(ctx->store, &stats);
    reply_integer(ctx->reply, (int64_t)(stats.entries - stats.absent));
}

/* Flushing is never a long pause: shards are emptied one by one and memory is given back by the readers' turns, so ASYNC
 * and SYNC are the same. Rows go too, and are read again. */
static void cmd_flush(struct command_context *ctx) {
    bool known =
        ctx->argc == 1 || (ctx->argc == 2 && (slice_equal_nocase(ctx->argv[1], SLICE("async")) ||
                                              slice_equal_nocase(ctx->argv[1], SLICE("sync"))));
    if (!known) {
        reply_syntax_error(ctx->reply);
        return;
    }
    store_flush(ctx->store, ctx->guard, REMOVED_FLUSHED);
    tracking_flushed(worker_deps(ctx->worker)->tracking);
    reply_ok(ctx->reply);
}

static void cmd_time(struct command_context *ctx) {
    int64_t now_us = clock_wall_us();
    char text[24];
    reply_array(ctx->reply, 2);
    snprintf(text, sizeof text, "%" PRId64, now_us / 1000000);
    reply_text(ctx->reply, text);
    snprintf(text, sizeof text, "%" PRId64, now_us % 1000000);
    reply_text(ctx->reply, text);
}

/* Clients and probes ask: a master, as far as they need to know, and nobody follows it. */
static void cmd_role(struct command_context *ctx) {
    reply_array(ctx->reply, 3);
    reply_text(ctx->reply, "master");
    reply_integer(ctx->reply, 0);
    reply_array(ctx->reply, 0);
}

const struct command commands_server[] = {
    {"command", cmd_command, -1, CMD_LOADING | CMD_STALE, NO_KEYS, "2.8.13", GROUP_SERVER,
     "Returns detailed information about all commands.",
     "O(N) where N is the total number of commands", command_subcommands},
    {"config", NULL, -2, 0, NO_KEYS, "2.0.0", GROUP_SERVER,
     "A container for server configuration commands.", "Depends on subcommand.",
     config_subcommands},
    {"dbsize", cmd_dbsize, 1, CMD_READONLY | CMD_FAST, NO_KEYS, "1.0.0", GROUP_SERVER,
     "Returns the number of keys in memory.", "O(1)", NULL},
    {"flushall", cmd_flush, -1, CMD_WRITE | CMD_DANGEROUS, NO_KEYS, "1.0.0", GROUP_SERVER,
     "Removes all keys from memory; rows are read again when asked for.",
     "O(N) where N is the total number of keys", NULL},
    {"flushdb", cmd_flush, -1, CMD_WRITE | CMD_DANGEROUS, NO_KEYS, "1.0.0", GROUP_SERVER,
     "Removes all keys from memory; rows are read again when asked for.",
     "O(N) where N is the total number of keys", NULL},
    {"info", cmd_info, -1, CMD_LOADING | CMD_STALE | CMD_DANGEROUS, NO_KEYS, "1.0.0", GROUP_SERVER,
     "Returns information and statistics about the server.", "O(1)", NULL},
    {"role", cmd_role, 1, CMD_NOSCRIPT | CMD_LOADING | CMD_STALE | CMD_FAST, NO_KEYS, "2.8.12",
     GROUP_SERVER, "Returns the replication role: a master without replicas.", "O(1)", NULL},
    {"time", cmd_time, 1, CMD_LOADING | CMD_STALE | CMD_FAST, NO_KEYS, "2.6.0", GROUP_SERVER,
     "Returns the server time.", "O(1)", NULL},
    {0},
};

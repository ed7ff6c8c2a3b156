/* cmd_debug.c: DEBUG, as far as test suites need it, and only where cache.debug_commands allows it. Not a container: to ACL its
 * subcommands are first arguments, as in Redis 7.0. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/cache.h"
#include "cache/commands/cmd.h"
#include "cache/commands/cmd_server.h"
#include "cache/front/worker.h"
#include "cache/values/glob.h"
#include "cache/values/number.h"

enum { SHOWN_MAX = 128, SLEEP_MAX_S = 60 };

/* The worker sleeps, as Redis would: its clients wait, those of the others do not. */
static void debug_sleep(struct command_context *ctx) {
    long double seconds;
    if (!cmd_float(ctx, ctx->argv[2], &seconds)) return;
    if (seconds < 0) seconds = 0;
    if (seconds > SLEEP_MAX_S) seconds = SLEEP_MAX_S;
    struct timespec span = {.tv_sec = (time_t)seconds};
    span.tv_nsec = (long)((seconds - (long double)span.tv_sec) * 1e9L);
    nanosleep(&span, NULL);
    reply_ok(ctx->reply);
}

/* Off: what has expired goes when it is met. */
static void debug_set_active_expire(struct command_context *ctx) {
    int64_t on;
    if (!cmd_integer(ctx, ctx->argv[2], &on)) return;
    atomic_store(&worker_deps(ctx->worker)->settings->values[SETTING_ACTIVE_EXPIRE], on != 0);
    reply_ok(ctx->reply);
}

static void debug_error(struct command_context *ctx) {
    struct slice text = ctx->argv[2];
    reply_error(ctx->reply, "%.*s", (int)(text.len < SHOWN_MAX ? text.len : SHOWN_MAX), text.data);
}

static void debug_match(struct command_context *ctx) {
    struct slice text = ctx->argv[3];
    reply_integer(ctx->reply, glob_match(ctx->argv[2], text));
}

/* Nothing to do: there is no such thing here, and suites call it in passing. */
static void debug_nothing(struct command_context *ctx) { reply_ok(ctx->reply); }

static const struct {
    const char *name;
    uint32_t argc;
    void (*run)(struct command_context *ctx);
} debug_commands[] = {
    {"sleep", 3, debug_sleep},
    {"set-active-expire", 3, debug_set_active_expire},
    {"error", 3, debug_error},
    {"stringmatch-len", 4, debug_match},
    {"jmap", 2, debug_nothing},
    {"pause-cron", 3, debug_nothing},
    {"quicklist-packed-threshold", 3, debug_nothing},
};

static void cmd_debug(struct command_context *ctx) {
    if (!worker_deps(ctx->worker)->config->debug_commands) {
        reply_error(ctx->reply, "ERR DEBUG command not allowed. Set cache.debug_commands: true in "
                                "the configuration file, and then restart the server.");
        return;
    }
    for (size_t i = 0; i < sizeof debug_commands / sizeof debug_commands[0]; i++) {
        if (!slice_equal_nocase(ctx->argv[1], slice_from(debug_commands[i].name))) continue;
        if (ctx->argc != debug_commands[i].argc) break;
        debug_commands[i].run(ctx);
        return;
    }
    struct slice word = ctx->argv[1];
    reply_error(ctx->reply,
                "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try DEBUG HELP.",
                (int)(word.len < SHOWN_MAX ? word.len : SHOWN_MAX), word.data);
}

const struct command commands_debug[] = {
    {"debug", cmd_debug, -2, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS, "1.0.0",
     GROUP_SERVER, "A container for debugging commands, where cache.debug_commands allows them.",
     "Depends on subcommand.", NULL},
    {0},
};

/* cmd_config.c: CONFIG: what runs now, in Redis's names, and what of it can be changed (settings.h). */
#include <string.h>

#include "base/mem.h"
#include "cache/commands/cmd_server.h"
#include "cache/front/command_stats.h"
#include "cache/front/reply.h"
#include "cache/front/settings.h"
#include "cache/front/worker.h"
#include "cache/values/glob.h"

enum { SHOWN_MAX = 128 };

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
    for (const struct parameter *row = parameters; row->name; row++)
        n += is_asked_for(ctx, row);
    reply_map(ctx->reply, n);
    struct buf value = {0};
    for (const struct parameter *row = parameters; row->name; row++) {
        if (!is_asked_for(ctx, row)) continue;
        value.len = 0;
        parameter_get(row, worker_deps(ctx->worker), &value);
        reply_text(ctx->reply, row->name);
        reply_bulk(ctx->reply, buf_slice(&value));
    }
    buf_deinit(&value);
}

static const struct parameter *find_parameter(struct slice name) {
    for (const struct parameter *row = parameters; row->name; row++)
        if (slice_equal_nocase(name, slice_from(row->name))) return row;
    return NULL;
}

static bool is_repeated(struct command_context *ctx, uint32_t at) {
    for (uint32_t i = 2; i < at; i += 2)
        if (slice_equal_nocase(ctx->argv[i], ctx->argv[at])) return true;
    return false;
}

static void answer_failure(struct command_context *ctx, const struct parameter *row,
                           const char *why) {
    reply_error(ctx->reply, "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
                row->name, why);
}

/* All or none: each value is judged before the first is set. */
static void config_cmd_set(struct command_context *ctx) {
    char why[PARAMETER_WHY_MAX];
    if (ctx->argc % 2) {
        reply_syntax_error(ctx->reply);
        return;
    }
    for (uint32_t i = 2; i < ctx->argc; i += 2) {
        const struct parameter *row = find_parameter(ctx->argv[i]);
        int shown = (int)(ctx->argv[i].len < SHOWN_MAX ? ctx->argv[i].len : SHOWN_MAX);
        if (!row) {
            reply_error(ctx->reply,
                        "ERR Unknown option or number of arguments for CONFIG SET - '%.*s'", shown,
                        ctx->argv[i].data);
            return;
        }
        if (is_repeated(ctx, i)) {
            answer_failure(ctx, row, "duplicate parameter");
            return;
        }
        if (!parameter_set(row, worker_deps(ctx->worker), ctx->argv[i + 1], false, why)) {
            answer_failure(ctx, row, why);
            return;
        }
    }
    for (uint32_t i = 2; i < ctx->argc; i += 2) {
        const struct parameter *row = find_parameter(ctx->argv[i]);
        if (parameter_set(row, worker_deps(ctx->worker), ctx->argv[i + 1], true, why)) continue;
        answer_failure(ctx, row, why);
        return;
    }
    reply_ok(ctx->reply);
}

static void config_cmd_rewrite(struct command_context *ctx) {
    reply_error(ctx->reply,
                "ERR CONFIG REWRITE is not supported: Freshet is configured by its own file, "
                "environment and flags; write there what is to last");
}

static void config_cmd_resetstat(struct command_context *ctx) {
    command_stats_reset(worker_deps(ctx->worker)->stats);
    info_reset(ctx);
    reply_ok(ctx->reply);
}

const struct command config_subcommands[] = {
    {"get", config_cmd_get, -3, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "2.0.0", GROUP_SERVER, "Returns the effective values of configuration parameters.",
     "O(N) where N is the number of configuration parameters provided", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "5.0.0", GROUP_SERVER,
     "Returns helpful text about the different subcommands.", "O(1)", NULL},
    {"resetstat", config_cmd_resetstat, 2, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE,
     NO_KEYS, "2.0.0", GROUP_SERVER,
     "Resets what INFO counts; the counters of /metrics never go back.", "O(1)", NULL},
    {"rewrite", config_cmd_rewrite, 2, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "2.8.0", GROUP_SERVER, "Refused: the configuration's file is its owner's.", "O(1)", NULL},
    {"set", config_cmd_set, -4, CMD_ADMIN | CMD_NOSCRIPT | CMD_LOADING | CMD_STALE, NO_KEYS,
     "2.0.0", GROUP_SERVER, "Sets configuration parameters in-flight; none lasts a restart.",
     "O(N) where N is the number of configuration parameters provided", NULL},
    {0},
};

/* cmd_verify.c: FRESHET.VERIFY: is memory what the database has? */
#include "cache/commands/cmd.h"
#include "cache/front/reply.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/verify.h"
#include "cache/values/number.h"

/* NULL: there is no database, and the answer is composed. */
static struct verify *find_verify(struct command_context *ctx) {
    struct verify *verify = ctx->keyspace->core->verify;
    if (!verify) reply_error(ctx->reply, "ERR no database is configured");
    return verify;
}

static void cmd_start(struct command_context *ctx) {
    struct verify *verify = find_verify(ctx);
    uint32_t configured = ctx->keyspace->core->config->verify_rate;
    int64_t rate = configured ? configured : VERIFY_DEFAULT_RATE;
    if (!verify) return;
    if (ctx->argc > 3) {
        reply_error(ctx->reply, "ERR wrong number of arguments for 'freshet.verify|start' command");
        return;
    }
    if (ctx->argc == 3 &&
        (!number_parse_i64(ctx->argv[2], &rate) || rate < 1 || rate > VERIFY_MAX_RATE)) {
        reply_error(ctx->reply, "ERR the rate is a number of entries a second, from 1 to %d",
                    VERIFY_MAX_RATE);
        return;
    }
    verify_start(verify, (uint32_t)rate);
    reply_simple(ctx->reply, "OK");
}

static void cmd_stop(struct command_context *ctx) {
    struct verify *verify = find_verify(ctx);
    if (!verify) return;
    verify_stop(verify);
    reply_simple(ctx->reply, "OK");
}

static void cmd_status(struct command_context *ctx) {
    struct verify_report report;
    struct verify *verify = find_verify(ctx);
    if (!verify) return;
    verify_report(verify, &report);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"rate", report.rate},
        {"passes", report.passes},
        {"pass_checked", report.pass_checked},
        {"checked", report.checked},
        {"stale", report.stale},
        {"changed", report.changed},
        {"ttl_only", report.by_ttl},
        {"undecided", report.undecided},
        {"unread", report.unread},
    };
    size_t n = sizeof numbers / sizeof numbers[0];
    reply_map(ctx->reply, n + 1);
    reply_text(ctx->reply, "state");
    reply_text(ctx->reply, report.running ? "running" : "stopped");
    for (size_t i = 0; i < n; i++) {
        reply_text(ctx->reply, numbers[i].name);
        reply_integer(ctx->reply, (int64_t)numbers[i].value);
    }
}

static const struct command subcommands[] = {
    {"start", cmd_start, -2, CMD_ADMIN, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Begins to compare entries with the database, so many a second, over and over.", "O(1)", NULL},
    {"status", cmd_status, 2, CMD_ADMIN, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Tells how many entries were compared, and what was found.", "O(1)", NULL},
    {"stop", cmd_stop, 2, CMD_ADMIN, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Ends the comparison of entries with the database.", "O(1)", NULL},
    {NULL, NULL, 0, 0, NO_KEYS, NULL, GROUP_FRESHET, NULL, NULL, NULL},
};

const struct command commands_verify[] = {
    {"freshet.verify", NULL, -2, 0, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "A container for commands that compare memory with the database.", "Depends on subcommand.",
     subcommands},
    {NULL, NULL, 0, 0, NO_KEYS, NULL, GROUP_FRESHET, NULL, NULL, NULL},
};

#include "cache/front/account.h"

#include <string.h>

#include "base/mem.h"
#include "cache/front/client.h"
#include "cache/front/latency.h"
#include "cache/front/roster.h"
#include "cache/front/slowlog.h"
#include "cache/front/worker.h"

bool account_failure(struct account *account, struct command_context *ctx, size_t before) {
    const struct buf *out = ctx->reply->out;
    bool is_error = out->len > before && out->data[before] == '-';
    /* Redis looks for memory before it runs a command: to those who count, it was rejected. */
    if (is_error && out->len - before > 5 && memcmp(out->data + before, "-OOM ", 5) == 0)
        ctx->ran = false;
    if (!ctx->ran && ctx->command) command_stats_reject(account->cells, ctx->command);
    if (is_error)
        command_stats_error(account->stats, slice_make(out->data + before, out->len - before));
    return is_error;
}

void account_queued(struct command_context *ctx, uint64_t start, size_t before, bool failed) {
    struct account *account = worker_account(ctx->worker);
    uint64_t ticks = ticks_now() - start;
    const struct buf *out = ctx->reply->out;
    command_stats_add(account->cells, ctx->command, ticks, failed);
    if (failed && out->len > before && out->data[before] == '-')
        command_stats_error(account->stats, slice_make(out->data + before, out->len - before));
    if (ticks >= atomic_load_explicit(account->slow_ticks, memory_order_relaxed))
        account_slow(ctx, ticks);
}

/* What holds a secret is not written down: users' rules, passwords. */
static bool is_secret(const struct command_context *ctx, uint32_t i) {
    const char *name = ctx->command->name;
    if (i < 2) return false;
    if (slice_equal_nocase(ctx->argv[0], SLICE("acl")))
        return strcmp(name, "setuser") == 0 || strcmp(name, "deluser") == 0 ||
               strcmp(name, "getuser") == 0;
    if (slice_equal_nocase(ctx->argv[0], SLICE("config")))
        return i == 3 && slice_equal_nocase(ctx->argv[2], SLICE("requirepass"));
    return strcmp(name, "hello") == 0;
}

static void log_slow(struct command_context *ctx, int64_t us, uint64_t max_len) {
    const struct worker_deps *deps = worker_deps(ctx->worker);
    struct card *card = client_card(ctx->client);
    uint32_t argc = ctx->argc < SLOWLOG_MAX_ARGS ? ctx->argc : SLOWLOG_MAX_ARGS;
    struct slice argv[SLOWLOG_MAX_ARGS];
    struct buf name = {0};
    for (uint32_t i = 0; i < argc; i++)
        argv[i] = is_secret(ctx, i) ? SLICE("(redacted)") : ctx->argv[i];
    roster_word(deps->roster, card, CARD_NAME, &name);
    slowlog_add(deps->slowlog,
                &(struct slow_entry){.wall_s = ctx->now_ms / 1000,
                                     .us = us,
                                     .argv = argv,
                                     .argc = ctx->argc,
                                     .client = slice_from(card->address),
                                     .name = buf_slice(&name)},
                max_len);
    buf_deinit(&name);
}

void account_slow(struct command_context *ctx, uint64_t ticks) {
    const struct worker_deps *deps = worker_deps(ctx->worker);
    int64_t us = command_stats_us(deps->stats, ticks);
    int64_t slower_than = setting(deps->settings, SETTING_SLOWLOG_SLOWER_THAN);
    int64_t max_len = setting(deps->settings, SETTING_SLOWLOG_MAX_LEN);
    int64_t monitored_ms = setting(deps->settings, SETTING_LATENCY_THRESHOLD);
    bool is_kept_out =
        strcmp(ctx->command->name, "auth") == 0 || strcmp(ctx->command->name, "exec") == 0;
    if (slower_than >= 0 && us >= slower_than && max_len > 0 && !is_kept_out)
        log_slow(ctx, us, (uint64_t)max_len);
    if (monitored_ms > 0 && us / 1000 >= monitored_ms)
        latency_note(deps->latency, ctx->command->flags & CMD_FAST ? "fast-command" : "command",
                     ctx->now_ms / 1000, us / 1000);
}

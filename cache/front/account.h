/* account.h: what is told of each run of a command: how often, how long, how it failed (command_stats.h), and the slow ones
 * (slowlog.h, latency.h).
 *
 *     account->ticks = ticks_now();                      before the first command of a batch
 *     run;  account_run(account, ctx, before);           behind each: one reading of the clock serves as the next one's start
 *
 * One a worker, its own. */
#ifndef FRESHET_CACHE_ACCOUNT_H
#define FRESHET_CACHE_ACCOUNT_H

#include <stdatomic.h>

#include "base/buf.h"
#include "cache/commands/command.h"
#include "cache/front/command_stats.h"
#include "cache/front/reply.h"

struct account {
    struct command_stats *stats;
    struct command_cells *cells;
    const _Atomic uint64_t *slow_ticks;
    uint64_t ticks; /* when the run began */
};

static inline void account_init(struct account *account, struct command_stats *stats,
                                uint32_t worker) {
    *account = (struct account){.stats = stats,
                                .cells = command_stats_cells(stats, worker),
                                .slow_ticks = command_stats_slow(stats)};
}

/* The rare ends of a run. `before` is the output's length before it. */
void account_slow(struct command_context *ctx, uint64_t ticks);
/* The answer itself is an error, not one within it. */
bool account_failure(struct account *account, struct command_context *ctx, size_t before);

/* Behind each command of an EXEC. */
void account_queued(struct command_context *ctx, uint64_t start, size_t before, bool failed);

/* Behind a run that has answered; not behind one that waits. */
static inline void account_run(struct account *account, struct command_context *ctx,
                               size_t before) {
    uint64_t now = ticks_now();
    uint64_t ticks = now - account->ticks;
    account->ticks = now;
    bool failed =
        __builtin_expect(ctx->reply->errors != 0, 0) && account_failure(account, ctx, before);
    if (__builtin_expect(!ctx->ran, 0)) return;
    command_stats_add(account->cells, ctx->command, ticks, failed);
    if (__builtin_expect(ticks >= atomic_load_explicit(account->slow_ticks, memory_order_relaxed),
                         0))
        account_slow(ctx, ticks);
}

#endif

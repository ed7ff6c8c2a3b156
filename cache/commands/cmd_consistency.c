/* cmd_consistency.c: how fresh the rows have to be: FRESHET.READ for one request, FRESHET.CONSISTENCY and FRESHET.MINLSN for the
 * connection (consistency.h). */
#include <inttypes.h>
#include <stdio.h>

#include "base/lsn.h"
#include "cache/commands/cmd.h"
#include "cache/front/client.h"
#include "cache/rows/consistency.h"
#include "cache/rows/core.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/pulse.h"

/* ---- FRESHET.READ ---- */

/* As MGET: rows as JSON, strings; from one snapshot where they are fetched. */
static void read_at(struct command_context *ctx, const struct consistency *asked, uint32_t first) {
    size_t mark = ctx->reply->out->len;
    struct key_value value;
    ctx->asked = asked;
    reply_array(ctx->reply, ctx->argc - first);
    for (uint32_t i = first; i < ctx->argc; i++) {
        enum read_outcome outcome = keyspace_read(ctx, ctx->argv[i], FORM_STRING, &value);
        if (outcome == READ_FAILED) {
            cmd_fail(ctx, mark, &value);
            break;
        }
        if (ctx->n_pending) continue; /* it is composed when all are there */
        if (outcome == READ_FOUND)
            reply_bulk(ctx->reply, value.string);
        else
            reply_null(ctx->reply);
        if (!cmd_within_bounds(ctx->reply, mark)) break;
    }
    ctx->asked = NULL;
    if (ctx->n_pending) ctx->reply->out->len = mark;
}

static bool parse_bound(struct command_context *ctx, struct slice text, int64_t *bound_ms) {
    static const char refusal[] = "ERR the bound is a number of milliseconds, 0 or more";
    return cmd_integer_from(ctx, text, 0, refusal, bound_ms);
}

static void cmd_read_strict(struct command_context *ctx) {
    read_at(ctx, &(struct consistency){.level = CONSISTENCY_STRICT}, 2);
}

static void cmd_read_cached(struct command_context *ctx) {
    read_at(ctx, &(struct consistency){.level = CONSISTENCY_CACHED}, 2);
}

static void cmd_read_bounded(struct command_context *ctx) {
    struct consistency asked = {.level = CONSISTENCY_BOUNDED};
    if (parse_bound(ctx, ctx->argv[2], &asked.bound_ms)) read_at(ctx, &asked, 3);
}

/* ---- FRESHET.CONSISTENCY ---- */

static const char *const level_names[] = {
    [CONSISTENCY_DEFAULT] = "DEFAULT",
    [CONSISTENCY_STRICT] = "STRICT",
    [CONSISTENCY_BOUNDED] = "BOUNDED",
    [CONSISTENCY_CACHED] = "CACHED",
};
enum { N_LEVELS = sizeof level_names / sizeof level_names[0] };

static void tell_consistency(struct command_context *ctx) {
    const struct consistency *asked = client_consistency(ctx->client);
    char text[64];
    if (asked->level == CONSISTENCY_BOUNDED)
        snprintf(text, sizeof text, "BOUNDED %" PRId64, asked->bound_ms);
    else
        snprintf(text, sizeof text, "%s", level_names[asked->level]);
    reply_text(ctx->reply, text);
}

static void cmd_consistency(struct command_context *ctx) {
    if (ctx->argc == 1) {
        tell_consistency(ctx);
        return;
    }
    uint32_t level = 0;
    while (level < N_LEVELS && !slice_equal_nocase(ctx->argv[1], slice_from(level_names[level])))
        level++;
    if (level == N_LEVELS || ctx->argc != (level == CONSISTENCY_BOUNDED ? 3U : 2U)) {
        reply_error(ctx->reply, "ERR consistency is STRICT, BOUNDED <ms>, CACHED or DEFAULT");
        return;
    }
    struct consistency asked = *client_consistency(ctx->client);
    asked.level = (enum consistency_level)level;
    asked.bound_ms = 0;
    if (level == CONSISTENCY_BOUNDED && !parse_bound(ctx, ctx->argv[2], &asked.bound_ms)) return;
    client_set_consistency(ctx->client, &asked);
    reply_ok(ctx->reply);
}

/* ---- FRESHET.MINLSN ---- */

static void cmd_minlsn(struct command_context *ctx) {
    struct core *core = ctx->keyspace->core;
    struct consistency asked = *client_consistency(ctx->client);
    if (!cmd_lsn(ctx, ctx->argv[1], &asked.min_lsn)) return;
    if (!core->warden || !core_streams(core)) {
        reply_error(ctx->reply, "ERR the cache follows no change stream: coherence is by TTL");
        return;
    }
    asked.min_lsn = pulse_normal_lsn(core->pulse, asked.min_lsn);
    client_set_consistency(ctx->client, &asked);
    reply_ok(ctx->reply);
}

/* ---- the tables ---- */

/* clang-format off */
static const struct command read_levels[] = {
    {"bounded", cmd_read_bounded, -4, CMD_READONLY | CMD_FRESH, KEYS(3, -1, 1), "7.0.0", GROUP_FRESHET,
     "Reads keys as MGET does: from memory only while it is at most so many milliseconds behind the database.", "O(N)", NULL},
    {"cached", cmd_read_cached, -3, CMD_READONLY, KEYS(2, -1, 1), "7.0.0", GROUP_FRESHET,
     "Reads keys as MGET does: from memory however far behind the database that may be.", "O(N)", NULL},
    {"help", command_help, 2, CMD_LOADING | CMD_STALE, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Returns helpful text about the levels.", "O(1)", NULL},
    {"strict", cmd_read_strict, -3, CMD_READONLY | CMD_FRESH, KEYS(2, -1, 1), "7.0.0", GROUP_FRESHET,
     "Reads keys as MGET does: rows from the database, begun after this request.", "O(N)", NULL},
    {0},
};

const struct command commands_consistency[] = {
    {"freshet.consistency", cmd_consistency, -1, CMD_FAST | CMD_LOADING | CMD_STALE | CMD_NO_MULTI, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Sets or tells how fresh the rows have to be that this connection reads.", "O(1)", NULL},
    {"freshet.minlsn", cmd_minlsn, 2, CMD_FAST | CMD_LOADING | CMD_STALE | CMD_NO_MULTI, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Has this connection's reads bypass memory until the cache has applied the database's changes up to an LSN.", "O(1)", NULL},
    {"freshet.read", NULL, -2, CMD_READONLY, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Reads keys, with how fresh their rows have to be.", "Depends on the subcommand.", read_levels},
    {0},
};
/* clang-format on */

/* cmd_freshet.c: FRESHET.WAIT: reading one's own writes; and what FRESHET.* there is. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "cache/commands/cmd.h"
#include "cache/commands/command.h"
#include "cache/front/client.h"
#include "cache/front/reply.h"
#include "cache/rows/core.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/pulse.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/warden.h"
#include "cache/signals/awaits.h"
#include "cache/store/store.h"
#include "cache/values/number.h"

/* ---- FRESHET.WAIT ---- */

static void reply_applied(struct command_context *ctx, uint64_t applied_lsn) {
    char text[24];
    snprintf(text, sizeof text, LSN_FMT, LSN_ARG(applied_lsn));
    reply_text(ctx->reply, text);
}

static void reply_timeout(struct command_context *ctx, uint64_t applied_lsn) {
    struct buf trouble = {0};
    warden_trouble(ctx->keyspace->core->warden, &trouble);
    reply_error(ctx->reply, "TIMEOUT the cache has applied " LSN_FMT " only%s%s",
                LSN_ARG(applied_lsn), trouble.len ? ": " : "", buf_text(&trouble));
    buf_deinit(&trouble);
}

static void cmd_wait_lsn(struct command_context *ctx) {
    struct core *core = ctx->keyspace->core;
    uint64_t lsn;
    int64_t timeout_ms;
    if (!cmd_lsn(ctx, ctx->argv[1], &lsn)) return;
    if (!number_parse_i64(ctx->argv[2], &timeout_ms) || timeout_ms < 0 ||
        timeout_ms > INT64_MAX / 2000) {
        reply_error(ctx->reply, "ERR timeout is not an integer or out of range");
        return;
    }
    if (!core->warden || !core_streams(core)) {
        reply_error(ctx->reply, "ERR the cache follows no change stream: coherence is by TTL");
        return;
    }
    lsn = pulse_normal_lsn(core->pulse, lsn);
    uint64_t applied_lsn = lease_applied_lsn(core->lease);
    if (applied_lsn >= lsn) {
        reply_applied(ctx, applied_lsn);
    } else if (ctx->timed_out) {
        reply_timeout(ctx, applied_lsn);
    } else {
        int64_t deadline_us = ctx->deadline_us;
        if (!ctx->woken) deadline_us = timeout_ms ? clock_mono_us() + timeout_ms * 1000 : 0;
        client_block(ctx, deadline_us);
        awaits_add(core->awaits, lsn, client_ticket(ctx), deadline_us, ctx->now_us);
        /* It may have been applied between the look and the entry. */
        awaits_wake(core->awaits, lease_applied_lsn(core->lease));
    }
}

/* ---- FRESHET.HELP ---- */

static void cmd_help(struct command_context *ctx) {
    static const char *const lines[] = {
        "FRESHET.EXPLAIN <key>",
        "    Where the key's value comes from, how old it may be, or why it is not kept.",
        "FRESHET.VERIFY START [<entries a second>] | STATUS | STOP",
        "    Entries are read again in the background and compared with the database.",
        "FRESHET.READ STRICT|BOUNDED <ms>|CACHED <key> [<key> ...]",
        "    As MGET, with how fresh the rows have to be: from a read of the database that begins",
        "    now; at most so many milliseconds behind its commits; however memory has them.",
        "FRESHET.CONSISTENCY [STRICT|BOUNDED <ms>|CACHED|DEFAULT]",
        "    The same for all reads of this connection.",
        "FRESHET.MINLSN <lsn>",
        "    This connection's reads bypass memory until the cache has applied the database's",
        "    changes up to <lsn>; 0/0: no more.",
        "FRESHET.WAIT <lsn> <timeout_ms>",
        "    Waits until the cache has applied the database's changes up to <lsn>",
        "    (pg_current_wal_insert_lsn(), read after the COMMIT); 0: without end. Answers the",
        "    applied LSN, or TIMEOUT.",
        "FRESHET.HELP",
        "    This text.",
    };
    reply_array(ctx->reply, sizeof lines / sizeof lines[0]);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        reply_simple(ctx->reply, lines[i]);
}

const struct command commands_freshet[] = {
    {"freshet.wait", cmd_wait_lsn, 3, CMD_READONLY | CMD_BLOCKING, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Waits until the cache has applied the database's changes up to an LSN.", "O(1)", NULL},
    {"freshet.help", cmd_help, 1, CMD_READONLY | CMD_FAST, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Returns helpful text about the commands of Freshet's own.", "O(1)", NULL},
    {NULL, NULL, 0, 0, NO_KEYS, NULL, GROUP_FRESHET, NULL, NULL, NULL},
};

/* cmd_freshet.c: FRESHET.*: why a key is answered as it is, and reading one's own writes. */
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

/* ---- FRESHET.EXPLAIN ---- */

/* A flat list of names and values; counted, since a map's length comes first. */
struct explanation {
    struct buf text; /* name NUL value NUL ... */
    uint32_t n;
};

static void tell(struct explanation *explanation, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(struct explanation *explanation, const char *name, const char *format, ...) {
    char value[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    buf_append(&explanation->text, name, strlen(name) + 1);
    buf_append(&explanation->text, value, strlen(value) + 1);
    explanation->n++;
}

static void reply_explanation(struct reply *reply, struct explanation *explanation) {
    reply_map(reply, explanation->n);
    const char *at = explanation->text.data;
    for (uint32_t i = 0; i < 2 * explanation->n; i++) {
        reply_text(reply, at);
        at += strlen(at) + 1;
    }
    buf_deinit(&explanation->text);
}

static void tell_lease(const struct core *core, struct explanation *out, int64_t now_us) {
    static const char *const on_stale[] = {
        [ON_STALE_BYPASS] = "bypass", [ON_STALE_SERVE] = "serve", [ON_STALE_ERROR] = "error"};
    tell(out, "coherence", "%s", core_streams(core) ? "stream" : "ttl");
    if (!core_streams(core)) {
        tell(out, "bound", "the TTL alone: a row is not evicted when it changes");
        return;
    }
    int64_t staleness_us = lease_staleness_us(core->lease, now_us);
    bool held = now_us < lease_deadline_us(lease_deadline(core->lease));
    tell(out, "applied_lsn", LSN_FMT, LSN_ARG(lease_applied_lsn(core->lease)));
    if (staleness_us >= 0)
        tell(out, "staleness_ms", "%" PRId64, staleness_us / 1000);
    else
        tell(out, "staleness_ms", "unknown");
    tell(out, "max_staleness_ms", "%" PRId64, core->config->max_staleness_ms);
    tell(out, "lease", "%s", held ? "held" : "lapsed");
    tell(out, "on_stale", "%s", on_stale[core->config->on_stale]);
    if (held) return;
    struct buf trouble = {0};
    warden_trouble(core->warden, &trouble);
    tell(out, "lease_why", "%s", buf_text(&trouble));
    buf_deinit(&trouble);
}

static void tell_entry(struct explanation *out, const struct entry *entry, int64_t now_ms) {
    const struct row_stamp *stamp = entry_row_stamp(entry);
    struct slice bytes;
    bool json = entry_row_json(entry, &bytes);
    bool fields = entry_row_fields(entry, &bytes);
    int64_t expire_at_ms = entry_expiry(entry);
    tell(out, "source", "primary");
    tell(out, "snapshot_xmin", "%" PRIu64, stamp->snapshot_xmin);
    tell(out, "snapshot_xmax", "%" PRIu64, stamp->snapshot_xmax);
    tell(out, "installed_lsn", LSN_FMT, LSN_ARG(stamp->applied_lsn));
    tell(out, "forms", "%s",
         json && fields ? "json,fields"
         : json         ? "json"
         : fields       ? "fields"
                        : "none");
    tell(out, "age_ms", "%" PRId64, now_ms - stamp->filled_at_us / 1000);
    tell(out, "ttl_ms", "%" PRId64, expire_at_ms == STORE_NEVER ? -1 : expire_at_ms - now_ms);
    tell(out, "bytes", "%zu", entry_size(entry));
}

/* The canonical key, were the text PostgreSQL's own: for most types it is. */
static uint64_t guess_hash(const struct core *core, const struct table *table,
                           const struct rowkey *row) {
    struct buf text = {0};
    if (row->unique)
        rowkey_compose_unique(table, row->unique, row->values, &text);
    else
        rowkey_compose(table, row->values, &text);
    uint64_t hash = store_hash(core->store, buf_slice(&text));
    buf_deinit(&text);
    return hash;
}

/* Why a row that is not in memory could not be kept, were it read now. */
static void tell_why(const struct core *core, struct explanation *out, const struct table *table,
                     const struct rowkey *row) {
    struct tablestate *state = table->state;
    uint64_t horizon_xid = atomic_load(&state->horizon_xid);
    uint64_t xid;
    if (!row->lasting) {
        tell(out, "why", "the key's text means another value at another time");
    } else if (!core_streams(core)) {
        tell(out, "why", "it has not been read, or its TTL is over");
    } else if (table->uncovered) {
        tell(out, "why", "%s", table->uncovered);
    } else if (horizon_xid == TABLESTATE_NOT_JOINED) {
        tell(out, "why", "%s", tablestate_verdict_text(TABLESTATE_JOINING));
    } else if (atomic_load(&core->seen_xmin) < horizon_xid) {
        tell(out, "why", "%s", tablestate_verdict_text(TABLESTATE_BELOW_HORIZON));
        tell(out, "kept_from_xid", "%" PRIu64, horizon_xid);
    } else if (recent_has(core->recent, guess_hash(core, table, row), &xid)) {
        tell(out, "why",
             "transaction %" PRIu64 " changed it, and may not be visible to new snapshots yet",
             xid);
    } else if (atomic_load(&state->n_fences) > 0) {
        tell(out, "why", "%s", tablestate_verdict_text(TABLESTATE_FENCED));
    } else {
        tell(out, "why", "it has not been read since it was evicted, or ever");
    }
}

static void explain_missing(struct command_context *ctx, struct explanation *out) {
    struct keyspace *keyspace = ctx->keyspace;
    struct slice rest;
    tablemaps_refresh(keyspace->core->maps, &keyspace->map);
    const struct table *table =
        keyspace->map ? tablemap_find_key(keyspace->map, ctx->argv[1], &rest) : NULL;
    if (!table) {
        tell(out, "state", "missing");
        tell(out, "why", "%s",
             keyspace->map || !keyspace->core->config->database_url
                 ? "an ordinary key: no table has this prefix"
                 : "the database's tables are not known yet");
        return;
    }
    struct rowkey row;
    struct buf scratch = {0};
    struct buf failure = {0};
    bool parsed = rowkey_parse(table, rest, &scratch, &row, &failure);
    tell(out, "state", "%s", parsed && !table->refusal ? "uncached" : "refused");
    tell(out, "table", "%s.%s", table->schema, table->name);
    if (table->refusal)
        tell(out, "why", "%s", table->refusal);
    else if (!parsed)
        tell(out, "why", "%s", buf_text(&failure));
    else
        tell_why(keyspace->core, out, table, &row);
    buf_deinit(&scratch);
    buf_deinit(&failure);
}

static void cmd_explain(struct command_context *ctx) {
    struct core *core = ctx->keyspace->core;
    struct explanation out = {0};
    struct slice key = ctx->argv[1];
    const struct entry *entry =
        store_peek(core->store, key, store_hash(core->store, key), ctx->now_ms);
    bool dead =
        entry && entry->kind == ENTRY_ROW &&
        entry_row_stamp(entry)->generation !=
            tablestate_generation(tablestates_at(core->states, entry_row_stamp(entry)->table));
    if (!entry || dead) {
        explain_missing(ctx, &out);
    } else if (entry->kind != ENTRY_ROW) {
        tell(&out, "state", "plain");
    } else {
        tell(&out, "state", "%s", entry_is_absent(entry) ? "absent" : "resident");
        tell_entry(&out, entry, ctx->now_ms);
    }
    if (core->warden && (!entry || entry->kind == ENTRY_ROW)) tell_lease(core, &out, ctx->now_us);
    reply_explanation(ctx->reply, &out);
}

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
    {"freshet.explain", cmd_explain, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "7.0.0",
     GROUP_FRESHET, "Tells where a key's value comes from and how fresh it is.", "O(1)", NULL},
    {"freshet.wait", cmd_wait_lsn, 3, CMD_READONLY | CMD_BLOCKING, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Waits until the cache has applied the database's changes up to an LSN.", "O(1)", NULL},
    {"freshet.help", cmd_help, 1, CMD_READONLY | CMD_FAST, NO_KEYS, "7.0.0", GROUP_FRESHET,
     "Returns helpful text about the commands of Freshet's own.", "O(1)", NULL},
    {NULL, NULL, 0, 0, NO_KEYS, NULL, GROUP_FRESHET, NULL, NULL, NULL},
};

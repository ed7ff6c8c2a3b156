/* cmd_explain.c: FRESHET.EXPLAIN: where a key's value comes from, what changes it, and why it is not in memory. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "cache/commands/cmd.h"
#include "cache/front/reply.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/statement.h"
#include "cache/rows/warden.h"

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

/* `table` is NULL where the key is no row. */
static void tell_lease(const struct core *core, const struct table *table, struct explanation *out,
                       int64_t now_us) {
    static const char *const on_stale[] = {
        [ON_STALE_BYPASS] = "bypass", [ON_STALE_SERVE] = "serve", [ON_STALE_ERROR] = "error"};
    bool follows = table ? core_follows(core, table) : core_streams(core);
    tell(out, "coherence", "%s", follows ? "stream" : "ttl");
    if (!follows) {
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

/* "public.orders by user_id; public.users: any row" */
static void tell_dependencies(struct buf *text, const struct tablemap *map,
                              const struct table *query) {
    for (uint32_t i = 0; i < tablemap_count(map); i++) {
        const struct table *table = tablemap_at(map, i);
        for (uint16_t d = 0; d < table->n_dependents; d++) {
            const struct dependent *dependent = &table->dependents[d];
            if (dependent->query != query) continue;
            buf_printf(text, "%s%s.%s", text->len ? "; " : "", table->schema, table->name);
            if (!dependent->columns) buf_append_text(text, ": any row");
            for (uint16_t k = 0; dependent->columns && k < query->n_keys; k++)
                buf_printf(text, "%s%s", k ? ", " : " by ", dependent->columns[k]);
        }
    }
}

/* What the key is, and which changes touch it. */
static void tell_table(struct explanation *out, const struct tablemap *map,
                       const struct table *table, const struct rowkey *row) {
    struct buf touched = {0};
    const struct table *changed = table->root ? table->root : table;
    if (!table->query) {
        tell(out, "is", row->unique ? "a row by a unique key" : "a row");
        tell(out, "table", "%s.%s", table->schema, table->name);
        if (row->unique) tell(out, "index", "%s", row->unique->index);
        if (table->by_ttl)
            buf_printf(&touched, "nothing: %s; the TTL is its only bound", table->uncovered);
        else
            buf_printf(&touched, "%s.%s: this row", changed->schema, changed->name);
    } else {
        tell(out, "is", "a named query");
        tell_dependencies(&touched, map, table);
        if (table->by_ttl && touched.len)
            buf_append_text(&touched, "; the TTL bounds what else it depends on");
    }
    tell(out, "touched_by", "%s",
         touched.len ? buf_text(&touched) : "nothing: the TTL is its only bound");
    buf_deinit(&touched);
}

static void tell_entry(struct explanation *out, const struct entry *entry, int64_t now_ms) {
    const struct row_stamp *stamp = entry_row_stamp(entry);
    struct slice bytes;
    bool json = entry_row_json(entry, &bytes);
    bool fields = entry_row_fields(entry, &bytes);
    int64_t expire_at_ms = entry_expiry(entry);
    tell(out, "source", "%s", stamp->written ? "write" : stamp->standby ? "replica" : "primary");
    if (stamp->standby) {
        tell(out, "snapshot_lsn", LSN_FMT, LSN_ARG(stamp->snapshot_xmax));
    } else {
        tell(out, "snapshot_xmin", "%" PRIu64, stamp->snapshot_xmin);
        tell(out, "snapshot_xmax", "%" PRIu64, stamp->snapshot_xmax);
    }
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

/* The key that a change names, were the text PostgreSQL's own: for most types it is. */
static uint64_t guess_hash(const struct core *core, const struct table *table,
                           const struct rowkey *row) {
    struct buf text = {0};
    if (table->root) table = table->root;
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
    } else if (!core_follows(core, table)) {
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
    } else if (table->query) {
        tell(out, "why",
             "it has not been read since it was evicted, or ever, or it is larger than %" PRIu64
             " bytes",
             table->query->max_result_bytes);
    } else {
        tell(out, "why", "it has not been read since it was evicted, or ever");
    }
}

/* What the key's text says. NULL: it is an ordinary key, or not one of the table's: that is told. */
static const struct table *tell_key(struct command_context *ctx, struct explanation *out,
                                    struct rowkey *row, struct buf *scratch) {
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
        return NULL;
    }
    struct buf failure = {0};
    bool parsed = !table->refusal && rowkey_parse(table, rest, scratch, row, &failure);
    if (!parsed) {
        tell(out, "state", "refused");
        if (table->query)
            tell(out, "is", "a named query");
        else
            tell(out, "table", "%s.%s", table->schema, table->name);
        tell(out, "why", "%s", table->refusal ? table->refusal : buf_text(&failure));
    }
    buf_deinit(&failure);
    return parsed ? table : NULL;
}

static bool is_dead(const struct core *core, const struct entry *entry) {
    const struct row_stamp *stamp = entry_row_stamp(entry);
    return stamp->generation != tablestate_generation(tablestates_at(core->states, stamp->table));
}

static const struct table *explain_row(struct command_context *ctx, struct explanation *out,
                                       const struct entry *entry) {
    const struct core *core = ctx->keyspace->core;
    struct rowkey row;
    struct buf scratch = {0};
    uint64_t xid;
    const struct table *table = tell_key(ctx, out, &row, &scratch);
    if (table) {
        tell(out, "state", "%s",
             !entry                   ? "uncached"
             : entry_is_absent(entry) ? "absent"
                                      : "resident");
        tell_table(out, ctx->keyspace->map, table, &row);
        if (entry)
            tell_entry(out, entry, ctx->now_ms);
        else
            tell_why(core, out, table, &row);
        if (recent_has(core->recent, guess_hash(core, table, &row), &xid))
            tell(out, "touched_xid", "%" PRIu64, xid);
    }
    buf_deinit(&scratch);
    return table;
}

static void cmd_explain(struct command_context *ctx) {
    struct core *core = ctx->keyspace->core;
    struct explanation out = {0};
    struct slice key = ctx->argv[1];
    const struct entry *entry =
        store_peek(core->store, key, store_hash(core->store, key), ctx->now_ms);
    if (entry && entry->kind == ENTRY_ROW && is_dead(core, entry)) entry = NULL;
    if (entry && entry->kind != ENTRY_ROW) {
        tell(&out, "state", "plain");
    } else {
        const struct table *table = explain_row(ctx, &out, entry);
        if (core->warden) tell_lease(core, table, &out, ctx->now_us);
    }
    reply_explanation(ctx->reply, &out);
}

const struct command commands_explain[] = {
    {"freshet.explain", cmd_explain, 2, CMD_READONLY | CMD_FAST, KEYS(1, 1, 1), "7.0.0",
     GROUP_FRESHET, "Tells where a key's value comes from and how fresh it is.", "O(1)", NULL},
    {NULL, NULL, 0, 0, NO_KEYS, NULL, GROUP_FRESHET, NULL, NULL, NULL},
};

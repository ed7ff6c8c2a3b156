#include "cache/rows/keyspace.h"

#include <string.h>

#include "base/clock.h"
#include "cache/front/client.h"
#include "cache/rows/consistency.h"
#include "cache/rows/core.h"
#include "cache/rows/fetch.h"
#include "cache/rows/flights.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/loader.h"
#include "cache/rows/readthrough.h"
#include "cache/rows/rowkey.h"
#include "cache/rows/statement.h"
#include "cache/rows/verify.h"
#include "cache/rows/warden.h"
#include "cache/rows/warm.h"
#include "cache/signals/notify.h"
#include "cache/signals/told.h"

/* May an entry of a row still answer: is its table's generation the one it was stored under? */
static bool is_current(const struct core *core, const struct row_stamp *stamp) {
    const struct tablestate *state = tablestates_at(core->states, stamp->table);
    return stamp->generation == tablestate_generation(state);
}

static enum read_outcome fail(struct keyspace *keyspace, struct key_value *value) {
    value->failure = buf_text(&keyspace->failure);
    return READ_FAILED;
}

/* ---- what memory has ---- */

static enum read_outcome plain_value(const struct entry *entry, enum key_form form,
                                     struct key_value *value) {
    value->entry = entry;
    value->expire_at_ms = entry_expiry(entry);
    if (form == FORM_STRING) {
        if (entry->kind != ENTRY_STRING) return READ_WRONG_TYPE;
        value->string = entry_string(entry);
    } else if (form == FORM_HASH) {
        if (entry->kind != ENTRY_HASH) return READ_WRONG_TYPE;
        if (!(entry->flags & ENTRY_OBJECT)) value->fields = entry_packed(entry);
    } else if (form != FORM_ANY && entry->kind != (form == FORM_LIST ? ENTRY_LIST : ENTRY_ZSET)) {
        return READ_WRONG_TYPE;
    }
    return READ_FOUND;
}

/* What shows as a string may be read as a row's columns too; any other result is of one kind. */
static bool shows_as(enum entry_kind kind, enum key_form form) {
    switch (form) {
    case FORM_ANY: return true;
    case FORM_STRING: return kind == ENTRY_STRING;
    case FORM_HASH: return kind == ENTRY_STRING || kind == ENTRY_HASH;
    case FORM_LIST: return kind == ENTRY_LIST;
    case FORM_ZSET: return kind == ENTRY_ZSET;
    }
    return false;
}

/* READ_PENDING: this form of the row is not here. */
static enum read_outcome row_value(const struct entry *entry, enum key_form form,
                                   struct key_value *value) {
    value->row = true;
    value->entry = entry;
    value->expire_at_ms = entry_expiry(entry);
    value->kind = entry_row_stamp(entry)->kind;
    if (entry_is_absent(entry)) return READ_ABSENT;
    if (!shows_as(value->kind, form)) return READ_WRONG_TYPE;
    if (form == FORM_ANY && value->kind == ENTRY_STRING) return READ_FOUND;
    bool there = form == FORM_STRING ? entry_row_json(entry, &value->string)
                                     : entry_row_fields(entry, &value->fields);
    return there ? READ_FOUND : READ_PENDING;
}

static enum read_outcome fetched_value(const struct rowvalue *row, enum key_form form,
                                       struct key_value *value) {
    value->row = true;
    value->expire_at_ms = row->expire_at_ms;
    if (row->kind == ROWVALUE_ABSENT) return READ_ABSENT;
    if (row->kind == ROWVALUE_FAILED) {
        value->failure = row->bytes;
        return READ_FAILED;
    }
    value->kind = row->type;
    if (!shows_as(row->type, form)) return READ_WRONG_TYPE;
    struct slice bytes = slice_make(row->bytes, row->len);
    if (form == FORM_STRING) value->string = bytes;
    if (form != FORM_STRING && (form != FORM_ANY || row->type != ENTRY_STRING))
        value->fields = bytes;
    return READ_FOUND;
}

/* ---- what it has not ---- */

static enum read_outcome pend(struct keyspace *keyspace, struct command_context *ctx,
                              enum key_form form) {
    ctx->n_pending++;
    fetch_want(keyspace, ctx, form);
    return READ_PENDING;
}

/* A key that could be a row, while the database's tables are not known. */
static enum read_outcome unknown_tables(struct keyspace *keyspace, struct slice key,
                                        struct key_value *value) {
    if (!keyspace->core->config->database_url || !memchr(key.data, ':', key.len))
        return READ_ABSENT;
    keyspace->failure.len = 0;
    buf_printf(&keyspace->failure, "ERR %.*s: the database's tables are not known yet: ",
               (int)((const char *)memchr(key.data, ':', key.len) - key.data), key.data);
    warden_trouble(keyspace->core->warden, &keyspace->failure);
    return fail(keyspace, value);
}

/* on_stale: error spares the database what memory cannot answer. Before there ever was a lease rows are read. */
static bool refuses_stale(const struct command_context *ctx) {
    const struct core *core = ctx->keyspace->core;
    return core->config->on_stale == ON_STALE_ERROR && !core_lease_holds(core, ctx->now_us) &&
           lease_staleness_us(core->lease, ctx->now_us) >= 0 &&
           consistency_of(ctx).level != CONSISTENCY_STRICT; /* it asks for the database */
}

static enum read_outcome refuse_stale(struct keyspace *keyspace, struct key_value *value) {
    const struct core *core = keyspace->core;
    keyspace->failure.len = 0;
    buf_printf(&keyspace->failure, "STALE memory may be more than %lld ms behind the database: ",
               (long long)core->config->max_staleness_ms);
    warden_trouble(core->warden, &keyspace->failure);
    return fail(keyspace, value);
}

/* The first miss of a command decides for all its keys. */
static bool refuses_more(const struct keyspace *keyspace, const struct command_context *ctx) {
    uint32_t limit = keyspace->core->config->max_pending_reads;
    return limit && keyspace->n_wanted >= limit && ctx->n_pending == 0;
}

static enum read_outcome refuse_more(struct keyspace *keyspace, const struct table *table,
                                     struct key_value *value) {
    metric_bump(keyspace->count.refused, 1);
    buf_printf(&keyspace->failure,
               "ERR %s: too many reads wait for the database (cache.max_pending_reads is %u)",
               table->prefix, keyspace->core->config->max_pending_reads);
    return fail(keyspace, value);
}

/* Memory has no answer: is the key a row's? Then the database is asked. */
static enum read_outcome missing(struct keyspace *keyspace, struct command_context *ctx,
                                 struct slice key, enum key_form form, struct key_value *value) {
    struct slice rest;
    tablemaps_refresh(keyspace->core->maps, &keyspace->map);
    if (!keyspace->map) return unknown_tables(keyspace, key, value);
    const struct table *table = tablemap_find_key(keyspace->map, key, &rest);
    if (!table) return READ_ABSENT;
    *value = (struct key_value){.row = true};
    if (table->query && !statement_fits(table, form)) return READ_WRONG_TYPE;
    keyspace->failure.len = 0;
    if (table->refusal) {
        buf_printf(&keyspace->failure, "ERR %s: cannot be read: %s", table->prefix, table->refusal);
        return fail(keyspace, value);
    }
    struct rowkey row;
    keyspace->scratch.len = 0;
    if (!rowkey_parse(table, rest, &keyspace->scratch, &row, &keyspace->failure))
        return fail(keyspace, value);
    if (refuses_stale(ctx)) return refuse_stale(keyspace, value);
    if (refuses_more(keyspace, ctx)) return refuse_more(keyspace, table, value);
    metric_bump(keyspace->count.misses, 1);
    return pend(keyspace, ctx, form);
}

/* May memory answer for a row to this request? */
static bool may_answer(const struct command_context *ctx, const struct row_stamp *stamp) {
    const struct core *core = ctx->keyspace->core;
    if (__builtin_expect(!(ctx->unusual & CLIENT_ASKS) && !ctx->asked, 1))
        return core_lease_holds(core, ctx->now_us);
    struct consistency asked = consistency_of(ctx);
    return consistency_admits_row(&asked, core, stamp, clock_mono_us());
}

/* Even between 0 and 1. */
static double chance(struct keyspace *keyspace) {
    uint64_t z = keyspace->random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0; /* 2^53 */
}

/* A row that memory has answered: is it to be read again before its end? By one fill, whoever asks. */
static void look_ahead(struct command_context *ctx, const struct entry *entry, struct slice key,
                       uint64_t hash, enum key_form form, int64_t left_ms) {
    struct keyspace *keyspace = ctx->keyspace;
    struct core *core = keyspace->core;
    struct slice rest;
    uint32_t fill_ms = entry_row_stamp(entry)->fill_ms;
    if (!ahead_is_due(&keyspace->ahead, left_ms, fill_ms, chance(keyspace))) return;
    if (!keyspace->loader || !keyspace->map) return;
    const struct table *table = tablemap_find_key(keyspace->map, key, &rest);
    if (!table || table->refusal) return;
    if (flights_has(core->flights, key, hash, statement_form(table, form))) return;
    bool stale = left_ms <= keyspace->ahead.stale_for_ms;
    metric_add(stale ? core->count.refreshed_stale : core->count.refreshed_early, 1);
    fetch_renew(keyspace, key, hash, form);
}

static inline void refresh_in_time(struct command_context *ctx, const struct entry *entry,
                                   struct slice key, uint64_t hash, enum key_form form) {
    int64_t until_ms = entry_expiry(entry);
    if (until_ms == STORE_NEVER || entry_is_absent(entry) || form == FORM_ANY) return;
    int64_t left_ms = until_ms - ctx->now_ms;
    const struct ahead *ahead = &ctx->keyspace->ahead;
    if (__builtin_expect(ahead_may_be_due(ahead, left_ms, entry_row_stamp(entry)->fill_ms), 0))
        look_ahead(ctx, entry, key, hash, form, left_ms);
}

static enum read_outcome read_key(struct command_context *ctx, struct slice key, enum key_form form,
                                  struct key_value *value) {
    struct keyspace *keyspace = ctx->keyspace;
    struct core *core = keyspace->core;
    uint64_t hash = command_hash(ctx, key);
    *value = (struct key_value){0};
    if (ctx->fetched) {
        const struct rowvalue *row = fetched_find(ctx->fetched, key, hash, form);
        if (row) return fetched_value(row, form, value);
    }
    const struct entry *entry = store_peek(core->store, key, hash, ctx->now_ms);
    if (!entry) return missing(keyspace, ctx, key, form, value);
    if (entry->kind != ENTRY_ROW) return plain_value(entry, form, value);
    if (!is_current(core, entry_row_stamp(entry))) return missing(keyspace, ctx, key, form, value);
    if (!may_answer(ctx, entry_row_stamp(entry))) {
        metric_bump(keyspace->count.bypassed, 1);
        return missing(keyspace, ctx, key, form, value);
    }
    enum read_outcome outcome = row_value(entry, form, value);
    if (outcome == READ_PENDING) return missing(keyspace, ctx, key, form, value);
    metric_bump(outcome == READ_ABSENT ? keyspace->count.negative_hits : keyspace->count.hits, 1);
    refresh_in_time(ctx, entry, key, hash, form);
    return outcome;
}

/* ---- what others may keep ---- */

static const struct entry *resident_row(struct command_context *ctx, struct slice key,
                                        uint64_t hash) {
    struct core *core = ctx->keyspace->core;
    const struct entry *entry = store_peek(core->store, key, hash, ctx->now_ms);
    if (!entry || entry->kind != ENTRY_ROW || !is_current(core, entry_row_stamp(entry)))
        return NULL;
    return core_lease_holds(core, ctx->now_us) ? entry : NULL;
}

bool keyspace_holds_row(struct command_context *ctx, struct slice key) {
    return resident_row(ctx, key, store_hash(ctx->store, key)) != NULL;
}

static bool shows(const struct entry *entry, const struct rowvalue *row) {
    struct slice bytes;
    if (row->kind == ROWVALUE_FAILED) return true;
    if (row->kind == ROWVALUE_ABSENT || entry_is_absent(entry))
        return (row->kind == ROWVALUE_ABSENT) == entry_is_absent(entry);
    bool packed = row->form != FORM_STRING && row->form != FORM_ANY;
    bool there = packed ? entry_row_fields(entry, &bytes) : entry_row_json(entry, &bytes);
    return there && slice_equal(bytes, slice_make(row->bytes, row->len));
}

bool keyspace_was_kept(struct command_context *ctx, struct slice key) {
    uint64_t hash = store_hash(ctx->store, key);
    const struct rowvalue *json = NULL, *fields = NULL;
    if (ctx->fetched) {
        json = fetched_find(ctx->fetched, key, hash, FORM_STRING);
        fields = fetched_find(ctx->fetched, key, hash, FORM_HASH);
    }
    const struct rowvalue *any =
        ctx->fetched ? fetched_find(ctx->fetched, key, hash, FORM_ANY) : NULL;
    if (!any) return true; /* then it came from memory, and who registered is told */
    const struct entry *entry = resident_row(ctx, key, hash);
    if (any->type == ENTRY_LIST || any->type == ENTRY_ZSET) return entry && shows(entry, any);
    return entry && (!json || shows(entry, json)) && (!fields || shows(entry, fields));
}

enum read_outcome keyspace_read(struct command_context *ctx, struct slice key, enum key_form form,
                                struct key_value *value) {
    enum read_outcome outcome = read_key(ctx, key, form, value);
    /* a second run finds again that the plain keys of the first are missing */
    if (outcome == READ_ABSENT && !(ctx->fetched && !value->row))
        cmd_notify(ctx, NOTIFY_KEY_MISS, "keymiss", key);
    return outcome;
}

const char *keyspace_denies(struct command_context *ctx, struct slice key, struct slice field) {
    struct slice rest;
    struct keyspace *keyspace = ctx->keyspace;
    const struct table *table = keyspace->map ? tablemap_find_key(keyspace->map, key, &rest) : NULL;
    for (uint16_t i = 0; table && i < table->n_denied; i++) {
        if (!slice_equal(field, slice_from(table->denied[i]))) continue;
        keyspace->failure.len = 0;
        buf_printf(&keyspace->failure, "ERR %s: Freshet's role may not SELECT column %s",
                   table->prefix, table->denied[i]);
        return buf_text(&keyspace->failure);
    }
    return NULL;
}

bool keyspace_is_row_key(struct command_context *ctx, struct slice key) {
    struct slice rest;
    struct keyspace *keyspace = ctx->keyspace;
    tablemaps_refresh(keyspace->core->maps, &keyspace->map);
    return keyspace->map && tablemap_find_key(keyspace->map, key, &rest) != NULL;
}

/* Without a lease the row would be answered and not kept, so it would have to be read twice. */
bool keyspace_read_ahead(struct keyspace *keyspace, struct slice key, enum key_form form,
                         int64_t now_ms, int64_t now_us) {
    struct core *core = keyspace->core;
    struct slice rest;
    if (!keyspace->loader || !keyspace->map || !core_lease_holds(core, now_us)) return false;
    uint64_t hash = store_hash(core->store, key);
    const struct entry *entry = store_peek(core->store, key, hash, now_ms);
    if (entry && entry->kind != ENTRY_ROW) return false;
    struct key_value ignored;
    if (entry && is_current(core, entry_row_stamp(entry)) &&
        row_value(entry, form, &ignored) != READ_PENDING)
        return false;
    const struct table *table = tablemap_find_key(keyspace->map, key, &rest);
    if (table && !statement_fits(table, form)) return false;
    return table && !table->refusal && fetch_want_soon(keyspace, key, hash, form);
}

/* ---- the turn ---- */

void keyspace_tick(struct keyspace *keyspace, int64_t now_us) {
    if (!keyspace->loader) return;
    told_of_lease(keyspace->core, now_us);
    verify_tick(keyspace->core->verify, keyspace, now_us);
    warm_tick(keyspace->core->warm, keyspace, now_us);
}

void keyspace_end_turn(struct keyspace *keyspace) {
    if (!keyspace->loader) return;
    tablemaps_refresh(keyspace->core->maps, &keyspace->map);
    if (keyspace->gathered || keyspace->renewing) fetch_begin(keyspace);
    loader_pump(keyspace->loader);
}

#include "cache/rows/fill.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cache/rows/fetch.h"
#include "cache/rows/keep.h"
#include "cache/rows/probe.h"
#include "cache/rows/query_figures.h"
#include "cache/rows/result.h"
#include "cache/rows/rowttl.h"
#include "cache/values/fields.h"

enum { MAX_TRIES = 3 };

struct fill *fill_create(struct keyspace *owner, struct tablemap *map, const struct table *table,
                         struct slice key, uint64_t hash, enum key_form form,
                         const struct rowkey *row, int64_t deadline_us) {
    struct fill *fill = mem_zalloc(sizeof *fill);
    fill->owner = owner;
    fill->map = tablemap_ref(map);
    fill->table = table;
    fill->form = form;
    fill->hash = hash;
    fill->row = *row;
    fill->deadline_us = deadline_us;
    fill->key = slice_make(mem_slicedup(key), key.len);
    size_t bytes = 0;
    for (uint16_t i = 0; i < row->n; i++)
        bytes += row->values[i].len;
    buf_grow(&fill->scratch, bytes + 1);
    for (uint16_t i = 0; i < row->n; i++) {
        fill->row.values[i] =
            slice_make(fill->scratch.data + fill->scratch.len, row->values[i].len);
        buf_append_slice(&fill->scratch, row->values[i]);
    }
    return fill;
}

void fill_destroy(struct fill **fill) {
    struct fill *old = *fill;
    *fill = NULL;
    if (!old) return;
    if (old->probe) old->probe->answered(old->probe, NULL, NULL);
    tablemap_release(&old->map);
    buf_deinit(&old->scratch);
    char *key;
    memcpy(&key, &old->key.data, sizeof key); /* ours to free, though the slice is const */
    mem_free(key);
    mem_free(old);
}

bool fill_remap(struct fill *fill, struct tablemap *map) {
    struct slice rest;
    const struct table *table = tablemap_find_key(map, fill->key, &rest);
    if (!table || table->refusal) return false;
    struct rowkey row;
    struct buf scratch = {0};
    struct buf failure = {0};
    bool parsed = rowkey_parse(table, rest, &scratch, &row, &failure);
    buf_deinit(&failure);
    if (!parsed) {
        buf_deinit(&scratch);
        return false;
    }
    buf_deinit(&fill->scratch);
    fill->scratch = scratch;
    fill->row = row; /* its values point into the fill's key, or into the scratch buffer */
    struct tablemap *old = fill->map;
    fill->map = tablemap_ref(map);
    fill->table = table;
    tablemap_release(&old);
    return true;
}

/* The key that a change names: the row's own, by the identities that stand in the result, or that were asked in the same
 * text. Of a row that is not there, asked for by a unique key: the key by which a row would come to be there. */
static struct slice canonical_key(const struct fill *fill, const struct batch_row *read,
                                  struct buf *text) {
    const struct table *table = fill->table->root ? fill->table->root : fill->table;
    const struct unique_key *unique = batch_row_is_there(read) ? NULL : fill->row.unique;
    if (unique ? !unique->exact : !table->identified) return (struct slice){0};
    struct slice identities[ROWKEY_MAX_COLUMNS] = {fill->row.values[0]};
    uint16_t n = unique ? unique->n_columns : table->n_keys;
    int first = unique ? statement_asked_at(read->statement) : STATEMENT_IDENTITY;
    for (uint16_t i = 0; i < n && read->statement->way != STATEMENT_ANY; i++)
        identities[i] = batch_row_field(read, first + i);
    if (unique)
        rowkey_compose_unique(table, unique, identities, text);
    else
        rowkey_compose(table, identities, text);
    return buf_slice(text);
}

/* NULL columns are left out. */
static void pack_columns(const struct batch_row *read, struct buf *packed) {
    const struct table *table = read->statement->table;
    int first = statement_row_at(read->statement);
    buf_grow(packed, 64); /* a row of NULLs alone is there all the same: data is not NULL */
    for (uint16_t i = 0; i < table->n_columns; i++) {
        if (PQgetisnull(read->result, read->place, first + i)) continue;
        fields_append(packed, slice_from(table->columns[i]), batch_row_field(read, first + i));
    }
}

/* What the row says of its own end. */
static void read_left(const struct batch_row *read, struct rowttl *ttl) {
    int column = statement_left_at(read->statement);
    if (!read->statement->table->left_sql || PQgetisnull(read->result, read->place, column)) return;
    ttl->ends = true;
    ttl->left_ms = strtoll(PQgetvalue(read->result, read->place, column), NULL, 10);
}

/* True: the row is there, and has not ended. Then, and else, for how long that may be remembered. */
static bool is_present(const struct core *core, const struct fill *fill,
                       const struct batch_row *read, struct rowttl *ttl) {
    *ttl = (struct rowttl){.ttl_ms = fill->table->ttl_ms,
                           .stale_ms = core->config->stale_while_revalidate_ms,
                           .jitter_percent = core->config->ttl_jitter_percent,
                           .seed = fill->hash + (uint64_t)clock_mono_us()};
    bool there = batch_row_is_there(read);
    if (there) read_left(read, ttl);
    if (there && (!ttl->ends || ttl->left_ms > 0)) return true;
    ttl->ends = false;
    ttl->stale_ms = 0;
    ttl->ttl_ms = core->config->negative_ttl_ms;
    if (fill->table->by_ttl && ttl->ttl_ms > fill->table->ttl_ms) ttl->ttl_ms = fill->table->ttl_ms;
    return false;
}

/* A named query's hash, list or sorted set. False: there is nothing in it, or *why it is none. */
static bool pack_result(const struct core *core, const struct fill *fill,
                        const struct batch_row *read, struct buf *packed, struct rowttl *ttl,
                        const char **why) {
    struct slice text = batch_row_field(read, statement_row_at(read->statement));
    if (result_pack(fill->table->query, text, packed, why)) *why = NULL;
    if (packed->len == 0) *ttl = (struct rowttl){.ttl_ms = core->config->negative_ttl_ms};
    return packed->len > 0;
}

static void fail_result(struct core *core, struct fill **fill, const char *why) {
    struct buf text = {0};
    buf_printf(&text, "ERR %s: %s", (*fill)->table->prefix, why);
    fill_fail(core, fill, buf_text(&text));
    buf_deinit(&text);
}

enum flight_answer fill_shares(const struct core *core, enum keep_outcome outcome, int64_t now_us) {
    if (!core_streams(core) || !core_rule_holds(core, RULE_JOIN)) return FLIGHT_SHARED;
    bool fresh = outcome == KEEP_STORED && core_lease_holds(core, now_us);
    return fresh ? FLIGHT_SHARED : FLIGHT_TIMELY;
}

static enum fill_next settle(struct core *core, struct fill **fill, enum flight_answer answer,
                             struct rowvalue *value) {
    struct waiter *ready;
    struct keyspace *owner = (*fill)->owner;
    bool finished = flights_settle(core->flights, *fill, answer, &ready);
    if (finished) fill_destroy(fill);
    fetch_deliver(owner, ready, value);
    return finished ? FILL_DONE : FILL_AGAIN;
}

static void tell_probe(struct fill *fill, const struct keep_row *row,
                       const struct pgsnapshot *snapshot) {
    struct probe *probe = fill->probe;
    fill->probe = NULL;
    probe->answered(probe, row, snapshot);
}

static uint16_t took_ms(const struct fill *fill, int64_t now_us) {
    int64_t took_ms = (now_us - fill->sent_us) / 1000 + 1;
    return took_ms < UINT16_MAX ? (uint16_t)took_ms : UINT16_MAX;
}

enum fill_next fill_answer(struct core *core, struct fill **fill, const struct batch_row *read,
                           const struct pgsnapshot *snapshot, int64_t now_us) {
    struct fill *f = *fill;
    struct buf text = {0};
    struct buf packed = {0};
    int64_t filled_at_us = clock_wall_us();
    struct slice bytes = {0};
    struct rowttl ttl;
    bool absent = !is_present(core, f, read, &ttl);
    const char *why = NULL;
    if (!absent && statement_kind(f->table) != ENTRY_STRING)
        absent = !pack_result(core, f, read, &packed, &ttl, &why);
    else if (!absent && f->form == FORM_HASH)
        pack_columns(read, &packed);
    else if (!absent && statement_is_spread(read->statement))
        rowjson_append(&packed, f->table->json, f->table->n_columns, read->result, read->place,
                       statement_row_at(read->statement));
    if (why) {
        buf_deinit(&packed);
        fail_result(core, fill, why);
        return FILL_DONE;
    }
    if (packed.data && !absent)
        bytes = buf_slice(&packed);
    else if (!absent)
        bytes = batch_row_field(read, statement_row_at(read->statement));
    bool too_big = f->table->query && bytes.len > f->table->query->max_result_bytes;
    struct keep_row row = {
        .table = f->table,
        .key = f->key,
        .hash = f->hash,
        .form = f->form,
        .kind = statement_kind(f->table),
        .bytes = bytes,
        .fill_ms = took_ms(f, now_us),
        .renews = f->renews,
        .canonical = canonical_key(f, read, &text),
        .exact = f->row.unique ? f->row.unique->exact : f->table->exact,
        .lasting = f->row.lasting && !too_big,
        .expire_at_ms = rowttl_expiry(&ttl, filled_at_us / 1000),
        .filled_at_us = filled_at_us,
    };
    if (f->probe) {
        tell_probe(f, &row, snapshot);
        fill_destroy(fill);
        buf_deinit(&text);
        buf_deinit(&packed);
        return FILL_DONE;
    }
    enum keep_outcome outcome = keep_row(core, &row, snapshot);
    enum fill_next next = FILL_AGAIN;
    if (outcome == KEEP_BLOCKED) metric_add(core->count.fills_blocked, 1);
    if (outcome == KEEP_BLOCKED && !f->grouped && core_rule_holds(core, RULE_JOIN) &&
        ++f->blocked < MAX_TRIES) {
        metric_add(core->count.fills_retried, 1);
    } else {
        metric_add(
            outcome == KEEP_STORED ? core->count.fills_installed : core->count.fills_uncached, 1);
        query_figures_result(core->query_figures, f->table,
                             outcome == KEEP_STORED ? QUERY_STORED
                             : too_big              ? QUERY_TOO_BIG
                                                    : QUERY_UNCACHED);
        struct rowvalue *value = rowvalue_create(absent ? ROWVALUE_ABSENT : ROWVALUE_ROW, f->form,
                                                 row.expire_at_ms, bytes);
        value->type = row.kind;
        f->blocked = 0;
        f->grouped = false; /* who joined it alone gets it alone */
        next = settle(core, fill, fill_shares(core, outcome, now_us), value);
        rowvalue_release(&value);
    }
    buf_deinit(&text);
    buf_deinit(&packed);
    return next;
}

bool fill_admits(struct core *core, const struct fill *fill, const struct batch_row *read,
                 const struct pgsnapshot *snapshot) {
    struct buf text = {0};
    const struct table *table = fill->table;
    bool exact = fill->row.unique ? fill->row.unique->exact : table->exact;
    struct slice key = canonical_key(fill, read, &text);
    uint64_t hash = key.data ? store_hash(core->store, key) : 0;
    bool admits =
        pgsnapshot_is_ours(snapshot) &&
        tablestate_admits(table->state, table->version, snapshot) == TABLESTATE_ADMITTED &&
        (exact || batch_row_is_there(read)) &&
        !(key.data && recent_blocks(core->recent, hash, snapshot, NULL));
    buf_deinit(&text);
    return admits;
}

void fill_fail(struct core *core, struct fill **fill, const char *text) {
    if ((*fill)->probe) {
        fill_destroy(fill);
        return;
    }
    metric_add(core->count.fills_failed, 1);
    query_figures_result(core->query_figures, (*fill)->table, QUERY_FAILED);
    struct rowvalue *value =
        rowvalue_create(ROWVALUE_FAILED, (*fill)->form, STORE_NEVER, slice_from(text));
    settle(core, fill, FLIGHT_LAST, value);
    rowvalue_release(&value);
}

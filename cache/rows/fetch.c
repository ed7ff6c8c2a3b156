#include "cache/rows/fetch.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "cache/front/worker.h"
#include "cache/rows/consistency.h"
#include "cache/rows/fill.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/loader.h"
#include "cache/rows/pace.h"
#include "cache/rows/statement.h"

struct wait {
    struct wait *prev, *next;
    struct keyspace *home;
    struct client_ticket ticket;
    struct consistency asked;
    bool renews; /* what memory has is no answer, and nobody waits for one */
    struct fetched_rows rows;
    uint32_t n_keys; /* what it counts for in keyspace.n_wanted */
    uint32_t n_missing;
    struct loop_timer timer;
    struct buf keys; /* the bytes of all keys */
};

/* ---- the rows ---- */

static int by_hash(const void *a, const void *b) {
    uint64_t left = ((const struct fetched_row *)a)->hash;
    uint64_t right = ((const struct fetched_row *)b)->hash;
    return left < right ? -1 : left > right;
}

/* Rows are in the order of their hashes. */
const struct rowvalue *fetched_find(const struct fetched_rows *rows, struct slice key,
                                    uint64_t hash, enum key_form form) {
    uint32_t low = 0;
    uint32_t high = rows->n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rows->rows[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < rows->n && rows->rows[low].hash == hash; low++) {
        const struct rowvalue *value = rows->rows[low].value;
        /* Who wants a list or a sorted set is told by any what it is. */
        bool fits = (form != FORM_STRING && form != FORM_HASH) || value->kind != ROWVALUE_ROW ||
                    value->form == form;
        if (fits && slice_equal(rows->rows[low].key, key)) return value;
    }
    return NULL;
}

/* The ticket of a wait for rows that are wanted soon: of no client. */
static const struct client_ticket nobody = {.slot = UINT32_MAX};

static void wait_free(struct wait *wait) {
    if (!wait->ticket.wait) wait->home->n_soon--;
    wait->home->n_wanted -= wait->n_keys;
    for (uint32_t i = 0; i < wait->rows.n; i++)
        rowvalue_release(&wait->rows.rows[i].value);
    mem_free(wait->rows.rows);
    buf_deinit(&wait->keys);
    mem_free(wait);
}

static void link_wait(struct wait *wait, struct wait **list) {
    wait->prev = NULL;
    wait->next = *list;
    if (wait->next) wait->next->prev = wait;
    *list = wait;
}

static void unlink_wait(struct wait *wait, struct wait **list) {
    if (wait->next) wait->next->prev = wait->prev;
    if (wait->prev)
        wait->prev->next = wait->next;
    else
        *list = wait->next;
}

static struct waiter *waiter_create(struct wait *wait, uint32_t place) {
    struct keyspace *home = wait->home;
    struct waiter *waiter = mem_zalloc(sizeof *waiter);
    waiter->home = home;
    waiter->wait = wait;
    waiter->place = place;
    waiter->home_next = home->waiters;
    if (home->waiters) home->waiters->home_prev = waiter;
    home->waiters = waiter;
    return waiter;
}

static void waiter_free(struct waiter *waiter) {
    if (waiter->home_next) waiter->home_next->home_prev = waiter->home_prev;
    if (waiter->home_prev)
        waiter->home_prev->home_next = waiter->home_next;
    else
        waiter->home->waiters = waiter->home_next;
    rowvalue_release(&waiter->value);
    mem_free(waiter);
}

/* ---- the end of a wait ---- */

/* The command runs again, and may wait again: on another ticket, by another wait. */
static void finish(struct wait *wait) {
    loop_timer_clear(wait->home->loop, &wait->timer);
    unlink_wait(wait, &wait->home->waits);
    if (wait->ticket.wait) client_resume(wait->ticket, &wait->rows);
    wait_free(wait);
}

static void arrive(struct waiter *waiter) {
    struct wait *wait = waiter->wait;
    if (wait) {
        struct fetched_row *row = &wait->rows.rows[waiter->place];
        row->waiter = NULL;
        row->value = waiter->value;
        waiter->value = NULL;
        wait->n_missing--;
    }
    waiter_free(waiter);
    if (wait && wait->n_missing == 0) finish(wait);
}

static void arrive_from_afar(struct loop_message *message, void *owner) {
    (void)message;
    arrive(owner);
}

void fetch_deliver(struct keyspace *from, struct waiter *waiters, struct rowvalue *value) {
    while (waiters) {
        struct waiter *waiter = waiters;
        waiters = waiter->next;
        waiter->value = rowvalue_ref(value);
        if (waiter->home == from) {
            arrive(waiter);
        } else {
            waiter->message = (struct loop_message){.run = arrive_from_afar, .owner = waiter};
            loop_post(waiter->home->loop, &waiter->message);
        }
    }
}

static struct rowvalue *too_late(struct wait *wait, const struct fetched_row *row) {
    struct keyspace *home = wait->home;
    struct slice rest;
    const struct table *table = home->map ? tablemap_find_key(home->map, row->key, &rest) : NULL;
    struct buf text = {0};
    buf_printf(&text, "ERR %s: no answer from the database within %lld ms: %s",
               table ? table->prefix : "database", (long long)home->core->config->fill_timeout_ms,
               loader_trouble(home->loader));
    struct rowvalue *value =
        rowvalue_create(ROWVALUE_FAILED, row->form, STORE_NEVER, buf_slice(&text));
    buf_deinit(&text);
    return value;
}

static void on_deadline(void *arg, int64_t now_us) {
    struct wait *wait = arg;
    (void)now_us;
    for (uint32_t i = 0; i < wait->rows.n; i++) {
        struct fetched_row *row = &wait->rows.rows[i];
        if (!row->waiter) continue;
        row->waiter->wait = NULL; /* its fill keeps it, and gives it to nobody */
        row->waiter = NULL;
        row->value = too_late(wait, row);
        metric_add(wait->home->core->count.fills_timeout, 1);
    }
    finish(wait);
}

void fetch_abandon(struct keyspace *keyspace) {
    while (keyspace->gathered) {
        struct wait *wait = keyspace->gathered;
        unlink_wait(wait, &keyspace->gathered);
        wait_free(wait);
    }
    while (keyspace->renewing) {
        struct wait *wait = keyspace->renewing;
        unlink_wait(wait, &keyspace->renewing);
        wait_free(wait);
    }
    while (keyspace->waits) {
        struct wait *wait = keyspace->waits;
        unlink_wait(wait, &keyspace->waits);
        loop_timer_clear(keyspace->loop, &wait->timer);
        wait_free(wait);
    }
    while (keyspace->waiters)
        waiter_free(keyspace->waiters);
}

/* ---- the beginning of a wait ---- */

/* A key may be given twice: its places are neighbours in the order of hashes. */
static bool is_there(const struct fetched_rows *rows, const struct fetched_row *row) {
    for (uint32_t i = rows->n; i > 0 && rows->rows[i - 1].hash == row->hash; i--) {
        const struct fetched_row *other = &rows->rows[i - 1];
        if (other->form == row->form && slice_equal(other->key, row->key)) return true;
    }
    return false;
}

static void add_row(struct wait *wait, struct slice key, uint64_t hash, enum key_form form) {
    struct fetched_rows *rows = &wait->rows;
    if (rows->n == rows->cap) {
        rows->cap = rows->cap ? rows->cap * 2 : 4;
        rows->rows = mem_realloc(rows->rows, rows->cap * sizeof *rows->rows);
    }
    rows->rows[rows->n++] = (struct fetched_row){.form = form, .key = key, .hash = hash};
}

static void gather_wait(struct wait *wait) {
    wait->n_keys = wait->rows.n;
    wait->home->n_wanted += wait->n_keys;
    link_wait(wait, wait->renews ? &wait->home->renewing : &wait->home->gathered);
}

/* All keys of the command, not only the first that was missing: what is in memory now may be gone when it runs again. */
void fetch_want(struct keyspace *keyspace, struct command_context *ctx, enum key_form form) {
    struct client_ticket ticket = client_ticket(ctx);
    if (keyspace->gathered && keyspace->gathered->ticket.wait == ticket.wait) return;
    struct wait *wait = mem_zalloc(sizeof *wait);
    wait->home = keyspace;
    wait->ticket = ticket;
    wait->asked = consistency_of(ctx);
    struct command_key_iter keys = command_keys(ctx->command, ctx->argv, ctx->argc);
    struct command_key_iter counting = keys;
    size_t bytes = 0;
    for (uint32_t i; (i = command_next_key(&counting));)
        bytes += ctx->argv[i].len;
    ASSERT(bytes > 0);
    buf_grow(&wait->keys, bytes + 1);
    for (uint32_t i; (i = command_next_key(&keys));) {
        struct slice key = slice_make(wait->keys.data + wait->keys.len, ctx->argv[i].len);
        buf_append_slice(&wait->keys, ctx->argv[i]);
        add_row(wait, key, store_hash(keyspace->core->store, key), form);
    }
    qsort(wait->rows.rows, wait->rows.n, sizeof *wait->rows.rows, by_hash);
    gather_wait(wait);
}

void fetch_want_rows(struct keyspace *keyspace, struct command_context *ctx,
                     const struct fetch_order *orders, uint32_t n, bool anew) {
    struct wait *wait = mem_zalloc(sizeof *wait);
    wait->home = keyspace;
    wait->ticket = client_ticket(ctx);
    wait->asked = consistency_of(ctx);
    if (anew) wait->asked.level = CONSISTENCY_STRICT;
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += orders[i].key.len;
    buf_grow(&wait->keys, bytes + 1);
    for (uint32_t i = 0; i < n; i++) {
        struct slice key = slice_make(wait->keys.data + wait->keys.len, orders[i].key.len);
        buf_append_slice(&wait->keys, orders[i].key);
        add_row(wait, key, orders[i].hash, orders[i].form);
    }
    qsort(wait->rows.rows, wait->rows.n, sizeof *wait->rows.rows, by_hash);
    gather_wait(wait);
    ctx->n_pending++;
}

/* A wait of its own for each, so that each is one more row of the turn's statement, and none is tied to another. */
static bool want_for_nobody(struct keyspace *keyspace, struct slice key, uint64_t hash,
                            enum key_form form, bool renews) {
    if (keyspace->n_soon >= FETCH_MAX_SOON) return false;
    keyspace->n_soon++;
    struct wait *wait = mem_zalloc(sizeof *wait);
    wait->home = keyspace;
    wait->ticket = nobody;
    wait->renews = renews;
    buf_append_slice(&wait->keys, key);
    add_row(wait, buf_slice(&wait->keys), hash, form);
    gather_wait(wait);
    return true;
}

/* The only form of a named query's result that shows as no string. */
static enum key_form result_form(enum entry_kind kind) {
    return kind == ENTRY_HASH ? FORM_HASH : kind == ENTRY_LIST ? FORM_LIST : FORM_ZSET;
}

bool fetch_want_soon(struct keyspace *keyspace, struct slice key, uint64_t hash,
                     enum key_form form) {
    return want_for_nobody(keyspace, key, hash, form, false);
}

void fetch_renew(struct keyspace *keyspace, struct slice key, uint64_t hash, enum key_form form) {
    want_for_nobody(keyspace, key, hash, form, true);
}

/* What memory holds of the row, copied: it has to live until the rest is here. NULL: not this form, or no row at all. */
static struct rowvalue *copy_resident(struct wait *wait, const struct entry *entry,
                                      enum key_form form) {
    struct core *core = wait->home->core;
    if (entry->kind != ENTRY_ROW) return NULL;
    const struct row_stamp *stamp = entry_row_stamp(entry);
    const struct tablestate *state = tablestates_at(core->states, stamp->table);
    if (stamp->generation != tablestate_generation(state)) return NULL;
    if (!consistency_admits_row(&wait->asked, core, stamp, clock_mono_us())) return NULL;
    struct slice bytes = {0};
    if (entry_is_absent(entry))
        return rowvalue_create(ROWVALUE_ABSENT, form, entry_expiry(entry), bytes);
    if (stamp->kind != ENTRY_STRING) form = result_form(stamp->kind);
    bool packed = form != FORM_STRING && form != FORM_ANY;
    bool there = packed ? entry_row_fields(entry, &bytes) : entry_row_json(entry, &bytes);
    if (!there && form != FORM_ANY) return NULL;
    struct rowvalue *value = rowvalue_create(ROWVALUE_ROW, form, entry_expiry(entry), bytes);
    value->type = stamp->kind;
    return value;
}

enum need { NEED_NOTHING, NEED_FILL };

/* Looks at one key of the wait again, at the turn's end. Only rows stay in the wait's list. */
static enum need look(struct wait *wait, struct fetched_row *row, const struct table **table,
                      struct rowkey *key) {
    struct keyspace *home = wait->home;
    struct slice rest;
    const struct entry *entry =
        store_peek(home->core->store, row->key, row->hash, clock_wall_us() / 1000);
    if (entry && entry->kind != ENTRY_ROW) return NEED_NOTHING;
    if (entry && !wait->renews) row->value = copy_resident(wait, entry, row->form);
    if (row->value || !home->map) return NEED_NOTHING;
    *table = tablemap_find_key(home->map, row->key, &rest);
    if (!*table || (*table)->refusal) return NEED_NOTHING;
    struct buf failure = {0};
    home->scratch.len = 0;
    bool parsed = rowkey_parse(*table, rest, &home->scratch, key, &failure);
    buf_deinit(&failure);
    return parsed ? NEED_FILL : NEED_NOTHING;
}

/* At the pace of the key among them that has to wait the longest. */
static void submit(struct keyspace *home, struct fill **fills, uint32_t n) {
    int64_t now_us = loop_now_us(home->loop);
    int64_t due_us = now_us;
    for (uint32_t i = 0; i < n && home->core->pace; i++) {
        int64_t claimed_us = pace_claim(home->core->pace, fills[i]->hash, now_us);
        if (claimed_us > due_us) due_us = claimed_us;
    }
    if (due_us > now_us) metric_add(home->core->count.paced, n);
    loader_submit_at(home->loader, fills, n, due_us);
}

/* Makes fills of what is missing. Those of one command go together: one snapshot shows them all. */
static void begin(struct wait *wait) {
    struct keyspace *home = wait->home;
    struct core *core = home->core;
    int64_t deadline_us = loop_now_us(home->loop) + core->config->fill_timeout_ms * 1000;
    struct fetched_rows all = wait->rows;
    wait->rows = (struct fetched_rows){0};
    struct fill **fills = mem_calloc(all.n + 1, sizeof(struct fill *));
    uint32_t n_fills = 0;
    for (uint32_t i = 0; i < all.n; i++) {
        const struct table *table = NULL;
        struct rowkey key;
        if (is_there(&wait->rows, &all.rows[i])) continue;
        enum need need = look(wait, &all.rows[i], &table, &key);
        if (need == NEED_NOTHING && !all.rows[i].value) continue;
        add_row(wait, all.rows[i].key, all.rows[i].hash, all.rows[i].form);
        wait->rows.rows[wait->rows.n - 1].value = all.rows[i].value;
        if (need == NEED_FILL) {
            enum key_form form = statement_form(table, all.rows[i].form);
            fills[n_fills++] = fill_create(home, home->map, table, all.rows[i].key,
                                           all.rows[i].hash, form, &key, deadline_us);
        }
    }
    mem_free(all.rows);
    link_wait(wait, &home->waits);
    bool together = core_rule_holds(core, RULE_ONE_SNAPSHOT);
    uint32_t n_mine = 0;
    for (uint32_t i = 0, place = 0; i < n_fills; place++) {
        struct fetched_row *row = &wait->rows.rows[place];
        if (row->value) continue;
        fills[i]->grouped = n_fills > 1 && together;
        fills[i]->renews = wait->renews;
        row->waiter = waiter_create(wait, place);
        row->waiter->own = !consistency_shares(&wait->asked, core);
        fills[i]->of_primary = row->waiter->own;
        wait->n_missing++;
        if (flights_enter(core->flights, fills[i], row->waiter)) {
            fills[n_mine++] = fills[i];
        } else {
            metric_add(core->count.joined, 1);
            fill_destroy(&fills[i]);
        }
        i++;
    }
    for (uint32_t i = 0; i < n_mine; i += together ? n_mine : 1)
        submit(home, fills + i, together ? n_mine : 1);
    mem_free(fills);
    wait->timer = (struct loop_timer){.fire = on_deadline, .arg = wait};
    loop_timer_set(home->loop, &wait->timer, deadline_us);
    if (wait->n_missing == 0) finish(wait);
}

void fetch_begin(struct keyspace *keyspace) {
    while (keyspace->renewing) {
        struct wait *wait = keyspace->renewing;
        unlink_wait(wait, &keyspace->renewing);
        begin(wait);
    }
    while (keyspace->gathered) {
        struct wait *wait = keyspace->gathered;
        unlink_wait(wait, &keyspace->gathered);
        begin(wait);
    }
}

#include "cache/rows/coherence.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cache/rows/held.h"
#include "cache/rows/pulse.h"
#include "cache/rows/query_figures.h"
#include "cache/rows/touching.h"
#include "cache/rows/warden.h"
#include "cache/signals/awaits.h"
#include "cache/signals/told.h"

enum {
    /* Of one transaction: noting and evicting them holds back the next one's for some 20 ms. */
    MAX_TRANSACTION_KEYS = 1 << 15,
    MAX_HELD_BYTES = 32 << 20, /* of all open ones */
};

struct coherence {
    struct core *core;
    struct tablemap *map;
    struct feed_identity identity;
    bool in_transaction;
    struct touched touched;
    struct held *held;      /* of open transactions that the server streams */
    struct touched put_off; /* test builds: what rule 2, taken out, evicts one commit too late */
    uint64_t put_off_xid;
    struct touching *touching;
};

/* ---- applying ---- */

/* Does the entry show what the transaction did, for certain? Then it may stay. */
static bool has_seen(const struct entry *entry, uint64_t xid) {
    if (entry->kind != ENTRY_ROW) return false;
    const struct row_stamp *stamp = entry_row_stamp(entry);
    /* What a write of ours has left is told of once more, by the stream. */
    return xid < stamp->snapshot_xmin || (stamp->written && xid + 1 == stamp->snapshot_xmax);
}

static bool evict(struct core *core, const struct store_guard *guard, struct slice key,
                  uint64_t hash, uint64_t xid, int64_t now_ms) {
    const struct entry *entry = store_find(core->store, guard, key, hash, now_ms);
    if (!entry) store_touch(core->store, guard, key, hash);
    if (!entry || entry->kind != ENTRY_ROW || has_seen(entry, xid)) return false;
    return store_remove(core->store, guard, key, hash, REMOVED_COMMIT);
}

/* The entries that the row's links led to. A new one cannot come: the transaction is noted by now. */
static uint64_t evict_linked(struct core *core, struct slice packed, int64_t now_ms) {
    uint64_t evicted = 0;
    struct slice key;
    while (links_next(&packed, &key)) {
        uint64_t hash = store_hash(core->store, key);
        struct store_guard guard;
        store_lock(core->store, &hash, 1, &guard);
        const struct entry *entry = store_find(core->store, &guard, key, hash, now_ms);
        /* Its link is gone, so it goes in any case. */
        if (entry && entry->kind == ENTRY_ROW)
            evicted += store_remove(core->store, &guard, key, hash, REMOVED_COMMIT);
        store_unlock(core->store, &guard);
    }
    return evicted;
}

static void fence_table(struct core *core, uint32_t number, uint64_t xid, uint64_t lsn) {
    struct tablestate *state = tablestates_at(core->states, number);
    tablestate_fence(state, xid, lsn);
    tablestate_bump(state);
    told_number(core, number);
    metric_add(core->count.fences, 1);
    query_figures_fenced(core->query_figures, number);
}

void coherence_apply(struct core *core, const struct touched *touched, uint64_t xid) {
    int64_t now_ms = clock_wall_us() / 1000;
    struct buf linked = {0};
    uint64_t evicted = 0;
    for (size_t i = 0; i < touched->n_tables; i++)
        fence_table(core, touched->tables[i], xid, touched->lsn);
    uint32_t last_fenced = UINT32_MAX;
    for (size_t i = 0; i < touched->n_keys; i++) {
        const struct touched_key *key = &touched->keys[i];
        struct store_guard guard;
        if (key->table == last_fenced) continue;
        store_lock(core->store, &key->hash, 1, &guard);
        guard.client_id = touched->client_id;
        bool noted = recent_note(core->recent, key->hash, xid, touched->lsn);
        evicted += evict(core, &guard, touched_text(touched, key), key->hash, xid, now_ms);
        linked.len = 0;
        size_t n_linked =
            core_rule_holds(core, RULE_LINKS) ? links_take(core->links, key->hash, &linked) : 0;
        store_unlock(core->store, &guard);
        if (n_linked > 0) evicted += evict_linked(core, buf_slice(&linked), now_ms);
        if (noted) continue;
        /* The recent set is full: the whole table instead, and its other keys with it. */
        fence_table(core, key->table, xid, touched->lsn);
        last_fenced = key->table;
    }
    buf_deinit(&linked);
    if (evicted > 0) metric_add(core->count.evicted_commit, (int64_t)evicted);
}

/* No transaction has this id: nothing has seen it. */
static const uint64_t unseen_by_all = UINT64_MAX - 1;

void coherence_evict(struct core *core, const struct touched *touched) {
    int64_t now_ms = clock_wall_us() / 1000;
    struct buf linked = {0};
    uint64_t evicted = 0;
    for (size_t i = 0; i < touched->n_tables; i++) {
        tablestate_bump(tablestates_at(core->states, touched->tables[i]));
        told_number(core, touched->tables[i]);
    }
    for (size_t i = 0; i < touched->n_keys; i++) {
        const struct touched_key *key = &touched->keys[i];
        struct store_guard guard;
        store_lock(core->store, &key->hash, 1, &guard);
        guard.client_id = touched->client_id;
        evicted +=
            evict(core, &guard, touched_text(touched, key), key->hash, unseen_by_all, now_ms);
        linked.len = 0;
        size_t n_linked = links_take(core->links, key->hash, &linked);
        store_unlock(core->store, &guard);
        if (n_linked > 0) evicted += evict_linked(core, buf_slice(&linked), now_ms);
    }
    buf_deinit(&linked);
    if (evicted > 0) metric_add(core->count.evicted_commit, (int64_t)evicted);
}

void coherence_reset(struct core *core) {
    uint32_t n = tablestates_count(core->states);
    for (uint32_t i = 0; i < n; i++) {
        struct tablestate *state = tablestates_at(core->states, i);
        tablestate_part(state);
        tablestate_bump(state);
    }
    told_all_rows(core);
    /* The horizon of rule 5 will lie past every transaction that was noted so far. */
    recent_clear(core->recent);
    links_clear(core->links);
}

static void advance(struct coherence *coherence, uint64_t lsn) {
    lease_applied(coherence->core->lease, lsn);
    awaits_wake(coherence->core->awaits, lease_applied_lsn(coherence->core->lease));
}

/* ---- the sink ---- */

static bool on_prepare(void *self, struct change_position *position, struct error *err) {
    struct coherence *coherence = self;
    *position = (struct change_position){.snapshot_done = true};
    return warden_await_publication(coherence->core->warden, err);
}

static bool same_server(const struct feed_identity *a, const struct feed_identity *b) {
    return a->system_identifier == b->system_identifier && a->timeline == b->timeline &&
           a->server_start_us == b->server_start_us;
}

/* On a permanent slot (cache.slot) the server sends all that was committed since the last session, if it is the very server, and
 * nobody else has read from the slot meanwhile. (What is sent twice is applied twice, which takes out too much and no more.) */
static bool may_resume(const struct core *core, const struct feed_identity *identity, bool moved) {
    return core->config->slot && core->config->feed == CACHE_FEED_SLOT && !moved &&
           !identity->slot_created && identity->slot_lsn <= lease_applied_lsn(core->lease);
}

/* A session with a slot of its own: what was committed since the last one was not seen. */
static bool on_started(void *self, const struct feed_identity *identity, struct error *err) {
    struct coherence *coherence = self;
    struct core *core = coherence->core;
    (void)err;
    (void)thread_be_prompt(); /* what it evicts is stale until then */
    bool moved = !same_server(identity, &coherence->identity);
    struct origin origin = {identity->system_identifier, identity->timeline,
                            identity->server_start_us, true};
    coherence->identity = *identity;
    coherence->identity.database = NULL; /* borrowed for the call */
    coherence->identity.slot = NULL;
    coherence->in_transaction = false;
    touching_forget(coherence->touching);
    if (may_resume(core, identity, moved)) {
        pulse_stream_resumed(core->pulse, &origin);
        metric_add(core->count.feed_resumed, 1);
        log_info(core->log, "cache_feed_resumed", "applied=" LSN_FMT " slot=" LSN_FMT,
                 LSN_ARG(lease_applied_lsn(core->lease)), LSN_ARG(identity->slot_lsn));
        return true;
    }
    pulse_stream_started(core->pulse, &origin, moved, coherence_reset);
    metric_add(core->count.feed_anew, 1);
    advance(coherence, identity->slot_lsn);
    return true;
}

static void on_ended(void *self, const struct error *cause) {
    struct coherence *coherence = self;
    coherence->in_transaction = false;
    touched_reset(&coherence->touched);
    held_clear(coherence->held);
    touching_forget(coherence->touching);
    pulse_stream_ended(coherence->core->pulse, cause ? cause->message : "");
}

/* Nothing is kept before the next stream's tables have joined. */
static void on_empty(void *self) {
    struct coherence *coherence = self;
    if (core_rule_holds(coherence->core, RULE_EMPTIED)) coherence_reset(coherence->core);
}

static void clear_with_dependents(struct core *core, const struct table *table) {
    tablestate_bump(table->state);
    told_table(core, table);
    for (uint16_t d = 0; d < table->n_dependents; d++)
        clear_with_dependents(core, table->dependents[d].query); /* on which nothing depends */
}

/* A table that is described anew was altered: its rows' shape may differ. (The first description of a session tells
 * nothing new: the entries that there are were read after it had begun.) */
static bool on_relation(void *self, const struct relation *relation, struct error *err) {
    struct coherence *coherence = self;
    (void)err;
    tablemaps_refresh(coherence->core->maps, &coherence->map);
    if (relation->version <= 1) return true;
    const struct table *table = touching_table(coherence->touching, coherence->map, relation);
    if (table) touching_whole(table, &coherence->touched);
    /* Outside of a transaction it is one's that was open until now: see on_open_commit. */
    if (table && !coherence->in_transaction) clear_with_dependents(coherence->core, table);
    warden_poll_soon(coherence->core->warden);
    return true;
}

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    struct coherence *coherence = self;
    (void)tx;
    (void)err;
    touched_reset(&coherence->touched);
    coherence->in_transaction = true;
    tablemaps_refresh(coherence->core->maps, &coherence->map);
    return true;
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    struct coherence *coherence = self;
    (void)tx;
    (void)err;
    if (change->relation && change->operation != CHANGE_READ)
        touching_change(coherence->touching, coherence->map, change, &coherence->touched);
    return true;
}

static void put_off(struct coherence *coherence, uint64_t xid) {
    coherence_apply(coherence->core, &coherence->put_off, coherence->put_off_xid);
    struct touched now = coherence->touched;
    coherence->touched = coherence->put_off;
    coherence->put_off = now;
    coherence->put_off_xid = xid;
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    struct coherence *coherence = self;
    (void)err;
    coherence->touched.lsn = tx->end_lsn;
    if (core_rule_holds(coherence->core, RULE_APPLY_BEFORE_ADVANCE))
        coherence_apply(coherence->core, &coherence->touched, tx->xid);
    else
        put_off(coherence, tx->xid);
    touched_reset(&coherence->touched);
    coherence->in_transaction = false;
    advance(coherence, tx->end_lsn);
    return true;
}

/* ---- open transactions ---- */

static uint64_t map_version(const struct coherence *coherence) {
    return coherence->map ? tablemap_version(coherence->map) : 0;
}

static void swap_touched(struct touched *a, struct touched *b) {
    struct touched was = *a;
    *a = *b;
    *b = was;
}

static bool on_open_change(void *self, uint64_t xid, uint64_t subxid, const struct change *change,
                           struct error *err) {
    struct coherence *coherence = self;
    tablemaps_refresh(coherence->core->maps, &coherence->map);
    struct touched *touched = held_begin(coherence->held, xid, subxid, map_version(coherence));
    swap_touched(&coherence->touched, touched);
    bool ok = on_change(coherence, NULL, change, err);
    swap_touched(&coherence->touched, touched);
    held_end(coherence->held);
    return ok;
}

static bool on_open_abort(void *self, uint64_t xid, uint64_t subxid, struct error *err) {
    struct coherence *coherence = self;
    (void)err;
    held_abort(coherence->held, xid, subxid);
    return true;
}

/* Tables that it has altered were noted just before, when their new descriptions came (on_relation). */
static bool on_open_commit(void *self, const struct transaction *tx, struct error *err) {
    struct coherence *coherence = self;
    struct touched touched = {0};
    tablemaps_refresh(coherence->core->maps, &coherence->map);
    if (held_take(coherence->held, tx->xid, map_version(coherence), &touched)) {
        for (size_t i = 0; i < coherence->touched.n_tables; i++)
            touched_table(&touched, coherence->touched.tables[i]);
        swap_touched(&coherence->touched, &touched);
    }
    bool ok = on_commit(coherence, tx, err);
    touched_deinit(&touched);
    return ok;
}

static bool on_progress(void *self, uint64_t wal_end_lsn, struct error *err) {
    (void)err;
    advance(self, wal_end_lsn);
    return true;
}

static bool wants_progress(void *self) {
    struct coherence *coherence = self;
    int64_t taken_us;
    return lease_waiting_lsn(coherence->core->lease, &taken_us) != 0;
}

static uint64_t confirmed_lsn(void *self) {
    struct coherence *coherence = self;
    return lease_applied_lsn(coherence->core->lease);
}

struct change_sink coherence_sink(struct coherence *coherence) {
    static const struct change_sink_ops ops = {
        .prepare = on_prepare,
        .started = on_started,
        .ended = on_ended,
        .empty = on_empty,
        .relation = on_relation,
        .begin = on_begin,
        .change = on_change,
        .commit = on_commit,
        .open_change = on_open_change,
        .open_abort = on_open_abort,
        .open_commit = on_open_commit,
        .progress = on_progress,
        .wants_progress = wants_progress,
        .confirmed_lsn = confirmed_lsn,
    };
    return (struct change_sink){.ops = &ops, .self = coherence, .name = "cache"};
}

static double read_open(void *owner) {
    return (double)held_count(((struct coherence *)owner)->held);
}

static double read_open_bytes(void *owner) {
    return (double)held_bytes(((struct coherence *)owner)->held);
}

struct coherence *coherence_create(struct core *core) {
    struct coherence *coherence = mem_zalloc(sizeof *coherence);
    coherence->core = core;
    coherence->touched.max_keys = MAX_TRANSACTION_KEYS;
    coherence->put_off.max_keys = MAX_TRANSACTION_KEYS;
    coherence->touching = touching_create(core);
    coherence->held = held_create(MAX_TRANSACTION_KEYS, MAX_HELD_BYTES);
    if (!core->metrics) return coherence;
    metrics_gauge_fn(core->metrics, "freshet_cache_open_transactions",
                     "Transactions still open whose changes are held until they commit.", NULL,
                     read_open, coherence);
    metrics_gauge_fn(core->metrics, "freshet_cache_open_transaction_bytes",
                     "Memory of what they have touched.", NULL, read_open_bytes, coherence);
    return coherence;
}

void coherence_destroy(struct coherence **coherence) {
    struct coherence *old = *coherence;
    *coherence = NULL;
    if (!old) return;
    if (old->core->metrics) metrics_forget(old->core->metrics, old);
    touching_destroy(&old->touching);
    tablemap_release(&old->map);
    touched_deinit(&old->touched);
    touched_deinit(&old->put_off);
    held_destroy(&old->held);
    mem_free(old);
}

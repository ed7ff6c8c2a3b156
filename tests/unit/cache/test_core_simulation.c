/* The core of coherence under a model of PostgreSQL, step by step in every order. The code is the real one (coherence.c's
 * sink, keep_row, recent set, fences, forgetting, flights, lease); the model is the database: a transaction is begun, its
 * commit is logged, and later it becomes visible; the feed may see it as soon as it is logged; a standby replays it when
 * it likes. A scenario bounds how many of each step there may be, and all orders of them are tried (explore), or orders
 * at random of larger scenarios (wander). After each step:
 *
 *   P1  no entry that may answer is older than a transaction that was applied
 *   P2  while the lease holds, none is older than what had been committed max_staleness ago
 *   P3  who joins a fill has all that was visible and applied when it came
 *   P7  a writer through the cache reads its own write
 *
 * With a rule of cache/rows/core.h taken out some order breaks a promise, or the simulation proves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/catalog.h"
#include "base/mem.h"
#include "cache/rows/coherence.h"
#include "cache/rows/fill.h"
#include "cache/rows/flights.h"
#include "cache/rows/forgetting.h"
#include "cache/rows/keep.h"
#include "cache/signals/awaits.h"

enum { KEYS = 2, MAX_TX = 6, MAX_FILLS = 4, MAX_SAMPLES = 6, MAX_DEPTH = 64, FIRST_XID = 100 };
enum { LSN_STEP = 16, MAX_STALENESS = 2, ALL_KEYS = (1 << KEYS) - 1 };

enum step {
    STEP_BEGIN,  /* i: a transaction takes its xid */
    STEP_LOG,    /* i: its commit record is written */
    STEP_SHOW,   /* i: new snapshots see it; COMMIT returns */
    STEP_REPLAY, /* the standby replays the next commit */
    STEP_APPLY,  /* the feed brings the next commit */
    STEP_SEND,   /* i: a fill's statement runs: snapshot and row */
    STEP_LSN,    /* i: a fill of the standby reads its replay LSN */
    STEP_JOIN,   /* i: a client joins the fill that is under way */
    STEP_ANSWER, /* i: its row arrives */
    STEP_PULSE,  /* a sample: snapshot, insert LSN */
    STEP_FORGET, /* what waits for older fills looks again */
    STEP_CUT, /* the feed's session ends, a new one begins: what was logged and not applied is lost */
    STEP_HORIZON, /* rule 5's end: an xid is taken */
    STEP_TICK,    /* time passes */
    STEP_OWN,     /* i: a visible transaction came through the cache: applied before the reply */
    N_STEPS
};
static const char *const step_names[N_STEPS] = {
    "begin",  "log",   "show",   "replay", "apply",   "send", "lsn", "join",
    "answer", "pulse", "forget", "cut",    "horizon", "tick", "own",
};

enum stage { IDLE, RUNNING, LOGGED, VISIBLE };

/* What may happen, and how often. */
struct scenario {
    const char *name;
    int n_tx;
    uint8_t touches[MAX_TX]; /* keys; 0: all, by TRUNCATE */
    int n_fills;
    uint8_t fill_keys[MAX_FILLS];
    bool standby; /* the fills are of it */
    int lsn_late; /* ... its LSN is read after the row: what the rule for standbys forbids */
    bool own;     /* transaction 0 comes through the cache */
    bool joiners; /* a client may join each fill */
    int pulses, cuts, ticks;
    int max_notes; /* of the recent set */
};

/* Plain bytes: what is hashed to know a state again. */
struct tx {
    uint8_t stage, streamed, applied, replayed, own;
    int8_t told_at;
    uint64_t xid, lsn;
};
struct fill_model {
    uint8_t sent, asked, answered, joined, owed; /* owed: transactions that the joiner must see */
    int8_t version;               /* the last transaction that its row shows; -1: none */
    uint64_t xmin, xmax, running; /* a bit a transaction */
    uint64_t lsn;
};
struct model {
    struct tx tx[MAX_TX];
    int8_t log[MAX_TX];
    int8_t n_begun, n_logged, n_applied, n_replayed, last_applied;
    int8_t pulses, cuts, ticks, joining, horizon_taken;
    uint64_t next_xid, last_over_xid;
    struct fill_model fills[MAX_FILLS];
    struct {
        int8_t at;
        uint64_t lsn;
    } samples[MAX_SAMPLES];
};

struct world {
    struct core core;
    const struct scenario *scenario;
    const struct table *table;
    struct coherence *coherence;
    struct forgetting forgetting;
    struct fill *fills[MAX_FILLS];
    struct waiter askers[MAX_FILLS], waiters[MAX_FILLS]; /* who began it, and who joined */
    struct model model;
    const char *broken; /* the promise */
    int kept;
    /* The search: */
    uint16_t path[MAX_DEPTH];
    int depth;
    uint64_t *seen;
    size_t n_seen, cap_seen;
    uint64_t n_steps;
};

/* ---- what PostgreSQL would say ---- */

static bool touches(const struct world *world, int i, uint32_t key) {
    uint8_t keys = world->scenario->touches[i];
    return keys == 0 || keys & (1 << key);
}

/* The end of the n-th commit; of none: where all began. */
static uint64_t position(int n) { return (uint64_t)(n + 1) * LSN_STEP; }
static uint64_t insert_lsn(const struct model *model) { return position(model->n_logged); }

/* As GetSnapshotData makes it: xmax lies behind the last xid that is over. */
static struct pgsnapshot make_snapshot(const struct fill_model *like) {
    struct pgsnapshot snapshot = {.xmin = like->xmin, .xmax = like->xmax, .lsn = like->lsn};
    snapshot.running = mem_calloc(MAX_TX, sizeof(uint64_t));
    for (int bit = 0; bit < 64; bit++) {
        if (like->running & (UINT64_C(1) << bit))
            snapshot.running[snapshot.n_running++] = FIRST_XID + (uint64_t)bit;
    }
    return snapshot;
}

static void take_snapshot(const struct model *model, struct fill_model *into) {
    into->xmax = model->last_over_xid + 1;
    into->xmin = into->xmax;
    into->running = 0;
    for (int i = 0; i < MAX_TX; i++) {
        const struct tx *tx = &model->tx[i];
        if ((tx->stage != RUNNING && tx->stage != LOGGED) || tx->xid >= into->xmax) continue;
        into->running |= UINT64_C(1) << (tx->xid - FIRST_XID);
        if (tx->xid < into->xmin) into->xmin = tx->xid;
    }
    into->lsn = insert_lsn(model);
}

/* The order of a key's versions is that of the commits: row locks see to it. */
static int rank(const struct model *model, int i) {
    for (int place = 0; place < model->n_logged; place++) {
        if (model->log[place] == i) return place;
    }
    return -1;
}

static int8_t version_shown(const struct world *world, uint32_t key, bool standby) {
    const struct model *model = &world->model;
    int8_t version = -1;
    for (int place = 0; place < model->n_logged; place++) {
        int i = model->log[place];
        bool shown = standby ? model->tx[i].replayed : model->tx[i].stage == VISIBLE;
        if (shown && touches(world, i, key)) version = (int8_t)i;
    }
    return version;
}

/* Who touches a key waits until whoever touched it before is over. */
static bool is_locked(const struct world *world, int i) {
    for (int other = 0; other < world->scenario->n_tx; other++) {
        const struct tx *tx = &world->model.tx[other];
        if (other == i || tx->stage == IDLE || tx->stage == VISIBLE) continue;
        for (uint32_t key = 0; key < KEYS; key++) {
            if (touches(world, i, key) && touches(world, other, key)) return true;
        }
    }
    return false;
}

/* ---- the promises ---- */

static struct slice key_text(uint32_t key, char text[16]) {
    snprintf(text, 16, "t:%u", key);
    return slice_from(text);
}

static uint64_t key_hash(const struct world *world, uint32_t key) {
    char text[16];
    return store_hash(world->core.store, key_text(key, text));
}

/* The version that memory would answer with; -2: it holds none. */
static int entry_version(struct world *world, uint32_t key, struct row_stamp *stamp) {
    char text[16];
    struct slice slice = key_text(key, text);
    uint64_t hash = key_hash(world, key);
    struct store_guard guard;
    int version = -2;
    store_lock(world->core.store, &hash, 1, &guard);
    const struct entry *entry = store_find(world->core.store, &guard, slice, hash, 1);
    if (entry && entry_row_stamp(entry)->generation == tablestate_generation(world->table->state)) {
        struct slice bytes = {0};
        entry_row_json(entry, &bytes);
        version = bytes.data[0] - 'a' - 1;
        *stamp = *entry_row_stamp(entry);
    }
    store_unlock(world->core.store, &guard);
    return version;
}

static void expect(struct world *world, int version, int i, const char *promise) {
    int have = version < 0 ? -1 : rank(&world->model, version);
    if (have < rank(&world->model, i)) world->broken = promise;
}

static void check(struct world *world) {
    struct model *model = &world->model;
    bool lease = core_lease_holds(&world->core, model->ticks + 1);
    for (uint32_t key = 0; key < KEYS; key++) {
        struct row_stamp stamp;
        int version = entry_version(world, key, &stamp);
        if (version == -2) continue;
        for (int i = 0; i < world->scenario->n_tx; i++) {
            const struct tx *tx = &model->tx[i];
            if (!touches(world, i, key)) continue;
            if (tx->applied) expect(world, version, i, "P1");
            if (tx->own) expect(world, version, i, "P7");
            if (lease && tx->stage == VISIBLE && tx->told_at <= model->ticks - MAX_STALENESS)
                expect(world, version, i, "P2");
        }
    }
}

/* ---- the steps ---- */

static const struct relation_column relation_columns[] = {{"id", 23, -1, true}};
static const struct relation relation = {.oid = 1,
                                         .version = 1,
                                         .schema = "public",
                                         .name = "t",
                                         .replica_identity = 'd',
                                         .n_columns = 1,
                                         .columns = relation_columns};

static void bring(struct world *world, int i) {
    struct change_sink sink = coherence_sink(world->coherence);
    struct error err = {0};
    struct transaction tx = {.xid = world->model.tx[i].xid};
    assert_true(sink.ops->begin(sink.self, &tx, &err));
    if (world->scenario->touches[i] == 0) {
        struct change change = {.operation = CHANGE_TRUNCATE, .relation = &relation};
        assert_true(sink.ops->change(sink.self, &tx, &change, &err));
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        if (!(world->scenario->touches[i] & (1 << key))) continue;
        char digit = (char)('0' + key);
        struct value row = {VALUE_TEXT, 1, &digit};
        struct change change = {.operation = CHANGE_UPDATE, .relation = &relation, .new_row = &row};
        assert_true(sink.ops->change(sink.self, &tx, &change, &err));
    }
    tx.commit_lsn = tx.end_lsn = world->model.tx[i].lsn;
    assert_true(sink.ops->commit(sink.self, &tx, &err));
}

static void apply_own(struct world *world, int i) {
    world->model.tx[i].own = 1;
    if (!core_rule_holds(&world->core, RULE_OWN_WRITES)) return;
    struct touched touched = {.max_keys = 10};
    for (uint32_t key = 0; key < KEYS; key++) {
        char text[16];
        if (touches(world, i, key))
            touched_key(&touched, world->table->number, key_hash(world, key), key_text(key, text));
    }
    coherence_apply(&world->core, &touched, world->model.tx[i].xid);
    touched_deinit(&touched);
    world->model.tx[i].applied = 1;
}

static void send(struct world *world, int f) {
    struct fill_model *fill = &world->model.fills[f];
    bool standby = world->scenario->standby;
    if (!fill->sent && !fill->asked) atomic_fetch_add(&world->core.fillclocks[f].started, 1);
    fill->sent = 1;
    fill->version = version_shown(world, world->scenario->fill_keys[f], standby);
    if (!standby) take_snapshot(&world->model, fill);
    flights_sent(world->core.flights, world->fills[f]);
}

static void ask_lsn(struct world *world, int f) {
    struct fill_model *fill = &world->model.fills[f];
    if (!fill->sent) atomic_fetch_add(&world->core.fillclocks[f].started, 1);
    fill->asked = 1;
    fill->lsn = position(world->model.n_replayed);
}

static void join(struct world *world, int f) {
    struct fill_model *fill = &world->model.fills[f];
    struct fill like = *world->fills[f];
    fill->joined = 1;
    like.registered = false;
    assert_false(flights_enter(world->core.flights, &like, &world->waiters[f]));
    for (int i = 0; i < world->scenario->n_tx; i++) {
        const struct tx *tx = &world->model.tx[i];
        if (tx->stage == VISIBLE && tx->streamed && lease_applied_lsn(world->core.lease) >= tx->lsn)
            fill->owed |= (uint8_t)(1 << i);
    }
}

static void answer(struct world *world, int f) {
    struct fill_model *fill = &world->model.fills[f];
    uint32_t key = world->scenario->fill_keys[f];
    char text[16];
    char value = (char)('a' + fill->version + 1);
    struct slice slice = key_text(key, text);
    struct keep_row row = {
        .table = world->table,
        .key = slice,
        .hash = key_hash(world, key),
        .form = FORM_STRING,
        .bytes = slice_make(&value, 1),
        .canonical = slice,
        .exact = true,
        .lasting = true,
        .expire_at_ms = STORE_NEVER,
        .filled_at_us = 1,
    };
    struct pgsnapshot snapshot = {.standby = true, .lsn = fill->lsn};
    if (!world->scenario->standby) snapshot = make_snapshot(fill);
    enum keep_outcome outcome = keep_row(&world->core, &row, &snapshot);
    world->kept += outcome == KEEP_STORED;
    pgsnapshot_deinit(&snapshot);
    enum flight_answer share = fill_shares(&world->core, outcome, world->model.ticks + 1);
    struct waiter *ready;
    flights_settle(world->core.flights, world->fills[f], share, &ready);
    for (; ready; ready = ready->next) {
        for (int i = 0; ready == &world->waiters[f] && i < world->scenario->n_tx; i++) {
            if (fill->owed & (1 << i) && touches(world, i, key))
                expect(world, fill->version, i, "P3");
        }
    }
    /* What is left would be owed another attempt; the model's end of it. */
    flights_settle(world->core.flights, world->fills[f], FLIGHT_LAST, &ready);
    atomic_fetch_add(&world->core.fillclocks[f].oldest, 1);
    fill->answered = 1;
}

static void pulse(struct world *world) {
    struct model *model = &world->model;
    struct fill_model taken = {0};
    take_snapshot(model, &taken);
    model->samples[(int)model->pulses].at = model->ticks;
    model->samples[(int)model->pulses].lsn = insert_lsn(model);
    lease_sample(world->core.lease, model->ticks + 1, insert_lsn(model));
    model->pulses++;
    atomic_store(&world->core.seen_xmin, taken.xmin);
    struct pgsnapshot snapshot = make_snapshot(&taken);
    forgetting_go_on(&world->core, &world->forgetting);
    if (!forgetting_waits(&world->forgetting))
        forgetting_begin(&world->core, &world->forgetting, &snapshot);
    forgetting_go_on(&world->core, &world->forgetting);
    pgsnapshot_deinit(&snapshot);
}

static void cut(struct world *world) {
    struct model *model = &world->model;
    for (int place = model->n_applied; place < model->n_logged; place++) {
        model->tx[(int)model->log[place]].streamed = 0;
        model->tx[(int)model->log[place]].applied =
            1; /* as far as P1 goes: it was before the session */
    }
    model->n_applied = model->n_logged;
    model->cuts++;
    model->joining = 1;
    coherence_reset(&world->core);
    lease_applied(world->core.lease, insert_lsn(model));
}

static void take_horizon(struct world *world) {
    struct model *model = &world->model;
    model->joining = 0;
    model->last_over_xid = model->next_xid; /* the transaction that took it is over */
    tablestate_set_horizon(world->table->state, model->next_xid++, insert_lsn(model));
}

static bool is_enabled(const struct world *world, enum step step, int i) {
    const struct model *model = &world->model;
    const struct scenario *scenario = world->scenario;
    const struct tx *tx = &model->tx[i];
    const struct fill_model *fill = &model->fills[i < MAX_FILLS ? i : 0];
    bool is_tx = i < scenario->n_tx;
    bool is_fill = i < scenario->n_fills;
    switch (step) {
    case STEP_BEGIN: return is_tx && tx->stage == IDLE && !is_locked(world, i);
    case STEP_LOG: return is_tx && tx->stage == RUNNING;
    case STEP_SHOW: return is_tx && tx->stage == LOGGED;
    case STEP_OWN: return scenario->own && i == 0 && tx->stage == VISIBLE && !tx->own;
    case STEP_SEND:
        return is_fill && !fill->sent && (fill->asked || !scenario->standby || scenario->lsn_late);
    case STEP_LSN:
        return is_fill && scenario->standby && !fill->asked && (fill->sent || !scenario->lsn_late);
    case STEP_JOIN:
        return is_fill && scenario->joiners && fill->sent && !fill->joined && !fill->answered;
    case STEP_ANSWER:
        return is_fill && fill->sent && !fill->answered && (fill->asked || !scenario->standby);
    case STEP_REPLAY: return i == 0 && scenario->standby && model->n_replayed < model->n_logged;
    case STEP_APPLY: return i == 0 && model->n_applied < model->n_logged;
    case STEP_PULSE: return i == 0 && model->pulses < scenario->pulses;
    case STEP_FORGET: return i == 0 && world->forgetting.waits;
    case STEP_CUT: return i == 0 && model->cuts < scenario->cuts;
    case STEP_HORIZON: return i == 0 && model->joining;
    case STEP_TICK: return i == 0 && model->ticks < scenario->ticks;
    case N_STEPS: break;
    }
    return false;
}

static void take(struct world *world, enum step step, int i) {
    struct model *model = &world->model;
    struct tx *tx = &model->tx[i];
    world->n_steps++;
    switch (step) {
    case STEP_BEGIN:
        tx->stage = RUNNING;
        tx->xid = model->next_xid++;
        break;
    case STEP_LOG:
        tx->stage = LOGGED;
        tx->streamed = 1;
        model->log[model->n_logged++] = (int8_t)i;
        tx->lsn = insert_lsn(model);
        break;
    case STEP_SHOW:
        tx->stage = VISIBLE;
        tx->told_at = model->ticks;
        if (tx->xid > model->last_over_xid) model->last_over_xid = tx->xid;
        break;
    case STEP_REPLAY: model->tx[(int)model->log[model->n_replayed++]].replayed = 1; break;
    case STEP_APPLY:
        model->last_applied = model->log[model->n_applied++];
        bring(world, model->last_applied);
        model->tx[(int)model->last_applied].applied = 1;
        break;
    case STEP_SEND: send(world, i); break;
    case STEP_LSN: ask_lsn(world, i); break;
    case STEP_JOIN: join(world, i); break;
    case STEP_ANSWER: answer(world, i); break;
    case STEP_PULSE: pulse(world); break;
    case STEP_FORGET: forgetting_go_on(&world->core, &world->forgetting); break;
    case STEP_CUT: cut(world); break;
    case STEP_HORIZON: take_horizon(world); break;
    case STEP_TICK: model->ticks++; break;
    case STEP_OWN: apply_own(world, i); break;
    case N_STEPS: break;
    }
    check(world);
}

/* ---- a world ---- */

static const char *const columns_of_t[] = {"id"};

static struct tablemap *make_map(struct world *world) {
    static const struct catalog_column columns[] = {{.name = columns_of_t[0],
                                                     .attnum = 1,
                                                     .type_oid = 23,
                                                     .base_type_oid = 23,
                                                     .base_type_name = "int4",
                                                     .type_name = "integer",
                                                     .base_typtype = 'b',
                                                     .selectable = true,
                                                     .in_identity = true}};
    static const uint16_t places[] = {0};
    static const struct catalog_index key = {.name = "t_pkey",
                                             .primary = true,
                                             .usable_as_key = true,
                                             .replica_identity = true,
                                             .n_columns = 1,
                                             .columns = places};
    static const struct catalog_table tables[] = {{.oid = 1,
                                                   .schema = "public",
                                                   .name = "t",
                                                   .kind = 'r',
                                                   .replica_identity = 'd',
                                                   .readable = true,
                                                   .selectable = true,
                                                   .n_columns = 1,
                                                   .columns = columns,
                                                   .n_indexes = 1,
                                                   .indexes = &key,
                                                   .primary_key = &key}};
    static const struct catalog catalog = {.database = "d", .n_tables = 1, .tables = tables};
    struct tablemap_plan plan = {
        .config = world->core.config, .states = world->core.states, .version = 1};
    return tablemap_build(&catalog, &plan);
}

static struct world *make_world(struct cache_config *config, struct metrics *metrics,
                                unsigned rules_off) {
    struct world *world = mem_aligned(64, sizeof *world);
    memset(world, 0, sizeof *world);
    struct core *core = &world->core;
    struct store_config store = {.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = 1};
    struct metric **cells = (struct metric **)&core->count;
    for (size_t i = 0; i < sizeof core->count / sizeof *cells; i++)
        cells[i] = metrics_counter(metrics, "test", "test", NULL);
    *config = (struct cache_config){.coherence = COHERENCE_STREAM};
    core->config = config;
    core->rules_off = rules_off;
    core->store = store_create(&store, NULL);
    core->states = tablestates_create();
    core->links = links_create(10);
    core->flights = flights_create();
    core->awaits = awaits_create();
    core->maps = tablemaps_create();
    struct tablemap *map = make_map(world);
    world->table = tablemap_at(map, 0);
    atomic_store(&world->table->state->version, world->table->version);
    tablemaps_publish(core->maps, &map);
    return world;
}

static void end_run(struct world *world) {
    struct waiter *ready;
    for (int f = 0; f < MAX_FILLS; f++) {
        if (!world->fills[f]) continue;
        if (!world->model.fills[f].answered)
            flights_settle(world->core.flights, world->fills[f], FLIGHT_LAST, &ready);
        mem_free(world->fills[f]);
        world->fills[f] = NULL;
    }
    coherence_destroy(&world->coherence);
    forgetting_deinit(&world->forgetting);
    if (world->core.recent) recent_destroy(&world->core.recent);
    if (world->core.lease) lease_destroy(&world->core.lease);
}

static void destroy_world(struct world **world) {
    struct core *core = &(*world)->core;
    end_run(*world);
    tablemaps_destroy(&core->maps);
    awaits_destroy(&core->awaits);
    flights_destroy(&core->flights);
    links_destroy(&core->links);
    tablestates_destroy(&core->states);
    store_destroy(&core->store);
    mem_free((*world)->seen);
    mem_free(*world);
    *world = NULL;
}

/* The feed streams, the table has joined, memory is empty. */
static void begin_run(struct world *world) {
    struct core *core = &world->core;
    const struct scenario *scenario = world->scenario;
    struct tablestate *state = world->table->state;
    end_run(world);
    memset(&world->model, 0, sizeof world->model);
    world->model.next_xid = FIRST_XID;
    world->model.last_over_xid = FIRST_XID - 1;
    world->model.last_applied = -1;
    world->broken = NULL;
    memset(core->fillclocks, 0, MAX_FILLS * sizeof core->fillclocks[0]);
    world->forgetting.waits = false;
    core->seen_xmin = FIRST_XID;
    core->recent = recent_create(scenario->max_notes ? (size_t)scenario->max_notes : 100);
    core->lease = lease_create(MAX_STALENESS);
    lease_applied(core->lease, position(0));
    links_clear(core->links);
    world->coherence = coherence_create(core);
    atomic_store(&state->generation, 1);
    atomic_store(&state->n_fences, 0);
    atomic_store(&state->fenced_xid, 0);
    tablestate_part(state);
    tablestate_set_horizon(state, FIRST_XID, position(0));
    for (uint32_t key = 0; key < KEYS; key++) {
        char text[16];
        uint64_t hash = key_hash(world, key);
        struct store_guard guard;
        store_lock(core->store, &hash, 1, &guard);
        store_remove(core->store, &guard, key_text(key, text), hash, REMOVED_DELETED);
        store_unlock(core->store, &guard);
    }
    for (int f = 0; f < scenario->n_fills; f++) {
        char text[16];
        struct fill *fill = mem_zalloc(sizeof *fill);
        key_text(scenario->fill_keys[f], text);
        fill->hash = key_hash(world, scenario->fill_keys[f]);
        fill->key = SLICE("t"); /* the hash tells them apart */
        fill->form = (enum key_form)f;
        world->fills[f] = fill;
        world->askers[f] = world->waiters[f] = (struct waiter){0};
        assert_true(flights_enter(core->flights, fill, &world->askers[f]));
    }
}

/* ---- all orders ---- */

/* Everything that what is yet to come depends on. */
static uint64_t signature(struct world *world) {
    struct core *core = &world->core;
    const struct tablestate *state = world->table->state;
    struct {
        struct model model;
        struct {
            int64_t version;
            uint64_t xmin, notes;
        } keys[KEYS];
        uint64_t horizon, fenced, n_fences, fences[TABLESTATE_FENCES], standby_lsn;
        uint64_t applied_lsn, waits, xmin, xmax, running, after[MAX_FILLS], past;
        int64_t deadline;
    } seen;
    memset(&seen, 0, sizeof seen);
    memcpy(&seen.model, &world->model, sizeof seen.model);
    for (uint32_t key = 0; key < KEYS; key++) {
        struct row_stamp stamp = {0};
        seen.keys[key].version = entry_version(world, key, &stamp);
        seen.keys[key].xmin = stamp.snapshot_xmin;
        for (int i = 0; i < world->scenario->n_tx; i++) {
            uint64_t xid = world->model.tx[i].xid;
            struct pgsnapshot all_but = {
                .xmin = xid, .xmax = UINT64_MAX, .n_running = 1, .running = &xid};
            bool noted = xid && recent_blocks(core->recent, key_hash(world, key), &all_but, NULL);
            seen.keys[key].notes |= (uint64_t)noted << i;
        }
    }
    seen.horizon = state->horizon_xid;
    seen.fenced = state->fenced_xid;
    seen.n_fences = state->n_fences;
    memcpy(seen.fences, state->fences, state->n_fences * sizeof seen.fences[0]);
    seen.standby_lsn = state->standby_lsn;
    seen.applied_lsn = lease_applied_lsn(core->lease);
    seen.deadline = lease_deadline_us(lease_deadline(core->lease));
    for (int n = 0; n <= world->model.n_logged; n++)
        seen.past |= (uint64_t)recent_is_past(core->recent, 1, position(n)) << n;
    const struct forgetting *forgetting = &world->forgetting;
    if (forgetting->waits) {
        seen.waits = 1;
        seen.xmin = forgetting->snapshot.xmin;
        seen.xmax = forgetting->snapshot.xmax;
        for (uint32_t i = 0; i < forgetting->snapshot.n_running; i++)
            seen.running |= UINT64_C(1) << (forgetting->snapshot.running[i] - FIRST_XID);
        memcpy(seen.after, forgetting->after, sizeof seen.after);
    }
    uint64_t hash = XXH3_64bits(&seen, sizeof seen);
    return hash ? hash : 1;
}

static void grow_seen(struct world *world) {
    size_t cap = world->cap_seen ? world->cap_seen * 2 : 1 << 12;
    uint64_t *old = world->seen;
    size_t n = world->cap_seen;
    world->seen = mem_calloc(cap, sizeof *world->seen);
    world->cap_seen = cap;
    for (size_t i = 0; i < n; i++) {
        if (!old[i]) continue;
        size_t at = old[i] & (cap - 1);
        while (world->seen[at])
            at = (at + 1) & (cap - 1);
        world->seen[at] = old[i];
    }
    mem_free(old);
}

static bool is_new(struct world *world) {
    if (world->n_seen * 2 >= world->cap_seen) grow_seen(world);
    uint64_t hash = signature(world);
    size_t at = hash & (world->cap_seen - 1);
    while (world->seen[at] && world->seen[at] != hash)
        at = (at + 1) & (world->cap_seen - 1);
    if (world->seen[at]) return false;
    world->seen[at] = hash;
    world->n_seen++;
    return true;
}

static uint32_t enabled_steps(const struct world *world, uint16_t *steps) {
    uint32_t n = 0;
    for (int step = 0; step < N_STEPS; step++) {
        for (int i = 0; i < MAX_TX; i++) {
            if ((i == 0 || i < MAX_FILLS || step <= STEP_SHOW) && is_enabled(world, step, i))
                steps[n++] = (uint16_t)(step << 8 | i);
        }
    }
    return n;
}

static void walk(struct world *world, int depth) {
    begin_run(world);
    for (int at = 0; at < depth; at++)
        take(world, world->path[at] >> 8, world->path[at] & 255);
}

/* Depth first; a state that was there before is not gone on from. The real objects cannot be copied, so to go back is to
 * begin anew and walk there. */
static void explore(struct world *world, int depth) {
    uint16_t steps[N_STEPS * MAX_TX];
    uint32_t n = enabled_steps(world, steps);
    assert_true(depth < MAX_DEPTH);
    for (uint32_t i = 0; i < n && !world->broken; i++) {
        if (i > 0) walk(world, depth);
        world->path[depth] = steps[i];
        world->depth = depth + 1;
        take(world, steps[i] >> 8, steps[i] & 255);
        if (!world->broken && is_new(world)) explore(world, depth + 1);
    }
}

/* Orders at random, each to its end. */
static void wander(struct world *world, unsigned seed, int runs) {
    for (int run = 0; run < runs && !world->broken; run++) {
        uint16_t steps[N_STEPS * MAX_TX];
        uint32_t n;
        begin_run(world);
        for (world->depth = 0; !world->broken && (n = enabled_steps(world, steps)) > 0;) {
            uint16_t step = steps[(unsigned)rand_r(&seed) % n];
            assert_true(world->depth < MAX_DEPTH);
            world->path[world->depth++] = step;
            take(world, step >> 8, step & 255);
        }
    }
}

static void print_path(const struct world *world) {
    for (int at = 0; at < world->depth; at++)
        printf(" %s%d", step_names[world->path[at] >> 8], world->path[at] & 255);
    printf("\n");
}

/* ---- scenarios ---- */

/* clang-format off */
static const struct scenario gap = {"gap", .n_tx = 2, .touches = {1, 1}, .n_fills = 2, .pulses = 2};
static const struct scenario two_keys = {"two keys", .n_tx = 2, .touches = {3, 2}, .n_fills = 2, .fill_keys = {0, 1}, .pulses = 1};
static const struct scenario truncates = {"truncate", .n_tx = 2, .touches = {0, 1}, .n_fills = 2, .pulses = 1};
static const struct scenario full = {"the recent set is full", .n_tx = 2, .touches = {1, 3}, .n_fills = 2, .fill_keys = {0, 1}, .pulses = 1, .max_notes = 1};
static const struct scenario start = {"start", .n_tx = 2, .touches = {1, 1}, .n_fills = 1, .pulses = 1, .cuts = 1};
static const struct scenario joiners = {"joining", .n_tx = 2, .touches = {1, 1}, .n_fills = 1, .joiners = true, .pulses = 1};
static const struct scenario lease = {"lease", .n_tx = 2, .touches = {1, 1}, .n_fills = 1, .pulses = 2, .ticks = 3};
static const struct scenario own = {"own writes", .n_tx = 2, .touches = {1, 1}, .n_fills = 2, .own = true, .pulses = 1};
static const struct scenario standby = {"standby", .n_tx = 2, .touches = {1, 1}, .n_fills = 1, .standby = true, .pulses = 1, .cuts = 1};
static const struct scenario standby_late = {"standby, its LSN read after the row", .n_tx = 2, .touches = {1, 1}, .n_fills = 1, .standby = true, .lsn_late = 1};
static const struct scenario large = {"large", .n_tx = 6, .touches = {1, 3, 2, 0, 1, 3}, .n_fills = 4, .fill_keys = {0, 1, 0, 1}, .joiners = true, .pulses = 4, .cuts = 1, .ticks = 3, .own = true, .max_notes = 3};
static const struct scenario *const small_ones[] = {&gap, &two_keys, &truncates, &full, &start, &joiners, &lease, &own, &standby};

/* A minute and more of all orders: where FRESHET_SIMULATE is set. */
static const struct scenario long_ones[] = {
    {"truncate twice seen", .n_tx = 2, .touches = {0, 1}, .n_fills = 2, .pulses = 2},
    {"the recent set is full, two pulses", .n_tx = 2, .touches = {1, 3}, .n_fills = 2, .fill_keys = {0, 1}, .pulses = 2, .max_notes = 1},
    {"start, two fills", .n_tx = 2, .touches = {1, 1}, .n_fills = 2, .pulses = 1, .cuts = 1},
    {"joining two fills", .n_tx = 2, .touches = {1, 1}, .n_fills = 2, .joiners = true, .pulses = 1},
    {"lease, four ticks", .n_tx = 2, .touches = {1, 1}, .n_fills = 1, .pulses = 2, .ticks = 4},
    {"standby, two fills", .n_tx = 2, .touches = {1, 1}, .n_fills = 2, .standby = true, .pulses = 1, .cuts = 1},
    {"standby, truncate", .n_tx = 2, .touches = {0, 1}, .n_fills = 2, .standby = true, .pulses = 2},
    {"three transactions", .n_tx = 3, .touches = {1, 1, 1}, .n_fills = 2, .pulses = 1},
};
/* clang-format on */

/* True: a promise was broken. */
static bool search(const struct scenario *scenario, unsigned rules_off, bool at_random) {
    struct cache_config config;
    struct metrics *metrics = metrics_create();
    struct world *world = make_world(&config, metrics, rules_off);
    /* Where time does not pass there is no lease. */
    config.on_stale = scenario->ticks ? ON_STALE_BYPASS : ON_STALE_SERVE;
    world->scenario = scenario;
    begin_run(world);
    if (at_random)
        wander(world, 1, getenv("FRESHET_SIMULATE") ? 500000 : 10000);
    else
        explore(world, 0);
    bool broken = world->broken != NULL;
    printf("%s%s%s: %zu states, %llu steps, %d kept%s%s", scenario->name,
           rules_off ? ", a rule out" : "", at_random ? ", at random" : "", world->n_seen,
           (unsigned long long)world->n_steps, world->kept, broken ? "; breaks " : "\n",
           broken ? world->broken : "");
    if (broken) print_path(world);
    if (!broken) assert_true(world->kept > 100); /* it is no proof if nothing is ever kept */
    destroy_world(&world);
    metrics_destroy(&metrics);
    return broken;
}

static void no_order_of_steps_breaks_a_promise(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof small_ones / sizeof small_ones[0]; i++)
        assert_false(search(small_ones[i], 0, false));
    for (size_t i = 0; getenv("FRESHET_SIMULATE") && i < sizeof long_ones / sizeof long_ones[0];
         i++)
        assert_false(search(&long_ones[i], 0, false));
}

static void nor_does_one_at_random_of_many(void **state) {
    (void)state;
    assert_false(search(&large, 0, true));
}

static void each_rule_is_needed(void **state) {
    (void)state;
    static const struct {
        enum core_rule rule;
        const struct scenario *scenario;
    } needed[] = {
        {RULE_OWN_SNAPSHOT, &gap},      {RULE_APPLY_BEFORE_ADVANCE, &gap},
        {RULE_SEES_APPLIED, &gap},      {RULE_SEES_APPLIED, &truncates},
        {RULE_SEES_APPLIED, &full},     {RULE_FORGET_LATE, &gap},
        {RULE_FORGET_LATE, &truncates}, {RULE_START, &start},
        {RULE_JOIN, &joiners},          {RULE_OWN_WRITES, &own},
        {RULE_LEASE, &lease},           {RULE_SEES_APPLIED, &standby},
        {RULE_START, &standby},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (search(needed[i].scenario, 1u << needed[i].rule, false)) continue;
        fail_msg("rule %d is not missed in \"%s\"", needed[i].rule, needed[i].scenario->name);
    }
}

static void a_standby_tells_its_position_before_the_row(void **state) {
    (void)state;
    assert_true(search(&standby_late, 0, false));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_order_of_steps_breaks_a_promise),
        cmocka_unit_test(nor_does_one_at_random_of_many),
        cmocka_unit_test(each_rule_is_needed),
        cmocka_unit_test(a_standby_tells_its_position_before_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

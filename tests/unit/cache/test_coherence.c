/* The core of coherence under a small model of PostgreSQL: transactions that are logged, streamed and made visible at
 * times of their own, fills that were begun at any moment, and forgetting. Thousands of interleavings by seed; each
 * step is checked against the promise: no entry is older than a transaction that was applied and touches its key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/rows/coherence.h"
#include "cache/rows/keep.h"

enum { KEYS = 3, MAX_TRANSACTIONS = 100, MAX_FILLS = 6, STEPS = 700, SEEDS = 400, FIRST_XID = 100 };

enum stage { RUNNING, LOGGED, VISIBLE };

struct model_transaction {
    enum stage stage;
    bool touches[KEYS];
    bool whole; /* TRUNCATE: of all keys */
    bool streamed;
    bool applied;
};

struct model_fill {
    bool begun;
    bool grouped_form; /* the hash form */
    uint32_t key;
    int version; /* what it saw: the last visible transaction that touches the key; -1: none */
    struct pgsnapshot snapshot;
};

struct model {
    struct core core;
    struct table table;
    unsigned seed;
    int n;
    struct model_transaction transactions[MAX_TRANSACTIONS];
    int log[MAX_TRANSACTIONS]; /* in the order of their commit records */
    int n_logged, n_applied;
    struct model_fill fills[MAX_FILLS];
    bool forgetting;
    struct pgsnapshot forget;
    bool forget_awaits[MAX_FILLS];
    /* Rules that the model itself may break, to see that it notices. */
    bool forget_early, start_at_once;
    bool violated;
    int kept;
};

static int roll(struct model *model, int sides) { return rand_r(&model->seed) % sides; }

static struct slice key_text(uint32_t key, char text[16]) {
    snprintf(text, 16, "t:%u", key);
    return slice_from(text);
}

/* As GetSnapshotData makes it: xmax lies behind the last xid that is over. */
static struct pgsnapshot take_snapshot(const struct model *model) {
    int last_over = -1;
    for (int i = 0; i < model->n; i++)
        last_over = model->transactions[i].stage == VISIBLE ? i : last_over;
    struct pgsnapshot snapshot = {.xmax = FIRST_XID + (uint64_t)last_over + 1};
    snapshot.xmin = snapshot.xmax;
    snapshot.running = mem_calloc(MAX_TRANSACTIONS, sizeof(uint64_t));
    for (int i = 0; i < last_over; i++) {
        if (model->transactions[i].stage == VISIBLE) continue;
        if (snapshot.n_running == 0) snapshot.xmin = FIRST_XID + (uint64_t)i;
        snapshot.running[snapshot.n_running++] = FIRST_XID + (uint64_t)i;
    }
    return snapshot;
}

static bool touches(const struct model_transaction *transaction, uint32_t key) {
    return transaction->whole || transaction->touches[key];
}

/* Row locks: who touches a key waits until whoever touched it before is over. */
static bool is_locked(const struct model *model, uint32_t key) {
    for (int i = 0; i < model->n; i++) {
        if (model->transactions[i].stage != VISIBLE && touches(&model->transactions[i], key))
            return true;
    }
    return false;
}

static void begin_transaction(struct model *model) {
    if (model->n == MAX_TRANSACTIONS) return;
    struct model_transaction *transaction = &model->transactions[model->n];
    *transaction = (struct model_transaction){.streamed = true};
    bool any_locked = false;
    for (uint32_t key = 0; key < KEYS; key++) {
        any_locked |= is_locked(model, key);
        transaction->touches[key] = roll(model, 2) && !is_locked(model, key);
    }
    transaction->whole = !any_locked && roll(model, 6) == 0;
    model->n++;
}

static void go_on(struct model *model, int i) {
    struct model_transaction *transaction = &model->transactions[i];
    if (transaction->stage == RUNNING) {
        transaction->stage = LOGGED;
        model->log[model->n_logged++] = i;
    } else {
        transaction->stage = VISIBLE;
    }
}

static void go_on_with_transaction(struct model *model) {
    int open[MAX_TRANSACTIONS];
    int n_open = 0;
    for (int i = 0; i < model->n; i++) {
        if (model->transactions[i].stage != VISIBLE) open[n_open++] = i;
    }
    if (n_open > 0) go_on(model, open[roll(model, n_open)]);
}

static void apply_next(struct model *model) {
    if (model->n_applied == model->n_logged) return;
    int i = model->log[model->n_applied++];
    struct model_transaction *transaction = &model->transactions[i];
    if (!transaction->streamed) return;
    struct touched touched = {.max_keys = 100};
    for (uint32_t key = 0; key < KEYS; key++) {
        char text[16];
        struct slice slice = key_text(key, text);
        if (transaction->touches[key])
            touched_key(&touched, 0, store_hash(model->core.store, slice), slice);
    }
    if (transaction->whole) touched_table(&touched, 0);
    coherence_apply(&model->core, &touched, FIRST_XID + (uint64_t)i);
    touched_deinit(&touched);
    transaction->applied = true;
}

static void begin_fill(struct model *model) {
    struct model_fill *fill = &model->fills[roll(model, MAX_FILLS)];
    if (fill->begun) return;
    *fill = (struct model_fill){.begun = true, .key = (uint32_t)roll(model, KEYS), .version = -1};
    fill->grouped_form = roll(model, 2);
    fill->snapshot = take_snapshot(model);
    for (int i = 0; i < model->n; i++) {
        if (model->transactions[i].stage == VISIBLE && touches(&model->transactions[i], fill->key))
            fill->version = i;
    }
}

static void end_fill(struct model *model) {
    int number = roll(model, MAX_FILLS);
    struct model_fill *fill = &model->fills[number];
    if (!fill->begun) return;
    char text[16];
    char value[16];
    snprintf(value, sizeof value, "%d", fill->version);
    struct slice key = key_text(fill->key, text);
    struct keep_row row = {
        .table = &model->table,
        .key = key,
        .hash = store_hash(model->core.store, key),
        .form = fill->grouped_form ? FORM_HASH : FORM_STRING,
        .bytes = slice_from(value),
        .canonical = key,
        .lasting = true,
        .expire_at_ms = STORE_NEVER,
        .filled_at_us = 1,
    };
    model->kept += keep_row(&model->core, &row, &fill->snapshot) == KEEP_STORED;
    pgsnapshot_deinit(&fill->snapshot);
    fill->begun = false;
    model->forget_awaits[number] = false;
}

static void go_on_forgetting(struct model *model) {
    if (!model->forgetting) {
        model->forget = take_snapshot(model);
        model->forgetting = true;
        for (int i = 0; i < MAX_FILLS; i++)
            model->forget_awaits[i] = model->fills[i].begun && !model->forget_early;
    }
    for (int i = 0; i < MAX_FILLS; i++) {
        if (model->forget_awaits[i]) return;
    }
    recent_forget(model->core.recent, &model->forget);
    tablestate_forget(model->table.state, &model->forget);
    pgsnapshot_deinit(&model->forget);
    model->forgetting = false;
}

static int version_of(struct slice bytes) {
    char text[16];
    snprintf(text, sizeof text, "%.*s", (int)bytes.len, bytes.data);
    return atoi(text);
}

/* Each form of each entry is at least as new as every applied transaction that touches its key. */
static void check(struct model *model, bool quiet) {
    for (uint32_t key = 0; key < KEYS; key++) {
        char text[16];
        struct slice slice = key_text(key, text);
        uint64_t hash = store_hash(model->core.store, slice);
        struct store_guard guard;
        store_lock(model->core.store, &hash, 1, &guard);
        const struct entry *entry = store_find(model->core.store, &guard, slice, hash, 1);
        bool live = entry &&
                    entry_row_stamp(entry)->generation == tablestate_generation(model->table.state);
        for (int i = 0; live && i < model->n; i++) {
            const struct model_transaction *transaction = &model->transactions[i];
            if (!touches(transaction, key) || !(transaction->applied || quiet)) continue;
            struct slice bytes;
            if (entry_row_json(entry, &bytes) && version_of(bytes) < i) model->violated = true;
            if (entry_row_fields(entry, &bytes) && version_of(bytes) < i) model->violated = true;
        }
        store_unlock(model->core.store, &guard);
    }
}

static void setup(struct model *model, const struct cache_config *config, struct metrics *metrics,
                  unsigned seed) {
    struct core *core = &model->core;
    struct store_config store = {.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = seed};
    struct metric *cell = metrics_counter(metrics, "test", "test", NULL);
    model->seed = seed;
    core->config = config;
    core->store = store_create(&store, NULL);
    core->states = tablestates_create();
    core->recent = recent_create(seed % 7 == 0 ? 2 : 1000); /* now and then it is full at once */
    core->links = links_create(10);
    core->lease = lease_create(1);
    core->count.evicted_commit = core->count.fences = cell;
    uint32_t number;
    assert_true(tablestates_number(core->states, "public", "t", &number));
    model->table = (struct table){.prefix = "t",
                                  .state = tablestates_at(core->states, number),
                                  .identified = true,
                                  .exact = true,
                                  .n_keys = 1};
}

/* The stream begins in the midst of things: what was logged before never comes. Then rule 5's horizon is taken. */
static void start_stream(struct model *model) {
    for (int i = 0; i < 12; i++)
        roll(model, 2) ? begin_transaction(model) : go_on_with_transaction(model);
    for (int i = 0; i < model->n_logged; i++)
        model->transactions[model->log[i]].streamed = false;
    for (int i = 0; i < 4; i++)
        roll(model, 2) ? begin_transaction(model) : go_on_with_transaction(model);
    for (int i = 0; i < 3; i++)
        begin_fill(model);
    uint64_t next_xid = FIRST_XID + (uint64_t)model->n;
    tablestate_set_horizon(model->table.state, model->start_at_once ? 0 : next_xid, 1);
    if (model->n < MAX_TRANSACTIONS) /* the transaction that took the horizon's xid */
        model->transactions[model->n++] = (struct model_transaction){.stage = VISIBLE};
}

static void teardown(struct model *model) {
    for (int i = 0; i < MAX_FILLS; i++)
        pgsnapshot_deinit(&model->fills[i].snapshot);
    if (model->forgetting) pgsnapshot_deinit(&model->forget);
    lease_destroy(&model->core.lease);
    links_destroy(&model->core.links);
    recent_destroy(&model->core.recent);
    tablestates_destroy(&model->core.states);
    store_destroy(&model->core.store);
}

static void step(struct model *model) {
    static void (*const steps[])(struct model *) = {
        begin_transaction,
        go_on_with_transaction,
        go_on_with_transaction,
        apply_next,
        apply_next,
        begin_fill,
        end_fill,
        end_fill,
        go_on_forgetting,
    };
    steps[roll(model, sizeof steps / sizeof steps[0])](model);
}

/* All is committed, applied and visible: now every entry equals the database. */
static void finish(struct model *model) {
    for (int i = 0; i < model->n; i++) {
        while (model->transactions[i].stage != VISIBLE)
            go_on(model, i);
    }
    while (model->n_applied < model->n_logged)
        apply_next(model);
    check(model, true);
}

/* Returns how many of the interleavings broke the promise. */
static int explore(bool forget_early, bool start_at_once, int *kept) {
    struct cache_config config = {.coherence = COHERENCE_STREAM};
    int violated = 0;
    *kept = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct metrics *metrics = metrics_create();
        struct model *model = mem_aligned(64, sizeof *model);
        memset(model, 0, sizeof *model);
        model->forget_early = forget_early;
        model->start_at_once = start_at_once;
        setup(model, &config, metrics, seed);
        start_stream(model);
        int steps = 20 + (int)(seed * 13 % STEPS);
        for (int i = 0; i < steps && !model->violated; i++) {
            step(model);
            check(model, false);
        }
        finish(model);
        violated += model->violated;
        *kept += model->kept;
        teardown(model);
        mem_free(model);
        metrics_destroy(&metrics);
    }
    return violated;
}

static void no_interleaving_brings_an_old_row_back(void **state) {
    (void)state;
    int kept;
    assert_int_equal(explore(false, false, &kept), 0);
    assert_true(kept > 5 * SEEDS); /* it is no proof if nothing is ever kept */
}

static void forgetting_before_older_fills_are_over_does(void **state) {
    (void)state;
    int kept;
    assert_true(explore(true, false, &kept) > 0);
}

static void keeping_before_the_start_is_over_does(void **state) {
    (void)state;
    int kept;
    assert_true(explore(false, true, &kept) > 0);
}

static void keep_version(struct model *model, enum key_form form, const char *snapshot_text) {
    struct pgsnapshot snapshot;
    assert_true(pgsnapshot_parse(slice_from(snapshot_text), &snapshot));
    struct keep_row row = {
        .table = &model->table,
        .key = SLICE("t:0"),
        .hash = store_hash(model->core.store, SLICE("t:0")),
        .form = form,
        .bytes = SLICE("1"),
        .canonical = SLICE("t:0"),
        .lasting = true,
        .filled_at_us = 1,
    };
    assert_int_equal(keep_row(&model->core, &row, &snapshot), KEEP_STORED);
    pgsnapshot_deinit(&snapshot);
}

/* The second form was read before transaction 200 committed, and comes when that is not applied yet. */
static void an_entry_is_as_old_as_the_older_of_its_forms(void **state) {
    (void)state;
    struct cache_config config = {.coherence = COHERENCE_STREAM};
    struct metrics *metrics = metrics_create();
    struct model *model = mem_aligned(64, sizeof *model);
    memset(model, 0, sizeof *model);
    setup(model, &config, metrics, 1);
    tablestate_set_horizon(model->table.state, 1, 1);
    keep_version(model, FORM_STRING, "300:300:");
    keep_version(model, FORM_HASH, "200:201:200");
    struct touched touched = {.max_keys = 10};
    uint64_t hash = store_hash(model->core.store, SLICE("t:0"));
    touched_key(&touched, 0, hash, SLICE("t:0"));
    coherence_apply(&model->core, &touched, 200);
    touched_deinit(&touched);
    struct store_guard guard;
    store_lock(model->core.store, &hash, 1, &guard);
    assert_null(store_find(model->core.store, &guard, SLICE("t:0"), hash, 1));
    store_unlock(model->core.store, &guard);
    teardown(model);
    mem_free(model);
    metrics_destroy(&metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_interleaving_brings_an_old_row_back),
        cmocka_unit_test(forgetting_before_older_fills_are_over_does),
        cmocka_unit_test(keeping_before_the_start_is_over_does),
        cmocka_unit_test(an_entry_is_as_old_as_the_older_of_its_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

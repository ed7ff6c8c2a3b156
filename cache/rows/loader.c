#include "cache/rows/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cache/rows/fill.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/lines.h"
#include "cache/rows/lsntimes.h"
#include "cache/rows/pace.h"
#include "cache/rows/packs.h"
#include "cache/rows/pipe.h"
#include "cache/rows/warden.h"

enum {
    MAX_SHAPE_ERRORS = 8,
    TICK_US = 20 * 1000,
    GATHER_ROWS = 64, /* for each statement in flight, before another goes out beside it */
    GATHER_US = 1000, /* ... but no longer than this */
    STANDBY_PATIENCE_US = 200 * 1000,
};

struct loader {
    struct keyspace *owner;
    struct core *core;
    struct loop *loop;
    struct lines *lines;
    struct source *source; /* the standby whose answers are being taken */
    struct packs waiting;
    struct unit *units; /* in flight, the oldest first */
    struct unit *newest;
    struct loop_timer timer;
    struct loop_timer gathered; /* the time is over for which rows gather */
    bool ticking;
    char trouble[640];
};

/* ---- units in flight, in the order of sending: rule 4 asks for the oldest ---- */

static void enlist(struct loader *loader, struct unit *unit) {
    struct fillclock *clock = &loader->core->fillclocks[loader->owner->index];
    unit->number = atomic_load(&clock->started);
    unit->prev = loader->newest;
    unit->next = NULL;
    if (loader->newest)
        loader->newest->next = unit;
    else
        loader->units = unit;
    loader->newest = unit;
    /* Before the query goes out: who looks now either sees it in flight, or looked before its snapshot was taken. */
    atomic_store(&clock->started, unit->number + 1);
    metric_add(loader->core->count.in_flight, unit->n_fills);
}

static void delist(struct loader *loader, struct unit *unit) {
    struct fillclock *clock = &loader->core->fillclocks[loader->owner->index];
    if (unit->next)
        unit->next->prev = unit->prev;
    else
        loader->newest = unit->prev;
    if (unit->prev)
        unit->prev->next = unit->next;
    else
        loader->units = unit->next;
    atomic_store(&clock->oldest,
                 loader->units ? loader->units->number : atomic_load(&clock->started));
    metric_add(loader->core->count.in_flight, -(int64_t)unit->n_fills);
}

static void unit_free(struct unit *unit) {
    for (uint32_t i = 0; i < unit->n_batches; i++)
        batch_deinit(&unit->batches[i]);
    PQclear(unit->error);
    mem_free(unit->batches);
    mem_free(unit->fills);
    mem_free(unit);
}

/* ---- waiting ---- */

/* What a standby cannot know, or has certainly not replayed yet. */
static bool needs_primary(struct core *core, struct fill **fills, uint32_t n) {
    if (sources_count(core->sources) == 1) return true;
    uint64_t lsn = sources_most_replayed(core->sources);
    for (uint32_t i = 0; i < n; i++) {
        const struct fill *fill = fills[i];
        if (fill->of_primary || fill->probe || !core_follows(core, fill->table) ||
            !recent_is_past(core->recent, fill->hash, lsn))
            return true;
    }
    return false;
}

void loader_submit_at(struct loader *loader, struct fill **fills, uint32_t n,
                      int64_t not_before_us) {
    packs_add(&loader->waiting, fills, n,
              (struct pack_terms){.of_primary = needs_primary(loader->core, fills, n),
                                  .not_before_us = not_before_us,
                                  .since_us = loop_now_us(loader->loop)});
}

void loader_submit(struct loader *loader, struct fill **fills, uint32_t n) {
    loader_submit_at(loader, fills, n, 0);
}

/* Turned down by rule 3, at once; for those who came meanwhile, at the key's pace. */
static void submit_again(struct loader *loader, struct fill *fill, int64_t now_us) {
    int64_t due_us = fill->blocked ? 0 : pace_claim(loader->core->pace, fill->hash, now_us);
    loader_submit_at(loader, &fill, 1, due_us);
}

/* ---- answers ---- */

static void shorten(const PGresult *error, char *text, size_t size) {
    const char *primary = PQresultErrorField(error, PG_DIAG_MESSAGE_PRIMARY);
    if (!primary) primary = "the database's error tells nothing";
    snprintf(text, size, "%s", primary);
}

static bool has_state(const PGresult *error, const char *prefix) {
    const char *state = PQresultErrorField(error, PG_DIAG_SQLSTATE);
    return state && strncmp(state, prefix, strlen(prefix)) == 0;
}

/* The table is not what its description says: a column or type has gone, a cached plan's result changed, ... */
static bool is_shape_error(const PGresult *error) {
    static const char *const states[] = {"0A000", "42703", "42P01", "42704", "42883", "42804",
                                         "26000", "42846", "3F000", "XX000", "42501", "42P10"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (has_state(error, states[i])) return true;
    }
    return false;
}

static bool is_passing(const PGresult *error) {
    return has_state(error, "08") || has_state(error, "40") || has_state(error, "57P") ||
           has_state(error, "53") || has_state(error, "55P03") || has_state(error, "25P02");
}

static void fail(struct loader *loader, struct fill *fill, const char *what) {
    struct buf text = {0};
    buf_printf(&text, "ERR %s: %s", fill->table->prefix, what);
    fill_fail(loader->core, &fill, buf_text(&text));
    buf_deinit(&text);
}

/* The value that PostgreSQL found malformed, as far as its message names one. */
static void fail_value(struct loader *loader, struct fill *fill, const char *message) {
    struct buf text = {0};
    uint16_t column = 0;
    for (uint16_t i = 0; i < fill->row.n; i++) {
        text.len = 0;
        buf_append_char(&text, '"');
        buf_append_slice(&text, fill->row.values[i]);
        buf_append_char(&text, '"');
        if (strstr(message, buf_text(&text))) column = i;
    }
    text.len = 0;
    rowkey_bad_value(fill->table, &rowkey_columns(fill->table, fill->row.unique)[column],
                     fill->row.values[column], &text);
    fill_fail(loader->core, &fill, buf_text(&text));
    buf_deinit(&text);
}

/* What was to be seen by one snapshot is read again together. Those that are past their deadline end here. */
static void retry_unit(struct loader *loader, struct unit *unit, const char *message,
                       int64_t now_us, int64_t delay_us) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < unit->n_fills; i++) {
        struct fill *fill = unit->fills[i];
        if (now_us >= fill->deadline_us)
            fail(loader, fill, message);
        else
            unit->fills[n++] = fill;
    }
    if (n > 0) loader_submit_at(loader, unit->fills, n, now_us + delay_us);
}

/* The tables changed under the statements. Read again with their new descriptions, which the control thread looks for
 * now. */
static void retry_shape(struct loader *loader, struct unit *unit, const char *message,
                        int64_t now_us) {
    uint32_t errors = 0;
    for (uint32_t i = 0; i < unit->n_fills; i++) {
        uint32_t of_fill = ++unit->fills[i]->shape_errors;
        if (of_fill > errors) errors = of_fill;
    }
    if (errors > MAX_SHAPE_ERRORS) {
        for (uint32_t i = 0; i < unit->n_fills; i++)
            fail(loader, unit->fills[i], message);
        return;
    }
    for (uint32_t i = 0; i < unit->n_batches; i++)
        warden_table_changed(loader->core->warden, unit->batches[i].statement.table);
    retry_unit(loader, unit, message, now_us, TICK_US << (errors / 2));
}

/* One value is malformed, and the error does not tell whose: each on its own. */
static void take_data_error(struct loader *loader, struct unit *unit, const char *message) {
    const char *state = PQresultErrorField(unit->error, PG_DIAG_SQLSTATE);
    bool of_value = strcmp(state, "22P02") == 0 || strcmp(state, "22003") == 0 ||
                    strcmp(state, "22007") == 0 || strcmp(state, "22008") == 0;
    if (unit->n_fills == 1 && unit->fills[0]->table->query &&
        !(of_value && unit->fills[0]->row.n > 0)) {
        fail(loader, unit->fills[0], message); /* its SQL may divide by zero, ... */
        return;
    }
    if (unit->n_fills == 1) {
        fail_value(loader, unit->fills[0], message);
        return;
    }
    for (uint32_t i = 0; i < unit->n_fills; i++) {
        unit->fills[i]->alone = true;
        loader_submit_at(loader, &unit->fills[i], 1, 0);
    }
}

static void take_error(struct loader *loader, struct unit *unit, int64_t now_us) {
    char message[256] = "the database's answer is incomplete";
    if (unit->error) shorten(unit->error, message, sizeof message);
    if (unit->error && (has_state(unit->error, "22") || has_state(unit->error, "23514"))) {
        take_data_error(loader, unit, message);
    } else if (unit->error && is_shape_error(unit->error)) {
        retry_shape(loader, unit, message, now_us);
    } else if (unit->error && is_passing(unit->error)) {
        retry_unit(loader, unit, message, now_us, TICK_US);
    } else {
        for (uint32_t i = 0; i < unit->n_fills; i++)
            fail(loader, unit->fills[i], message);
    }
}

static void take_row(struct loader *loader, struct batch *batch, uint32_t i,
                     const struct pgsnapshot *snapshot, int64_t now_us) {
    struct fill *fill = batch->fills[i];
    fill->of_primary |= snapshot->standby; /* the next time, if there is one */
    struct batch_row read = batch_row(batch, i);
    if (fill_answer(loader->core, &fill, &read, snapshot, now_us) == FILL_AGAIN)
        submit_again(loader, fill, now_us);
}

/* The worst of what its batches are. */
static enum batch_placed place(struct unit *unit) {
    enum batch_placed worst = unit->error ? BATCH_TORN : BATCH_PLACED;
    for (uint32_t i = 0; i < unit->n_batches && worst != BATCH_TORN; i++) {
        enum batch_placed placed = batch_place(&unit->batches[i]);
        if (placed > worst) worst = placed;
    }
    return worst;
}

/* From now on of the primary. What has to be seen by one snapshot is read again together. */
static void read_again(struct loader *loader, struct fill **fills, uint32_t n, enum refusal why) {
    for (uint32_t i = 0; i < n; i++)
        fills[i]->of_primary = true;
    metric_add(source_metrics(loader->source)->refused[why], n);
    loader_submit(loader, fills, n);
}

static bool admits(const struct loader *loader, const struct batch *batch, uint32_t i,
                   const struct pgsnapshot *snapshot) {
    struct batch_row read = batch_row(batch, i);
    return fill_admits(loader->core, batch->fills[i], &read, snapshot);
}

/* Of a standby only what it has certainly replayed; of a command's rows all or none. */
static void take_standbys(struct loader *loader, struct unit *unit,
                          const struct pgsnapshot *snapshot, int64_t now_us) {
    struct fill **refused = mem_calloc(unit->n_fills, sizeof *refused);
    struct fill **grouped = mem_calloc(unit->n_fills, sizeof *grouped);
    uint32_t n_refused = 0;
    uint32_t n_grouped = 0;
    bool group_refused = false;
    for (uint32_t b = 0; b < unit->n_batches; b++) {
        struct batch *batch = &unit->batches[b];
        for (uint32_t i = 0; i < batch->n_fills; i++)
            group_refused |= batch->fills[i]->grouped && !admits(loader, batch, i, snapshot);
    }
    for (uint32_t b = 0; b < unit->n_batches; b++) {
        struct batch *batch = &unit->batches[b];
        for (uint32_t i = 0; i < batch->n_fills; i++) {
            struct fill *fill = batch->fills[i];
            if (fill->grouped && group_refused)
                grouped[n_grouped++] = fill;
            else if (!fill->grouped && !admits(loader, batch, i, snapshot))
                refused[n_refused++] = fill;
            else
                take_row(loader, batch, i, snapshot, now_us);
        }
    }
    metric_add(source_metrics(loader->source)->fills,
               unit->n_fills - (int64_t)n_refused - (int64_t)n_grouped);
    for (uint32_t i = 0; i < n_refused; i++)
        read_again(loader, &refused[i], 1, REFUSED_LSN);
    if (n_grouped) read_again(loader, grouped, n_grouped, REFUSED_LSN);
    mem_free(refused);
    mem_free(grouped);
}

/* Is it still the standby that was measured, and near enough to be answered from? REFUSALS: it is. */
static enum refusal judge_standby(const struct loader *loader, struct unit *unit, int64_t now_us) {
    struct source *source = pipe_source(unit->pipe);
    if (place(unit) != BATCH_PLACED) return REFUSED_ERROR;
    if (!unit->is_standby || unit->server_start_us != source_server_start_us(source))
        return REFUSED_MOVED;
    int64_t fresh_at_us = lsntimes_at(loader->core->lsntimes, unit->replayed_lsn);
    bool fresh =
        fresh_at_us != 0 && now_us - fresh_at_us <= loader->core->config->max_staleness_ms * 1000;
    return fresh ? REFUSALS : REFUSED_STALE;
}

static void finish_standbys(struct loader *loader, struct unit *unit, int64_t now_us) {
    struct source *source = pipe_source(unit->pipe);
    uint64_t lsn = core_rule_holds(loader->core, RULE_STANDBY) ? unit->replayed_lsn : UINT64_MAX;
    struct pgsnapshot snapshot = {
        .standby = true, .lsn = lsn, .serves = source_serves(source), .served = unit->served};
    enum refusal why = judge_standby(loader, unit, now_us);
    loader->source = source;
    if (why == REFUSALS)
        take_standbys(loader, unit, &snapshot, now_us);
    else
        read_again(loader, unit->fills, unit->n_fills, why);
    loader->source = NULL;
}

/* Does the connection lead to another server than the one whose changes we are told of? */
static bool is_astray(const struct loader *loader, const struct unit *unit) {
    int64_t ours_us = sources_streams_from(loader->core->sources);
    return ours_us != 0 && unit->server_start_us != 0 && unit->server_start_us != ours_us &&
           core_streams(loader->core) && core_rule_holds(loader->core, RULE_SERVER);
}

/* A value whose text PostgreSQL writes in another way than was thought: then it has to say which row is whose. */
static void retry_strange(struct loader *loader, struct unit *unit) {
    for (uint32_t i = 0; i < unit->n_fills; i++)
        unit->fills[i]->row.plain = false;
    loader_submit(loader, unit->fills, unit->n_fills);
}

static bool read_snapshot(const struct unit *unit, struct pgsnapshot *snapshot) {
    const struct batch *first = &unit->batches[0];
    int column = statement_snapshot_at(&first->statement);
    return pgsnapshot_parse(slice_from(PQgetvalue(first->result, 0, column)), snapshot);
}

/* The places where the rows will be kept lie all over memory: they come side by side. */
static void prefetch(const struct store *store, const struct unit *unit) {
    for (uint32_t i = 0; i < unit->n_fills; i++)
        store_prefetch(store, unit->fills[i]->hash);
}

static void finish_primarys(struct loader *loader, struct unit *unit, int64_t now_us) {
    struct pgsnapshot snapshot;
    enum batch_placed placed = place(unit);
    if (placed == BATCH_CHANGED) {
        retry_shape(loader, unit, "the types of its columns change", now_us);
        return;
    }
    if (placed == BATCH_STRANGE) {
        retry_strange(loader, unit);
        return;
    }
    if (placed != BATCH_PLACED || !read_snapshot(unit, &snapshot)) {
        take_error(loader, unit, now_us);
        return;
    }
    snapshot.serves = source_serves(sources_at(loader->core->sources, 0));
    snapshot.served = unit->server_start_us;
    prefetch(loader->core->store, unit);
    for (uint32_t b = 0; b < unit->n_batches; b++) {
        for (uint32_t i = 0; i < unit->batches[b].n_fills; i++)
            take_row(loader, &unit->batches[b], i, &snapshot, now_us);
    }
    pgsnapshot_deinit(&snapshot);
}

static void on_done(void *owner, struct pipe *pipe, struct unit *unit) {
    struct loader *loader = owner;
    int64_t now_us = clock_mono_us();
    bool standby = source_is_standby(pipe_source(pipe));
    bool astray = !standby && is_astray(loader, unit);
    if (standby)
        finish_standbys(loader, unit, now_us);
    else if (astray)
        retry_unit(loader, unit, "rows are read from another server than the change stream's",
                   now_us, TICK_US);
    else
        finish_primarys(loader, unit, now_us);
    delist(loader, unit);
    unit_free(unit);
    if (astray && !source_is_pooled(pipe_source(pipe)))
        pipe_break(pipe, "it leads to another server than the change stream's");
}

static void on_up(void *owner) { loader_pump(owner); }

static void on_down(void *owner, struct pipe *pipe, const char *cause) {
    struct loader *loader = owner;
    int64_t now_us = clock_mono_us();
    for (struct unit *unit = loader->units, *next; unit; unit = next) {
        next = unit->next;
        if (unit->pipe != pipe) continue;
        for (uint32_t i = 0; i < unit->n_fills && source_is_standby(pipe_source(pipe)); i++)
            unit->fills[i]->of_primary = true;
        retry_unit(loader, unit, cause, now_us, 0);
        delist(loader, unit);
        unit_free(unit);
    }
}

/* ---- sending ---- */

static void send(struct loader *loader, struct pipe *pipe, struct unit *unit, int64_t now_us) {
    enlist(loader, unit);
    unit->pipe = pipe;
    unit->served = atomic_load(source_serves(pipe_source(pipe)));
    unit->sent_us = now_us;
    for (uint32_t i = 0; i < unit->n_fills; i++) {
        unit->fills[i]->sent_us = now_us;
        unit->fills[i]->of_standby = source_is_standby(pipe_source(pipe));
        flights_sent(loader->core->flights, unit->fills[i]);
    }
    metric_add(loader->core->count.queries, unit->n_batches);
    pipe_send(pipe, unit);
}

/* Connections that hang: the server's own statement_timeout should have ended the statement long before. */
static void watch(struct loader *loader, int64_t now_us) {
    int64_t limit_us = loader->core->config->fill_timeout_ms * 2000 + 1000 * 1000;
    lines_watch(loader->lines, now_us);
    /* A standby that does not answer its control thread either: its rows come from the primary. */
    for (struct unit *unit = loader->units, *next; unit; unit = next) {
        struct source *source = pipe_source(unit->pipe);
        next = unit->next;
        if (!source_is_standby(source) || source_is_fit(source) ||
            now_us - unit->sent_us < STANDBY_PATIENCE_US)
            continue;
        pipe_break(unit->pipe, "the replica does not answer");
        next = loader->units; /* others of that connection have gone with it */
    }
    if (loader->units && now_us - loader->units->sent_us > limit_us)
        pipe_break(loader->units->pipe, "PostgreSQL does not answer");
}

static void arm(struct loader *loader, int64_t now_us) {
    bool busy = loader->waiting.first || loader->units || lines_are_connecting(loader->lines);
    if (busy && !loader->ticking) loop_timer_set(loader->loop, &loader->timer, now_us + TICK_US);
    loader->ticking |= busy;
}

/* While statements are in flight, rows gather: a statement of many costs little more than one of one, and the answers come soon. Those
 * that do not come soon hold nobody back. */
static bool gathers(struct loader *loader, uint32_t source, int64_t now_us) {
    uint32_t in_flight = lines_in_flight(loader->lines, source);
    if (in_flight == 0 || loader->waiting.n_fills >= in_flight * GATHER_ROWS) return false;
    int64_t due_us = loader->waiting.first->terms.since_us + GATHER_US;
    if (now_us >= due_us) return false;
    loop_timer_set(loader->loop, &loader->gathered, due_us);
    return true;
}

/* The oldest that a connection has room for, and all that go with it. False: none does. What is refused for want of room is overtaken
 * by nothing; what has its share already, by all the others. */
static bool pump_one(struct loader *loader, uint32_t source, int64_t now_us) {
    const struct table *refused = NULL;
    struct pack *pack = NULL;
    while ((pack = packs_next(&loader->waiting, pack, now_us, source > 0)) != NULL) {
        const struct table *table = pack->fills[0]->table;
        struct pipe *pipe;
        if (table == refused) continue;
        switch (lines_pick(loader->lines, source, table, now_us, &pipe)) {
        case LINES_PICKED:
            lines_sent(loader->lines, pipe, table, now_us);
            send(loader, pipe, packs_compose(&loader->waiting, pack, now_us, source > 0), now_us);
            return true;
        case LINES_SHARED: refused = table; break;
        case LINES_FULL: return false;
        }
    }
    return false;
}

static void pump(struct loader *loader, uint32_t source, int64_t now_us) {
    while (loader->waiting.first && !gathers(loader, source, now_us) &&
           pump_one(loader, source, now_us)) {
    }
}

/* The fittest standby that is not used yet in this turn: the one with the least to do; then the one that lags least. 0: none. */
static uint32_t next_standby(const struct loader *loader, const bool *used) {
    uint32_t best = 0;
    uint32_t least = 0;
    for (uint32_t i = 1; i < sources_count(loader->core->sources); i++) {
        struct source *source = sources_at(loader->core->sources, i);
        if (used[i] || !source_is_fit(source)) continue;
        uint32_t busy = lines_in_flight(loader->lines, i);
        int64_t lead_us =
            best ? source_lag_us(sources_at(loader->core->sources, best)) - source_lag_us(source)
                 : 0;
        if (best && (busy > least || (busy == least && lead_us <= 0))) continue;
        best = i;
        least = busy;
    }
    return best;
}

/* True: a standby is there whose connections will take what is left, as soon as they have room. */
static bool pump_standbys(struct loader *loader, int64_t now_us) {
    bool used[1 + SOURCES_MAX_STANDBYS] = {false};
    bool up = false;
    for (uint32_t i;
         packs_next(&loader->waiting, NULL, now_us, true) && (i = next_standby(loader, used));) {
        used[i] = true;
        pump(loader, i, now_us);
        up |= lines_are_up(loader->lines, i);
    }
    return up;
}

void loader_pump(struct loader *loader) {
    if (!loader->waiting.first) return;
    int64_t now_us = clock_mono_us();
    packs_remap(&loader->waiting, loader->owner->map);
    bool standby = pump_standbys(loader, now_us);
    if (!standby) packs_go_to_primary(&loader->waiting, now_us);
    pump(loader, 0, now_us);
    arm(loader, now_us);
}

static void on_tick(void *arg, int64_t now_us) {
    struct loader *loader = arg;
    loader->ticking = false;
    watch(loader, now_us);
    struct pack *pack;
    while ((pack = packs_take_expired(&loader->waiting, now_us - TICK_US)) != NULL) {
        for (uint32_t i = 0; i < pack->n; i++)
            fail(loader, pack->fills[i], loader_trouble(loader));
        mem_free(pack);
    }
    loader_pump(loader);
    arm(loader, now_us);
}

static void on_gathered(void *arg, int64_t now_us) {
    (void)now_us;
    loader_pump(arg);
}

/* ---- the whole ---- */

const char *loader_trouble(struct loader *loader) {
    const char *cause = lines_cause(loader->lines);
    if (lines_are_up(loader->lines, 0))
        snprintf(loader->trouble, sizeof loader->trouble, "PostgreSQL is still working on it");
    else
        snprintf(loader->trouble, sizeof loader->trouble, "no connection to PostgreSQL%s%s",
                 cause[0] ? ": " : " yet", cause);
    return loader->trouble;
}

struct loader *loader_create(struct keyspace *owner) {
    struct core *core = owner->core;
    struct loader *loader = mem_zalloc(sizeof *loader);
    loader->owner = owner;
    loader->core = core;
    loader->loop = owner->loop;
    loader->timer = (struct loop_timer){.fire = on_tick, .arg = loader};
    loader->gathered = (struct loop_timer){.fire = on_gathered, .arg = loader};
    struct lines_events events = {on_up, on_down, on_done, loader};
    unsigned seed = (unsigned)clock_mono_us() ^ owner->index << 20;
    loader->lines = lines_create(core, loader->loop, seed, &events);
    return loader;
}

void loader_destroy(struct loader **loader) {
    struct loader *old = *loader;
    *loader = NULL;
    if (!old) return;
    if (old->ticking) loop_timer_clear(old->loop, &old->timer);
    loop_timer_clear(old->loop, &old->gathered);
    lines_destroy(&old->lines);
    while (old->units) {
        struct unit *unit = old->units;
        for (uint32_t i = 0; i < unit->n_fills; i++)
            fill_destroy(&unit->fills[i]);
        delist(old, unit);
        unit_free(unit);
    }
    packs_deinit(&old->waiting);
    mem_free(old);
}

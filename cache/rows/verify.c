#include "cache/rows/verify.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cache/rows/digest.h"
#include "cache/rows/fill.h"
#include "cache/rows/keyspace_state.h"
#include "cache/rows/loader.h"
#include "cache/rows/probe.h"
#include "cache/rows/statement.h"
#include "cache/rows/warden.h"

enum {
    TICK_US = 100 * 1000,
    MAX_ON_THE_WAY = 4096, /* entries being read */
    MAX_SUSPECTS = 4096,
    ROUND = 64,                     /* suspects that are confirmed together */
    SCAN_STEP = 256,                /* entries of the store looked at in one go */
    SCANS_A_TICK = 64,              /* where most of them are plain keys */
    MAX_TRIES = 10,                 /* confirmations of one suspect */
    PATIENCE_US = 10 * 1000 * 1000, /* for the stream and the catalog in one of them */
};

/* One form of one entry, as it was when it was looked at; on its way to the database, then a suspect or done with. */
struct sample {
    struct probe probe; /* first */
    struct verify *verify;
    struct sample *next;
    char *key;
    size_t key_len;
    uint64_t hash;
    enum key_form form;
    struct row_stamp stamp;
    uint64_t digest;
    uint32_t tries;
    /* Of the second read: */
    bool differs;
    bool linked; /* `canonical` is the key by which a change names the row */
    struct tablestate *state;
    uint64_t version;
    uint64_t canonical;
    struct pgsnapshot snapshot;
};

struct verify {
    struct core *core;
    pthread_mutex_t mutex; /* over what START, STOP and STATUS share with the worker */
    bool running;
    uint32_t rate;
    bool restarted;
    uint64_t passes;
    uint64_t pass_checked;
    /* The worker's own: */
    uint64_t cursor;
    bool wrapped; /* every entry was looked at, and what that found is being settled */
    int64_t ticked_us;
    struct sample *found; /* of the scan under way */
    uint32_t n_found;
    const struct tablemap *map;
    uint32_t on_the_way;
    struct sample *suspects;
    uint32_t n_suspects;
    /* A round of confirmation: READING its samples, then WAITING for the stream and the catalog. */
    enum { IDLE, READING, WAITING } round;
    struct sample *confirmed; /* read */
    uint32_t n_reading;
    int64_t read_us;
    int64_t deadline_us;
    struct {
        struct metric *checked, *stale, *changed, *by_ttl, *undecided, *unread;
    } count;
};

/* ---- samples ---- */

static struct slice key_of(const struct sample *sample) {
    return slice_make(sample->key, sample->key_len);
}

static void sample_free(struct sample *sample) {
    pgsnapshot_deinit(&sample->snapshot);
    mem_free(sample->key);
    mem_free(sample);
}

static void settle(struct sample *sample, struct metric *outcome) {
    metric_add(outcome, 1);
    sample_free(sample);
}

static struct sample *pop(struct sample **list) {
    struct sample *sample = *list;
    *list = sample->next;
    return sample;
}

static void push(struct sample **list, struct sample *sample) {
    sample->next = *list;
    *list = sample;
}

static bool same_stamp(const struct row_stamp *a, const struct row_stamp *b) {
    return a->table == b->table && a->absent == b->absent && a->generation == b->generation &&
           a->snapshot_xmin == b->snapshot_xmin && a->snapshot_xmax == b->snapshot_xmax &&
           a->applied_lsn == b->applied_lsn && a->filled_at_us == b->filled_at_us;
}

static bool read_form(const struct entry *entry, enum key_form form, struct slice *bytes) {
    *bytes = (struct slice){0};
    if (entry_is_absent(entry)) return true;
    return form == FORM_STRING ? entry_row_json(entry, bytes) : entry_row_fields(entry, bytes);
}

/* Under the shard's lock. Is the entry that was looked at still in memory, and may it still answer? */
static bool stands(const struct core *core, const struct store_guard *guard,
                   const struct sample *sample, const struct table *table) {
    const struct entry *entry =
        store_find(core->store, guard, key_of(sample), sample->hash, clock_wall_us() / 1000);
    struct slice bytes;
    if (!entry || entry->kind != ENTRY_ROW || !same_stamp(entry_row_stamp(entry), &sample->stamp))
        return false;
    const struct tablestate *state = tablestates_at(core->states, sample->stamp.table);
    if (sample->stamp.generation != tablestate_generation(state)) return false;
    return read_form(entry, sample->form, &bytes) &&
           (entry_is_absent(entry) || digest_of(table, bytes) == sample->digest);
}

static bool still_stands(const struct core *core, const struct sample *sample,
                         const struct table *table) {
    struct store_guard guard;
    store_lock(core->store, &sample->hash, 1, &guard);
    bool there = stands(core, &guard, sample, table);
    store_unlock(core->store, &guard);
    return there;
}

/* ---- looking through memory ---- */

static void on_answer(struct probe *probe, const struct keep_row *row,
                      const struct pgsnapshot *snapshot);

static void look_at_form(struct verify *verify, const struct entry *entry,
                         const struct table *table, enum key_form form) {
    struct slice bytes;
    struct slice key = entry_key(entry);
    if (!read_form(entry, form, &bytes)) return;
    struct sample *sample = mem_zalloc(sizeof *sample);
    sample->probe.answered = on_answer;
    sample->verify = verify;
    sample->key = mem_slicedup(key);
    sample->key_len = key.len;
    sample->hash = store_hash(verify->core->store, key);
    sample->form = form;
    sample->stamp = *entry_row_stamp(entry);
    if (!entry_is_absent(entry)) sample->digest = digest_of(table, bytes);
    push(&verify->found, sample);
    verify->n_found++;
}

static void look_at(const struct entry *entry, void *arg) {
    struct verify *verify = arg;
    struct slice rest;
    if (entry->kind != ENTRY_ROW) return;
    const struct row_stamp *stamp = entry_row_stamp(entry);
    const struct tablestate *state = tablestates_at(verify->core->states, stamp->table);
    if (stamp->generation != tablestate_generation(state)) return;
    const struct table *table = tablemap_find_key(verify->map, entry_key(entry), &rest);
    if (!table || table->refusal) return;
    look_at_form(verify, entry, table, FORM_STRING);
    if (!entry_is_absent(entry)) look_at_form(verify, entry, table, FORM_HASH);
}

/* ---- reading it again ---- */

/* False: it is no row any more. */
static bool ask(struct verify *verify, struct keyspace *keyspace, struct sample *sample) {
    struct slice rest;
    struct rowkey row;
    struct buf failure = {0};
    const struct table *table = tablemap_find_key(keyspace->map, key_of(sample), &rest);
    keyspace->scratch.len = 0;
    bool parsed =
        table && !table->refusal && rowkey_parse(table, rest, &keyspace->scratch, &row, &failure);
    buf_deinit(&failure);
    if (!parsed) return false;
    int64_t deadline_us = clock_mono_us() + verify->core->config->fill_timeout_ms * 1000;
    struct fill *fill = fill_create(keyspace, keyspace->map, table, key_of(sample), sample->hash,
                                    statement_form(table, sample->form), &row, deadline_us);
    fill->probe = &sample->probe;
    fill->of_primary = true;
    loader_submit(keyspace->loader, &fill, 1);
    return true;
}

static bool same_answer(const struct sample *sample, const struct keep_row *row) {
    bool absent = row->bytes.data == NULL;
    if (absent || sample->stamp.absent) return absent == sample->stamp.absent;
    return digest_of(row->table, row->bytes) == sample->digest;
}

static void first_answer(struct verify *verify, struct sample *sample, const struct keep_row *row) {
    verify->on_the_way--;
    if (!row) {
        settle(sample, verify->count.unread);
        return;
    }
    metric_add(verify->count.checked, 1);
    pthread_mutex_lock(&verify->mutex);
    verify->pass_checked++;
    pthread_mutex_unlock(&verify->mutex);
    if (same_answer(sample, row)) {
        sample_free(sample);
    } else if (!still_stands(verify->core, sample, row->table)) {
        settle(sample, verify->count.changed);
    } else if (!core_follows(verify->core, row->table)) {
        settle(sample, verify->count.by_ttl);
    } else if (verify->n_suspects >= MAX_SUSPECTS) {
        settle(sample, verify->count.undecided);
    } else {
        push(&verify->suspects, sample);
        verify->n_suspects++;
    }
}

static void second_answer(struct verify *verify, struct sample *sample, const struct keep_row *row,
                          const struct pgsnapshot *snapshot) {
    verify->n_reading--;
    verify->read_us = clock_mono_us();
    if (!row) {
        settle(sample, verify->count.unread);
        return;
    }
    sample->differs = !same_answer(sample, row);
    sample->state = row->table->state;
    sample->version = row->table->version;
    sample->linked = row->canonical.data != NULL;
    if (sample->linked) sample->canonical = store_hash(verify->core->store, row->canonical);
    pgsnapshot_deinit(&sample->snapshot);
    pgsnapshot_copy(&sample->snapshot, snapshot);
    push(&verify->confirmed, sample);
}

static void on_answer(struct probe *probe, const struct keep_row *row,
                      const struct pgsnapshot *snapshot) {
    struct sample *sample = (struct sample *)probe;
    if (sample->tries == 0)
        first_answer(sample->verify, sample, row);
    else
        second_answer(sample->verify, sample, row, snapshot);
}

/* ---- confirming ---- */

/* To rule 4 a round is a fill in flight from before its reads until it is judged. */
static void hold_clock(struct verify *verify, bool hold) {
    struct fillclock *clock = &verify->core->fillclocks[CORE_VERIFY_CLOCK];
    if (hold)
        atomic_fetch_add(&clock->started, 1);
    else
        atomic_store(&clock->oldest, atomic_load(&clock->started));
}

static void begin_round(struct verify *verify, struct keyspace *keyspace, int64_t now_us) {
    hold_clock(verify, true);
    verify->round = READING;
    verify->deadline_us = now_us + PATIENCE_US;
    verify->read_us = now_us;
    for (uint32_t i = 0; i < ROUND && verify->suspects; i++) {
        struct sample *sample = pop(&verify->suspects);
        verify->n_suspects--;
        sample->tries++;
        verify->n_reading++;
        if (ask(verify, keyspace, sample)) continue;
        verify->n_reading--;
        settle(sample, verify->count.changed);
    }
}

static void log_stale(const struct core *core, const struct sample *sample) {
    log_error(core->log, "cache_stale_entry",
              "key=\"%.*s\" form=%s absent=%s snapshot=%" PRIu64 ":%" PRIu64
              " installed_lsn=" LSN_FMT " age_ms=%" PRId64,
              (int)sample->key_len, sample->key, sample->form == FORM_STRING ? "json" : "fields",
              sample->stamp.absent ? "yes" : "no", sample->stamp.snapshot_xmin,
              sample->stamp.snapshot_xmax, LSN_ARG(sample->stamp.applied_lsn),
              (clock_wall_us() - sample->stamp.filled_at_us) / 1000);
}

/* Does the snapshot see every applied transaction that touched the row? Before the entry is looked at: one that is applied in
 * between evicts it, or is seen by it, and by this later snapshot with it. */
static bool is_admitted(const struct core *core, const struct sample *sample) {
    if (!pgsnapshot_is_ours(&sample->snapshot)) return false;
    if (tablestate_admits(sample->state, sample->version, &sample->snapshot) != TABLESTATE_ADMITTED)
        return false;
    return !sample->linked ||
           !recent_blocks(core->recent, sample->canonical, &sample->snapshot, NULL);
}

static bool take_out(struct core *core, const struct sample *sample, const struct table *table) {
    struct store_guard guard;
    store_lock(core->store, &sample->hash, 1, &guard);
    bool there = stands(core, &guard, sample, table);
    if (there) store_remove(core->store, &guard, key_of(sample), sample->hash, REMOVED_COMMIT);
    store_unlock(core->store, &guard);
    return there;
}

static void judge(struct verify *verify, struct sample *sample) {
    struct core *core = verify->core;
    struct slice rest;
    const struct table *table = tablemap_find_key(verify->map, key_of(sample), &rest);
    if (!sample->differs || !table || !still_stands(core, sample, table)) {
        settle(sample, verify->count.changed);
    } else if (!is_admitted(core, sample)) {
        if (sample->tries >= MAX_TRIES) {
            settle(sample, verify->count.undecided);
            return;
        }
        push(&verify->suspects, sample);
        verify->n_suspects++;
    } else if (take_out(core, sample, table)) {
        log_stale(core, sample);
        settle(sample, verify->count.stale);
    } else {
        settle(sample, verify->count.changed);
    }
}

/* Is everything applied that the reads can have shown, and every table as the catalog had it then? */
static bool caught_up(const struct verify *verify, int64_t now_us) {
    int64_t staleness_us = lease_staleness_us(verify->core->lease, now_us);
    return staleness_us >= 0 && now_us - staleness_us > verify->read_us &&
           warden_polled_us(verify->core->warden) > verify->read_us;
}

static void end_round(struct verify *verify, bool decided) {
    struct sample *samples = verify->confirmed;
    verify->confirmed = NULL;
    while (samples) {
        struct sample *sample = pop(&samples);
        if (decided)
            judge(verify, sample);
        else
            settle(sample, verify->count.undecided);
    }
    hold_clock(verify, false);
    verify->round = IDLE;
}

static void go_on_confirming(struct verify *verify, struct keyspace *keyspace, int64_t now_us) {
    if (verify->round == READING && verify->n_reading == 0) {
        verify->round = WAITING;
        warden_poll_soon(verify->core->warden);
    }
    if (verify->round == WAITING) {
        if (caught_up(verify, now_us))
            end_round(verify, true);
        else if (now_us > verify->deadline_us)
            end_round(verify, false);
    }
    if (verify->round == IDLE && verify->suspects) begin_round(verify, keyspace, now_us);
}

/* ---- a tick ---- */

/* How many entries this tick may begin to read. */
static uint32_t take_budget(struct verify *verify, uint32_t rate, int64_t now_us) {
    int64_t since_us = now_us - verify->ticked_us;
    if (since_us > 10 * TICK_US) since_us = TICK_US;
    uint64_t budget = (uint64_t)rate * (uint64_t)since_us / 1000000;
    uint32_t room = MAX_ON_THE_WAY - verify->on_the_way;
    if (budget == 0) return 0; /* the time adds up */
    verify->ticked_us = now_us;
    return budget < room ? (uint32_t)budget : room;
}

static void scan(struct verify *verify, uint32_t budget, int64_t now_ms) {
    for (uint32_t i = 0; i < SCANS_A_TICK && verify->n_found < budget; i++) {
        uint32_t left = budget - verify->n_found;
        verify->cursor = store_scan(verify->core->store, NULL, verify->cursor,
                                    left < SCAN_STEP ? left : SCAN_STEP, now_ms, look_at, verify);
        verify->wrapped = verify->cursor == 0;
        if (verify->wrapped) return;
    }
}

static void look_on(struct verify *verify, struct keyspace *keyspace, uint32_t budget,
                    int64_t now_ms) {
    scan(verify, budget, now_ms);
    while (verify->found) {
        struct sample *sample = pop(&verify->found);
        verify->on_the_way++;
        if (ask(verify, keyspace, sample)) continue;
        verify->on_the_way--;
        sample_free(sample);
    }
    verify->n_found = 0;
}

static void end_pass(struct verify *verify) {
    if (!verify->wrapped || verify->on_the_way || verify->suspects || verify->round != IDLE) return;
    verify->wrapped = false;
    pthread_mutex_lock(&verify->mutex);
    verify->passes += !verify->restarted;
    verify->pass_checked = 0;
    pthread_mutex_unlock(&verify->mutex);
}

/* The rate; 0: it does not run. */
static uint32_t look_at_orders(struct verify *verify) {
    pthread_mutex_lock(&verify->mutex);
    uint32_t rate = verify->running ? verify->rate : 0;
    if (verify->restarted) {
        verify->restarted = false;
        verify->cursor = 0;
        verify->wrapped = false;
        verify->passes = 0;
        verify->pass_checked = 0;
    }
    pthread_mutex_unlock(&verify->mutex);
    return rate;
}

void verify_tick(struct verify *verify, struct keyspace *keyspace, int64_t now_us) {
    uint32_t rate = look_at_orders(verify);
    bool idle = verify->round == IDLE && !verify->suspects;
    if ((rate == 0 && idle) || !keyspace->loader) return;
    tablemaps_refresh(verify->core->maps, &keyspace->map);
    verify->map = keyspace->map;
    if (!verify->map) return;
    uint32_t budget = rate ? take_budget(verify, rate, now_us) : 0;
    if (budget && !verify->wrapped) look_on(verify, keyspace, budget, clock_wall_us() / 1000);
    go_on_confirming(verify, keyspace, now_us);
    end_pass(verify);
    loader_pump(keyspace->loader);
}

/* ---- orders ---- */

void verify_start(struct verify *verify, uint32_t rate) {
    pthread_mutex_lock(&verify->mutex);
    verify->rate = rate;
    verify->restarted = true;
    verify->running = true;
    verify->passes = 0;
    verify->pass_checked = 0;
    pthread_mutex_unlock(&verify->mutex);
}

void verify_stop(struct verify *verify) {
    pthread_mutex_lock(&verify->mutex);
    verify->running = false;
    pthread_mutex_unlock(&verify->mutex);
}

static uint64_t value(struct metric *metric) { return (uint64_t)atomic_load(&metric->value); }

void verify_report(struct verify *verify, struct verify_report *report) {
    pthread_mutex_lock(&verify->mutex);
    *report = (struct verify_report){
        .running = verify->running,
        .rate = verify->rate,
        .passes = verify->passes,
        .pass_checked = verify->pass_checked,
    };
    pthread_mutex_unlock(&verify->mutex);
    report->checked = value(verify->count.checked);
    report->stale = value(verify->count.stale);
    report->changed = value(verify->count.changed);
    report->by_ttl = value(verify->count.by_ttl);
    report->undecided = value(verify->count.undecided);
    report->unread = value(verify->count.unread);
}

/* ---- the whole ---- */

struct verify *verify_create(struct core *core) {
    static const char others[] =
        "Entries whose comparison counts for nothing: changed meanwhile, kept by TTL alone, "
        "undecided, or not read.";
    struct verify *verify = mem_zalloc(sizeof *verify);
    struct metrics *metrics = core->metrics;
    verify->core = core;
    pthread_mutex_init(&verify->mutex, NULL);
    verify->count.checked =
        metrics_counter(metrics, "freshet_verify_checked_total",
                        "Entries of rows that were compared with the database.", NULL);
    verify->count.stale = metrics_counter(
        metrics, "freshet_verify_stale_total",
        "Entries found to be other than the rules of coherence allow: it must stay 0.", NULL);
#define OTHERS(outcome)                                                                            \
    metrics_counter(metrics, "freshet_verify_unconfirmed_total", others, "outcome=\"" outcome "\"")
    verify->count.changed = OTHERS("changed");
    verify->count.by_ttl = OTHERS("ttl");
    verify->count.undecided = OTHERS("undecided");
    verify->count.unread = OTHERS("unread");
#undef OTHERS
    if (core->config->verify_rate) verify_start(verify, core->config->verify_rate);
    return verify;
}

void verify_destroy(struct verify **verify) {
    struct verify *old = *verify;
    *verify = NULL;
    if (!old) return;
    while (old->suspects)
        sample_free(pop(&old->suspects));
    while (old->confirmed)
        sample_free(pop(&old->confirmed));
    pthread_mutex_destroy(&old->mutex);
    mem_free(old);
}

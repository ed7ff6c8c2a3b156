#include "connectors/verify/verify.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "connectors/verify/verify_parts.h"

enum {
    POLL_US = 20000,
    STUCK_US = 60000000,    /* so long the connector may make no progress, or the sink fail */
    PATIENCE_US = 30000000, /* for suspects that cannot be told */
    FIRST_REST_US = 100000,
    MAX_REST_US = 1000000,
    RETRY_US = 500000,
    LOGGED_FINDINGS = 100,
};

struct verifier *verifier_create(const struct verify_deps *deps) {
    struct verifier *verifier = mem_zalloc(sizeof *verifier);
    verifier->connector = mem_strdup(deps->connector);
    verifier->ops = deps->ops;
    verifier->sink = deps->sink;
    verifier->stop = deps->stop;
    verifier->source = deps->source;
    verifier->position = deps->position;
    verifier->arg = deps->arg;
    verifier->feed = deps->feed;
    verifier->figures = deps->figures;
    verifier->log = deps->log;
    verify_report_init(&verifier->report);
    pthread_mutex_init(&verifier->lock, NULL);
    return verifier;
}

void verifier_destroy(struct verifier **verifier) {
    struct verifier *old = *verifier;
    *verifier = NULL;
    if (!old) return;
    atomic_store(old->stop, true);
    if (old->joinable) pthread_join(old->thread, NULL);
    verify_report_deinit(&old->report);
    if (old->sink) old->ops->destroy(&old->sink);
    pthread_mutex_destroy(&old->lock);
    mem_free(old->connector);
    mem_free(old);
}

/* ---- waiting; the run's thread ---- */

/* False: the run is to end. */
static bool rest(struct verify_run *run, int64_t us, struct error *err) {
    int64_t due_us = clock_mono_us() + us;
    while (!atomic_load(run->verifier->stop)) {
        int64_t left_us = due_us - clock_mono_us();
        if (left_us <= 0) return true;
        if (left_us > POLL_US) left_us = POLL_US;
        struct timespec interval = {.tv_nsec = left_us * 1000};
        nanosleep(&interval, NULL);
    }
    return error_set(err, ERROR_STOPPED, false, "Freshet is stopping");
}

bool verify_pace(struct verify_run *run, size_t n, struct error *err) {
    run->n_paced += n;
    int64_t due_us =
        run->began_us + (int64_t)((double)run->n_paced * 1e6 / (double)run->options.rate);
    int64_t ahead_us = due_us - clock_mono_us();
    return rest(run, ahead_us > 0 ? ahead_us : 0, err);
}

static bool moment_now(struct verify_run *run, struct reader_moment *moment, struct error *err) {
    return run->reader.ops->moment(run->reader.self, moment, err);
}

/* What lies between the flushed WAL and `then` are no commits of then: open transactions wrote it. */
static bool has_all_flushed(struct verify_run *run, uint64_t applied_lsn, bool *reached,
                            struct error *err) {
    struct reader_moment now;
    if (!moment_now(run, &now, err)) return false;
    *reached = applied_lsn >= now.flush_lsn;
    return true;
}

static bool position_now(struct verify_run *run, struct verify_position *position,
                         struct error *err) {
    struct verifier *verifier = run->verifier;
    verifier->position(verifier->arg, position);
    return !verifier->feed.self ||
           verifier->feed.published(verifier->feed.self, &position->applied_lsn, err);
}

/* What has been given to the feed is in the sink. */
static bool wait_drained(struct verify_run *run, struct error *err) {
    const struct verify_feed *feed = &run->verifier->feed;
    bool drained = !feed->self;
    int64_t began_us = clock_mono_us();
    for (bool first = true; !drained; first = false) {
        if (!feed->drained(feed->self, first, &drained, &run->floor, err)) return false;
        if (!drained && clock_mono_us() - began_us > STUCK_US)
            return error_set(err, ERROR_TIMEOUT, true,
                             "records of the topic have not come into the sink for a minute");
        if (!drained && !rest(run, POLL_US, err)) return false;
    }
    return true;
}

/* Until all that was committed by then is in the sink. */
static bool wait_applied(struct verify_run *run, const struct reader_moment *then,
                         struct error *err) {
    struct verifier *verifier = run->verifier;
    struct verify_position position;
    uint64_t last_lsn = 0;
    int64_t began_us = clock_mono_us();
    int64_t moved_us = began_us;
    bool reached = false;
    while (!reached) {
        if (!position_now(run, &position, err)) return false;
        if (!position.loaded)
            return error_set(
                err, ERROR_CONFLICT, true,
                "the connector has not loaded its sink yet: verify it when that is done");
        int64_t now_us = clock_mono_us();
        if (position.applied_lsn != last_lsn) moved_us = now_us;
        last_lsn = position.applied_lsn;
        reached = position.applied_lsn >= then->lsn;
        if (!reached && now_us - began_us > then->flushed_after_us &&
            !has_all_flushed(run, position.applied_lsn, &reached, err))
            return false;
        if (!reached && now_us - moved_us > STUCK_US)
            return error_set(err, ERROR_TIMEOUT, true,
                             "the connector stands still at " LSN_FMT
                             ", and the database is at " LSN_FMT,
                             LSN_ARG(position.applied_lsn), LSN_ARG(then->lsn));
        if (!reached && !rest(run, POLL_US, err)) return false;
    }
    verify_report_reached(&verifier->report, then->lsn);
    return wait_drained(run, err);
}

/* ---- the sink, which may be away for a while ---- */

bool verify_persist(struct verify_run *run, verify_attempt *attempt, void *what,
                    struct error *err) {
    int64_t began_us = clock_mono_us();
    while (!attempt(run, what, err)) {
        if (atomic_load(run->verifier->stop))
            return error_set(err, ERROR_STOPPED, false, "Freshet is stopping");
        if (!err->retriable || clock_mono_us() - began_us > STUCK_US)
            return error_prefix(err, "the sink");
        struct error ignored; /* the next turn tells of a stop */
        (void)!rest(run, RETRY_US, &ignored);
    }
    return true;
}

static bool attempt_compare(struct verify_run *run, void *what, struct error *err) {
    const struct verifier *verifier = run->verifier;
    return verifier->ops->compare(verifier->sink, what, run->entries, err);
}

static void make_room(struct verify_run *run, size_t n) {
    if (n <= run->cap_entries) return;
    run->cap_entries = n;
    run->keys = mem_realloc(run->keys, n * sizeof *run->keys);
    run->rows = mem_realloc(run->rows, n * sizeof *run->rows);
    run->entries = mem_realloc(run->entries, n * sizeof *run->entries);
}

/* run->entries, for the batch's writes. */
static bool compare(struct verify_run *run, struct batch *batch, struct error *err) {
    make_room(run, batch->n_writes);
    return batch->n_writes == 0 || verify_persist(run, attempt_compare, batch, err);
}

/* ---- suspects ---- */

static void suspect(struct verify_run *run, struct slice key) {
    for (size_t i = 0; i < run->n_suspects; i++) {
        const struct suspect *known = &run->suspects[i];
        if (slice_equal(slice_make(known->key, known->key_len), key)) return;
    }
    if (run->n_suspects == run->cap_suspects) {
        run->cap_suspects = run->cap_suspects ? 2 * run->cap_suspects : 64;
        run->suspects = mem_realloc(run->suspects, run->cap_suspects * sizeof *run->suspects);
    }
    run->suspects[run->n_suspects++] =
        (struct suspect){.key = mem_slicedup(key), .key_len = key.len};
}

void verify_count(struct verify_run *run, struct verify_tally more) {
    verify_report_count(&run->verifier->report, &more);
}

static void report_difference(struct verify_run *run, struct suspect *suspect,
                              const struct verify_look *look) {
    struct verifier *verifier = run->verifier;
    enum verify_kind kind = verify_kind_of(look);
    suspect->differs = true;
    suspect->difference =
        verify_report_difference(&verifier->report, kind, suspect->key, look->entry.version);
    metric_add(verifier->figures->differences, 1);
    if (suspect->difference && suspect->difference <= LOGGED_FINDINGS)
        log_warn(verifier->log, "sink_differs", "connector=%s kind=%s key=\"%.200s\" version=%llu",
                 verifier->connector, verify_kind_name(kind), suspect->key,
                 (unsigned long long)look->entry.version);
}

static void report_repaired(struct verify_run *run, const struct suspect *suspect) {
    metric_add(run->verifier->figures->repaired, 1);
    verify_report_repaired(&run->verifier->report, suspect->difference);
}

static void report_refused(struct verify_run *run, const struct suspect *suspect, const char *why) {
    verify_report_refused(&run->verifier->report, suspect->difference, why);
}

/* ---- a look at all suspects ---- */

struct glance {
    struct batch *batch; /* what should be there; a write for each suspect */
    struct reader_moment before;
    struct reader_moment after;
};

/* run->rows and run->entries are filled. */
static bool look(struct verify_run *run, struct glance *glance, struct error *err) {
    struct reader_moment read;
    make_room(run, run->n_suspects);
    for (size_t i = 0; i < run->n_suspects; i++)
        run->keys[i] = slice_make(run->suspects[i].key, run->suspects[i].key_len);
    return moment_now(run, &glance->before, err) &&
           run->reader.ops->find(run->reader.self, run->keys, run->n_suspects, &glance->batch,
                                 run->rows, err) &&
           moment_now(run, &read, err) && wait_applied(run, &read, err) &&
           compare(run, glance->batch, err) && moment_now(run, &glance->after, err);
}

/* What comes of one suspect. *version: to write it again with; 0: not. True: it is done with. */
static bool settle(struct verify_run *run, struct suspect *suspect, const struct verify_look *look,
                   uint64_t *version) {
    struct verify_suspect before = suspect->judged;
    *version = 0;
    switch (verify_judge(&suspect->judged, look)) {
    case VERDICT_EQUAL:
        if (suspect->repaired) report_repaired(run, suspect);
        return true;
    case VERDICT_AGAIN: return false;
    case VERDICT_MOVED:
        if (!suspect->differs) verify_count(run, (struct verify_tally){.moved = 1});
        return true;
    case VERDICT_DIFFERS: break;
    }
    if (!suspect->differs) report_difference(run, suspect, look);
    if (!run->options.repair) return true;
    /* One that is written while the stream waits needs none. */
    *version = run->verifier->ops->hold ? 1 : verify_repair_version(&before, look);
    return false;
}

static void forget_done(struct verify_run *run, const bool *done) {
    size_t kept = 0;
    for (size_t i = 0; i < run->n_suspects; i++) {
        if (done[i])
            mem_free(run->suspects[i].key);
        else
            run->suspects[kept++] = run->suspects[i];
    }
    run->n_suspects = kept;
}

/* *wrote: something was written again, and what came of that is soon seen. */
static bool judge_all(struct verify_run *run, const struct glance *glance, bool *wrote,
                      struct error *err) {
    size_t n = run->n_suspects;
    bool *done = mem_calloc(n, sizeof *done);
    size_t *places = mem_calloc(n, sizeof *places);
    uint64_t *versions = mem_calloc(n, sizeof *versions);
    size_t n_repairs = 0;
    struct verify_look look = {.before = glance->before,
                               .after = glance->after,
                               .at_us = clock_mono_us(),
                               .floor = run->floor};
    for (size_t i = 0; i < n; i++) {
        look.row = run->rows[i];
        look.entry = run->entries[i];
        done[i] = settle(run, &run->suspects[i], &look, &versions[n_repairs]);
        if (!done[i] && versions[n_repairs]) places[n_repairs++] = i;
    }
    *wrote = n_repairs > 0;
    bool repaired =
        n_repairs == 0 || verify_repair(run, glance->batch, places, versions, n_repairs, done, err);
    forget_done(run, done);
    mem_free(done);
    mem_free(places);
    mem_free(versions);
    return repaired;
}

/* They could not be told in time; of those that differ only their repair is in doubt. */
static void give_up_suspects(struct verify_run *run) {
    for (size_t i = 0; i < run->n_suspects; i++) {
        struct suspect *suspect = &run->suspects[i];
        if (!suspect->differs)
            verify_count(run, (struct verify_tally){.undecided = 1});
        else if (!suspect->repaired)
            report_refused(run, suspect, "a transaction that is open may be changing the row");
        else
            report_refused(run, suspect, "it was written again, and differs");
        mem_free(suspect->key);
    }
    run->n_suspects = 0;
}

static bool confirm(struct verify_run *run, enum verify_phase then, struct error *err) {
    int64_t began_us = clock_mono_us();
    int64_t rest_us = FIRST_REST_US;
    verify_report_phase(&run->verifier->report, PHASE_LOOKING);
    while (run->n_suspects) {
        struct glance glance = {0};
        bool wrote = false;
        bool looked = look(run, &glance, err) && judge_all(run, &glance, &wrote, err);
        batch_destroy(&glance.batch);
        if (!looked) return false;
        if (clock_mono_us() - began_us > PATIENCE_US) give_up_suspects(run);
        if (wrote) rest_us = FIRST_REST_US;
        if (run->n_suspects && !rest(run, rest_us, err)) return false;
        if (rest_us < MAX_REST_US) rest_us *= 2;
    }
    verify_report_phase(&run->verifier->report, then);
    return true;
}

/* ---- rows, then keys ---- */

bool verify_take_rows(struct verify_run *run, struct batch *batch, struct error *err) {
    if (!run->shape) run->shape = shape_acquire(batch->shape);
    if (!compare(run, batch, err)) return false;
    for (size_t i = 0; i < batch->n_writes; i++) {
        if (!run->entries[i].equal) suspect(run, batch->writes[i].key);
    }
    verify_count(run, (struct verify_tally){.rows = batch->n_writes});
    metric_add(run->verifier->figures->verified, (int64_t)batch->n_writes);
    return run->n_suspects < VERIFY_MAX_SUSPECTS || confirm(run, PHASE_ROWS, err);
}

static bool verify_rows(struct verify_run *run, struct error *err) {
    size_t n = VERIFY_PAGE_ROWS;
    verify_report_phase(&run->verifier->report, PHASE_ROWS);
    while (n) {
        struct batch *batch = NULL;
        if (!run->reader.ops->page(run->reader.self, VERIFY_PAGE_ROWS, &batch, err)) return false;
        n = batch->n_writes;
        bool taken = verify_take_rows(run, batch, err);
        batch_destroy(&batch);
        if (!taken || !verify_pace(run, n, err)) return false;
    }
    return confirm(run, PHASE_ROWS, err);
}

struct scanning {
    bool first;
    struct key_page page;
};

static bool attempt_scan(struct verify_run *run, void *what, struct error *err) {
    struct verifier *verifier = run->verifier;
    struct scanning *scanning = what;
    key_page_clear(&scanning->page);
    return verifier->ops->scan(verifier->sink, run->shape, scanning->first, &scanning->page, err);
}

bool verify_take_keys(struct verify_run *run, const struct slice *keys, size_t n,
                      struct error *err) {
    struct batch *batch = NULL;
    make_room(run, n);
    if (!run->reader.ops->find(run->reader.self, keys, n, &batch, run->rows, err)) return false;
    for (size_t i = 0; i < n; i++) {
        if (!run->rows[i].identity) suspect(run, keys[i]);
    }
    batch_destroy(&batch);
    verify_count(run, (struct verify_tally){.keys = n});
    return run->n_suspects < VERIFY_MAX_SUSPECTS || confirm(run, PHASE_KEYS, err);
}

static bool verify_keys(struct verify_run *run, struct error *err) {
    struct scanning scanning = {.first = true};
    bool done = true;
    verify_report_phase(&run->verifier->report, PHASE_KEYS);
    while (done) {
        /* A scan that broke off cannot be taken up again: it is not repeated. */
        done = attempt_scan(run, &scanning, err) || error_prefix(err, "the sink's keys");
        scanning.first = false;
        size_t n = scanning.page.n;
        if (!done || n == 0) break;
        for (size_t at = 0; at < n && done; at += VERIFY_PAGE_ROWS) {
            size_t part = n - at < VERIFY_PAGE_ROWS ? n - at : VERIFY_PAGE_ROWS;
            done = verify_take_keys(run, scanning.page.keys + at, part, err) &&
                   verify_pace(run, part, err);
        }
    }
    key_page_deinit(&scanning.page);
    return done && confirm(run, PHASE_KEYS, err);
}

/* ---- a run ---- */

static bool verify(struct verify_run *run, struct error *err) {
    struct verifier *verifier = run->verifier;
    struct reader_moment begin;
    if (!verifier->source.ops->open_reader(verifier->source.self, &run->reader, err)) return false;
    if (!moment_now(run, &begin, err) || !wait_applied(run, &begin, err)) return false;
    bool has_ranges;
    if (!verify_has_ranges(run, &has_ranges, err)) return false;
    if (!has_ranges) return verify_rows(run, err) && verify_keys(run, err);
    verify_report_phase(&verifier->report, PHASE_ROWS);
    return verify_ranges(run, err) && confirm(run, PHASE_ROWS, err);
}

static void clean_up(struct verify_run *run) {
    for (size_t i = 0; i < run->n_suspects; i++)
        mem_free(run->suspects[i].key);
    mem_free(run->suspects);
    mem_free(run->keys);
    mem_free(run->rows);
    mem_free(run->entries);
    shape_release(&run->shape);
    if (run->reader.ops) run->reader.ops->close(run->reader.self);
}

static void *run_thread(void *arg) {
    struct verifier *verifier = arg;
    struct verify_run run = {
        .verifier = verifier, .options = verifier->report.options, .began_us = clock_mono_us()};
    struct error err = {0};
    bool done = verify(&run, &err);
    clean_up(&run);
    if (done)
        log_info(verifier->log, "connector_verified", "connector=%s differences=%llu",
                 verifier->connector,
                 (unsigned long long)verify_report_differences(&verifier->report));
    else
        log_warn(verifier->log, "connector_not_verified", "connector=%s cause=\"%s\"",
                 verifier->connector, err.message);
    verify_report_end(&verifier->report, done ? NULL : &err);
    return NULL;
}

static bool may_begin(struct verifier *verifier, const struct verify_options *options,
                      struct error *err) {
    const struct sink_ops *ops = verifier->ops;
    if (!verifier->sink || !ops->compare || !ops->scan || !verifier->source.ops->open_reader)
        return error_set(err, ERROR_REFUSED, false,
                         "a connector of this type cannot be compared with its source");
    if (options->repair && !ops->versioned && !ops->hold)
        return error_set(err, ERROR_REFUSED, false,
                         "this sink keeps no versions: a row cannot be written again beside the "
                         "stream");
    if (verify_report_runs(&verifier->report))
        return error_set(err, ERROR_CONFLICT, true, "a verification is under way already");
    return true;
}

bool verifier_begin(struct verifier *verifier, const struct verify_options *options, uint64_t *id,
                    struct error *err) {
    ASSERT(options->rate > 0);
    pthread_mutex_lock(&verifier->lock);
    bool begun = may_begin(verifier, options, err);
    if (begun) {
        if (verifier->joinable) pthread_join(verifier->thread, NULL); /* it has ended */
        verify_report_begin(&verifier->report, options);
        *id = verifier->report.id;
        int code = pthread_create(&verifier->thread, NULL, run_thread, verifier);
        verifier->joinable = begun = code == 0;
        if (!begun) {
            error_set(err, ERROR_SYSTEM, true, "cannot start a thread: %s", strerror(code));
            verify_report_end(&verifier->report, err);
        }
    }
    pthread_mutex_unlock(&verifier->lock);
    return begun;
}

json_t *verifier_status(struct verifier *verifier, uint64_t id, bool named) {
    pthread_mutex_lock(&verifier->lock);
    uint64_t last = verifier->report.id;
    json_t *json =
        last && (id == 0 || id == last) ? verify_report_json(&verifier->report, named) : NULL;
    pthread_mutex_unlock(&verifier->lock);
    return json;
}

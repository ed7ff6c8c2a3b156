#include "server/rebuilding.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"

enum {
    LOOK_MS = 50,
    AGAIN_MS = 1000,               /* between two tries of a step */
    CAUGHT_UP_BYTES = 1024 * 1024, /* of WAL behind the one that is served */
    HOLD_US = 20 * 1000 * 1000,    /* the served one stands still no longer than this for one try */
    TAKE_OVER_TRIES = 10,
    SLOT_STEM_CHARS = 55,
};

enum state { IDLE, PREPARING, LOADING, FOLLOWING, SWITCHING, FINISHING, DONE, FAILED };

struct rebuilding {
    struct connector_config config; /* of the second connector */
    struct feed_config feed_config;
    const char *served_name;
    char *name; /* of the second connector */
    char *slot;
    char *marker_path;   /* there while a rebuild is not done: what its target is made by */
    char *position_path; /* the second connector's */
    struct connector *served;
    struct feed *served_feed;
    struct log *log;
    struct metrics *metrics;
    pthread_t thread;
    bool started; /* guarded by `lock`, as the next ones are */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* the thread rests */
    bool stop;
    bool left; /* by an earlier process */
    enum state state;
    int64_t began_us; /* Unix epoch */
    int64_t ended_us;
    struct error last_error;
    struct connector *filling; /* NULL: not now */
    struct feed *filling_feed;
    _Atomic bool holds;
};

static const char *const state_names[] = {
    [IDLE] = "idle",           [PREPARING] = "preparing", [LOADING] = "loading",
    [FOLLOWING] = "following", [SWITCHING] = "switching", [FINISHING] = "finishing",
    [DONE] = "done",           [FAILED] = "failed",
};

struct rebuilding *rebuilding_create(const struct rebuilding_config *config,
                                     const struct rebuilding_deps *deps) {
    struct rebuilding *r = mem_zalloc(sizeof *r);
    const struct connector_config *served = config->connector;
    r->config = *served;
    r->feed_config = *config->feed;
    r->served_name = served->name;
    r->name = mem_printf("%s.rebuild", served->name);
    r->slot = mem_printf("%.*s_rebuild", SLOT_STEM_CHARS, served->slot);
    r->marker_path = mem_printf("%s/%s.rebuilding", served->state_dir, served->name);
    r->position_path = mem_printf("%s/%s.position", served->state_dir, r->name);
    r->config.rebuild = true;
    r->config.name = r->name;
    r->config.slot = r->feed_config.slot = r->slot;
    r->feed_config.application_name = r->slot;
    r->feed_config.failover = false;
    r->served = deps->connector;
    r->served_feed = deps->feed;
    r->log = deps->log;
    r->metrics = deps->metrics;
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return r;
}

void rebuilding_destroy(struct rebuilding **rebuilding) {
    struct rebuilding *old = *rebuilding;
    *rebuilding = NULL;
    if (!old) return;
    rebuilding_stop(old);
    pthread_cond_destroy(&old->wake);
    pthread_mutex_destroy(&old->lock);
    mem_free(old->name);
    mem_free(old->slot);
    mem_free(old->marker_path);
    mem_free(old->position_path);
    mem_free(old);
}

/* ---- the rebuild's thread ---- */

static void enter(struct rebuilding *r, enum state state) {
    pthread_mutex_lock(&r->lock);
    r->state = state;
    pthread_mutex_unlock(&r->lock);
    log_info(r->log, "connector_rebuild", "connector=%s state=%s", r->served_name,
             state_names[state]);
}

static void note_error(struct rebuilding *r, const struct error *err) {
    pthread_mutex_lock(&r->lock);
    r->last_error = *err;
    pthread_mutex_unlock(&r->lock);
}

/* False: we are to stop. */
static bool rest(struct rebuilding *r, int64_t ms) {
    int64_t due_us = clock_mono_us() + ms * 1000;
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    pthread_mutex_lock(&r->lock);
    while (!r->stop && clock_mono_us() < due_us)
        pthread_cond_timedwait(&r->wake, &r->lock, &due);
    bool go_on = !r->stop;
    pthread_mutex_unlock(&r->lock);
    return go_on;
}

static bool stopped(struct error *err) {
    return error_set(err, ERROR_STOPPED, true,
                     "the process ends: it begins again at the next start");
}

/* Tries a step until it is done, or cannot be. */
static bool persist(struct rebuilding *r, bool (*step)(struct rebuilding *, struct error *),
                    struct error *err) {
    while (!step(r, err)) {
        if (!err->retriable) return false;
        note_error(r, err);
        if (!rest(r, AGAIN_MS)) return stopped(err);
    }
    return true;
}

static uint64_t hash_text(uint64_t hash, const char *text) {
    return XXH3_64bits_withSeed(text ? text : "", text ? strlen(text) + 1 : 0, hash);
}

static uint64_t hash_file(uint64_t hash, const char *path) {
    FILE *file = path ? fopen(path, "re") : NULL;
    char data[4096];
    size_t n;
    while (file && (n = fread(data, 1, sizeof data, file)) > 0)
        hash = XXH3_64bits_withSeed(data, n, hash);
    if (file) fclose(file);
    return hash;
}

/* What the new target is made by: one that an earlier process has begun by something else is of no use. */
static void name_making(const struct rebuilding *r, char *text, size_t size) {
    const struct connector_config *config = &r->config;
    uint64_t hash = hash_file(0, config->mapping);
    hash = hash_text(hash, config->pipeline);
    hash = hash_text(hash, config->routing);
    hash = hash_text(hash, config->document);
    for (uint32_t i = 0; i < config->n_columns; i++)
        hash = hash_text(hash_text(hash, config->columns[i].column), config->columns[i].name);
    snprintf(text, size, "%016" PRIx64 "\n", hash);
}

/* Has an earlier process begun just this one, and come as far as a position? */
static bool may_go_on(const struct rebuilding *r) {
    char wanted[24];
    char found[24] = "";
    name_making(r, wanted, sizeof wanted);
    FILE *marker = r->left ? fopen(r->marker_path, "re") : NULL;
    bool same = marker && fgets(found, sizeof found, marker) && strcmp(found, wanted) == 0;
    if (marker) fclose(marker);
    return same && access(r->position_path, F_OK) == 0;
}

static bool note_begun(struct rebuilding *r, struct error *err) {
    char text[24];
    name_making(r, text, sizeof text);
    int fd = open(r->marker_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (!written) error_set(err, ERROR_SYSTEM, false, "%s: %s", r->marker_path, strerror(errno));
    if (fd >= 0) close(fd);
    return written;
}

static bool drop_slot(struct rebuilding *r, struct error *err) {
    struct pg_options options = {.application_name = r->slot};
    PGconn *conn = pg_connect(r->config.database_url, &options, err);
    if (!conn) {
        err->retriable = true;
        return false;
    }
    const char *params[] = {r->slot};
    PGresult *rows = pg_query_params(conn,
                                     "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM "
                                     "pg_catalog.pg_replication_slots WHERE slot_name = $1",
                                     1, params, err);
    if (!rows) err->retriable = true; /* a walsender of ours may still be on its way out */
    PQclear(rows);
    PQfinish(conn);
    return rows != NULL;
}

static bool await_served(struct rebuilding *r, uint64_t opens, struct connector_progress *served,
                         struct error *err) {
    do {
        connector_progress(r->served, served);
        if (served->opens > opens) return true;
    } while (rest(r, LOOK_MS));
    return stopped(err);
}

static bool tidy_target(struct rebuilding *r, struct error *err) {
    return connector_tidy(r->filling, err);
}

/* Both of the second connector, made and not started; under the lock for rebuilding_status. */
static bool create_filling(struct rebuilding *r, struct error *err) {
    struct connector_deps deps = {.log = r->log, .metrics = r->metrics};
    struct feed_deps feed_deps = {.log = r->log, .metrics = r->metrics};
    struct connector *connector = connector_create(&r->config, &deps, err);
    if (!connector) return false;
    struct feed *feed = feed_create(&r->feed_config, connector_sink(connector), &feed_deps);
    pthread_mutex_lock(&r->lock);
    r->filling = connector;
    r->filling_feed = feed;
    pthread_mutex_unlock(&r->lock);
    return true;
}

static void stop_filling(struct rebuilding *r) {
    feed_stop(r->filling_feed);
    connector_stop(r->filling);
}

static void destroy_filling(struct rebuilding *r) {
    if (!r->filling) return;
    stop_filling(r);
    pthread_mutex_lock(&r->lock);
    struct connector *connector = r->filling;
    struct feed *feed = r->filling_feed;
    r->filling = NULL;
    r->filling_feed = NULL;
    pthread_mutex_unlock(&r->lock);
    feed_destroy(&feed);
    connector_destroy(&connector);
}

/* What is left of a rebuild, done or not. */
static bool clear_away(struct rebuilding *r, struct error *err) {
    if (!persist(r, drop_slot, err)) return false;
    if (unlink(r->position_path) != 0 && errno != ENOENT)
        return error_set(err, ERROR_SYSTEM, false, "%s: %s", r->position_path, strerror(errno));
    return persist(r, tidy_target, err);
}

static bool feed_is_well(struct rebuilding *r, struct error *err) {
    struct feed_status status;
    feed_status(r->filling_feed, &status);
    return status.state != FEED_FAILED || error_set(err, ERROR_REFUSED, false, "%s", status.cause);
}

static bool caught_up(struct rebuilding *r) {
    struct connector_progress served;
    struct connector_progress filling;
    connector_progress(r->served, &served);
    connector_progress(r->filling, &filling);
    return filling.loaded && !filling.retrying && served.loaded && !served.paused &&
           !served.retrying && filling.applied_lsn + CAUGHT_UP_BYTES >= served.applied_lsn;
}

static bool follow(struct rebuilding *r, struct error *err) {
    bool loaded = false;
    while (!caught_up(r)) {
        struct connector_progress filling;
        connector_progress(r->filling, &filling);
        if (filling.loaded != loaded) enter(r, filling.loaded ? FOLLOWING : LOADING);
        loaded = filling.loaded;
        if (!feed_is_well(r, err)) return false;
        if (!rest(r, LOOK_MS)) return stopped(err);
    }
    return true;
}

/* ---- the switch ---- */

static bool served_stands(const struct connector_progress *served) {
    return served->queue_bytes == 0 && served->applied_lsn == served->saved_lsn;
}

/* The served one's feed is stopped: true once all that it has read is applied and saved in both. */
static bool await_both(struct rebuilding *r) {
    int64_t due_us = clock_mono_us() + HOLD_US;
    do {
        struct connector_progress served;
        struct connector_progress filling;
        connector_progress(r->served, &served);
        connector_progress(r->filling, &filling);
        if (served_stands(&served) && filling.saved_lsn >= served.saved_lsn) return true;
    } while (clock_mono_us() < due_us && rest(r, LOOK_MS));
    return false;
}

static bool go_on_serving(struct rebuilding *r, struct error *err) {
    bool started = feed_start(r->served_feed, err);
    atomic_store(&r->holds, false);
    return started;
}

/* An answer that was lost may have been a yes: what was done shows when the served one opens its target. */
static bool take_over(struct rebuilding *r, struct error *err) {
    for (int i = 0; i < TAKE_OVER_TRIES; i++) {
        if (connector_take_over(r->filling, err)) return true;
        note_error(r, err);
        if (!err->retriable || !rest(r, AGAIN_MS)) return false;
    }
    return false;
}

/* *switched false and true: it was not the time. */
static bool try_to_switch(struct rebuilding *r, bool *switched, struct error *err) {
    struct connector_progress served;
    struct connector_progress filling;
    *switched = false;
    enter(r, SWITCHING);
    atomic_store(&r->holds, true);
    feed_stop(r->served_feed);
    if (!await_both(r)) return go_on_serving(r, err);
    stop_filling(r);
    connector_progress(r->served, &served);
    connector_progress(r->filling, &filling);
    struct error cause = {0};
    (void)take_over(r, &cause);
    if (!go_on_serving(r, err) || !await_served(r, served.opens, &served, err)) return false;
    *switched = strcmp(served.target, filling.target) == 0;
    if (*switched) return true;
    *err = cause;
    if (!cause.message[0])
        return error_set(err, ERROR_CONFLICT, false,
                         "the switch: another index than ours is served by now");
    return error_prefix(err, "the switch");
}

static bool switch_over(struct rebuilding *r, struct error *err) {
    bool switched = false;
    while (!switched) {
        if (!follow(r, err) || !try_to_switch(r, &switched, err)) return false;
        if (!switched && !rest(r, AGAIN_MS)) return stopped(err);
    }
    return true;
}

static bool fill(struct rebuilding *r, struct error *err) {
    return connector_start(r->filling, err) && feed_start(r->filling_feed, err) &&
           switch_over(r, err);
}

/* An earlier process may have been cut off between the switch and the end. */
static bool was_switched(struct rebuilding *r, bool *switched, struct error *err) {
    struct connector_progress served;
    if (!await_served(r, 0, &served, err)) return false;
    return connector_was_rebuilt(r->filling, served.target, switched, err);
}

static bool rebuild(struct rebuilding *r, struct error *err) {
    bool switched = false;
    bool goes_on = may_go_on(r);
    if (!note_begun(r, err) || !create_filling(r, err) || !was_switched(r, &switched, err))
        return false;
    if (!switched && ((!goes_on && !clear_away(r, err)) || !fill(r, err))) return false;
    enter(r, FINISHING); /* searches of the old target that are under way come to their end */
    return rest(r, r->config.rebuild_grace_ms) || stopped(err);
}

static bool copy_file(const char *path, int to) {
    FILE *from = fopen(path, "re");
    if (!from) return errno == ENOENT;
    char data[16384];
    size_t n;
    bool copied = true;
    while (copied && (n = fread(data, 1, sizeof data, from)) > 0)
        copied = write(to, data, n) == (ssize_t)n;
    copied = copied && !ferror(from) && fsync(to) == 0;
    fclose(from);
    return copied;
}

/* Dead letters of an index that is served are the connector's; those of one that was given up are nobody's. */
static void settle_letters(struct rebuilding *r, bool done) {
    char *path = mem_printf("%s/%s.deadletters.jsonl", r->config.state_dir, r->name);
    char *served = mem_printf("%s/%s.deadletters.jsonl", r->config.state_dir, r->served_name);
    int to = done ? open(served, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    bool settled = !done || (to >= 0 && copy_file(path, to));
    if (settled) unlink(path);
    if (!settled)
        log_warn(r->log, "dead_letters_left", "connector=%s file=%s cause=\"%s\"", r->served_name,
                 path, strerror(errno));
    if (to >= 0) close(to);
    mem_free(path);
    mem_free(served);
}

/* Also after a failure, so that no slot keeps WAL for nobody; what cannot be cleared away now is at the next start. */
static void finish(struct rebuilding *r, bool done, struct error *err) {
    struct error trouble = {0};
    bool cut_off = !done && err->code == ERROR_STOPPED;
    if (r->filling && !cut_off) {
        stop_filling(r);
        bool cleared = clear_away(r, &trouble);
        if (cleared) {
            settle_letters(r, done);
            unlink(r->marker_path);
        }
        if (!cleared)
            log_warn(r->log, "connector_rebuild_left_over", "connector=%s cause=\"%s\"",
                     r->served_name, trouble.message);
    }
    destroy_filling(r);
    if (!done) note_error(r, err);
    pthread_mutex_lock(&r->lock);
    r->ended_us = clock_wall_us();
    r->state = done ? DONE : FAILED;
    if (done) r->last_error = (struct error){0};
    pthread_mutex_unlock(&r->lock);
    if (done)
        log_info(r->log, "connector_rebuilt", "connector=%s", r->served_name);
    else
        log_error(r->log, "connector_not_rebuilt", "connector=%s cause=\"%s\"", r->served_name,
                  err->message);
}

static void *run(void *arg) {
    struct rebuilding *r = arg;
    struct error err = {0};
    bool done = rebuild(r, &err);
    finish(r, done, &err);
    return NULL;
}

/* ---- other threads ---- */

static bool runs(const struct rebuilding *r) {
    return r->started && r->state != DONE && r->state != FAILED;
}

/* Holding the lock. */
static bool start(struct rebuilding *r, bool left, struct error *err) {
    if (r->started) pthread_join(r->thread, NULL);
    r->left = left;
    r->started = false;
    r->state = PREPARING;
    r->last_error = (struct error){0};
    r->began_us = clock_wall_us();
    r->ended_us = 0;
    int code = pthread_create(&r->thread, NULL, run, r);
    if (code != 0)
        return error_set(err, ERROR_SYSTEM, true, "cannot start a thread: %s", strerror(code));
    r->started = true;
    return true;
}

static bool begin(struct rebuilding *r, bool left, struct error *err) {
    if (!connector_can_rebuild(r->served, err)) return false;
    pthread_mutex_lock(&r->lock);
    bool begun = false;
    if (runs(r))
        error_set(err, ERROR_CONFLICT, false, "it is being rebuilt already");
    else if (r->stop)
        stopped(err);
    else
        begun = start(r, left, err);
    pthread_mutex_unlock(&r->lock);
    return begun;
}

bool rebuilding_begin(struct rebuilding *r, struct error *err) { return begin(r, false, err); }

bool rebuilding_resume(struct rebuilding *r, struct error *err) {
    return access(r->marker_path, F_OK) != 0 || begin(r, true, err);
}

void rebuilding_stop(struct rebuilding *r) {
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->wake);
    bool started = r->started;
    r->started = false;
    pthread_mutex_unlock(&r->lock);
    if (started) pthread_join(r->thread, NULL);
}

bool rebuilding_holds(struct rebuilding *r) { return atomic_load(&r->holds); }

static void add_progress(json_t *json, struct rebuilding *r) {
    struct connector_progress filling;
    struct feed_status feed;
    connector_progress(r->filling, &filling);
    feed_status(r->filling_feed, &feed);
    json_object_set_new(json, "target", json_string(filling.target));
    json_object_set_new(json, "rows", json_integer((json_int_t)filling.written));
    json_object_set_new(json, "changes", json_integer((json_int_t)feed.changes));
    json_object_set_new(json, "lag_seconds", json_real((double)feed.lag_us / 1e6));
    if (feed.state != FEED_SNAPSHOTTING) return;
    json_object_set_new(json, "rows_per_second",
                        json_integer((json_int_t)feed.snapshot.rows_per_second));
    json_object_set_new(json, "percent", json_real(feed.snapshot.share * 100));
    json_object_set_new(json, "seconds_left", json_real(feed.snapshot.seconds_left));
}

json_t *rebuilding_status(struct rebuilding *r) {
    json_t *json = NULL;
    pthread_mutex_lock(&r->lock);
    if (r->state != IDLE) {
        int64_t until_us = r->ended_us ? r->ended_us : clock_wall_us();
        const char *error = r->last_error.message;
        json =
            json_pack("{s:s, s:f, s:f}", "state", state_names[r->state], "began",
                      (double)r->began_us / 1e6, "seconds", (double)(until_us - r->began_us) / 1e6);
        json_object_set_new(json, "error", *error ? json_string(error) : json_null());
        if (r->filling) add_progress(json, r);
    }
    pthread_mutex_unlock(&r->lock);
    return json;
}

#include "connectors/runtime/lanes.h"

#include <pthread.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

struct lane {
    struct lanes *all;
    struct sink *sink;
    pthread_t thread;
    bool started;
    /* The caller's while the lane is idle, else the lane's. */
    struct batch *part;
    size_t *places; /* of the part's writes in the batch */
    size_t cap_places;
    bool ok;
    struct error err;
    bool busy; /* lock */
};

struct lanes {
    const struct sink_ops *ops;
    uint32_t n;
    struct lane lanes[LANES_MAX];
    pthread_mutex_t lock;
    pthread_cond_t work;
    pthread_cond_t done;
    bool ending; /* lock */
};

static void work(struct lane *lane) {
    lane->ok = lane->all->ops->apply(lane->sink, lane->part, &lane->err);
}

static void *run(void *arg) {
    struct lane *lane = arg;
    struct lanes *all = lane->all;
    pthread_mutex_lock(&all->lock);
    while (true) {
        while (!lane->busy && !all->ending)
            pthread_cond_wait(&all->work, &all->lock);
        if (all->ending) break;
        pthread_mutex_unlock(&all->lock);
        work(lane);
        pthread_mutex_lock(&all->lock);
        lane->busy = false;
        pthread_cond_signal(&all->done);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

static bool start(struct lane *lane, struct error *err) {
    int failed = thread_start(&lane->thread, NULL, run, lane);
    lane->started = !failed;
    return !failed ||
           error_set(err, ERROR_SYSTEM, true, "a lane has no thread: %s", strerror(failed));
}

struct lanes *lanes_create(const struct sink_ops *ops, uint32_t n, struct sink *const *sinks,
                           struct error *err) {
    ASSERT(n >= 1 && n <= LANES_MAX && !ops->transactional && !ops->load_position);
    struct lanes *lanes = mem_zalloc(sizeof *lanes);
    lanes->ops = ops;
    lanes->n = n;
    pthread_mutex_init(&lanes->lock, NULL);
    pthread_cond_init(&lanes->work, NULL);
    pthread_cond_init(&lanes->done, NULL);
    for (uint32_t i = 0; i < n; i++) {
        lanes->lanes[i].all = lanes;
        lanes->lanes[i].sink = sinks[i];
        if (i == 0 || start(&lanes->lanes[i], err)) continue;
        lanes_destroy(&lanes);
        return NULL;
    }
    return lanes;
}

void lanes_destroy(struct lanes **lanes) {
    struct lanes *old = *lanes;
    *lanes = NULL;
    if (!old) return;
    pthread_mutex_lock(&old->lock);
    old->ending = true;
    pthread_cond_broadcast(&old->work);
    pthread_mutex_unlock(&old->lock);
    for (uint32_t i = 0; i < old->n; i++) {
        if (old->lanes[i].started) pthread_join(old->lanes[i].thread, NULL);
        mem_free(old->lanes[i].places);
    }
    pthread_cond_destroy(&old->work);
    pthread_cond_destroy(&old->done);
    pthread_mutex_destroy(&old->lock);
    mem_free(old);
}

bool lanes_open(struct lanes *lanes, const struct shape *shape, uint64_t system_identifier,
                struct sink_target *target, struct error *err) {
    if (!lanes->ops->open(lanes->lanes[0].sink, shape, system_identifier, target, err))
        return false;
    struct sink_target same;
    for (uint32_t i = 1; i < lanes->n; i++) {
        if (!lanes->ops->open(lanes->lanes[i].sink, shape, system_identifier, &same, err))
            return false;
        if (strcmp(same.id, target->id) != 0)
            return error_set(err, ERROR_CONFLICT, true,
                             "the target was made anew while it was opened");
    }
    return true;
}

bool lanes_reshape(struct lanes *lanes, const struct shape *shape, struct error *err) {
    for (uint32_t i = 0; i < lanes->n; i++) {
        if (!lanes->ops->reshape(lanes->lanes[i].sink, shape, err)) return false;
    }
    return true;
}

bool lanes_flush(struct lanes *lanes, const struct change_position *position, struct error *err) {
    for (uint32_t i = 0; i < lanes->n; i++) {
        if (!lanes->ops->flush(lanes->lanes[i].sink, position, err)) return false;
    }
    return true;
}

/* ---- a batch ---- */

static void hand_out(struct lane *lane, struct batch *batch, size_t place) {
    if (!lane->part) {
        lane->part = batch_create(BATCH_WRITES, batch->shape, batch->opened_us);
        lane->part->after = batch->after;
        lane->part->position_lsn = batch->position_lsn;
        lane->part->commit_time_us = batch->commit_time_us;
    }
    size_t n = lane->part->n_writes;
    if (n == lane->cap_places) {
        lane->cap_places = n ? 2 * n : 64;
        lane->places = mem_realloc(lane->places, lane->cap_places * sizeof *lane->places);
    }
    lane->places[n] = place;
    batch_lend(lane->part, &batch->writes[place]);
}

static void part_batch(struct lanes *lanes, struct batch *batch) {
    const struct write *write;
    for (size_t at = 0; (write = batch_next(batch, &at, batch->n_writes));) {
        uint64_t hash = XXH3_64bits(write->key.len ? write->key.data : "", write->key.len);
        hand_out(&lanes->lanes[hash % lanes->n], batch, at - 1);
    }
}

/* What the part's writes came to. */
static void take_back(struct lane *lane, struct batch *batch) {
    for (size_t i = 0; lane->part && i < lane->part->n_writes; i++) {
        const struct write *done = &lane->part->writes[i];
        struct write *write = &batch->writes[lane->places[i]];
        write->outcome = done->outcome;
        if (done->outcome == WRITE_REFUSED)
            batch_refuse(batch, write, done->status, slice_from(done->cause));
    }
    batch_destroy(&lane->part);
}

static void set_off(struct lanes *lanes) {
    pthread_mutex_lock(&lanes->lock);
    for (uint32_t i = 1; i < lanes->n; i++)
        lanes->lanes[i].busy = lanes->lanes[i].part != NULL;
    pthread_cond_broadcast(&lanes->work);
    pthread_mutex_unlock(&lanes->lock);
}

static void wait_for(struct lanes *lanes, const struct lane *lane) {
    pthread_mutex_lock(&lanes->lock);
    while (lane->busy)
        pthread_cond_wait(&lanes->done, &lanes->lock);
    pthread_mutex_unlock(&lanes->lock);
}

bool lanes_apply(struct lanes *lanes, struct batch *batch, struct error *err) {
    if (lanes->n == 1) return lanes->ops->apply(lanes->lanes[0].sink, batch, err);
    part_batch(lanes, batch);
    set_off(lanes);
    if (lanes->lanes[0].part) work(&lanes->lanes[0]);
    bool ok = true;
    for (uint32_t i = 0; i < lanes->n; i++) {
        struct lane *lane = &lanes->lanes[i];
        bool worked = lane->part != NULL;
        wait_for(lanes, lane);
        take_back(lane, batch);
        if (!worked || lane->ok) continue;
        /* That the target is gone is what counts of several errors. */
        if (ok || lane->err.code == ERROR_NOT_FOUND) *err = lane->err;
        ok = false;
    }
    return ok;
}

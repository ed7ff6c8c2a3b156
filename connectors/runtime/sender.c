#include "connectors/runtime/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connectors/runtime/sender_parts.h"

enum {
    DRAIN_US = 3000000,
    LOG_RETRY_EVERY = 8,
    LOOK_INTERVAL_US = 1000000,
    TABLES_INTERVAL_US = 5000000,
};

struct sender *sender_create(const struct sender_config *config, const struct sender_deps *deps,
                             _Atomic bool *stop) {
    struct sender *sender = mem_zalloc(sizeof *sender);
    sender->name = mem_strdup(config->name);
    sender->position_path = config->position_path ? mem_strdup(config->position_path) : NULL;
    sender->rebuilt_path = mem_strdup(config->rebuilt_path);
    sender->resumes_loads = config->position_path && deps->ops->resumes_loads &&
                            (!deps->source.ops->touch || deps->source.ops->walk);
    sender->queue_max_bytes = config->queue_bytes;
    sender->save_interval_us = config->save_interval_us;
    snprintf(sender->record.table, sizeof sender->record.table, "%s", config->table);
    sender->ops = deps->ops;
    sender->sink = deps->sink;
    sender->lanes = deps->lanes;
    sender->source = deps->source;
    sender->deadletters = deps->deadletters;
    sender->figures = deps->figures;
    sender->log = deps->log;
    sender->stop = stop;
    backoff_init(&sender->backoff, config->seed);
    sender->gate = (struct gate){.config = config->gate, .paused = config->paused};
    pthread_mutex_init(&sender->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&sender->wake, &monotonic);
    pthread_cond_init(&sender->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return sender;
}

void sender_drop_queue(struct sender *sender) {
    while (sender->head) {
        struct batch *batch = sender->head;
        sender->head = batch->next;
        batch_destroy(&batch);
    }
    sender->tail = NULL;
    sender->queued_bytes = 0;
}

void sender_destroy(struct sender **sender) {
    struct sender *old = *sender;
    *sender = NULL;
    if (!old) return;
    ASSERT(!old->started);
    sender_drop_queue(old);
    shape_release(&old->held_shape);
    shape_release(&old->opened_shape);
    pthread_cond_destroy(&old->wake);
    pthread_cond_destroy(&old->done);
    pthread_mutex_destroy(&old->lock);
    mem_free(old->name);
    mem_free(old->position_path);
    mem_free(old->rebuilt_path);
    mem_free(old->note);
    mem_free(old);
}

/* ---- the sender's thread; the lock is held unless a function says otherwise ---- */

/* Sleeps until `due_us` (monotonic) or until somebody wakes us. */
static void sleep_until(struct sender *sender, int64_t due_us) {
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    pthread_cond_timedwait(&sender->wake, &sender->lock, &due);
}

/* ---- the queue; holding the lock ---- */

static void pop(struct sender *sender) {
    struct batch *batch = sender->head;
    sender->head = batch->next;
    if (!sender->head) sender->tail = NULL;
    sender->queued_bytes -= batch->bytes;
    batch_destroy(&batch);
}

static void accept_note(struct sender *sender, struct batch *batch) {
    bool ends = batch->kind == BATCH_LOADING || batch->kind == BATCH_LOADED;
    if (!batch->note && !ends) return;
    mem_free(sender->note);
    sender->note = batch->note;
    batch->note = NULL;
    sender->unsaved = true;
}

static void accept_result(struct sender *sender, struct batch *batch) {
    accept_note(sender, batch);
    if (sender->ops->transactional) {
        sender->mid_transaction = batch->mid_transaction;
        sender->unsaved = sender->uncommitted = true;
        sender->saved_us = 0; /* at once */
    }
    if (batch->kind == BATCH_LOADING) {
        sender->loaded = false;
        sender->applied_lsn = sender->saved_lsn = sender->last_end_lsn = 0;
        sender->unsaved = false;
        sender->load_began_us = clock_wall_us();
        return;
    }
    if (batch->kind == BATCH_LOADED) {
        sender->loaded = true;
        sender->load_began_us = 0;
        sender->unsaved = true;
        sender->saved_us = 0; /* at once */
    }
    if (batch->position_lsn > sender->applied_lsn) {
        sender->applied_lsn = batch->position_lsn;
        sender->last_end_lsn = batch->last_end_lsn;
        sender->unsaved = true;
    }
}

/* Waits for the next try. False: it is no use: stopping, or the session is another one. */
static bool wait_to_retry(struct sender *sender, const struct batch *batch,
                          const struct error *err) {
    metric_add(sender->figures->retries, 1);
    sender_note_error(sender, err);
    if (sender->draining || sender->quit) return false;
    uint32_t tries = sender->backoff.tries;
    bool was_broken = gate_broken(&sender->gate);
    int64_t wait_us = gate_failed(&sender->gate, &sender->backoff);
    if (gate_broken(&sender->gate) && !was_broken) metric_add(sender->figures->breaks, 1);
    if (tries % LOG_RETRY_EVERY == 0)
        log_warn(sender->log, "connector_retrying",
                 "connector=%s tries=%u wait_ms=%lld cause=\"%s\"", sender->name, tries + 1,
                 (long long)(wait_us / 1000), err->message);
    sender->state = SENDER_RETRYING;
    int64_t due_us = clock_mono_us() + wait_us;
    while (clock_mono_us() < due_us) {
        if (sender->quit || sender->draining || sender->gate.paused ||
            batch->session != sender->session)
            return false;
        sleep_until(sender, due_us);
    }
    sender->state = SENDER_SENDING;
    return true;
}

/* Where the sink is with this batch: what comes to the queue meanwhile may move its position on. */
static void tell_position(const struct sender *sender, struct batch *batch) {
    batch->after = sender_position_now(sender);
    if (batch->position_lsn < sender->applied_lsn) return;
    batch->after.end_lsn = batch->position_lsn;
    batch->after.last_end_lsn = batch->last_end_lsn;
}

/* Applies the first batch of the queue, however often that takes. False: given up, it stays in the queue. */
static bool handle_batch(struct sender *sender) {
    struct batch *batch = sender->head;
    sender->state = SENDER_SENDING;
    tell_position(sender, batch);
    bool applied = false;
    bool counted = false;
    while (!applied && batch->session == sender->session) {
        pthread_mutex_unlock(&sender->lock);
        struct error err = {0};
        if (!counted && sender_attempt(sender, batch, &err)) {
            sender_count_outcomes(sender, batch);
            counted = true;
        }
        /* Before the position passes them. */
        applied = counted && deadletters_sync(sender->deadletters, &err);
        pthread_mutex_lock(&sender->lock);
        if (applied) break;
        if (!counted && err.code == ERROR_NOT_FOUND) {
            sender_lose_target(sender, &err);
            return true;
        }
        if (!wait_to_retry(sender, batch, &err)) break;
    }
    if (batch->session != sender->session) return true; /* handle_opening drops it */
    if (!applied) return false;
    backoff_reset(&sender->backoff);
    gate_passed(&sender->gate, batch->n_writes - batch->n_superseded, clock_mono_us());
    accept_result(sender, batch);
    if (batch->kind == BATCH_RETRY) {
        sender->retry_due = false;
        sender->retried = sender->retrying;
        sender->retry_runs++;
    }
    pop(sender);
    return true;
}

/* Dead letters come before what is queued: what that has of the same keys is newer. */
static void queue_retry(struct sender *sender) {
    struct batch *batch = batch_create(BATCH_RETRY, NULL, clock_mono_us());
    batch->session = sender->session;
    batch->mid_transaction = sender->mid_transaction;
    batch->next = sender->head;
    sender->head = batch;
    if (!sender->tail) sender->tail = batch;
    sender->queued_bytes += batch->bytes;
}

static bool may_look(const struct sender *sender) {
    return sender->ops->look && sender->opened_shape && !sender->restart;
}

static int64_t look_due_us(const struct sender *sender) {
    int64_t last_us = sender->saved_us > sender->looked_us ? sender->saved_us : sender->looked_us;
    return last_us + LOOK_INTERVAL_US;
}

/* A target that is lost while nothing changes is noticed, too. */
static void look(struct sender *sender) {
    pthread_mutex_unlock(&sender->lock);
    struct error err = {0};
    bool is_there = sender->ops->look(sender->sink, &err);
    pthread_mutex_lock(&sender->lock);
    sender->looked_us = clock_mono_us();
    if (is_there) return;
    if (err.code == ERROR_NOT_FOUND)
        sender_lose_target(sender, &err);
    else
        sender_note_error(sender, &err);
}

static bool may_look_at_tables(const struct sender *sender) {
    return sender->source.ops->tables_now && sender->opened_shape && sender->opened_shape->tables &&
           !sender->restart && !sender->draining && !sender->gate.paused;
}

/* A table that was dropped and made again is in no publication, and no change tells of it. Of one that is just gone there is
 * nothing to tell; where we cannot ask, the feed cannot either. */
static void look_at_tables(struct sender *sender) {
    struct shape *shape = shape_acquire(sender->opened_shape);
    pthread_mutex_unlock(&sender->lock);
    struct error err = {0};
    uint64_t now = 0;
    bool told = sender->source.ops->tables_now(sender->source.self, &now, &err);
    pthread_mutex_lock(&sender->lock);
    sender->tables_us = clock_mono_us();
    if (told && now && now != shape->tables && shape == sender->opened_shape) {
        error_set(&err, ERROR_NOT_FOUND, true,
                  "table %s.%s, or one that it is made of, was dropped and another one made in its "
                  "place",
                  shape->schema, shape->table);
        sender_lose_target(sender, &err);
    }
    shape_release(&shape);
}

/* Until something is due, or somebody wakes us. */
static void rest(struct sender *sender, int64_t due_us) {
    int64_t save_due_us = sender->saved_us + sender->save_interval_us;
    sender->state = SENDER_IDLE;
    if (sender->unsaved && !sender->mid_transaction && save_due_us < due_us) due_us = save_due_us;
    if (may_look(sender) && look_due_us(sender) < due_us) due_us = look_due_us(sender);
    if (may_look_at_tables(sender) && sender->tables_us + TABLES_INTERVAL_US < due_us)
        due_us = sender->tables_us + TABLES_INTERVAL_US;
    if (due_us < INT64_MAX)
        sleep_until(sender, due_us);
    else
        pthread_cond_wait(&sender->wake, &sender->lock);
}

static bool may_retry(const struct sender *sender) {
    bool queued = sender->head && sender->head->kind == BATCH_RETRY;
    return sender->retry_due && !queued && sender->opened_shape && !sender->restart &&
           !sender->draining;
}

static void *run(void *arg) {
    struct sender *sender = arg;
    pthread_mutex_lock(&sender->lock);
    while (!sender->quit) {
        int64_t now_us = clock_mono_us();
        int64_t save_due_us = sender->saved_us + sender->save_interval_us;
        int64_t wait_us = sender->head ? gate_wait_us(&sender->gate, now_us) : GATE_CLOSED;
        if (sender->opening.asked) {
            sender_answer_opening(sender);
        } else if (sender->abandoned) {
            sender_drop_queue(sender);
            sender->abandoned = false;
            pthread_cond_broadcast(&sender->done);
        } else if (may_retry(sender)) {
            queue_retry(sender);
        } else if (may_look_at_tables(sender) && now_us >= sender->tables_us + TABLES_INTERVAL_US) {
            look_at_tables(sender);
        } else if (sender->unsaved && !sender->mid_transaction && now_us >= save_due_us) {
            if (!sender_save_applied(sender)) sender->saved_us = clock_mono_us();
        } else if (wait_us == 0) {
            if (!handle_batch(sender) && sender->draining) break;
        } else if (sender->draining) {
            break;
        } else if (may_look(sender) && now_us >= look_due_us(sender)) {
            look(sender);
        } else {
            rest(sender, wait_us == GATE_CLOSED ? INT64_MAX : now_us + wait_us);
        }
    }
    (void)sender_save_applied(sender);
    sender->state = SENDER_STOPPED;
    sender->finished = true;
    pthread_cond_broadcast(&sender->done);
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

/* ---- other threads ---- */

bool sender_start(struct sender *sender, struct error *err) {
    ASSERT(!sender->started);
    int code = pthread_create(&sender->thread, NULL, run, sender);
    if (code != 0)
        return error_set(err, ERROR_SYSTEM, true, "connector %s: cannot start its thread: %s",
                         sender->name, strerror(code));
    sender->started = true;
    return true;
}

void sender_stop(struct sender *sender) {
    if (!sender->started) return;
    pthread_mutex_lock(&sender->lock);
    sender->draining = true;
    pthread_cond_broadcast(&sender->wake);
    int64_t due_us = clock_mono_us() + DRAIN_US;
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    while (!sender->finished &&
           pthread_cond_timedwait(&sender->done, &sender->lock, &due) != ETIMEDOUT)
        continue;
    sender->quit = true;
    atomic_store(sender->stop, true);
    pthread_cond_broadcast(&sender->wake);
    pthread_mutex_unlock(&sender->lock);
    pthread_join(sender->thread, NULL);
    sender->started = false;
}

bool sender_open(struct sender *sender, const struct shape *shape, uint64_t system_identifier,
                 struct change_position *position, struct error *err) {
    pthread_mutex_lock(&sender->lock);
    sender->session++;
    sender->opening =
        (struct opening){.asked = true, .shape = shape, .system_identifier = system_identifier};
    pthread_cond_broadcast(&sender->wake);
    while (!sender->opening.answered && !sender->finished)
        pthread_cond_wait(&sender->done, &sender->lock);
    bool ok = sender->opening.answered && sender->opening.ok;
    if (ok)
        *position = sender->opening.position;
    else if (sender->opening.answered)
        *err = sender->opening.err;
    else
        error_set(err, ERROR_STOPPED, false, "connector %s is stopping", sender->name);
    sender->opening = (struct opening){0};
    pthread_mutex_unlock(&sender->lock);
    return ok;
}

void sender_enqueue(struct sender *sender, struct batch **batch) {
    struct batch *given = *batch;
    *batch = NULL;
    pthread_mutex_lock(&sender->lock);
    if (sender->restart) { /* the session is lost: the next one reads it again */
        pthread_mutex_unlock(&sender->lock);
        batch_destroy(&given);
        return;
    }
    given->session = sender->session;
    given->next = NULL;
    if (sender->tail)
        sender->tail->next = given;
    else
        sender->head = given;
    sender->tail = given;
    sender->queued_bytes += given->bytes;
    pthread_cond_signal(&sender->wake);
    pthread_mutex_unlock(&sender->lock);
}

void sender_reached(struct sender *sender, uint64_t end_lsn, uint64_t last_end_lsn) {
    pthread_mutex_lock(&sender->lock);
    if (sender->tail) {
        if (end_lsn > sender->tail->position_lsn) sender->tail->position_lsn = end_lsn;
        sender->tail->last_end_lsn = last_end_lsn;
        sender->tail->mid_transaction = false;
    } else if (end_lsn > sender->applied_lsn && !sender->restart) {
        sender->applied_lsn = end_lsn;
        sender->last_end_lsn = last_end_lsn;
        sender->unsaved = true;
        sender->mid_transaction = false;
        pthread_cond_signal(&sender->wake);
    }
    pthread_mutex_unlock(&sender->lock);
}

void sender_attached(struct sender *sender, const struct feed_identity *identity) {
    pthread_mutex_lock(&sender->lock);
    sender->timeline = identity->timeline;
    sender->timeline_lsn = identity->timeline_lsn;
    if (!identity->slot_created && identity->start_lsn &&
        identity->start_lsn < sender->applied_lsn) {
        sender->applied_lsn = sender->saved_lsn = identity->start_lsn;
        sender->unsaved = true;
    }
    pthread_mutex_unlock(&sender->lock);
}

void sender_target(struct sender *sender, char *id, size_t size) {
    pthread_mutex_lock(&sender->lock);
    const struct shape *shape = sender->opened_shape;
    int len = snprintf(id, size, "%s", sender->target.id);
    if (shape && shape->chosen && (size_t)len < size)
        snprintf(id + len, size - (size_t)len, "(%016" PRIx64 ")", shape->chosen);
    pthread_mutex_unlock(&sender->lock);
}

void sender_abandon(struct sender *sender, int64_t timeout_us) {
    int64_t due_us = clock_mono_us() + timeout_us;
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    pthread_mutex_lock(&sender->lock);
    sender->session++;
    sender->abandoned = true;
    pthread_cond_broadcast(&sender->wake);
    while (sender->abandoned && !sender->finished &&
           pthread_cond_timedwait(&sender->done, &sender->lock, &due) != ETIMEDOUT)
        continue;
    pthread_mutex_unlock(&sender->lock);
}

void sender_pause(struct sender *sender, bool paused) {
    pthread_mutex_lock(&sender->lock);
    sender->gate.paused = paused;
    pthread_cond_broadcast(&sender->wake);
    pthread_mutex_unlock(&sender->lock);
}

uint64_t sender_retry(struct sender *sender) {
    pthread_mutex_lock(&sender->lock);
    uint64_t runs = sender->retry_runs;
    sender->retry_due = true;
    pthread_cond_broadcast(&sender->wake);
    pthread_mutex_unlock(&sender->lock);
    return runs + 1;
}

bool sender_has_room(struct sender *sender) {
    pthread_mutex_lock(&sender->lock);
    bool room = sender->queued_bytes < sender->queue_max_bytes;
    pthread_mutex_unlock(&sender->lock);
    return room;
}

uint64_t sender_confirmed_lsn(struct sender *sender) {
    pthread_mutex_lock(&sender->lock);
    uint64_t saved_lsn = sender->saved_lsn;
    pthread_mutex_unlock(&sender->lock);
    return saved_lsn;
}

bool sender_must_restart(struct sender *sender, struct error *err) {
    pthread_mutex_lock(&sender->lock);
    bool restart = sender->restart;
    if (restart) {
        *err = sender->restart_cause;
        err->retriable = true;
    }
    pthread_mutex_unlock(&sender->lock);
    return restart;
}

void sender_status(struct sender *sender, struct sender_status *status) {
    pthread_mutex_lock(&sender->lock);
    bool hidden = sender->uncommitted || sender->restart;
    *status = (struct sender_status){.state = sender->state,
                                     .loaded = sender->loaded,
                                     .walked = sender->walked,
                                     .applied_lsn = sender->applied_lsn,
                                     .saved_lsn = sender->saved_lsn,
                                     .seen_lsn = hidden ? sender->saved_lsn : sender->applied_lsn,
                                     .opens = sender->opens,
                                     .retried = sender->retried,
                                     .retry_runs = sender->retry_runs,
                                     .paused = sender->gate.paused,
                                     .broken = gate_broken(&sender->gate),
                                     .queue_bytes = sender->queued_bytes,
                                     .oldest_commit_us = sender->load_began_us,
                                     .last_error_us = sender->last_error_us};
    for (const struct batch *batch = sender->head; batch && !status->oldest_commit_us;
         batch = batch->next)
        status->oldest_commit_us = batch->commit_time_us;
    snprintf(status->target, sizeof status->target, "%s", sender->opened_target);
    snprintf(status->last_error, sizeof status->last_error, "%.*s",
             (int)sizeof status->last_error - 1, sender->last_error.message);
    pthread_mutex_unlock(&sender->lock);
}

const char *sender_state_name(enum sender_state state) {
    static const char *const names[] = {
        [SENDER_IDLE] = "idle",         [SENDER_OPENING] = "opening", [SENDER_SENDING] = "sending",
        [SENDER_RETRYING] = "retrying", [SENDER_STOPPED] = "stopped",
    };
    return names[state];
}

#include "connectors/sender.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connectors/backoff.h"
#include "connectors/position.h"
#include "connectors/resume.h"
#include "connectors/retry.h"

enum { DRAIN_US = 3000000, LOG_RETRY_EVERY = 8, LOOK_INTERVAL_US = 1000000 };

struct opening {
    bool asked;
    bool answered;
    bool ok;
    const struct shape *shape;
    uint64_t system_identifier;
    struct change_position position;
    struct error err;
};

struct sender {
    char *name;
    char *position_path;
    char *rebuilt_path;
    size_t queue_max_bytes;
    int64_t save_interval_us;
    const struct sink_ops *ops;
    struct sink *sink;
    struct lanes *lanes; /* NULL: the sink alone */
    struct source source;
    struct deadletters *deadletters;
    struct figures *figures;
    struct log *log;
    _Atomic bool *stop; /* the request in hand is to be given up */
    pthread_t thread;
    bool started;

    /* The sender's thread alone. */
    struct backoff backoff;
    struct position_record record;
    const struct shape *shape; /* that the sink was last told of; held by `held_shape` */
    struct shape *held_shape;
    struct shape *opened_shape; /* of this session's start */
    struct retry_counts retrying;
    struct sink_target target;
    int64_t saved_us; /* monotonic */
    int64_t looked_us;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;  /* the sender's thread waits */
    pthread_cond_t done;  /* others wait for it */
    struct batch *head;   /* the first is the one in hand */
    struct batch *tail;
    size_t queued_bytes;
    uint64_t session;
    struct opening opening;
    struct gate gate;
    bool retry_due; /* of dead letters: somebody has asked */
    struct retry_counts retried;
    uint64_t retry_runs;
    bool draining; /* end once the queue is empty, or at the first failure */
    bool quit;     /* end now */
    bool finished;
    bool abandoned; /* the queue is to be dropped */
    bool restart;
    uint64_t opens;
    char opened_target[64];
    struct error restart_cause;
    uint64_t applied_lsn;
    uint64_t last_end_lsn; /* of the last transaction that is applied */
    uint32_t timeline;     /* that these are of */
    uint64_t timeline_lsn;
    uint64_t saved_lsn;
    bool loaded;
    bool unsaved;
    uint64_t walked;       /* keys of the walk in hand */
    bool mid_transaction;  /* transactional sinks: of what was applied last, more is to come */
    int64_t load_began_us; /* Unix epoch, while a load runs */
    enum sender_state state;
    int64_t last_error_us;
    struct error last_error;
};

struct sender *sender_create(const struct sender_config *config, const struct sender_deps *deps,
                             _Atomic bool *stop) {
    struct sender *sender = mem_zalloc(sizeof *sender);
    sender->name = mem_strdup(config->name);
    sender->position_path = config->position_path ? mem_strdup(config->position_path) : NULL;
    sender->rebuilt_path = mem_strdup(config->rebuilt_path);
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

static void drop_queue(struct sender *sender) {
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
    drop_queue(old);
    shape_release(&old->held_shape);
    shape_release(&old->opened_shape);
    pthread_cond_destroy(&old->wake);
    pthread_cond_destroy(&old->done);
    pthread_mutex_destroy(&old->lock);
    mem_free(old->name);
    mem_free(old->position_path);
    mem_free(old->rebuilt_path);
    mem_free(old);
}

/* ---- the sender's thread; the lock is held unless a function says otherwise ---- */

/* Sleeps until `due_us` (monotonic) or until somebody wakes us. */
static void sleep_until(struct sender *sender, int64_t due_us) {
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    pthread_cond_timedwait(&sender->wake, &sender->lock, &due);
}

static void note_error(struct sender *sender, const struct error *err) {
    sender->last_error = *err;
    sender->last_error_us = clock_wall_us();
}

/* Not holding the lock. */
static bool save_record(struct sender *sender, const struct change_position *position,
                        struct error *err) {
    bool flushed = sender->lanes ? lanes_flush(sender->lanes, position, err)
                                 : sender->ops->flush(sender->sink, position, err);
    if (!flushed) return false;
    sender->record.position = *position;
    sender->saved_us = clock_mono_us();
    if (sender->ops->load_position || !sender->position_path)
        return true; /* the sink keeps it, or the feed */
    if (!position_save(sender->position_path, &sender->record, err)) return false;
    metric_add(sender->figures->position_saves, 1);
    return true;
}

static void drop_queue(struct sender *sender);

/* The target is gone, or what was applied last is not in it: the next session starts over from what the sink has. */
static void lose_target(struct sender *sender, const struct error *err) {
    log_error(sender->log, "target_lost", "connector=%s cause=\"%s\"", sender->name, err->message);
    note_error(sender, err);
    sender->restart = true;
    sender->restart_cause = *err;
    sender->unsaved = false;
    drop_queue(sender);
}

static struct change_position position_now(const struct sender *sender) {
    return (struct change_position){.end_lsn = sender->applied_lsn,
                                    .snapshot_done = sender->loaded,
                                    .timeline = sender->timeline,
                                    .timeline_lsn = sender->timeline_lsn,
                                    .last_end_lsn = sender->last_end_lsn,
                                    .system_identifier = sender->record.position.system_identifier};
}

/* Makes durable what was applied. True: saved, or nothing to save. */
static bool save_applied(struct sender *sender) {
    struct change_position position = position_now(sender);
    if (!sender->unsaved || sender->mid_transaction) return true;
    sender->unsaved = false;
    pthread_mutex_unlock(&sender->lock);
    struct error err = {0};
    bool saved = save_record(sender, &position, &err);
    pthread_mutex_lock(&sender->lock);
    if (saved) {
        sender->saved_lsn = position.end_lsn;
    } else if (sender->ops->transactional || err.code == ERROR_NOT_FOUND) {
        lose_target(sender, &err);
    } else {
        sender->unsaved = true;
        note_error(sender, &err);
        log_error(sender->log, "position_not_saved", "connector=%s cause=\"%s\"", sender->name,
                  err.message);
    }
    return saved;
}

static void name_keys(const struct shape *shape, char *text, size_t size) {
    size_t len = 0;
    text[0] = '\0';
    for (uint16_t i = 0; i < shape->n_keys && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, "%s%s", i ? "," : "",
                                shape->columns[shape->keys[i]].name);
    if (shape->routing != SHAPE_NONE && len < size)
        snprintf(text + len, size - len, " by %s", shape->columns[shape->routing].name);
}

/* The position that belongs to this target, table and key; zero where there is none. Not holding the lock. */
static bool open_sink(struct sender *sender, const struct shape *shape, uint64_t system_identifier,
                      struct change_position *position, struct error *err) {
    const struct sink_ops *ops = sender->ops;
    struct position_record *record = &sender->record;
    struct resume resume = {.state = POSITION_ABSENT};
    bool kept_here = sender->position_path != NULL;
    if (kept_here && !resume_load(&resume, sender->position_path, system_identifier, err))
        return false;
    bool opened = sender->lanes
                      ? lanes_open(sender->lanes, shape, system_identifier, &sender->target, err)
                      : ops->open(sender->sink, shape, system_identifier, &sender->target, err);
    if (!opened) return false;
    sender->shape = NULL;
    snprintf(record->target, sizeof record->target, "%s", sender->target.id);
    name_keys(shape, record->keys, sizeof record->keys);
    if (sender->source.ops->touch) /* its name tells what it is made by */
        snprintf(record->table, sizeof record->table, "%s.%s", shape->schema, shape->table);
    if (kept_here && !resume_adopt(&resume, sender->position_path, sender->rebuilt_path,
                                   &sender->target, record, err))
        return false;
    *position = (struct change_position){.system_identifier = system_identifier};
    const char *why = NULL;
    bool found = ops->load_position && kept_here
                     ? ops->load_position(sender->sink, position, err)
                     : resume_choose(&resume, &sender->target, record, position, &why, err);
    if (why) log_warn(sender->log, "position_void", "connector=%s cause=\"%s\"", sender->name, why);
    if (!kept_here) position->snapshot_done = true; /* what the feed gives is all there is */
    record->position = *position;
    return found;
}

static void handle_opening(struct sender *sender) {
    struct opening *opening = &sender->opening;
    opening->asked = false;
    atomic_store(sender->stop, sender->quit);
    sender->state = SENDER_OPENING;
    drop_queue(sender);
    (void)save_applied(sender);
    pthread_mutex_unlock(&sender->lock);
    if (sender->source.ops->forget) sender->source.ops->forget(sender->source.self);
    struct error err = {0};
    struct change_position position;
    bool ok = open_sink(sender, opening->shape, opening->system_identifier, &position, &err);
    pthread_mutex_lock(&sender->lock);
    opening->answered = true;
    opening->ok = ok;
    opening->err = err;
    sender->restart = false;
    if (ok) {
        sender->opens++;
        snprintf(sender->opened_target, sizeof sender->opened_target, "%s", sender->target.id);
        shape_release(&sender->opened_shape);
        sender->opened_shape = shape_acquire((struct shape *)(uintptr_t)opening->shape);
        opening->position = position;
        sender->applied_lsn = sender->saved_lsn = position.end_lsn;
        sender->last_end_lsn = position.last_end_lsn;
        sender->loaded = position.snapshot_done;
        sender->unsaved = sender->mid_transaction = false;
        sender->walked = 0;
        backoff_reset(&sender->backoff);
    } else {
        note_error(sender, &err);
    }
    sender->state = SENDER_IDLE;
    pthread_cond_broadcast(&sender->done);
}

/* ---- one batch; not holding the lock ---- */

static bool tell_shape(struct sender *sender, struct batch *batch, struct error *err) {
    if (!batch->shape || batch->shape == sender->shape) return true;
    bool told = sender->lanes ? lanes_reshape(sender->lanes, batch->shape, err)
                              : sender->ops->reshape(sender->sink, batch->shape, err);
    if (!told) return false;
    shape_release(&sender->held_shape);
    sender->held_shape = shape_acquire(batch->shape);
    sender->shape = sender->held_shape;
    return true;
}

static bool reread(struct sender *sender, struct batch *batch, struct error *err) {
    uint64_t rows = 0;
    bool done = sender->source.ops->reread(sender->source.self, batch, &rows, err);
    metric_add(sender->figures->reread, (int64_t)rows);
    /* NOT_FOUND is for a sink to say. */
    if (!done && err->code == ERROR_NOT_FOUND) err->code = ERROR_REFUSED;
    return done;
}

static bool apply(struct sender *sender, struct batch *batch, struct error *err) {
    return sender->lanes ? lanes_apply(sender->lanes, batch, err)
                         : sender->ops->apply(sender->sink, batch, err);
}

static bool apply_writes(struct sender *sender, struct batch *batch, struct error *err) {
    return tell_shape(sender, batch, err) && reread(sender, batch, err) &&
           apply(sender, batch, err);
}

static bool clear(struct sender *sender, struct batch *batch, struct error *err) {
    uint64_t removed = 0;
    bool loaded = batch->kind == BATCH_LOADED;
    if (!sender->ops->clear_older(sender->sink, batch->version, loaded, &removed, err))
        return false;
    metric_add(sender->figures->cleared, (int64_t)removed);
    log_info(sender->log, "connector_cleared", "connector=%s cause=%s rows=%llu", sender->name,
             loaded ? "load" : "truncate", (unsigned long long)removed);
    return true;
}

/* The file says whose target it is before the first row goes there: an interrupted load is known as ours. */
static bool begin_load(struct sender *sender, struct batch *batch, struct error *err) {
    struct change_position none = {.system_identifier = sender->record.position.system_identifier};
    return save_record(sender, &none, err) &&
           (!sender->ops->transactional || sender->target.made || clear(sender, batch, err));
}

/* What was in the target before this load and is in the table no more has no event to remove it. */
static bool end_load(struct sender *sender, struct batch *batch, struct error *err) {
    return sender->ops->transactional || sender->target.made || clear(sender, batch, err);
}

static void count_outcomes(struct sender *sender, struct batch *batch);

/* The rows of letters, as they are now. */
static bool apply_letters(void *self, struct batch *batch, struct error *err) {
    struct sender *sender = self;
    if (!tell_shape(sender, batch, err) || !reread(sender, batch, err)) return false;
    retry_settle(batch);
    if (!apply(sender, batch, err)) return false;
    count_outcomes(sender, batch);
    return true;
}

static bool retry_letters(struct sender *sender, struct batch *batch, struct error *err) {
    (void)batch;
    struct retry_plan plan = {.letters = sender->deadletters,
                              .shape =
                                  sender->held_shape ? sender->held_shape : sender->opened_shape,
                              .apply = apply_letters,
                              .arg = sender};
    return retry_run(&plan, &sender->retrying, err);
}

/* One chunk: what was read and not written before is in hand still. */
static bool walk_on(struct sender *sender, struct batch *batch, bool *more, struct error *err) {
    struct batch_walk *walk = &batch->walk;
    const struct source *source = &sender->source;
    if (!walk->part) {
        walk->part = batch_create(BATCH_WRITES, batch->shape, clock_mono_us());
        if (!source->ops->walk(source->self, batch, walk->part, err)) {
            batch_destroy(&walk->part);
            if (err->code == ERROR_NOT_FOUND) err->code = ERROR_REFUSED; /* as in reread */
            return false;
        }
    }
    *more = walk->part->n_writes > 0;
    if (*more && !apply_writes(sender, walk->part, err)) return false;
    walk->keys += walk->part->n_writes;
    pthread_mutex_lock(&sender->lock);
    sender->walked = *more ? walk->keys : 0;
    pthread_mutex_unlock(&sender->lock);
    if (*more) count_outcomes(sender, walk->part);
    batch_destroy(&walk->part);
    return true;
}

/* A sink that shows all at once is emptied first; another loses at the end what has not been found. */
static bool walk(struct sender *sender, struct batch *batch, struct error *err) {
    bool clears_first = batch->walk.clears && sender->ops->transactional;
    if (clears_first && batch->walk.keys == 0 && !clear(sender, batch, err)) return false;
    for (bool more = true; more;) {
        if (atomic_load(sender->stop))
            return error_set(err, ERROR_STOPPED, true, "stopped while keys were walked");
        if (!walk_on(sender, batch, &more, err)) return false;
    }
    return !batch->walk.clears || clears_first || clear(sender, batch, err);
}

static bool attempt(struct sender *sender, struct batch *batch, struct error *err) {
    static bool (*const handlers[])(struct sender *, struct batch *, struct error *) = {
        [BATCH_WALK] = walk,       [BATCH_WRITES] = apply_writes, [BATCH_LOADING] = begin_load,
        [BATCH_LOADED] = end_load, [BATCH_CLEAR] = clear,         [BATCH_RETRY] = retry_letters,
    };
    return handlers[batch->kind](sender, batch, err);
}

/* One line a batch: the letters themselves are in their file. */
static void log_refused(const struct sender *sender, const struct write *first, size_t n) {
    log_warn(sender->log, "documents_refused",
             "connector=%s documents=%zu first_id=%.*s status=%d cause=\"%.300s\"", sender->name, n,
             (int)(first->key.len < 100 ? first->key.len : 100), first->key.data, first->status,
             first->cause);
}

static void count_outcomes(struct sender *sender, struct batch *batch) {
    const struct figures *figures = sender->figures;
    int64_t now_us = clock_wall_us();
    const struct write *first_refused = NULL;
    size_t n_refused = 0;
    for (size_t i = 0; i < batch->n_writes; i++) {
        const struct write *write = &batch->writes[i];
        if (write->superseded || write->vanished) continue;
        switch (write->outcome) {
        case WRITE_DONE:
            metric_add(write->operation == WRITE_PUT ? figures->indexed : figures->deleted, 1);
            break;
        case WRITE_STALE: metric_add(figures->stale, 1); break;
        case WRITE_REFUSED:
            n_refused++;
            if (!first_refused) first_refused = write;
            deadletters_add(sender->deadletters, sender->name, batch, write, now_us);
            break;
        case WRITE_PENDING: ASSERT_UNREACHABLE();
        }
    }
    metric_add(figures->dead_letters, (int64_t)n_refused);
    if (first_refused) log_refused(sender, first_refused, n_refused);
    metric_add(figures->coalesced, (int64_t)batch->n_superseded);
    if (batch->kind == BATCH_WRITES) metric_add(figures->batches, 1);
}

/* ---- the queue; holding the lock ---- */

static void pop(struct sender *sender) {
    struct batch *batch = sender->head;
    sender->head = batch->next;
    if (!sender->head) sender->tail = NULL;
    sender->queued_bytes -= batch->bytes;
    batch_destroy(&batch);
}

static void accept_result(struct sender *sender, const struct batch *batch) {
    if (sender->ops->transactional) {
        sender->mid_transaction = batch->mid_transaction;
        sender->unsaved = true;
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
    note_error(sender, err);
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
    batch->after = position_now(sender);
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
        if (!counted && attempt(sender, batch, &err)) {
            count_outcomes(sender, batch);
            counted = true;
        }
        /* Before the position passes them. */
        applied = counted && deadletters_sync(sender->deadletters, &err);
        pthread_mutex_lock(&sender->lock);
        if (applied) break;
        if (!counted && err.code == ERROR_NOT_FOUND) {
            lose_target(sender, &err);
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
        lose_target(sender, &err);
    else
        note_error(sender, &err);
}

/* Until something is due, or somebody wakes us. */
static void rest(struct sender *sender, int64_t due_us) {
    int64_t save_due_us = sender->saved_us + sender->save_interval_us;
    sender->state = SENDER_IDLE;
    if (sender->unsaved && !sender->mid_transaction && save_due_us < due_us) due_us = save_due_us;
    if (may_look(sender) && look_due_us(sender) < due_us) due_us = look_due_us(sender);
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
            handle_opening(sender);
        } else if (sender->abandoned) {
            drop_queue(sender);
            sender->abandoned = false;
            pthread_cond_broadcast(&sender->done);
        } else if (may_retry(sender)) {
            queue_retry(sender);
        } else if (sender->unsaved && !sender->mid_transaction && now_us >= save_due_us) {
            if (!save_applied(sender)) sender->saved_us = clock_mono_us();
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
    (void)save_applied(sender);
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
    snprintf(id, size, "%s", sender->target.id);
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
    *status = (struct sender_status){.state = sender->state,
                                     .loaded = sender->loaded,
                                     .walked = sender->walked,
                                     .applied_lsn = sender->applied_lsn,
                                     .saved_lsn = sender->saved_lsn,
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

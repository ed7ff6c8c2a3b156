/* One batch, once: rows read, written, cleared away, walked; and what came of them. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connectors/runtime/load_note.h"
#include "connectors/runtime/retry.h"
#include "connectors/runtime/sender_parts.h"

enum { WALK_NOTE_INTERVAL_US = 500000 };

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
    const struct clearing clearing = {
        .version = batch->version, .loaded = loaded, .newest = batch->newest};
    if (!sender->ops->clear_older(sender->sink, &clearing, &removed, err)) return false;
    metric_add(sender->figures->cleared, (int64_t)removed);
    log_info(sender->log, "connector_cleared", "connector=%s cause=%s rows=%llu", sender->name,
             loaded ? "load" : "truncate", (unsigned long long)removed);
    return true;
}

/* The file says whose target it is before the first row goes there: an interrupted load is known as ours. */
static bool begin_load(struct sender *sender, struct batch *batch, struct error *err) {
    struct change_position none = {.system_identifier = sender->record.position.system_identifier};
    return sender_save_record(sender, &none, err) &&
           (!sender->ops->transactional || sender->target.made || clear(sender, batch, err));
}

/* It has nothing to apply: what it says is accepted with it. */
static bool take_note(struct sender *sender, struct batch *batch, struct error *err) {
    (void)sender, (void)batch, (void)err;
    return true;
}

/* What was in the target before this load and is in the table no more has no event to remove it. */
static bool end_load(struct sender *sender, struct batch *batch, struct error *err) {
    return sender->ops->transactional || sender->target.made || clear(sender, batch, err);
}

/* The rows of letters, as they are now. */
static bool apply_letters(void *self, struct batch *batch, struct error *err) {
    struct sender *sender = self;
    if (!tell_shape(sender, batch, err) || !reread(sender, batch, err)) return false;
    retry_settle(batch);
    if (!apply(sender, batch, err)) return false;
    sender_count_outcomes(sender, batch);
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

/* What is written of a load's keys, now and then: killed, the next process goes on behind the last of them. */
static bool note_walk(struct sender *sender, struct batch *batch, const struct batch *part,
                      struct error *err) {
    struct batch_walk *walk = &batch->walk;
    mem_free(walk->after);
    walk->after = mem_slicedup(part->writes[part->n_writes - 1].key);
    if (!sender->keeps_notes || clock_mono_us() - sender->saved_us < WALK_NOTE_INTERVAL_US)
        return true;
    struct buf note = {0};
    load_note_append_walk(&note, walk->stamp.version, batch->position_lsn, walk->after);
    pthread_mutex_lock(&sender->lock);
    mem_free(sender->note);
    sender->note = mem_strdup(buf_text(&note));
    struct change_position position = sender_position_now(sender);
    pthread_mutex_unlock(&sender->lock);
    buf_deinit(&note);
    return sender_save_record(sender, &position, err);
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
    if (*more && walk->load && !note_walk(sender, batch, walk->part, err)) return false;
    walk->keys += walk->part->n_writes;
    pthread_mutex_lock(&sender->lock);
    sender->walked = *more ? walk->keys : 0;
    pthread_mutex_unlock(&sender->lock);
    if (*more) sender_count_outcomes(sender, walk->part);
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

bool sender_attempt(struct sender *sender, struct batch *batch, struct error *err) {
    static bool (*const handlers[])(struct sender *, struct batch *, struct error *) = {
        [BATCH_WALK] = walk,       [BATCH_WRITES] = apply_writes, [BATCH_LOADING] = begin_load,
        [BATCH_LOADED] = end_load, [BATCH_CLEAR] = clear,         [BATCH_RETRY] = retry_letters,
        [BATCH_NOTE] = take_note,
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

void sender_count_outcomes(struct sender *sender, struct batch *batch) {
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

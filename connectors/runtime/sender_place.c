/* Where the sink is: a session's opening, the position saved, a target lost. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "connectors/runtime/resume.h"
#include "connectors/runtime/sender_parts.h"

void sender_note_error(struct sender *sender, const struct error *err) {
    sender->last_error = *err;
    sender->last_error_us = clock_wall_us();
}

bool sender_save_record(struct sender *sender, const struct change_position *position,
                        struct error *err) {
    bool flushed = sender->lanes ? lanes_flush(sender->lanes, position, err)
                                 : sender->ops->flush(sender->sink, position, err);
    if (!flushed) return false;
    sender->record.position = *position;
    sender->record.position.note = NULL; /* the caller's */
    sender->saved_us = clock_mono_us();
    if (sender->ops->load_position || !sender->position_path)
        return true; /* the sink keeps it, or the feed */
    /* One that is too long is none: the load would start over. */
    size_t len = position->note ? strlen(position->note) : 0;
    bool fits = len < sizeof sender->record.note;
    memcpy(sender->record.note, fits && len ? position->note : "", fits ? len + 1 : 1);
    if (!position_save(sender->position_path, &sender->record, err)) return false;
    metric_add(sender->figures->position_saves, 1);
    return true;
}

void sender_lose_target(struct sender *sender, const struct error *err) {
    log_error(sender->log, "target_lost", "connector=%s cause=\"%s\"", sender->name, err->message);
    sender_note_error(sender, err);
    sender->restart = true;
    sender->restart_cause = *err;
    sender->unsaved = false;
    sender_drop_queue(sender);
}

struct change_position sender_position_now(const struct sender *sender) {
    return (struct change_position){.end_lsn = sender->applied_lsn,
                                    .snapshot_done = sender->loaded,
                                    .timeline = sender->timeline,
                                    .timeline_lsn = sender->timeline_lsn,
                                    .last_end_lsn = sender->last_end_lsn,
                                    .note = sender->loaded ? NULL : sender->note,
                                    .system_identifier = sender->record.position.system_identifier};
}

bool sender_save_applied(struct sender *sender) {
    struct change_position position = sender_position_now(sender);
    if (!sender->unsaved || sender->mid_transaction) return true;
    sender->unsaved = false;
    pthread_mutex_unlock(&sender->lock);
    struct error err = {0};
    bool saved = sender_save_record(sender, &position, &err);
    pthread_mutex_lock(&sender->lock);
    if (saved) {
        sender->saved_lsn = position.end_lsn;
        sender->uncommitted = false;
    } else if (sender->ops->transactional || err.code == ERROR_NOT_FOUND) {
        sender_lose_target(sender, &err);
    } else {
        sender->unsaved = true;
        sender_note_error(sender, &err);
        log_error(sender->log, "position_not_saved", "connector=%s cause=\"%s\"", sender->name,
                  err.message);
    }
    return saved;
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
    struct buf keys = {0};
    shape_append_keys(shape, &keys);
    snprintf(record->keys, sizeof record->keys, "%s", buf_text(&keys));
    buf_deinit(&keys);
    if (sender->source.ops->touch || shape->chosen) { /* its name tells what it is made by */
        struct buf origin = {0};
        shape_append_origin(shape, &origin);
        snprintf(record->table, sizeof record->table, "%s", buf_text(&origin));
        buf_deinit(&origin);
    }
    if (kept_here && !resume_adopt(&resume, sender->position_path, sender->rebuilt_path,
                                   &sender->target, record, err))
        return false;
    *position = (struct change_position){.system_identifier = system_identifier};
    const char *why = NULL;
    bool found = ops->load_position && kept_here
                     ? ops->load_position(sender->sink, position, err)
                     : resume_choose(&resume, &sender->target, record, position, &why, err);
    position->keeps_notes =
        sender->resumes_loads && !position->snapshot_done &&
        (!ops->transactional || sender->target.empty || sender->target.made || position->note);
    if (!position->keeps_notes && !position->snapshot_done)
        *position = (struct change_position){.system_identifier = system_identifier};
    sender->keeps_notes = position->keeps_notes;
    mem_free(sender->note); /* this thread's alone to write */
    sender->note = position->note ? mem_strdup(position->note) : NULL;
    position->note = sender->note;
    if (why) log_warn(sender->log, "position_void", "connector=%s cause=\"%s\"", sender->name, why);
    if (!kept_here) position->snapshot_done = true; /* what the feed gives is all there is */
    record->position = *position;
    record->position.note = NULL; /* the sender's */
    return found;
}

void sender_answer_opening(struct sender *sender) {
    struct opening *opening = &sender->opening;
    opening->asked = false;
    atomic_store(sender->stop, sender->quit);
    sender->state = SENDER_OPENING;
    sender_drop_queue(sender);
    (void)sender_save_applied(sender);
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
        sender->tables_us = clock_mono_us();
        snprintf(sender->opened_target, sizeof sender->opened_target, "%s", sender->target.id);
        shape_release(&sender->opened_shape);
        sender->opened_shape = shape_acquire((struct shape *)(uintptr_t)opening->shape);
        opening->position = position;
        sender->applied_lsn = sender->saved_lsn = position.end_lsn;
        sender->last_end_lsn = position.last_end_lsn;
        sender->loaded = position.snapshot_done;
        if (position.note) sender->load_began_us = clock_wall_us(); /* what is left of it */
        sender->unsaved = sender->uncommitted = sender->mid_transaction = false;
        sender->walked = 0;
        backoff_reset(&sender->backoff);
    } else {
        sender_note_error(sender, &err);
    }
    sender->state = SENDER_IDLE;
    pthread_cond_broadcast(&sender->done);
}

/* Where a session's stream begins: the slot, and whether the sink's position and the slot agree. A disagreement
 * is told with the choices and never papered over: START_REPLICATION itself would go on silently from the
 * slot's position where that is ahead of ours. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/lsn.h"
#include "cdc/feed/session.h"
#include "cdc/feed/slot.h"
#include "cdc/snapshot/increment.h"

enum { TELL_BLOCKER_AFTER_US = 1000000 };

static bool create_slot(struct session *s, bool temporary, struct error *err) {
    struct slot_plan plan = {.name = s->slot,
                             .temporary = temporary,
                             .export_snapshot = s->snapshot_due,
                             .failover = s->config->failover && !temporary};
    struct slot_made made;
    log_info(s->log, "slot_creating", "feed=%s slot=%s temporary=%s", s->sink.name, s->slot,
             temporary ? "yes" : "no");
    s->tell_blocker_us = clock_mono_us() + TELL_BLOCKER_AFTER_US;
    bool ok = slot_create(&s->wait, s->conn, &plan, &made, err);
    s->tell_blocker_us = 0;
    if (!ok) return false;
    snprintf(s->exported_snapshot, sizeof s->exported_snapshot, "%s", made.snapshot);
    s->identity.slot_lsn = made.consistent_lsn;
    s->identity.slot_created = true;
    s->start_lsn = made.consistent_lsn;
    log_info(s->log, "slot_created", "feed=%s slot=%s lsn=" LSN_FMT, s->sink.name, s->slot,
             LSN_ARG(made.consistent_lsn));
    return true;
}

static bool attach_temporary(struct session *s, struct error *err) {
    snprintf(s->slot, sizeof s->slot, "%.50s_%08x", s->config->slot, (unsigned)s->random);
    if (!slot_name_valid(s->slot))
        return error_set(err, ERROR_CONFIG, false,
                         "slot name \"%s\": only a-z, 0-9 and _ are allowed", s->slot);
    return create_slot(s, true, err);
}

/* ---- one process at a time ---- */

enum { STANDBY_POLL_MS = 200 };

static void tell_standby(struct session *s, int pid) {
    char cause[256];
    snprintf(cause, sizeof cause,
             "slot \"%s\" is active for PID %d: another process streams from it, and this one "
             "takes over when that one goes",
             s->config->slot, pid);
    board_slot(s->board, s->config->slot);
    board_state(s->board, FEED_STANDBY, cause);
    s->stood_by = true;
    log_info(s->log, "feed_standby", "feed=%s slot=%s cause=\"%s\"", s->sink.name, s->config->slot,
             cause);
}

static bool open_holder(struct session *s, struct error *err) {
    char name[64];
    snprintf(name, sizeof name, "%.50s_holder", s->config->application_name);
    struct pg_options options = {.application_name = name, .server_options = s->server_options};
    s->holder = holder_open(&s->wait, s->config->database_url, &options, s->config->slot, err);
    return s->holder != NULL;
}

/* A slot that two took in turn would have them fence each other for ever. */
bool session_hold_slot(struct session *s, struct error *err) {
    if (s->config->temporary || s->config->disposable) return true;
    if (!open_holder(s, err)) return false;
    int told_pid = 0;
    int pid;
    while (true) {
        if (!holder_try(s->holder, &s->wait, &pid, err)) return false;
        if (!pid) break;
        if (pid > 0 && pid != told_pid) tell_standby(s, pid);
        if (pid > 0) told_pid = pid;
        if (!pgwait_pause(&s->wait, STANDBY_POLL_MS, err)) return false;
    }
    if (!told_pid) return true;
    board_state(s->board, FEED_CONNECTING, "");
    log_info(s->log, "feed_takes_over", "feed=%s slot=%s", s->sink.name, s->config->slot);
    return true;
}

/* ---- the permanent slot ---- */

static bool judge(struct session *s, struct slot_info *slot, struct attach_answer *answer,
                  struct error *err) {
    if (!slot_lookup(&s->wait, s->conn, s->config->slot, slot, err)) return false;
    struct attach_question question = {
        .sink = s->sink.name,
        .slot_name = s->config->slot,
        .database = s->database,
        .way_on = s->config->way_on,
        .snapshot = s->config->snapshot == FEED_SNAPSHOT_INITIAL ||
                    s->config->snapshot == FEED_SNAPSHOT_INITIAL_ONLY ||
                    s->config->snapshot == FEED_SNAPSHOT_WHEN_NEEDED,
        .resumes = s->increment && increment_resumes(s->increment),
        .when_needed = s->config->snapshot == FEED_SNAPSHOT_WHEN_NEEDED,
        .disposable = s->config->disposable,
        .lineage = &s->lineage,
        .slot = slot,
        .position = &s->position,
    };
    return attach_judge(&question, answer, err);
}

static bool recreate(struct session *s, const struct slot_info *slot, struct error *err) {
    log_warn(s->log, "slot_recreating", "feed=%s slot=%s confirmed=" LSN_FMT " cause=\"%s\"",
             s->sink.name, s->slot, LSN_ARG(slot->confirmed_lsn),
             s->snapshot_due ? "the sink's initial snapshot is not complete: it starts over"
                             : "the server has given it up, and nothing is lost with it");
    return slot_drop(&s->wait, s->conn, s->slot, err) && create_slot(s, false, err);
}

/* One that was made by an older Freshet, or by hand. Nothing depends on it until a failover. */
static void let_standbys_keep(struct session *s, const struct slot_info *slot) {
    struct error err;
    if (!s->config->failover || slot->failover || PQserverVersion(s->conn) < 170000) return;
    if (!slot_set_failover(&s->wait, s->conn, s->slot, &err))
        log_warn(s->log, "slot_without_failover", "feed=%s slot=%s cause=\"%s\"", s->sink.name,
                 s->slot, err.message);
}

static bool resume(struct session *s, const struct slot_info *slot, uint64_t start_lsn,
                   struct error *err) {
    if (slot->active_pid)
        return error_set(err, ERROR_UNAVAILABLE, true,
                         "slot \"%s\" is active for PID %d: another process streams from it",
                         s->slot, slot->active_pid);
    let_standbys_keep(s, slot);
    s->identity.slot_lsn = slot->confirmed_lsn;
    s->start_lsn = start_lsn;
    if (slot->two_phase) { /* see delivery_spool.h */
        s->start_lsn = slot->confirmed_lsn;
        s->skip_lsn = start_lsn;
    }
    if (s->position.timeline && s->position.timeline != s->lineage.timeline)
        log_warn(s->log, "timeline_changed",
                 "feed=%s slot=%s from=%u to=%u position=" LSN_FMT " lsn=" LSN_FMT
                 " cause=\"another server was promoted; the stream goes on there\"",
                 s->sink.name, s->slot, s->position.timeline, s->lineage.timeline,
                 LSN_ARG(s->position.end_lsn), LSN_ARG(start_lsn));
    return true;
}

static bool attach_permanent(struct session *s, struct error *err) {
    struct slot_info slot;
    struct attach_answer answer;
    snprintf(s->slot, sizeof s->slot, "%s", s->config->slot);
    if (!slot_name_valid(s->config->slot))
        return error_set(err, ERROR_CONFIG, false,
                         "slot name \"%s\": only a-z, 0-9 and _ are allowed, 63 at the most",
                         s->config->slot);
    if (!judge(s, &slot, &answer, err)) return false;
    s->snapshot_due = answer.snapshot_due;
    switch (answer.action) {
    case ATTACH_CREATE: return create_slot(s, false, err);
    case ATTACH_RECREATE: return recreate(s, &slot, err);
    case ATTACH_RESUME: return resume(s, &slot, answer.start_lsn, err);
    }
    ASSERT_UNREACHABLE();
}

bool session_may_attach(struct session *s, struct error *err) {
    struct slot_info slot;
    struct attach_answer answer;
    return s->config->temporary || judge(s, &slot, &answer, err);
}

bool session_attach_slot(struct session *s, struct error *err) {
    if (!holder_check(s->holder, err)) return false;
    return s->config->temporary ? attach_temporary(s, err) : attach_permanent(s, err);
}

/* ---- starting over on purpose ---- */

/* A feed that was refused has the slot for a moment now and then, when it looks again. */
static bool hold_soon(struct session *s, struct error *err) {
    enum { TRIES = 25 };
    int pid = 0;
    if (!open_holder(s, err)) return false;
    for (int i = 0; i < TRIES; i++) {
        if (!holder_try(s->holder, &s->wait, &pid, err)) return false;
        if (!pid) return true;
        if (!pgwait_pause(&s->wait, STANDBY_POLL_MS, err)) return false;
    }
    return error_set(err, ERROR_CONFLICT, false,
                     "slot \"%s\" is active for PID %d: stop the process that streams from it, and "
                     "its standbys, first",
                     s->config->slot, pid);
}

static bool drop_slot(struct session *s, struct error *err) {
    struct slot_info slot;
    if (!slot_lookup(&s->wait, s->conn, s->config->slot, &slot, err)) return false;
    if (!slot.exists) return true;
    if (!slot.logical || strcmp(slot.plugin, "pgoutput") != 0 || !slot.in_this_database)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" is not a pgoutput slot of database \"%s\". Name another slot",
                         s->config->slot, s->database);
    log_warn(s->log, "slot_dropped", "feed=%s slot=%s confirmed=" LSN_FMT, s->sink.name,
             s->config->slot, LSN_ARG(slot.confirmed_lsn));
    return slot_drop(&s->wait, s->conn, s->config->slot, err);
}

/* The slot first: cut short between the two, the next start finds that they do not fit and says so. */
static bool start_over(struct session *s, bool now, struct error *err) {
    struct change_position old;
    struct change_position fresh = {0};
    snprintf(s->slot, sizeof s->slot, "%s", s->config->slot);
    if (!s->sink.ops->prepare(s->sink.self, &old, err) || !drop_slot(s, err)) return false;
    if (now) {
        if (!create_slot(s, false, err)) return false;
        fresh = (struct change_position){.end_lsn = s->start_lsn,
                                         .last_end_lsn = s->start_lsn,
                                         .snapshot_done = true,
                                         .system_identifier = s->identity.system_identifier,
                                         .timeline = s->identity.timeline,
                                         .timeline_lsn = s->identity.timeline_lsn};
    }
    bool noted = old.keeps_notes && s->sink.ops->note; /* what an interrupted snapshot has left */
    if (noted && !s->sink.ops->note(s->sink.self, slice_make("", 0), err)) return false;
    if (!s->sink.ops->reset(s->sink.self, &fresh, err)) return false;
    log_warn(s->log, "position_reset",
             "feed=%s slot=%s from=" LSN_FMT " to=" LSN_FMT " snapshot=%s", s->sink.name, s->slot,
             LSN_ARG(old.end_lsn), LSN_ARG(fresh.end_lsn), now ? "no" : "yes");
    return true;
}

bool session_reset(struct session *s, bool now, struct error *err) {
    ASSERT(s->sink.ops->reset && !s->config->temporary);
    session_begin(s);
    bool ok = hold_soon(s, err) && session_connect(s, err) && start_over(s, now, err);
    session_end(s);
    return ok;
}

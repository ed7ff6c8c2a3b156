/* Where a session's stream begins: the slot, and whether the sink's position and the slot agree. A disagreement
 * is told with the choices and never papered over: START_REPLICATION itself would go on silently from the
 * slot's position where that is ahead of ours. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "cdc/session.h"
#include "cdc/slot.h"

enum { TELL_BLOCKER_AFTER_US = 1000000 };

#define CHOICES                                                                                    \
    "Choose: remove %s's stored position and the slot, to start over with a new snapshot; or "     \
    "restore the slot and position that belong together"

static bool create_slot(struct session *s, bool temporary, struct error *err) {
    struct slot_plan plan = {
        .name = s->slot, .temporary = temporary, .export_snapshot = s->snapshot_due};
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

static bool check_slot(struct session *s, const struct slot_info *slot, struct error *err) {
    const char *name = s->slot;
    if (!slot->logical || strcmp(slot->plugin, "pgoutput") != 0)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" is not ours: it is %s%s. Name another slot", name,
                         slot->logical ? "of the plugin " : "a physical one", slot->plugin);
    if (!slot->in_this_database)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" belongs to database \"%s\", not to \"%s\". Name another slot",
                         name, slot->database, s->database);
    if (slot->lost)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" is lost (%s): the server has removed WAL that it still "
                         "needed, so changes are missing. " CHOICES,
                         name, slot->status, s->sink.name);
    if (slot->active_pid)
        return error_set(err, ERROR_UNAVAILABLE, true,
                         "slot \"%s\" is active for PID %d: another process streams from it", name,
                         slot->active_pid);
    return true;
}

static bool resume(struct session *s, const struct slot_info *slot, struct error *err) {
    uint64_t ours = s->position.end_lsn;
    if (ours && slot->confirmed_lsn > ours)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" is ahead of %s's position: it has confirmed " LSN_FMT
                         ", the position is " LSN_FMT
                         "; the changes between were given to somebody else. " CHOICES,
                         s->slot, s->sink.name, LSN_ARG(slot->confirmed_lsn), LSN_ARG(ours),
                         s->sink.name);
    if (ours > s->wal_lsn)
        return error_set(err, ERROR_CONFLICT, false,
                         "%s's position " LSN_FMT
                         " is beyond the server's WAL, which ends at " LSN_FMT
                         ": the server was set back to an earlier point. " CHOICES,
                         s->sink.name, LSN_ARG(ours), LSN_ARG(s->wal_lsn), s->sink.name);
    s->identity.slot_lsn = slot->confirmed_lsn;
    s->start_lsn = ours ? ours : slot->confirmed_lsn;
    return true;
}

static bool recreate(struct session *s, const struct slot_info *slot, struct error *err) {
    log_warn(s->log, "slot_recreating",
             "feed=%s slot=%s confirmed=" LSN_FMT
             " cause=\"the sink's initial snapshot is not complete: it starts over\"",
             s->sink.name, s->slot, LSN_ARG(slot->confirmed_lsn));
    return slot_drop(&s->wait, s->conn, s->slot, err) && create_slot(s, false, err);
}

static bool attach_permanent(struct session *s, struct error *err) {
    snprintf(s->slot, sizeof s->slot, "%s", s->config->slot);
    if (!slot_name_valid(s->config->slot))
        return error_set(err, ERROR_CONFIG, false,
                         "slot name \"%s\": only a-z, 0-9 and _ are allowed, 63 at the most",
                         s->config->slot);
    s->snapshot_due = s->config->snapshot == FEED_SNAPSHOT_INITIAL && !s->position.snapshot_done;
    struct slot_info slot;
    if (!slot_lookup(&s->wait, s->conn, s->slot, &slot, err)) return false;
    if (slot.exists && (s->snapshot_due || s->config->disposable) && slot.lost && slot.in_this_database && !slot.active_pid)
        return recreate(s, &slot, err); /* nothing of it is needed */
    if (slot.exists) {
        if (!check_slot(s, &slot, err)) return false;
        return s->snapshot_due ? recreate(s, &slot, err) : resume(s, &slot, err);
    }
    if (s->position.end_lsn && !s->snapshot_due)
        return error_set(err, ERROR_CONFLICT, false,
                         "slot \"%s\" is gone, and %s has a position (" LSN_FMT
                         "): the changes since then are lost. " CHOICES,
                         s->slot, s->sink.name, LSN_ARG(s->position.end_lsn), s->sink.name);
    return create_slot(s, false, err);
}

bool session_attach_slot(struct session *s, struct error *err) {
    uint64_t known = s->position.system_identifier;
    if (!s->config->temporary && known && known != s->identity.system_identifier)
        return error_set(err, ERROR_CONFLICT, false,
                         "%s's position was made on PostgreSQL system %llu, and this is %llu: "
                         "another cluster, in which that position means nothing. " CHOICES,
                         s->sink.name, (unsigned long long)known,
                         (unsigned long long)s->identity.system_identifier, s->sink.name);
    return s->config->temporary ? attach_temporary(s, err) : attach_permanent(s, err);
}

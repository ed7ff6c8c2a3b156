#include "connectors/runtime/resume.h"

#include <inttypes.h>
#include <string.h>

bool resume_load(struct resume *resume, const char *path, uint64_t system_identifier,
                 struct error *err) {
    if (!position_load(path, &resume->found, &resume->state, err)) return false;
    uint64_t known = resume->found.position.system_identifier;
    if (known == 0 || known == system_identifier) return true;
    return error_set(err, ERROR_CONFLICT, false,
                     "%s is of PostgreSQL system %" PRIu64 ", and this is %" PRIu64
                     ": another cluster. Correct database.url; or remove the file, and the "
                     "target is filled anew from this one",
                     path, known, system_identifier);
}

static bool is_rebuilt(const struct resume *rebuilt, const struct sink_target *target,
                       const struct position_record *now) {
    const struct position_record *found = &rebuilt->found;
    return rebuilt->state == POSITION_LOADED && found->position.snapshot_done &&
           strcmp(found->target, target->id) == 0 && strcmp(found->table, now->table) == 0 &&
           shape_same_keys(found->keys, now->keys);
}

bool resume_adopt(struct resume *resume, const char *path, const char *rebuilt_path,
                  const struct sink_target *target, const struct position_record *now,
                  struct error *err) {
    struct position_record *found = &resume->found;
    if (resume->state != POSITION_LOADED || !found->position.snapshot_done) return true;
    if (strcmp(found->target, target->id) == 0) return true;
    struct resume rebuilt;
    if (!position_load(rebuilt_path, &rebuilt.found, &rebuilt.state, err)) return false;
    if (!is_rebuilt(&rebuilt, target, now)) return true;
    struct position_record adopted = rebuilt.found;
    if (found->position.end_lsn < adopted.position.end_lsn)
        adopted.position.end_lsn = found->position.end_lsn;
    if (!position_save(path, &adopted, err)) return false;
    *found = adopted;
    return true;
}

/* Why what we found on disk is not where we are; NULL: it is. */
static const char *void_because(const struct resume *resume, const struct sink_target *target,
                                const struct position_record *now) {
    const struct position_record *found = &resume->found;
    if (resume->state == POSITION_DAMAGED) return "the position file is damaged";
    if (target->made) return "the target was absent and has been made";
    if (strcmp(found->target, now->target) != 0) return "the target is another one than was filled";
    if (strcmp(found->table, now->table) != 0) return "another table was followed";
    if (!shape_same_keys(found->keys, now->keys))
        return "the table's key, or the table of that name, is another one";
    return NULL;
}

static bool may_fill(const struct resume *resume, const struct sink_target *target) {
    if (target->made || target->ours || target->empty) return true;
    return resume->state == POSITION_LOADED && strcmp(resume->found.target, target->id) == 0;
}

bool resume_choose(const struct resume *resume, const struct sink_target *target,
                   const struct position_record *now, struct change_position *position,
                   const char **why, struct error *err) {
    *why = NULL;
    if (!may_fill(resume, target))
        return error_set(err, ERROR_CONFLICT, false,
                         "the target holds documents that Freshet did not write, and would lose "
                         "them: empty it, or name another");
    if (resume->state == POSITION_ABSENT) return true;
    *why = void_because(resume, target, now);
    bool goes_on = resume->found.position.snapshot_done || resume->found.note[0];
    if (*why || !goes_on) return true;
    *position = resume->found.position;
    if (!position->snapshot_done) position->note = resume->found.note;
    return true;
}

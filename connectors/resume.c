#include "connectors/resume.h"

#include <string.h>

/* Why what we find on disk is not where we are; NULL: it is. */
static const char *void_because(const struct resume_place *place, enum position_state state,
                                const struct position_record *found) {
    const struct position_record *now = place->record;
    if (state == POSITION_DAMAGED) return "the position file is damaged";
    if (place->target->made) return "the target was absent and has been made";
    if (strcmp(found->target, now->target) != 0) return "the target is another one than was filled";
    if (strcmp(found->table, now->table) != 0) return "another table was followed";
    if (strcmp(found->keys, now->keys) != 0) return "the table's key is another one";
    return NULL;
}

static bool check_owner(const struct resume_place *place, enum position_state state,
                        const struct position_record *found, struct error *err) {
    const struct sink_target *target = place->target;
    if (target->made || target->ours || target->empty) return true;
    if (state == POSITION_LOADED && strcmp(found->target, target->id) == 0) return true;
    return error_set(err, ERROR_CONFLICT, false,
                     "the target of connector %s holds documents that Freshet did not write, and "
                     "would lose them: empty it, or name another",
                     place->connector);
}

bool resume_find(const struct resume_place *place, struct change_position *position,
                 struct error *err) {
    struct position_record found;
    enum position_state state;
    if (!position_load(place->path, &found, &state, err)) return false;
    if (!check_owner(place, state, &found, err)) return false;
    if (state == POSITION_ABSENT) return true;
    const char *why = void_because(place, state, &found);
    if (why)
        log_warn(place->log, "position_void", "connector=%s cause=\"%s\"", place->connector, why);
    else if (found.position.snapshot_done)
        *position = found.position;
    return true;
}

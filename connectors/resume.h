/* resume.h: where a connector goes on: its saved position, if that belongs to what it finds now.
 *
 * A position of another target, table or key is void, and a damaged one too: the table is loaded anew. */
#ifndef FRESHET_CONNECTORS_RESUME_H
#define FRESHET_CONNECTORS_RESUME_H

#include <stdbool.h>

#include "base/change.h"
#include "base/error.h"
#include "base/log.h"
#include "connectors/position.h"
#include "connectors/sink.h"

struct resume_place {
    const char *connector;
    const char *path; /* of the position file */
    const struct sink_target *target;
    const struct position_record *record; /* table, keys and target as they are now */
    struct log *log;
};

/* Leaves *position as it is where there is none that fits. False: the file cannot be read, or the target holds rows that no
 * connector wrote, which a load would sweep away. */
bool resume_find(const struct resume_place *place, struct change_position *position,
                 struct error *err) MUST_CHECK;

#endif

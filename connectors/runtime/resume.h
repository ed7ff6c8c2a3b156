/* resume.h: where a connector goes on: its saved position, if that belongs to what it finds now.
 *
 * A position of another target, table or key is void, and a damaged one too: the table is loaded anew. */
#ifndef FRESHET_CONNECTORS_RESUME_H
#define FRESHET_CONNECTORS_RESUME_H

#include <stdbool.h>

#include "base/change.h"
#include "base/error.h"
#include "connectors/runtime/position.h"
#include "connectors/sink.h"

struct resume {
    enum position_state state;
    struct position_record found; /* in the file */
};

/* Reads the file. False: it cannot be read, or is of another database system: before anything of that one's is touched. */
bool resume_load(struct resume *resume, const char *path, uint64_t system_identifier,
                 struct error *err) MUST_CHECK;

/* A rebuild of the target, whose position is at `rebuilt_path`, has taken over: its position becomes this connector's, saved at
 * `path`. Not further than the one that this connector had, which is as far as its slot was confirmed. Does nothing where the
 * target is none of a rebuild. */
bool resume_adopt(struct resume *resume, const char *path, const char *rebuilt_path,
                  const struct sink_target *target, const struct position_record *now,
                  struct error *err) MUST_CHECK;

/* `now`: table, keys and target as they are. Leaves *position as it is where the saved one is void; *why then says why,
 * NULL where there was none. Of a load that is under way the position has the note, which is resume's. False: the target holds rows that no connector wrote, which a load would sweep away. */
bool resume_choose(const struct resume *resume, const struct sink_target *target,
                   const struct position_record *now, struct change_position *position,
                   const char **why, struct error *err) MUST_CHECK;

#endif

/* examine.h: what of an archive cannot be read.
 *
 *     archive_examine(path, flawed, arg, &sums, err)
 *
 * A process may write the archive meanwhile. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_EXAMINE_H
#define FRESHET_CONNECTORS_ARCHIVE_EXAMINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct archive_sums {
    uint64_t segments;
    uint64_t records;
};

/* What is wrong with a segment. */
enum archive_flaw { ARCHIVE_MISSING, ARCHIVE_TRUNCATED, ARCHIVE_DAMAGED, N_ARCHIVE_FLAWS };
const char *archive_flaw_name(enum archive_flaw flaw);
typedef void archive_flawed(void *arg, const char *segment, enum archive_flaw flaw,
                            const struct error *why);

/* Reads all of it, as reader.h does, and tells of each segment that cannot be, whatever the others are; sums tells of those that can. False:
 * there is no manifest to go by. */
bool archive_examine(const char *path, archive_flawed *flawed, void *arg, struct archive_sums *sums,
                     struct error *err) MUST_CHECK;

#endif

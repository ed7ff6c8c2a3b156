/* replica.h: the control thread of one hot standby: each sample_interval it asks whether the server is a standby with the
 * history of the primary whose stream we follow, how far it has replayed, and tells its source (sources.h).
 *
 * Behind by more than max_staleness it is left out, until it is behind by less than half of that. One that takes another
 * timeline may have given rows of a history that the stream does not tell: then everything that is kept goes. */
#ifndef FRESHET_CACHE_REPLICA_H
#define FRESHET_CACHE_REPLICA_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"
#include "cache/rows/core.h"
#include "cache/rows/sources.h"

struct replica;

struct replica *replica_create(struct core *core, struct source *source);
void replica_destroy(struct replica **replica);
bool replica_start(struct replica *replica, struct error *err) MUST_CHECK;
void replica_stop(struct replica *replica);
/* Any thread. */
void replica_watch(struct replica *replica, int64_t now_us);
json_t *replica_status(struct source *source);

#endif

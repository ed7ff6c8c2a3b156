/* follower.h: records of a topic of invalidations in, the calls of base/change.h out; and what is made of a record that does
 * not fit to the one before.
 *
 *     follower_take(&follower, record, err)       each record of the topic, in order
 *     follower_end(&follower, cause)              the session is over
 *
 * A session of the sink begins with the first record that a chain can begin with, at that record's `since` (the sink then
 * knows of nothing before). It ends, and another begins with the very record that ends it, when the record
 * comes from another server, timeline or server start, or when something is missing between it and the one before
 * (base/invalidation.h, "The chain"). A transaction whose last part never comes is begun again, or never happened.
 *
 * No I/O. One thread, the feed's. */
#ifndef FRESHET_CDC_FOLLOWER_H
#define FRESHET_CDC_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/change.h"
#include "base/invalidation.h"
#include "cdc/decode/relations.h"

struct follower {
    struct change_sink sink;
    const char *topic; /* for messages and as the identity's slot */
    const char *database;
    const char *publication;
    struct relations *relations;
    struct arena *arena; /* of the record in hand */

    bool attached; /* between the sink's started and ended */
    struct feed_identity identity;
    uint64_t through_lsn; /* everything up to here was given */
    bool open;            /* between begin and commit */
    uint32_t next_part;
    struct transaction tx;
    uint64_t next_index;

    uint32_t interval_ms; /* as the last heartbeat told; 0: none yet */
    int64_t last_commit_time_us;
    uint64_t transactions;
    uint64_t changes;
    uint64_t heartbeats;
    uint64_t breaks;  /* sessions that ended because the next record did not fit */
    char broken[256]; /* why the last of them did */
    uint64_t invalid; /* records that could not be read */
};

void follower_init(struct follower *follower, struct change_sink sink);
void follower_deinit(struct follower *follower);

/* False: the sink refused, or the record cannot be read, or is of another database or publication. The session is to end. */
bool follower_take(struct follower *follower, struct slice record, struct error *err) MUST_CHECK;
void follower_end(struct follower *follower, const struct error *cause);

#endif

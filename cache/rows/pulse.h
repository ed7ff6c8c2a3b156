/* pulse.h: the thread that asks the primary, each sample_interval, how far it is: one statement gives the insert LSN and a
 * snapshot. From these come
 *
 * - the lease's samples, and a nudge where WAL that nobody flushes holds the change stream back;
 * - the joining of tables (rule 5): once the stream runs and has passed everything from before the table map covered
 *   a table, an xid is taken, and a row may be kept once every transaction below it is over in its fill's snapshot;
 * - the forgetting (rule 4): a transaction that the snapshot sees leaves the recent set once the fills that were in flight
 *   when it was taken are over. */
#ifndef FRESHET_CACHE_PULSE_H
#define FRESHET_CACHE_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "cache/rows/core.h"
#include "cache/rows/sources.h"

struct pulse;

struct pulse *pulse_create(struct core *core);
void pulse_destroy(struct pulse **pulse);
bool pulse_start(struct pulse *pulse, struct error *err) MUST_CHECK;
void pulse_stop(struct pulse *pulse);
/* control_watch. */
void pulse_watch(struct pulse *pulse, int64_t now_us);

/* Any thread, all of the following. */

/* The feed's session has begun, on a new slot. `reset` empties what is kept, and is run before any table can join. */
/* `moved`: it is another server, or another timeline, than before. From now on positions count only of that server. */
void pulse_stream_started(struct pulse *pulse, const struct origin *origin, bool moved,
                          void (*reset)(struct core *core));
/* The session goes on where the last one ended, on a permanent slot: what is kept stays. */
void pulse_stream_resumed(struct pulse *pulse, const struct origin *origin);
void pulse_stream_ended(struct pulse *pulse, const char *cause);
/* `change` publishes a map with tables that are new or described anew, having set their states to not joined, while no
 * other join goes on; then they join. */
void pulse_join(struct pulse *pulse, void (*change)(void *arg), void *arg);

/* An insert LSN as a client has read it, less the header of a page that nothing was written to yet: the stream does not get
 * past that before something is. */
uint64_t pulse_normal_lsn(struct pulse *pulse, uint64_t lsn);

bool pulse_streams(struct pulse *pulse);
/* Every table that can has joined since the stream began. */
bool pulse_joined(struct pulse *pulse);
/* Appends what keeps memory from being trusted; false: nothing does. */
bool pulse_trouble(struct pulse *pulse, struct buf *text);

#endif

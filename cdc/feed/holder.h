/* holder.h: which process has a permanent slot, from before its stream runs until it does: a lock in the database, on a connection
 * of its own that a thread keeps busy.
 *
 *     struct holder *holder = holder_open(&wait, url, &options, slot, err);
 *     holder_try(holder, &wait, &pid, err)      pid 0: it is ours from now on; else: whose it is
 *     if (!holder_check(holder, err)) ...       it was ours: is it still?
 *     holder_close(&holder);                    once the stream has the slot
 *
 * A stream says by itself that its process lives: the server ends one that was silent for wal_sender_timeout. A process that
 * waits for its slot to be made, or reads a snapshot, has no stream, and its connection says nothing for as long. Frozen, or behind
 * a network that is cut, it would keep its standby from the slot for good. So here it speaks, and the server (14 and newer)
 * ends the connection, and with it the lock, after as long a silence. Who comes back from it finds the lock lost.
 *
 * The feed's thread, but for what is inside. */
#ifndef FRESHET_CDC_HOLDER_H
#define FRESHET_CDC_HOLDER_H

#include <stdbool.h>

#include "base/error.h"
#include "base/pg.h"
#include "cdc/feed/pgwait.h"

struct holder;

/* Connects. NULL on error. `slot` must outlive it. */
struct holder *holder_open(const struct pgwait *wait, const char *url,
                           const struct pg_options *options, const char *slot, struct error *err);
void holder_close(struct holder **holder);

/* Asks once. *pid: the backend that has the slot or its lock. */
bool holder_try(struct holder *holder, const struct pgwait *wait, int *pid,
                struct error *err) MUST_CHECK;
/* False: somebody else may have the slot by now. True without a holder. */
bool holder_check(struct holder *holder, struct error *err) MUST_CHECK;

#endif

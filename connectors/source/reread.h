/* reread.h: rows read again by their key, for updates whose unchanged TOAST values are not in the stream.
 *
 * Only a snapshot that sees the update's transaction will do: a commit is streamed before it is visible, for as long as a
 * synchronous standby keeps it waiting, and the row would be the old one under the new version. What is read may be
 * newer than the update; then the change that made it so comes later in the stream. */
#ifndef FRESHET_CONNECTORS_REREAD_H
#define FRESHET_CONNECTORS_REREAD_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "connectors/runtime/batch.h"

/* The statement that gives (visible, exists, columns...) for $1 = xid and $2... = the key. Columns that the
 * table has no more are NULL. Prepared on `conn` under REREAD_STATEMENT, for one shape. */
#define REREAD_STATEMENT "reread"
bool reread_prepare(PGconn *conn, const struct shape *shape, struct error *err) MUST_CHECK;

/* Reads each incomplete write of the batch. False: stopped at one, whose transaction is not visible yet
 * (retriable) or whose query failed. */
bool reread_batch(PGconn *conn, struct batch *batch, uint64_t *rows, struct error *err) MUST_CHECK;

#endif

/* standin.h: confirms for a feed that is a synchronous standby while its slot is being made.
 *
 * Making a slot waits for the transactions that run. A transaction whose COMMIT waits for this very feed runs, so each would wait
 * for the other for good. A sink that holds nothing that a commit could make wrong has nothing to wait for: after it was
 * emptied (change_sink_ops.empty) a physical walsender of the feed's name confirms all WAL, until the feed itself streams.
 *
 *     standin = standin_open(&wait, url, &options, &err);    NULL: nobody waits for that name, or it could not be
 *     standin_turn(standin, &err);                           often; never blocks
 *     standin_close(&standin);                               before the sink holds anything again
 */
#ifndef FRESHET_CDC_STANDIN_H
#define FRESHET_CDC_STANDIN_H

#include <stdbool.h>

#include "base/error.h"
#include "base/pg.h"
#include "cdc/feed/pgwait.h"

struct standin;

/* err->code is ERROR_NONE where synchronous_standby_names does not name the feed. */
struct standin *standin_open(const struct pgwait *wait, const char *url,
                             const struct pg_options *options, struct error *err);
/* Takes what has come, and confirms it. False: the connection is lost. */
bool standin_turn(struct standin *standin, struct error *err) MUST_CHECK;
void standin_close(struct standin **standin);

#endif

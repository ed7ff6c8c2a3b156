/* publish_replay.h: a publisher that is given dead letters instead of a slot's changes.
 *
 *     begin -> { letter... -> commit }... -> settle -> end
 *
 * Private to replay.c. Each call may block until the brokers have taken what came before. */
#ifndef FRESHET_CDC_PUBLISH_REPLAY_H
#define FRESHET_CDC_PUBLISH_REPLAY_H

#include "cdc/publish/dead_letter.h"
#include "cdc/publish/publisher_parts.h"

bool publish_replay_begin(struct publisher *p, struct error *err) MUST_CHECK;
void publish_replay_end(struct publisher *p);
/* *buried: it is a dead letter once more. */
bool publish_replay_letter(struct publisher *p, const struct dead_letter_parsed *letter,
                           bool *buried, struct error *err) MUST_CHECK;
/* All letters up to here, with the offsets of the source, become durable soon. */
bool publish_replay_commit(struct publisher *p, struct error *err) MUST_CHECK;
/* Until they are. */
bool publish_replay_settle(struct publisher *p, struct error *err) MUST_CHECK;

#endif

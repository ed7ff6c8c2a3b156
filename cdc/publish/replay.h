/* replay.h: dead letters, published again.
 *
 *     struct replay_result result;
 *     replay_run(&config, &deps, &result, err)        to the topic's end as it is at the start
 *
 * What still cannot be published becomes a dead letter once more, at the topic's end. How far the topic has been read is kept as
 * a consumer group's offsets, committed in the same Kafka transaction as the events where delivery is exactly-once: a
 * replay may be cut off at any point and run again. It beside a publisher that runs is nothing special; of two replays the
 * later fences the earlier. */
#ifndef FRESHET_CDC_REPLAY_H
#define FRESHET_CDC_REPLAY_H

#include "cdc/publish/publisher.h"

struct replay_result {
    uint64_t letters;
    uint64_t published;
    uint64_t buried;    /* again */
    uint64_t malformed; /* cannot be read: left behind */
};

/* Blocks. The strings of `config` must outlive the call. False: nothing is lost, run it again. */
bool replay_run(const struct publisher_config *config, const struct publisher_deps *deps,
                struct replay_result *result, struct error *err) MUST_CHECK;

#endif

/* replay_source.h: where records come from that are published again: a topic that is read, and how far.
 *
 * A publisher with such a source keeps no position of a slot: with each batch it stores the consumer's offsets, in the same
 * Kafka transaction where delivery is exactly-once. One thread. */
#ifndef FRESHET_CDC_REPLAY_SOURCE_H
#define FRESHET_CDC_REPLAY_SOURCE_H

#include "base/kafka.h"

struct replay_source {
    rd_kafka_t *consumer;                     /* of a group, with its partitions assigned by hand */
    rd_kafka_topic_partition_list_t *offsets; /* of the next record of each partition */
};

/* Blocks for some seconds at most. `producer`: with its transaction open, where transactional. */
bool replay_source_store(const struct replay_source *source, rd_kafka_t *producer,
                         bool transactional, struct error *err) MUST_CHECK;

#endif

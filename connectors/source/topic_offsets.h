/* topic_offsets.h: which offsets of a topic are done, once records up to some number are.
 *
 *     topic_offsets_note(offsets, 17, partition, next_offset);     record number 17 was read
 *     list = topic_offsets_take(offsets, 16);                      to be committed; NULL: nothing new
 *
 * One thread. Memory: 24 bytes a record that is not done. */
#ifndef FRESHET_CONNECTORS_TOPIC_OFFSETS_H
#define FRESHET_CONNECTORS_TOPIC_OFFSETS_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>

struct topic_offsets;

struct topic_offsets *topic_offsets_create(void);
void topic_offsets_destroy(struct topic_offsets **offsets);
/* Of this topic from now on; `metadata` is committed with each offset. */
void topic_offsets_begin(struct topic_offsets *offsets, const char *topic, const char *metadata);
void topic_offsets_clear(struct topic_offsets *offsets);
/* Numbers rise. */
void topic_offsets_note(struct topic_offsets *offsets, uint64_t number, int32_t partition,
                        int64_t next_offset);
/* The caller's. */
rd_kafka_topic_partition_list_t *topic_offsets_take(struct topic_offsets *offsets,
                                                    uint64_t done_number);

#endif

/* letter_topic.h: a Kafka topic that dead letters go to, and come back from.
 *
 *     struct letter_topic *topic = letter_topic_create(&config);
 *     letter_topic_send(topic, lines, err);               a record each, keyed by the row's key; all of them are there then
 *     letter_topic_fetch(topic, path, &any, err);         those that came since the last time, into a file
 *
 * Several connectors may share a topic; each takes back its own letters. What was taken back is known by the offsets of a
 * consumer group, committed once the file is on disk. Blocking; one thread; clients are opened when they are first
 * needed. */
#ifndef FRESHET_CONNECTORS_LETTER_TOPIC_H
#define FRESHET_CONNECTORS_LETTER_TOPIC_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/kafka.h"
#include "base/log.h"
#include "base/slice.h"
#include "connectors/connector.h"

struct letter_topic_config {
    const struct kafka_config *kafka; /* must outlive it */
    const char *topic;
    const char *connector;
    struct log *log;
    const _Atomic bool *stop; /* while it is set, calls are given up */
};

struct letter_topic;

/* Copies the names. */
struct letter_topic *letter_topic_create(const struct letter_topic_config *config);
/* NULL: the connector is configured to have none. */
struct letter_topic *letter_topic_of(const struct connector_config *config, struct log *log,
                                     const _Atomic bool *stop);
void letter_topic_destroy(struct letter_topic **topic);

/* JSON lines, each with its end. After a failure some may be there, and are there twice when they are sent again. One that is too
 * large for the brokers goes without its document. */
bool letter_topic_send(struct letter_topic *topic, struct slice lines,
                       struct error *err) MUST_CHECK;
/* Appends to the file, which is made; *any: there were some. */
bool letter_topic_fetch(struct letter_topic *topic, const char *path, bool *any,
                        struct error *err) MUST_CHECK;

#endif

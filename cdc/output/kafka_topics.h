/* kafka_topics.h: makes the topics that a publisher writes to, as configured, where they are not there yet.
 *
 *     kafka_topics_refresh(topics, producer, timeout_ms, err)      what the cluster has
 *     kafka_topics_ensure(topics, producer, name, &spec, err)      nothing to do, mostly
 *
 * One thread. */
#ifndef FRESHET_CDC_KAFKA_TOPICS_H
#define FRESHET_CDC_KAFKA_TOPICS_H

#include "base/kafka.h"

enum { KAFKA_TOPIC_MORE = 32 };

struct kafka_topic_spec {
    int partitions;  /* 0: the broker's default */
    int replication; /* 0: the broker's default */
    bool compacted;
    int64_t retention_ms; /* 0: the broker's default; else in segments short enough for that */
    uint32_t max_message_bytes; /* 0: the broker's default */
    /* As the user has it. */
    const char *cleanup; /* cleanup.policy; NULL: the broker's default */
    int64_t keep_ms;     /* retention.ms; 0: the broker's default */
    unsigned n_more;
    const struct kafka_property *more[KAFKA_TOPIC_MORE]; /* a later one of a name holds */
};

struct kafka_topics;

struct kafka_topics *kafka_topics_create(struct log *log);
void kafka_topics_destroy(struct kafka_topics **topics);
bool kafka_topics_refresh(struct kafka_topics *topics, rd_kafka_t *client, int timeout_ms,
                          struct error *err) MUST_CHECK;
/* Brokers of the cluster at the last refresh. */
unsigned kafka_topics_brokers(const struct kafka_topics *topics);
/* Starts making the topic, where it is not there; poll until it is no longer busy. One at a time: the call waits
 * for the one before. A role that may not make topics is no error: the topic may appear by other means. */
bool kafka_topics_begin(struct kafka_topics *topics, rd_kafka_t *client, const char *name,
                        const struct kafka_topic_spec *spec, struct error *err) MUST_CHECK;
bool kafka_topics_busy(const struct kafka_topics *topics);
bool kafka_topics_poll(struct kafka_topics *topics, int timeout_ms, struct error *err) MUST_CHECK;
/* Both, to the end. */
bool kafka_topics_ensure(struct kafka_topics *topics, rd_kafka_t *client, const char *name,
                         const struct kafka_topic_spec *spec, struct error *err) MUST_CHECK;
/* Forgets what is under way: before its client is destroyed. */
void kafka_topics_drop(struct kafka_topics *topics);

#endif

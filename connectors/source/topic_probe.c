#include "connectors/source/topic_probe.h"

#include <librdkafka/rdkafka.h>

enum { ASK_TIMEOUT_MS = 5 * 1000, CAUSE_TIMEOUT_MS = 2 * 1000, CAUSE_POLL_MS = 500 };

static bool find_topic(rd_kafka_t *consumer, const char *name, struct error *err) {
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
    rd_kafka_resp_err_t code =
        topic ? rd_kafka_metadata(consumer, 0, topic, &metadata, ASK_TIMEOUT_MS)
              : rd_kafka_last_error();
    if (!code && metadata && metadata->topic_cnt == 1) code = metadata->topics[0].err;
    if (metadata) rd_kafka_metadata_destroy(metadata);
    if (topic) rd_kafka_topic_destroy(topic);
    kafka_error_code(err, code, name);
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) err->code = ERROR_NOT_FOUND;
    return !code;
}

/* Whoever may not join the group may not ask for its offsets either. */
static bool ask_group(rd_kafka_t *consumer, const char *topic, const char *group,
                      struct error *err) {
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, topic, 0);
    rd_kafka_resp_err_t code = rd_kafka_committed(consumer, partitions, ASK_TIMEOUT_MS);
    if (!code) code = partitions->elems[0].err;
    rd_kafka_topic_partition_list_destroy(partitions);
    /* A coordinator that refuses is asked until the time is over; why, comes as a message. */
    rd_kafka_message_t *cause = code == RD_KAFKA_RESP_ERR__TIMED_OUT
                                    ? rd_kafka_consumer_poll(consumer, CAUSE_POLL_MS)
                                    : NULL;
    if (cause && cause->err) code = cause->err;
    if (cause) rd_kafka_message_destroy(cause);
    return !code || kafka_error_code(err, code, group);
}

bool topic_probe(const struct kafka_config *kafka, const char *topic, const char *group,
                 struct log *log, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(kafka, log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "group.id", group);
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    rd_kafka_t *consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    if (!consumer) return false;
    bool fits = find_topic(consumer, topic, err) && ask_group(consumer, topic, group, err);
    rd_kafka_destroy(consumer);
    /* Why the brokers do not answer, if it is that. */
    struct kafka_probe probe;
    struct error cause;
    if (!fits && err->code != ERROR_NOT_FOUND && err->code != ERROR_REFUSED &&
        !kafka_probe(kafka, CAUSE_TIMEOUT_MS, log, &probe, &cause))
        *err = cause;
    return fits;
}

/* The producer of a session: see output_kafka_parts.h. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "cdc/output/output_kafka_parts.h"

/* A record that lies by other bytes than its key's has their hash with it; all others lie as the Java client's would. */
static int32_t place(const rd_kafka_topic_t *topic, const void *key, size_t key_len,
                     int32_t n_partitions, void *topic_opaque, void *record_opaque) {
    uint64_t placed = (uintptr_t)record_opaque;
    if (placed & OUTPUT_KAFKA_PLACED)
        return (int32_t)((placed & INT32_MAX) % (uint32_t)n_partitions);
    return rd_kafka_msg_partitioner_murmur2_random(topic, key, key_len, n_partitions, topic_opaque,
                                                   record_opaque);
}

/* Only failures come here (delivery.report.only.error). */
static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer;
    (void)opaque;
    struct output_kafka *k = rd_kafka_topic_opaque(message->rkt);
    if (!message->err || message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
        message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return;
    metric_bump(k->failures, 1);
    if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        oversize_note(&k->oversize, rd_kafka_topic_name(message->rkt),
                      slice_make(message->key, message->key_len),
                      slice_make(message->payload, message->len));
    if (k->failure) return;
    k->failure = message->err;
    snprintf(k->failed_topic, sizeof k->failed_topic, "%s", rd_kafka_topic_name(message->rkt));
}

/* Where a later request of a partition succeeds, librdkafka takes those before it, which it was to repeat, for persisted:
 * brokers take no sequence with a gap. But they do where they know nothing of the producer yet. A topic just made refuses the
 * first request while it is not quite there and takes the second, which is under way already: the first one's records are
 * lost. What is taken for persisted in this way has no offset. */
static rd_kafka_resp_err_t on_acknowledged(rd_kafka_t *producer, rd_kafka_message_t *message,
                                           void *arg) {
    (void)producer;
    struct output_kafka *k = arg;
    if (!message->err && message->offset < 0) atomic_store(&k->guessed, true);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *producer, const rd_kafka_conf_t *conf, void *arg,
                                  /* NOLINTNEXTLINE(readability-non-const-parameter) */
                                  char *why, size_t size) {
    (void)conf;
    (void)why;
    (void)size;
    return rd_kafka_interceptor_add_on_acknowledgement(producer, "freshet", on_acknowledged, arg);
}

static bool has_property(const struct kafka_config *config, const char *name, const char *alias) {
    for (size_t i = 0; i < config->n_properties; i++) {
        if (strcmp(config->properties[i].name, name) == 0 ||
            strcmp(config->properties[i].name, alias) == 0)
            return true;
    }
    return false;
}

static rd_kafka_conf_t *producer_conf(struct output_kafka *k, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(&k->config->kafka, k->log, err);
    if (!conf) return NULL;
    static const struct {
        const char *name;
        const char *alias;
        const char *value;
    } defaults[] = {
        {"compression.type", "compression.codec", "lz4"},
        /* A batch's end flushes whatever lingers; shorter, the client's threads spin through its last
         * millisecond over and over (twice the CPU a row). */
        {"linger.ms", "queue.buffering.max.ms", "100"},
        {"socket.nagle.disable", "socket.nagle.disable", "true"},
        /* How long an unfinished transaction of a process that never comes back holds readers up, and how long
         * the largest transaction may take: the most that brokers allow unless told otherwise. */
        {"transaction.timeout.ms", "transaction.timeout.ms", "900000"},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (!has_property(&k->config->kafka, defaults[i].name, defaults[i].alias))
            kafka_conf_set(conf, defaults[i].name, defaults[i].value);
    }
    kafka_conf_set(conf, "enable.idempotence", "true");
    if (k->exactly_once) kafka_conf_set(conf, "transactional.id", k->transactional_id);
    kafka_conf_set(conf, "partitioner", "murmur2_random"); /* the Java client's placement */
    kafka_conf_set(conf, "delivery.report.only.error", "true");
    /* The bound is ours, in ready(); the client's own is the wall behind it. */
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)(k->config->queue_bytes / 512));
    kafka_conf_set(conf, "queue.buffering.max.kbytes", text);
    kafka_conf_set(conf, "queue.buffering.max.messages", "10000000");
    if (k->oversize.alone) kafka_conf_set(conf, "batch.num.messages", "1");
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_interceptor_add_on_new(conf, "freshet", on_new, k);
    rd_kafka_topic_conf_t *topics = rd_kafka_conf_get_default_topic_conf(conf);
    ASSERT(topics); /* `partitioner` has made it */
    rd_kafka_topic_conf_set_partitioner_cb(topics, place);
    rd_kafka_topic_conf_set_opaque(topics, k);
    return conf;
}

rd_kafka_t *output_kafka_open(struct output_kafka *k, struct error *err) {
    rd_kafka_conf_t *conf = producer_conf(k, err);
    return conf ? kafka_open(RD_KAFKA_PRODUCER, conf, err) : NULL;
}

bool output_kafka_check(struct output_kafka *k, struct error *err) {
    char why[256];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(k->producer, why, sizeof why);
    if (fatal) {
        kafka_error_code(err, fatal, why);
        err->retriable = err->code != ERROR_REFUSED; /* fatal to this producer; the next may do */
        return false;
    }
    if (!k->failure && atomic_load(&k->guessed))
        return error_set(err, ERROR_UNAVAILABLE, true,
                         "Kafka: a record may not have been taken: a later one was, and what "
                         "became of it was not said");
    if (!k->failure) return true;
    kafka_error_code(err, k->failure, "a record was not delivered");
    /* Known by then: the next session finds out which, the one after that goes on without it. */
    if (k->failure == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) err->retriable = true;
    return error_prefix(err, "topic \"%s\"", k->failed_topic);
}

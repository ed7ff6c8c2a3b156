#include "connectors/runtime/letter_probe.h"

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    ASK_TIMEOUT_MS = 5 * 1000,
    CAUSE_TIMEOUT_MS = 2 * 1000,
    REFUSAL_MS = 1500, /* for a refusal to come; that there is none is not told */
    POLL_MS = 50,
};

/* ---- a topic that is absent: could it be made? ---- */

static bool take_answer(rd_kafka_event_t *event, const char *topic, bool *exists,
                        struct error *err) {
    size_t n = 0;
    const rd_kafka_CreateTopics_result_t *result =
        event ? rd_kafka_event_CreateTopics_result(event) : NULL;
    const rd_kafka_topic_result_t *const *topics =
        result ? rd_kafka_CreateTopics_result_topics(result, &n) : NULL;
    rd_kafka_resp_err_t code = !event   ? RD_KAFKA_RESP_ERR__TIMED_OUT
                               : n == 1 ? rd_kafka_topic_result_error(topics[0])
                                        : rd_kafka_event_error(event);
    *exists = code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    return !code || *exists || kafka_error_code(err, code, topic);
}

/* Makes nothing. */
static bool ask_to_make(rd_kafka_t *producer, const char *name, bool *exists, struct error *err) {
    char why[256];
    rd_kafka_NewTopic_t *wanted = rd_kafka_NewTopic_new(name, 1, -1, why, sizeof why);
    if (!wanted) return error_set(err, ERROR_CONFIG, false, "topic \"%s\": %s", name, why);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(producer);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(producer, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, ASK_TIMEOUT_MS, why, sizeof why);
    (void)rd_kafka_AdminOptions_set_validate_only(options, 1, why, sizeof why);
    rd_kafka_CreateTopics(producer, &wanted, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ASK_TIMEOUT_MS);
    bool done = take_answer(event, name, exists, err);
    if (event) rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy(wanted);
    return done;
}

/* It is there, and may not be made by us: a metadata request tells. */
static bool is_there(rd_kafka_t *producer, const char *name) {
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
    rd_kafka_resp_err_t code = rd_kafka_metadata(producer, 0, topic, &metadata, ASK_TIMEOUT_MS);
    bool there = !code && metadata->topic_cnt == 1 && !metadata->topics[0].err;
    if (metadata) rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return there;
}

/* ---- one that is there: could it be written to? ---- */

static bool offer(rd_kafka_t *producer, const char *name) {
    return !rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(name), RD_KAFKA_V_PARTITION(0),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t) "", 0), RD_KAFKA_V_END);
}

/* A transaction that was refused takes no more records, and says why when it is to be committed. NULL: none came. */
static rd_kafka_error_t *await_refusal(rd_kafka_t *producer, const char *name) {
    int64_t due_us = clock_mono_us() + REFUSAL_MS * 1000;
    while (offer(producer, name)) {
        if (clock_mono_us() > due_us) return NULL;
        rd_kafka_poll(producer, POLL_MS);
    }
    return rd_kafka_commit_transaction(producer, ASK_TIMEOUT_MS);
}

/* A transaction is told of the topic before its first record is sent. Those wait here, for `linger.ms`, and are given up with the
 * transaction. */
static bool ask_to_write(rd_kafka_t *producer, const char *name, bool *known, struct error *err) {
    rd_kafka_error_t *error = rd_kafka_init_transactions(producer, ASK_TIMEOUT_MS);
    if (!error) error = rd_kafka_begin_transaction(producer);
    *known = !error;
    if (!error) error = await_refusal(producer, name);
    bool refused = *known && error;
    if (error) {
        kafka_error(err, error, name);
        rd_kafka_error_destroy(error);
    }
    error = *known ? rd_kafka_abort_transaction(producer, ASK_TIMEOUT_MS) : NULL;
    if (error) rd_kafka_error_destroy(error);
    return !refused;
}

static rd_kafka_t *open_producer(const struct kafka_config *kafka, struct log *log,
                                 struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(kafka, log, err);
    if (!conf) return NULL;
    char id[64];
    snprintf(id, sizeof id, "freshet-probe-%ld-%p", (long)getpid(), (void *)conf);
    kafka_conf_set(conf, "transactional.id", id);
    kafka_conf_set(conf, "linger.ms", "600000");
    kafka_conf_set(conf, "message.timeout.ms", "700000");
    kafka_conf_set(conf, "transaction.timeout.ms", "700000");
    return kafka_open(RD_KAFKA_PRODUCER, conf, err);
}

bool letter_probe(const struct kafka_config *kafka, const char *topic, struct log *log, bool *known,
                  struct error *err) {
    struct kafka_probe probe;
    *known = true;
    if (!kafka_probe(kafka, CAUSE_TIMEOUT_MS, log, &probe, err)) return false;
    rd_kafka_t *producer = open_producer(kafka, log, err);
    if (!producer) return false;
    bool exists = false;
    bool fits = ask_to_make(producer, topic, &exists, err);
    if (!fits && is_there(producer, topic)) fits = exists = true;
    if (fits && exists) fits = ask_to_write(producer, topic, known, err);
    rd_kafka_destroy(producer);
    return fits;
}

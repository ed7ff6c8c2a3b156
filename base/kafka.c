#include "base/kafka.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

/* What Freshet decides by itself, and what to say instead where there is something to say. */
static const struct owned_property {
    const char *name;
    const char *instead;
} owned_properties[] = {
    {"bootstrap.servers", "cdc.kafka.brokers names the brokers"},
    {"metadata.broker.list", "cdc.kafka.brokers names the brokers"},
    {"transactional.id", "it follows from the prefix and the slot"},
    {"enable.idempotence", "delivery guarantees rest on it"},
    {"max.in.flight", "delivery guarantees rest on it"},
    {"max.in.flight.requests.per.connection", "delivery guarantees rest on it"},
    {"acks", "a record counts when all replicas have it"},
    {"request.required.acks", "a record counts when all replicas have it"},
    {"enable.gapless.guarantee", "delivery guarantees rest on it"},
    {"partitioner", "records are placed as the Java client places them"},
    {"partitioner_cb", "records are placed as the Java client places them"},
    {"queue.buffering.max.messages", "cdc.kafka.queue bounds what is sent and not acknowledged"},
    {"queue.buffering.max.kbytes", "cdc.kafka.queue bounds what is sent and not acknowledged"},
    {"delivery.report.only.error", "each failure is looked at"},
    {"dr_cb", "each failure is looked at"},
    {"dr_msg_cb", "each failure is looked at"},
    {"isolation.level", "positions are read from committed transactions alone"},
    {"group.id", "Freshet reads its own topics without a group"},
    {"enable.auto.commit", "Freshet keeps its own positions"},
    {"enable.auto.offset.store", "Freshet keeps its own positions"},
    {"enable.partition.eof", "Freshet reads its own topics to their ends"},
    {"auto.offset.reset", "a gap is never stepped over in silence"},
    {"allow.auto.create.topics", "Freshet makes its topics itself"},
    {"enabled_events", NULL},
    {"opaque", NULL},
};

/* syslog's levels, as librdkafka gives them. */
static void log_line(const rd_kafka_t *handle, int level, const char *facility, const char *line) {
    struct log *log = rd_kafka_opaque(handle);
    enum log_level ours = level <= 3 ? LOG_WARN : level <= 4 ? LOG_INFO : LOG_DEBUG;
    if (log) log_event(log, ours, "kafka", "facility=%s detail=\"%s\"", facility, line);
}

static bool set_user_property(rd_kafka_conf_t *conf, const struct kafka_property *property,
                              struct error *err) {
    for (size_t i = 0; i < sizeof owned_properties / sizeof *owned_properties; i++) {
        const struct owned_property *owned = &owned_properties[i];
        if (strcmp(property->name, owned->name) != 0) continue;
        return error_set(err, ERROR_CONFIG, false, "Kafka property \"%s\" cannot be set%s%s",
                         property->name, owned->instead ? ": " : "",
                         owned->instead ? owned->instead : "");
    }
    char why[256];
    if (rd_kafka_conf_set(conf, property->name, property->value, why, sizeof why) ==
        RD_KAFKA_CONF_OK)
        return true;
    return error_set(err, ERROR_CONFIG, false, "Kafka property \"%s\": %s", property->name, why);
}

bool kafka_property_check(const struct kafka_property *property, struct error *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool ok = set_user_property(conf, property, err);
    rd_kafka_conf_destroy(conf);
    return ok;
}

rd_kafka_conf_t *kafka_conf(const struct kafka_config *config, struct log *log, struct error *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, log);
    rd_kafka_conf_set_log_cb(conf, log_line);
    kafka_conf_set(conf, "client.id", "freshet");
    /* librdkafka would say that consumer properties mean nothing to a producer: `properties` serve both. */
    kafka_conf_set(conf, "log.connection.close", "false");
    char why[256];
    if (rd_kafka_conf_set(conf, "bootstrap.servers", config->brokers, why, sizeof why) !=
        RD_KAFKA_CONF_OK) {
        error_set(err, ERROR_CONFIG, false, "Kafka brokers \"%s\": %s", config->brokers, why);
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    for (size_t i = 0; i < config->n_properties; i++) {
        if (set_user_property(conf, &config->properties[i], err)) continue;
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

void kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    ASSERT(result == RD_KAFKA_CONF_OK);
}

/* Codes that need a human before the same call can succeed. */
static enum error_code classify(rd_kafka_resp_err_t code, bool *retriable) {
    *retriable = false;
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED: return ERROR_REFUSED;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH: return ERROR_CONFLICT;
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE: return ERROR_REFUSED;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE: *retriable = true; return ERROR_TIMEOUT;
    default: *retriable = true; return ERROR_UNAVAILABLE;
    }
}

bool kafka_error(struct error *err, const rd_kafka_error_t *error, const char *what) {
    bool retriable;
    enum error_code code = classify(rd_kafka_error_code(error), &retriable);
    if (rd_kafka_error_is_fatal(error)) retriable = false;
    return error_set(err, code, retriable, "Kafka: %s: %s (%s)", what, rd_kafka_error_string(error),
                     rd_kafka_error_name(error));
}

bool kafka_error_code(struct error *err, rd_kafka_resp_err_t code, const char *what) {
    bool retriable;
    enum error_code ours = classify(code, &retriable);
    return error_set(err, ours, retriable, "Kafka: %s: %s (%s)", what, rd_kafka_err2str(code),
                     rd_kafka_err2name(code));
}

rd_kafka_t *kafka_open(rd_kafka_type_t type, rd_kafka_conf_t *conf, struct error *err) {
    char why[512];
    rd_kafka_t *handle = rd_kafka_new(type, conf, why, sizeof why);
    if (handle) return handle;
    rd_kafka_conf_destroy(conf);
    error_set(err, ERROR_CONFIG, false, "Kafka client: %s", why);
    return NULL;
}

/* Before 2.6.1 librdkafka repeats its nonce in SCRAM's last message. Brokers let that pass until Kafka 4. */
enum { SCRAM_MENDED = 0x020601ff };
static const char scram_hint[] =
    "; this librdkafka is older than 2.6.1, and brokers of Kafka 4 refuse its SCRAM even with the "
    "right password: install a newer one, or use PLAIN over TLS";

enum { WEIGHT_OF_REFUSALS = 3, METADATA_SLICE_MS = 500 };

/* How much a cause explains: a client that cannot come in also reports that it is not connected. */
static int weight(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL: return WEIGHT_OF_REFUSALS;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE: return 2;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: return 0;
    default: return 1;
    }
}

/* What the client has to say about why it is not connected; its weight, 0: nothing. */
static int last_words(rd_kafka_t *producer, rd_kafka_resp_err_t *cause, char *why, size_t size) {
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(producer);
    rd_kafka_event_t *event;
    int heaviest = 0;
    while ((event = rd_kafka_queue_poll(queue, 0))) {
        rd_kafka_resp_err_t code = rd_kafka_event_error(event);
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR && weight(code) > heaviest) {
            heaviest = weight(code);
            *cause = code;
            snprintf(why, size, "%s", rd_kafka_event_error_string(event));
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return heaviest;
}

bool kafka_metadata(rd_kafka_t *producer, bool topics, int timeout_ms, const char *what,
                    const struct rd_kafka_metadata **metadata, struct error *err) {
    rd_kafka_resp_err_t cause = RD_KAFKA_RESP_ERR_NO_ERROR;
    char why[384] = "";
    int heaviest = 0;
    int64_t deadline_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    while (true) {
        rd_kafka_resp_err_t code =
            rd_kafka_metadata(producer, topics, NULL, metadata, METADATA_SLICE_MS);
        if (!code) return true;
        char words[sizeof why];
        rd_kafka_resp_err_t of = RD_KAFKA_RESP_ERR_NO_ERROR;
        int heavy = last_words(producer, &of, words, sizeof words);
        if (heavy > heaviest) {
            heaviest = heavy;
            cause = of;
            snprintf(why, sizeof why, "%s", words);
        }
        kafka_error_code(err, code, what);
        if (heaviest == WEIGHT_OF_REFUSALS || clock_mono_us() > deadline_us) break;
    }
    if (!heaviest) return false;
    char said[sizeof err->message];
    snprintf(said, sizeof said, "%s", err->message);
    bool retriable = err->retriable;
    enum error_code code = err->code;
    if (heaviest == WEIGHT_OF_REFUSALS) code = classify(cause, &retriable);
    bool scram = strstr(why, "SCRAM") && rd_kafka_version() < SCRAM_MENDED;
    return error_set(err, code, retriable, "%s: %s%s", said, why, scram ? scram_hint : "");
}

static bool count_brokers(rd_kafka_t *handle, const char *brokers, int timeout_ms, int *n_brokers,
                          struct error *err) {
    const struct rd_kafka_metadata *metadata;
    if (!kafka_metadata(handle, false, timeout_ms, "asking for the cluster's brokers", &metadata,
                        err))
        return error_prefix(err, "no broker answers at %s", brokers);
    *n_brokers = metadata->broker_cnt;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

bool kafka_probe(const struct kafka_config *config, int timeout_ms, struct log *log,
                 struct kafka_probe *probe, struct error *err) {
    *probe = (struct kafka_probe){0};
    rd_kafka_conf_t *conf = kafka_conf(config, log, err);
    if (!conf) return false;
    /* A name of its own for each probe: it must never fence a running publisher, nor another probe. */
    char id[64];
    snprintf(id, sizeof id, "freshet-probe-%ld-%p", (long)getpid(), (void *)probe);
    kafka_conf_set(conf, "transactional.id", id);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR);
    rd_kafka_t *handle = kafka_open(RD_KAFKA_PRODUCER, conf, err);
    if (!handle) return false;
    bool there = count_brokers(handle, config->brokers, timeout_ms, &probe->n_brokers, err);
    if (there) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(handle, timeout_ms);
        probe->transactional = !error;
        if (error) rd_kafka_error_destroy(error);
    }
    rd_kafka_destroy(handle);
    return there;
}

#include "cdc/output/kafka_topics.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"

enum { CREATE_TIMEOUT_MS = 5000 };

struct kafka_topics {
    struct log *log;
    struct arena *arena;
    const char **names; /* sorted: what the cluster had when it was asked */
    size_t n;
    unsigned n_brokers;
    rd_kafka_queue_t *queue; /* of the one being made; NULL: none */
    char *making;
};

struct kafka_topics *kafka_topics_create(struct log *log) {
    struct kafka_topics *topics = mem_zalloc(sizeof *topics);
    topics->log = log;
    topics->arena = arena_create(16 * 1024);
    return topics;
}

void kafka_topics_destroy(struct kafka_topics **topics) {
    if (!*topics) return;
    kafka_topics_drop(*topics);
    arena_destroy(&(*topics)->arena);
    mem_free(*topics);
    *topics = NULL;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool kafka_topics_refresh(struct kafka_topics *topics, rd_kafka_t *client, int timeout_ms,
                          struct error *err) {
    const struct rd_kafka_metadata *metadata;
    if (!kafka_metadata(client, true, timeout_ms, "asking for the topics", &metadata, err))
        return false;
    arena_reset(topics->arena);
    topics->n_brokers = (unsigned)metadata->broker_cnt;
    topics->n = 0;
    topics->names =
        arena_alloc(topics->arena, ((size_t)metadata->topic_cnt + 1) * sizeof *topics->names);
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (metadata->topics[i].err) continue;
        topics->names[topics->n++] = arena_strdup(topics->arena, metadata->topics[i].topic);
    }
    qsort(topics->names, topics->n, sizeof *topics->names, by_name);
    rd_kafka_metadata_destroy(metadata);
    return true;
}

unsigned kafka_topics_brokers(const struct kafka_topics *topics) { return topics->n_brokers; }

/* What is older goes a segment at a time, so that segments must be shorter. */
static void set_retention(rd_kafka_NewTopic_t *topic, int64_t retention_ms) {
    char text[32];
    rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
    snprintf(text, sizeof text, "%lld", (long long)retention_ms);
    rd_kafka_NewTopic_set_config(topic, "retention.ms", text);
    snprintf(text, sizeof text, "%lld", (long long)(retention_ms / 4 + 1));
    rd_kafka_NewTopic_set_config(topic, "segment.ms", text);
}

static rd_kafka_NewTopic_t *new_topic(const char *name, const struct kafka_topic_spec *spec,
                                      struct error *err) {
    char why[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(name, spec->partitions ? spec->partitions : -1,
                              spec->replication ? spec->replication : -1, why, sizeof why);
    if (!topic) {
        error_set(err, ERROR_CONFIG, false, "Kafka topic \"%s\": %s", name, why);
        return NULL;
    }
    if (spec->compacted) rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
    if (spec->retention_ms) set_retention(topic, spec->retention_ms);
    if (spec->max_message_bytes) {
        snprintf(why, sizeof why, "%u", spec->max_message_bytes);
        rd_kafka_NewTopic_set_config(topic, "max.message.bytes", why);
    }
    if (spec->cleanup) rd_kafka_NewTopic_set_config(topic, "cleanup.policy", spec->cleanup);
    if (spec->keep_ms) {
        snprintf(why, sizeof why, "%lld", (long long)spec->keep_ms);
        rd_kafka_NewTopic_set_config(topic, "retention.ms", why);
    }
    for (unsigned i = 0; i < spec->n_more; i++)
        rd_kafka_NewTopic_set_config(topic, spec->more[i]->name, spec->more[i]->value);
    return topic;
}

/* The one topic's result. */
static rd_kafka_resp_err_t outcome(rd_kafka_event_t *event, char *why, size_t size) {
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    snprintf(why, size, "%s", code ? rd_kafka_event_error_string(event) : "");
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(event);
    size_t n = 0;
    const rd_kafka_topic_result_t **made =
        result ? rd_kafka_CreateTopics_result_topics(result, &n) : NULL;
    if (code || n != 1) return code;
    const char *text = rd_kafka_topic_result_error_string(made[0]);
    if (text) snprintf(why, size, "%s", text);
    return rd_kafka_topic_result_error(made[0]);
}

static bool judge(struct kafka_topics *topics, rd_kafka_resp_err_t code, const char *why,
                  struct error *err) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        log_info(topics->log, "topic_created", "topic=%s", topics->making);
        return true;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: return true;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
        log_warn(topics->log, "topic_not_created", "topic=%s cause=\"%s\"", topics->making, why);
        return true;
    default: break;
    }
    kafka_error_code(err, code, "creating a topic");
    return error_prefix(err, "topic \"%s\" (%s)", topics->making, why);
}

void kafka_topics_drop(struct kafka_topics *topics) {
    if (topics->queue) rd_kafka_queue_destroy(topics->queue);
    topics->queue = NULL;
    mem_free(topics->making);
    topics->making = NULL;
}

bool kafka_topics_busy(const struct kafka_topics *topics) { return topics->queue != NULL; }

bool kafka_topics_poll(struct kafka_topics *topics, int timeout_ms, struct error *err) {
    if (!topics->queue) return true;
    rd_kafka_event_t *event = rd_kafka_queue_poll(topics->queue, timeout_ms);
    if (!event) return true;
    char why[256] = "";
    rd_kafka_resp_err_t code = outcome(event, why, sizeof why);
    rd_kafka_event_destroy(event);
    bool ok = judge(topics, code, why, err);
    kafka_topics_drop(topics);
    return ok;
}

/* The request has a timeout of its own, so that this ends. */
static bool finish(struct kafka_topics *topics, struct error *err) {
    while (topics->queue) {
        if (!kafka_topics_poll(topics, CREATE_TIMEOUT_MS, err)) return false;
    }
    return true;
}

bool kafka_topics_begin(struct kafka_topics *topics, rd_kafka_t *client, const char *name,
                        const struct kafka_topic_spec *spec, struct error *err) {
    if (topics->n && bsearch(&name, topics->names, topics->n, sizeof *topics->names, by_name))
        return true;
    if (!finish(topics, err)) return false;
    rd_kafka_NewTopic_t *topic = new_topic(name, spec, err);
    if (!topic) return false;
    topics->queue = rd_kafka_queue_new(client);
    topics->making = mem_strdup(name);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    char why[256];
    rd_kafka_AdminOptions_set_request_timeout(options, CREATE_TIMEOUT_MS, why, sizeof why);
    rd_kafka_CreateTopics(client, &topic, 1, options, topics->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_NewTopic_destroy(topic);
    return true;
}

bool kafka_topics_ensure(struct kafka_topics *topics, rd_kafka_t *client, const char *name,
                         const struct kafka_topic_spec *spec, struct error *err) {
    return kafka_topics_begin(topics, client, name, spec, err) && finish(topics, err);
}

#include "connectors/source/topic_reach.h"

#include <librdkafka/rdkafka.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "base/pg.h"

enum { ASK_TIMEOUT_MS = 5 * 1000, END_TIMEOUT_US = 10 * 1000 * 1000, POLL_MS = 50, ROOM_BITS = 8 };

struct topic_reach {
    struct source_database database;
    char *slot;
    const struct kafka_config *kafka;
    char *topic;
    char *group;
    PGconn *conn;
    rd_kafka_t *consumer;
    int n_ends;
    int64_t *ends; /* of the partitions, when it was asked first */
};

uint64_t topic_version(int64_t offset) { return ((uint64_t)offset + 1) << ROOM_BITS; }

struct topic_reach *topic_reach_create(const struct topic_reach_config *config) {
    struct topic_reach *reach = mem_zalloc(sizeof *reach);
    source_database_init(&reach->database, &config->database);
    reach->slot = mem_strdup(config->slot);
    reach->kafka = config->kafka;
    reach->topic = mem_strdup(config->topic);
    reach->group = mem_strdup(config->group);
    return reach;
}

static void disconnect(struct topic_reach *reach) {
    if (reach->conn) PQfinish(reach->conn);
    reach->conn = NULL;
}

static void close_consumer(struct topic_reach *reach) {
    if (reach->consumer) rd_kafka_destroy(reach->consumer);
    reach->consumer = NULL;
}

void topic_reach_destroy(struct topic_reach **reach) {
    struct topic_reach *old = *reach;
    *reach = NULL;
    if (!old) return;
    disconnect(old);
    close_consumer(old);
    source_database_deinit(&old->database);
    mem_free(old->slot);
    mem_free(old->topic);
    mem_free(old->group);
    mem_free(old->ends);
    mem_free(old);
}

/* ---- the publisher ---- */

bool topic_reach_published(struct topic_reach *reach, uint64_t *lsn, struct error *err) {
    if (!reach->conn && !(reach->conn = source_database_connect(&reach->database, err)))
        return false;
    const char *params[] = {reach->slot};
    PGresult *rows = pg_query_params(
        reach->conn,
        "SELECT confirmed_flush_lsn FROM pg_catalog.pg_replication_slots WHERE slot_name = $1", 1,
        params, err);
    if (!rows) {
        disconnect(reach);
        return false;
    }
    bool found = PQntuples(rows) == 1 && lsn_parse(PQgetvalue(rows, 0, 0), lsn);
    PQclear(rows);
    return found ||
           error_set(err, ERROR_CONFIG, false,
                     "there is no slot \"%s\" (cdc.slot), which tells how far the publisher is: "
                     "without it what is not in the topic yet cannot be told from what is missing",
                     reach->slot);
}

/* ---- the topic ---- */

static bool open_consumer(struct topic_reach *reach, struct error *err) {
    if (reach->consumer) return true;
    rd_kafka_conf_t *conf = kafka_conf(reach->kafka, reach->database.log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "group.id", reach->group); /* which it does not join */
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "isolation.level", "read_committed");
    kafka_conf_set(conf, "enable.partition.eof", "true");
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    kafka_conf_set(conf, "auto.offset.reset", "earliest");
    reach->consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    if (reach->consumer) rd_kafka_poll_set_consumer(reach->consumer);
    return reach->consumer != NULL;
}

/* The partitions, each at what the group has committed. */
static rd_kafka_topic_partition_list_t *find_committed(struct topic_reach *reach,
                                                       struct error *err) {
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(reach->consumer, reach->topic, NULL);
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(reach->consumer, 0, topic, &metadata, ASK_TIMEOUT_MS);
    rd_kafka_topic_destroy(topic);
    int n = !code && metadata && metadata->topic_cnt == 1 ? metadata->topics[0].partition_cnt : 0;
    if (metadata) rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(n);
    for (int i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, reach->topic, i);
    if (!code && n) code = rd_kafka_committed(reach->consumer, list, ASK_TIMEOUT_MS);
    if (!code && n) {
        for (int i = 0; i < n; i++) {
            if (list->elems[i].offset < 0) list->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
        }
        return list;
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        kafka_error_code(err, code, reach->topic);
    else
        error_set(err, ERROR_UNAVAILABLE, true, "topic \"%s\" does not exist", reach->topic);
    return NULL;
}

/* Where each partition ends now: what is there of records stands before that. */
static bool mark_ends(struct topic_reach *reach, int n, struct error *err) {
    reach->ends = mem_realloc(reach->ends, ((size_t)n + 1) * sizeof *reach->ends);
    reach->n_ends = n;
    for (int i = 0; i < n; i++) {
        int64_t low;
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
            reach->consumer, reach->topic, i, &low, &reach->ends[i], ASK_TIMEOUT_MS);
        if (code) return kafka_error_code(err, code, reach->topic);
    }
    return true;
}

/* Behind the committed offsets there may be marks of transactions, which are no records: only reading tells. */
static bool read_on(struct topic_reach *reach, bool *drained, struct error *err) {
    int64_t due_us = clock_mono_us() + END_TIMEOUT_US;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    bool *passed = mem_calloc((size_t)reach->n_ends + 1, sizeof *passed);
    int n_passed = 0;
    *drained = true;
    while (n_passed < reach->n_ends && *drained && !code) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reach->consumer, POLL_MS);
        bool ended = message && message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (message && (ended || !message->err)) {
            int at = message->partition;
            *drained = ended || at >= reach->n_ends || message->offset >= reach->ends[at];
            if (*drained && at < reach->n_ends && !passed[at]) n_passed++;
            if (at < reach->n_ends) passed[at] = true;
        } else if (message && message->err != RD_KAFKA_RESP_ERR__TRANSPORT) {
            code = message->err;
        }
        if (message) rd_kafka_message_destroy(message);
        if (clock_mono_us() > due_us) code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    mem_free(passed);
    return !code || kafka_error_code(err, code, reach->topic);
}

static uint64_t lowest_version(const struct topic_reach *reach) {
    uint64_t lowest = UINT64_MAX;
    for (int i = 0; i < reach->n_ends; i++) {
        uint64_t version = topic_version(reach->ends[i] - 1) + 1;
        if (version < lowest) lowest = version;
    }
    return lowest;
}

bool topic_reach_drained(struct topic_reach *reach, bool first, bool *drained, uint64_t *floor,
                         struct error *err) {
    if (!open_consumer(reach, err)) return false;
    rd_kafka_topic_partition_list_t *list = find_committed(reach, err);
    if (!list) return false;
    bool done = !first || mark_ends(reach, list->cnt, err);
    rd_kafka_resp_err_t code = done ? rd_kafka_assign(reach->consumer, list) : 0;
    if (done && code) done = kafka_error_code(err, code, reach->topic);
    done = done && read_on(reach, drained, err);
    rd_kafka_assign(reach->consumer, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    if (done) *floor = lowest_version(reach);
    if (!done) close_consumer(reach);
    return done;
}

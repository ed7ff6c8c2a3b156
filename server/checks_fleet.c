/* A cache that follows a topic: is there such a topic, and what does the publication behind it cover? */
#include <unistd.h>

#include "base/kafka.h"
#include "base/publication.h"
#include "server/checks.h"
#include "server/fleet.h"

enum { ASK_TIMEOUT_MS = 10 * 1000 };

static void report_topic(struct check_context *context, rd_kafka_t *consumer) {
    const struct config *config = context->config;
    int64_t low;
    int64_t high;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(consumer, config->cache_topic, 0,
                                                                &low, &high, ASK_TIMEOUT_MS);
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        check_report(context, CHECK_OK, NULL, "topic \"%s\" holds %lld records",
                     config->cache_topic, (long long)(high - low));
        return;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        check_report(context, CHECK_WARN,
                     "run a publisher with cdc.invalidations: true and the prefix of that topic",
                     "topic \"%s\" does not exist: until it does, reads are not kept",
                     config->cache_topic);
        return;
    default:
        check_report(context, CHECK_FAIL, "start Kafka, or correct cache.kafka.brokers",
                     "Kafka at %s: %s", config->cache_kafka.brokers, rd_kafka_err2str(code));
    }
}

static void check_topic(struct check_context *context) {
    struct error err;
    struct log *log = log_create(STDERR_FILENO, LOG_ERROR);
    rd_kafka_conf_t *conf = kafka_conf(&context->config->cache_kafka, log, &err);
    if (conf) {
        kafka_conf_set(conf, "group.id", "freshet-check");
        kafka_conf_set(conf, "allow.auto.create.topics", "false");
    }
    rd_kafka_t *consumer = conf ? kafka_open(RD_KAFKA_CONSUMER, conf, &err) : NULL;
    if (consumer)
        report_topic(context, consumer);
    else
        check_report(context, CHECK_FAIL, "correct cache.kafka", "%s", err.message);
    if (consumer) rd_kafka_destroy(consumer);
    log_destroy(&log);
}

static bool covers(const struct publication *publication, const struct catalog_table *table) {
    if (publication->all_tables) return true;
    const struct publication_member *member = publication_find(publication, table->oid);
    return member && !member->row_filter;
}

static void check_coverage(struct check_context *context) {
    const char *name = context->config->cache.publication;
    struct error err;
    struct publication *publication = publication_load(context->conn, name, &err);
    if (!publication) {
        check_report(context, CHECK_FAIL, NULL, "%s", err.message);
        return;
    }
    uint32_t covered = 0;
    for (uint32_t i = 0; publication->exists && i < context->catalog->n_tables; i++) {
        const struct catalog_table *table = &context->catalog->tables[i];
        if (!table->primary_key || table->unlogged) continue;
        if (covers(publication, table))
            covered++;
        else
            check_report(
                context, CHECK_WARN,
                "let the publisher's cdc.tables name it, and without a row filter",
                "%s.%s is not in publication \"%s\" with all its rows: it is read uncached",
                table->schema, table->name, name);
    }
    if (publication->exists)
        check_report(context, CHECK_OK, NULL, "publication \"%s\" covers %u tables", name, covered);
    else
        check_report(context, CHECK_WARN,
                     "start the publisher, which makes it, or let cache.publication name its own",
                     "publication \"%s\" does not exist: until it does, reads are not kept", name);
    publication_destroy(&publication);
}

void check_fleet(struct check_context *context) {
    if (!fleet_follows(context->config)) return;
    check_coverage(context);
    check_topic(context);
}

/* publisher.h: the sink that turns changes into Debezium's events and publishes them to Kafka or to stdout.
 *
 *     struct publisher *publisher = publisher_create(&config, &deps, err);
 *     struct change_sink sink = publisher_sink(publisher);     give it to a feed
 *     publisher_destroy(&publisher);                           after the feed has stopped */
#ifndef FRESHET_CDC_PUBLISHER_H
#define FRESHET_CDC_PUBLISHER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/kafka.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cdc/encode/format.h"
#include "cdc/encode/schema_registry.h"
#include "cdc/shape/outbox.h"
#include "cdc/shape/shape.h"
#include "cdc/shape/topic_rules.h"

enum publisher_output { OUTPUT_KAFKA, OUTPUT_STDOUT };
enum publisher_delivery { DELIVERY_EXACTLY_ONCE, DELIVERY_AT_LEAST_ONCE };
/* Which records carry the header `freshet.position`. */
enum publisher_position { POSITION_AT_LEAST_ONCE, POSITION_ALWAYS, POSITION_NEVER };
/* What becomes of a record that is larger than the brokers take. */
enum publisher_oversize { OVERSIZE_DEAD_LETTER, OVERSIZE_SKIP, OVERSIZE_FAIL };

/* cdc.message_key: one entry of the map. */
struct message_key {
    const char *table;   /* a pattern */
    const char *columns; /* with commas between them */
};

struct publisher_config {
    const char *name;         /* of the sink, in logs and metrics; NULL: "cdc" */
    const char *database_url; /* for the catalog */
    const char *database;     /* its name: source.db */
    const char *prefix;       /* of topics; also source.name */
    const char *publication;  /* made and kept up by the publisher where it may */
    const char *slot;         /* part of the transactional id */
    uint32_t n_tables;
    const char *const *tables;   /* patterns */
    const char *skip_operations; /* letters of c, u, d, t */
    uint32_t n_message_keys;
    const struct message_key *message_keys; /* the first that matches is the table's */
    int64_t wal_heartbeat_ms;               /* of messages into the WAL, by the keeper; 0: none */
    int64_t heartbeat_interval_ms; /* of the records that say that the stream is alive; 0: none */
    struct shape_rules shape;
    uint32_t n_outboxes;
    const struct outbox_entry *outboxes; /* by pattern; the first that matches is the table's */
    uint32_t n_outbox_messages;
    const struct outbox_entry *outbox_messages; /* by prefix */
    uint32_t n_topics;
    const struct topic_entry *topics; /* how topics are made, by pattern: all that match */
    enum publisher_output output;
    int output_fd; /* OUTPUT_STDOUT writes here */
    enum publisher_delivery delivery;
    enum publisher_oversize on_oversize;
    enum publisher_position position_header;
    struct kafka_config kafka;
    uint32_t topic_partitions;       /* of topics that we create; 0: the broker's default */
    int16_t topic_replication;       /* 0: the broker's default */
    int64_t transaction_interval_ms; /* a Kafka transaction is committed at the latest after this */
    uint64_t transaction_records;    /* or this many records */
    uint64_t split_transactions;     /* one of more records lies in several; 0: never */
    uint64_t queue_bytes;            /* bound on records in flight */
    struct event_format format;
    struct schema_registry_config registry; /* of encodings whose schemas have ids */
    bool invalidations;                 /* to <prefix>.invalidations, for caches that follow it */
    int64_t invalidations_interval_ms;  /* of heartbeats */
    int64_t invalidations_retention_ms; /* of the topic */
    uint32_t n_invalidation_columns;    /* that come along beside keys: "schema.table.column" */
    const char *const *invalidation_columns;
    const char *version; /* source.version */
    const struct replay_source
        *replay; /* dead letters are published again; NULL: a slot's changes are */
};

/* Does cdc.tables name the table, and cdc.exclude_tables not? */
bool publisher_wants(const struct publisher_config *config, const char *schema, const char *table);

struct publisher_deps {
    struct log *log;
    struct metrics *metrics;
};

struct publisher;

/* The strings of `config` must outlive the publisher. */
struct publisher *publisher_create(const struct publisher_config *config,
                                   const struct publisher_deps *deps, struct error *err);
void publisher_destroy(struct publisher **publisher);
struct change_sink publisher_sink(struct publisher *publisher);
/* For /status: a new reference for the caller. Any thread. */
json_t *publisher_status(struct publisher *publisher);

#endif

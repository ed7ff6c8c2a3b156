/* topic_rules.h: how topics are made that are not there: cdc.topics, by patterns of their names.
 *
 *     struct kafka_topic_spec spec = topic_rules_spec(n, entries, "shop.public.users", defaults);
 *
 * All entries that match apply, in their order; of each setting the last one holds. A topic that is there stays as it is.
 * Pure. */
#ifndef FRESHET_CDC_TOPIC_RULES_H
#define FRESHET_CDC_TOPIC_RULES_H

#include <stdint.h>

#include "cdc/output/kafka_topics.h"

/* An entry of cdc.topics. */
struct topic_entry {
    const char *name;     /* a pattern of topics */
    uint32_t partitions;  /* 0: as for all topics */
    uint32_t replication; /* 0: as for all topics */
    const char *cleanup;  /* "delete", "compact", "compact,delete"; NULL: the broker's */
    int64_t retention_ms; /* 0: the broker's */
    uint32_t n_properties;
    const struct kafka_property *properties; /* Kafka's own settings of topics */
};

struct kafka_topic_spec topic_rules_spec(uint32_t n, const struct topic_entry *entries,
                                         const char *topic, struct kafka_topic_spec defaults);

#endif

#include "cdc/shape/topic_rules.h"

#include "base/pattern.h"

struct kafka_topic_spec topic_rules_spec(uint32_t n, const struct topic_entry *entries,
                                         const char *topic, struct kafka_topic_spec defaults) {
    struct kafka_topic_spec spec = defaults;
    for (uint32_t i = 0; i < n; i++) {
        const struct topic_entry *entry = &entries[i];
        if (!pattern_match_name(entry->name, topic)) continue;
        if (entry->partitions) spec.partitions = (int)entry->partitions;
        if (entry->replication) spec.replication = (int)entry->replication;
        if (entry->cleanup) spec.cleanup = entry->cleanup;
        if (entry->retention_ms) spec.keep_ms = entry->retention_ms;
        for (uint32_t k = 0; k < entry->n_properties && spec.n_more < KAFKA_TOPIC_MORE; k++)
            spec.more[spec.n_more++] = &entry->properties[k];
    }
    return spec;
}

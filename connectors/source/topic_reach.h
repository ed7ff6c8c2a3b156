/* topic_reach.h: has all that the database had committed come through a topic, and out of it into the sink? For comparing.
 *
 *     struct topic_reach *reach = topic_reach_create(&config);
 *     topic_reach_published(reach, &lsn, err);          the publisher's slot: all up to here is in the topic
 *     topic_reach_drained(reach, true, &drained, &floor, err);        and all of that is in the sink
 *     topic_reach_destroy(&reach);
 *
 * What is in the sink the group's offsets tell, whichever of its members wrote it. Blocking; one thread; connections are opened
 * when they are first needed. */
#ifndef FRESHET_CONNECTORS_TOPIC_REACH_H
#define FRESHET_CONNECTORS_TOPIC_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/kafka.h"
#include "base/log.h"
#include "connectors/source/source_database.h"

struct topic_reach_config {
    struct source_database database;
    const char *slot;                 /* the publisher's */
    const struct kafka_config *kafka; /* must outlive it */
    const char *topic;
    const char *group;
};

struct topic_reach;

/* Copies the rest. */
struct topic_reach *topic_reach_create(const struct topic_reach_config *config);
void topic_reach_destroy(struct topic_reach **reach);

bool topic_reach_published(struct topic_reach *reach, uint64_t *lsn, struct error *err) MUST_CHECK;
/* Of what was in the topic when it was asked with `first`. *floor: a version (topic_version) that is above none of the records'
 * that were to come then. */
bool topic_reach_drained(struct topic_reach *reach, bool first, bool *drained, uint64_t *floor,
                         struct error *err) MUST_CHECK;

/* The version of a record's row. There is room between two: a row that is written again has one above the record's, and below that
 * of the next. */
uint64_t topic_version(int64_t offset);

#endif

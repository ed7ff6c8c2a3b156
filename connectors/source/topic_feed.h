/* topic_feed.h: a feed from a row topic in Debezium's JSON, as a member of a consumer group, into a connector's runtime.
 *
 *     struct topic_feed *feed = topic_feed_create(&config, &deps);
 *     topic_feed_start(feed, err);  ...  topic_feed_stop(feed);  topic_feed_destroy(&feed);
 *
 * The members of a group share the topic's partitions; records of one key are of one partition. The position is the group's
 * offsets, committed for what is in the sink durably. With them stands which target they are of: where the sink has been made
 * anew or restored, they are void, and the partitions are read from their beginning. A rebalance ends the session: what is
 * under way is finished, for a few seconds at most, what is in the sink is committed, the rest is the next member's.
 *
 * A record has the runtime's view of a transaction of its own. Its LSN is this process's count of records; its version is of its
 * offset (topic_version), which rises for each key and is the same in a replay. Versions of another topic, or of a slot, compare with nothing:
 * so the target is told apart by what it was filled from, as those of two databases are. */
#ifndef FRESHET_CONNECTORS_TOPIC_FEED_H
#define FRESHET_CONNECTORS_TOPIC_FEED_H

#include <jansson.h>
#include <stdbool.h>

#include "base/change.h"
#include "base/error.h"
#include "base/kafka.h"
#include "base/log.h"
#include "connectors/runtime/figures.h"
#include "connectors/runtime/runtime.h"
#include "connectors/runtime/sender.h"
#include "connectors/source/table_source.h"
#include "connectors/source/topic_row.h"

struct topic_feed_config {
    const char *name;
    struct kafka_config kafka; /* must outlive the feed */
    const char *topic;
    const char *group;
    struct topic_format format;
};

struct topic_feed_deps {
    struct runtime *runtime;
    struct sender *sender;
    struct table_source *source;
    struct figures *figures;
    struct log *log;
};

struct topic_feed;

/* Copies the names. */
struct topic_feed *topic_feed_create(const struct topic_feed_config *config,
                                     const struct topic_feed_deps *deps);
bool topic_feed_start(struct topic_feed *feed, struct error *err) MUST_CHECK;
void topic_feed_stop(struct topic_feed *feed);
void topic_feed_destroy(struct topic_feed **feed);
/* For /status: a new reference. Any thread. */
json_t *topic_feed_status(struct topic_feed *feed);

#endif

/* topic_session.h: one session of a feed that follows a topic: prepare the sink, find the topic's end, take every record
 * from there, until something ends it.
 *
 *     topic_session_run(&session, err);      always comes back with the cause in *err; ERROR_STOPPED after a stop
 *
 * A broker that goes away for a moment ends nothing: the client comes back to where it was, and the chain of the records
 * tells whether something is missing. After seconds without a record the sink's session ends, and the next record begins
 * another. Nothing is committed anywhere, and no group is joined.
 *
 * Records of Kafka transactions that are not committed yet, or never will be, are taken as well: each tells of a transaction
 * that the database has committed, and a publisher that went on from its position tells of it again. So nothing waits
 * for the end of a Kafka transaction, nor for the end of one whose publisher has died. */
#ifndef FRESHET_CDC_TOPIC_SESSION_H
#define FRESHET_CDC_TOPIC_SESSION_H

#include "cdc/feed/board.h"
#include "cdc/feed/feed.h"
#include "cdc/feed/follower.h"

struct topic_session {
    /* Given by the feed. */
    const struct feed_config *config;
    struct change_sink sink;
    struct follower *follower;
    struct board *board;
    struct log *log;
    int stop_fd;

    bool streamed; /* told to the feed: records came */

    /* The session's own. */
    rd_kafka_t *consumer;
    int64_t last_record_us; /* monotonic */
    int64_t last_tick_us;
    uint64_t bytes;
    bool silent; /* no record for longer than there should be: the sink's session was ended */
    char trouble[256];
};

/* Always false: a session ends by its cause. */
bool topic_session_run(struct topic_session *session, struct error *err);

#endif

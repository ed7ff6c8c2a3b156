#include "cdc/feed/topic_session.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"

enum {
    WAIT_MS = 20,
    TICK_EVERY_US = 20000,
    ASK_TIMEOUT_MS = 1000, /* of one question for the topic's end, between two looks at a stop */
    FIND_TIMEOUT_US = 10000000, /* of all of them */
    SILENT_US = 3000000,        /* after which the publisher, or the broker, is said to be away, */
    SILENT_BEATS = 4, /* or after so many heartbeats that did not come, if that is longer */
};

static bool is_stopped(const struct topic_session *s) {
    struct pollfd fd = {.fd = s->stop_fd, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

static bool stopped(struct error *err) { return error_set(err, ERROR_STOPPED, false, "stopped"); }

/* ---- the consumer ---- */

static bool open_consumer(struct topic_session *s, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(&s->config->topic->kafka, s->log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "group.id", "freshet-cache"); /* never joined, never committed to */
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "enable.auto.offset.store", "false");
    kafka_conf_set(conf, "isolation.level", "read_uncommitted");
    kafka_conf_set(conf, "auto.offset.reset", "error"); /* a gap is never stepped over in silence */
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    kafka_conf_set(conf, "fetch.error.backoff.ms", "50");
    kafka_conf_set(conf, "reconnect.backoff.max.ms", "1000");
    s->consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    if (s->consumer) rd_kafka_poll_set_consumer(s->consumer);
    return s->consumer != NULL;
}

static bool not_there(const struct topic_session *s, struct error *err) {
    return error_set(err, ERROR_NOT_FOUND, true,
                     "topic \"%s\" does not exist: its publisher makes it, with "
                     "cdc.invalidations: true",
                     s->config->topic->name);
}

/* The offset behind the last record. */
static bool find_end(struct topic_session *s, int64_t *offset, struct error *err) {
    const char *topic = s->config->topic->name;
    int64_t deadline_us = clock_mono_us() + FIND_TIMEOUT_US;
    while (true) {
        int64_t low;
        rd_kafka_resp_err_t code =
            rd_kafka_query_watermark_offsets(s->consumer, topic, 0, &low, offset, ASK_TIMEOUT_MS);
        if (!code) return true;
        if (is_stopped(s)) return stopped(err);
        if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
            code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
            code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
            return not_there(s, err);
        kafka_error_code(err, code, topic);
        board_state(s->board, FEED_CONNECTING, err->message);
        if (!err->retriable || clock_mono_us() > deadline_us)
            return error_prefix(err, "Kafka at %s", s->config->topic->kafka.brokers);
    }
}

static bool assign(struct topic_session *s, int64_t offset, struct error *err) {
    const char *topic = s->config->topic->name;
    rd_kafka_topic_partition_list_t *partitions = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(partitions, topic, 0)->offset = offset;
    rd_kafka_resp_err_t code = rd_kafka_assign(s->consumer, partitions);
    rd_kafka_topic_partition_list_destroy(partitions);
    if (code) return kafka_error_code(err, code, topic);
    log_info(s->log, "feed_following", "feed=%s topic=%s offset=%lld", s->sink.name, topic,
             (long long)offset);
    return true;
}

/* ---- a turn ---- */

static void publish(struct topic_session *s) {
    const struct follower *f = s->follower;
    struct board_figures figures = {.received_lsn = f->through_lsn,
                                    .confirmed_lsn = f->through_lsn,
                                    .last_end_lsn = f->through_lsn,
                                    .last_commit_time_us = f->last_commit_time_us,
                                    .last_message_us = s->last_record_us,
                                    .transactions = f->transactions,
                                    .changes = f->changes,
                                    .bytes = s->bytes,
                                    .invalid = f->invalid};
    board_update(s->board, &figures, clock_wall_us());
}

/* Whoever says nothing may be attached to a server that is gone: the sink's session ends, so that it goes by what it sees
 * for itself. The next record begins another. */
static void watch_silence(struct topic_session *s, int64_t now_us) {
    int64_t patience_us = (int64_t)s->follower->interval_ms * 1000 * SILENT_BEATS;
    if (patience_us < SILENT_US) patience_us = SILENT_US;
    if (s->silent || now_us - s->last_record_us <= patience_us) return;
    s->silent = true;
    struct error cause;
    error_set(&cause, ERROR_TIMEOUT, true,
              "no record for %lld s in topic \"%.100s\": is its publisher running?%s%s",
              (long long)(patience_us / 1000000), s->config->topic->name,
              s->trouble[0] ? " The last trouble with the brokers: " : "", s->trouble);
    board_state(s->board, FEED_WAITING, cause.message);
    log_warn(s->log, "feed_silent", "feed=%s cause=\"%s\"", s->sink.name, cause.message);
    follower_end(s->follower, &cause);
}

/* What the client mends by itself is only remembered. */
static bool take_error(struct topic_session *s, const rd_kafka_message_t *message,
                       struct error *err) {
    const char *text = rd_kafka_message_errstr(message);
    snprintf(s->trouble, sizeof s->trouble, "%s", text ? text : rd_kafka_err2str(message->err));
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return not_there(s, err);
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return error_set(err, ERROR_CONFLICT, true,
                         "topic \"%s\" no longer holds the records that come next: %s",
                         s->config->topic->name, s->trouble);
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return kafka_error_code(err, message->err, s->trouble);
    default: return true;
    }
}

static bool take_message(struct topic_session *s, const rd_kafka_message_t *message,
                         struct error *err) {
    if (message->err) return take_error(s, message, err);
    bool was_attached = s->follower->attached;
    uint64_t breaks = s->follower->breaks;
    s->last_record_us = clock_mono_us();
    s->silent = false;
    s->bytes += message->len;
    s->trouble[0] = '\0';
    bool ok = follower_take(s->follower, slice_make(message->payload, message->len), err);
    if (s->follower->breaks != breaks) {
        board_reconnect(s->board);
        log_warn(s->log, "feed_broken", "feed=%s topic=%s cause=\"%s\"", s->sink.name,
                 s->config->topic->name, s->follower->broken);
    }
    if (s->follower->attached && (!was_attached || s->follower->breaks != breaks)) {
        s->streamed = true;
        board_state(s->board, FEED_STREAMING, "");
        log_info(s->log, "feed_streaming", "feed=%s topic=%s lsn=" LSN_FMT, s->sink.name,
                 s->config->topic->name, LSN_ARG(s->follower->identity.slot_lsn));
    }
    return ok;
}

static bool take_turn(struct topic_session *s, struct error *err) {
    int64_t now_us = clock_mono_us();
    if (now_us - s->last_tick_us < TICK_EVERY_US) return true;
    s->last_tick_us = now_us;
    if (is_stopped(s)) return stopped(err);
    watch_silence(s, now_us);
    publish(s);
    bool ticks = s->follower->attached && s->sink.ops->tick;
    return !ticks || s->sink.ops->tick(s->sink.self, now_us, err);
}

static bool follow(struct topic_session *s, struct error *err) {
    s->last_record_us = clock_mono_us();
    while (true) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(s->consumer, WAIT_MS);
        bool ok = !message || take_message(s, message, err);
        if (message) rd_kafka_message_destroy(message);
        if (!ok || !take_turn(s, err)) return false;
    }
}

bool topic_session_run(struct topic_session *s, struct error *err) {
    struct change_position unused;
    int64_t offset;
    board_slot(s->board, s->config->topic->name);
    if (s->sink.ops->prepare(s->sink.self, &unused, err) && open_consumer(s, err) &&
        find_end(s, &offset, err) && assign(s, offset, err))
        follow(s, err);
    follower_end(s->follower, err);
    publish(s);
    if (s->consumer) {
        rd_kafka_consumer_close(s->consumer);
        rd_kafka_destroy(s->consumer);
    }
    s->consumer = NULL;
    return false;
}

#include "connectors/source/topic_feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "connectors/runtime/backoff.h"
#include "connectors/source/topic_event.h"
#include "connectors/source/topic_offsets.h"
#include "connectors/source/topic_reach.h"

enum {
    POLL_MS = 20,
    TICK_EVERY_US = 20000,
    ASK_TIMEOUT_MS = 5000,
    DRAIN_US = 5000000, /* at a rebalance, for what is under way */
    ABANDON_US = 10000000,
    HOLD_US = 2000000,
    DRAIN_LOOK_NS = 5000000,
    ARENA_BYTES = 64 * 1024,
};

struct topic_feed {
    char *name;
    char *topic;
    char *group;
    struct kafka_config kafka;
    struct topic_format format;
    struct change_sink sink;
    struct runtime *runtime;
    struct sender *sender;
    struct table_source *source;
    struct figures *figures;
    struct log *log;
    pthread_t thread;
    bool running;
    _Atomic bool stop;

    /* The thread's. */
    rd_kafka_t *consumer;
    rd_kafka_topic_partition_list_t *assigned; /* NULL: none */
    bool open;                                 /* the runtime has a session */
    bool paused;
    struct backoff backoff;
    int64_t open_due_us;
    int64_t ticked_us;
    int64_t ready_us; /* when the sink last took records */
    int n_partitions;
    uint64_t sequence; /* of records, the last one's */
    struct topic_offsets *offsets;
    struct arena *arena; /* of a record */
    struct arena *relation_arena;
    struct relation relation;
    uint64_t
        odd_fields; /* a hash of the columns of an event that are not the table's; 0: none was seen */

    pthread_mutex_t lock; /* guards the status */
    struct topic_feed_state {
        const char *state;
        int n_assigned;
        uint64_t records;
        uint64_t rebalances;
        char cause[256];
    } status;
};

struct topic_feed *topic_feed_create(const struct topic_feed_config *config,
                                     const struct topic_feed_deps *deps) {
    struct topic_feed *feed = mem_zalloc(sizeof *feed);
    feed->name = mem_strdup(config->name);
    feed->topic = mem_strdup(config->topic);
    feed->group = mem_strdup(config->group);
    feed->kafka = config->kafka;
    feed->format = config->format;
    feed->sink = runtime_sink(deps->runtime);
    feed->runtime = deps->runtime;
    feed->sender = deps->sender;
    feed->source = deps->source;
    feed->figures = deps->figures;
    feed->log = deps->log;
    feed->offsets = topic_offsets_create();
    feed->arena = arena_create(ARENA_BYTES);
    feed->relation_arena = arena_create(ARENA_BYTES);
    backoff_init(&feed->backoff, (uint64_t)clock_wall_us());
    pthread_mutex_init(&feed->lock, NULL);
    feed->status.state = "stopped";
    return feed;
}

void topic_feed_destroy(struct topic_feed **feed) {
    struct topic_feed *old = *feed;
    *feed = NULL;
    if (!old) return;
    ASSERT(!old->running);
    topic_offsets_destroy(&old->offsets);
    arena_destroy(&old->arena);
    arena_destroy(&old->relation_arena);
    pthread_mutex_destroy(&old->lock);
    mem_free(old->name);
    mem_free(old->topic);
    mem_free(old->group);
    mem_free(old);
}

static void tell(struct topic_feed *feed, const char *state, const char *cause) {
    pthread_mutex_lock(&feed->lock);
    feed->status.state = state;
    feed->status.n_assigned = feed->assigned ? feed->assigned->cnt : 0;
    snprintf(feed->status.cause, sizeof feed->status.cause, "%s", cause);
    pthread_mutex_unlock(&feed->lock);
}

/* ---- sessions ---- */

/* What the target is filled from, beside the database: offsets of one topic alone compare with each other, and a key keeps its
 * partition only while there are as many. */
static bool identify(struct topic_feed *feed, struct error *err) {
    char *cluster = rd_kafka_clusterid(feed->consumer, ASK_TIMEOUT_MS);
    if (!cluster)
        return error_set(err, ERROR_UNAVAILABLE, true, "Kafka at %s does not answer",
                         feed->kafka.brokers);
    struct buf text = {0};
    buf_printf(&text, "%s/%s", cluster, feed->topic);
    rd_kafka_mem_free(feed->consumer, cluster);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(feed->consumer, feed->topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(feed->consumer, 0, topic, &metadata, ASK_TIMEOUT_MS);
    feed->n_partitions =
        code || !metadata || !metadata->topic_cnt ? 0 : metadata->topics[0].partition_cnt;
    if (metadata) rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    buf_printf(&text, "/%d", feed->n_partitions);
    runtime_fed_by(feed->runtime, XXH3_64bits(text.data, text.len) | 1);
    buf_deinit(&text);
    if (code) return kafka_error_code(err, code, feed->topic);
    return feed->n_partitions ||
           error_set(err, ERROR_NOT_FOUND, true, "topic \"%s\" has no partitions", feed->topic);
}

/* The table's columns as the catalog has them now. */
static void describe(struct topic_feed *feed) {
    const struct catalog_table *table = table_source_described(feed->source);
    arena_reset(feed->relation_arena);
    struct relation_column *columns =
        arena_zalloc(feed->relation_arena, (table->n_columns + 1u) * sizeof *columns);
    for (uint16_t i = 0; i < table->n_columns; i++)
        columns[i] = (struct relation_column){.name = table->columns[i].name,
                                              .type_oid = table->columns[i].type_oid,
                                              .typmod = table->columns[i].typmod,
                                              .identity = true};
    feed->relation = (struct relation){.oid = table->oid,
                                       .version = feed->relation.version + 1,
                                       .schema = table->schema,
                                       .name = table->name,
                                       .replica_identity = table->replica_identity,
                                       .n_columns = table->n_columns,
                                       .columns = columns};
}

/* Offsets that the group has committed for this very target; else the beginning. */
static bool find_start(struct topic_feed *feed, struct error *err) {
    char target[96];
    sender_target(feed->sender, target, sizeof target);
    rd_kafka_resp_err_t code = rd_kafka_committed(feed->consumer, feed->assigned, ASK_TIMEOUT_MS);
    if (code) return kafka_error_code(err, code, feed->group);
    for (int i = 0; i < feed->assigned->cnt; i++) {
        rd_kafka_topic_partition_t *partition = &feed->assigned->elems[i];
        bool of_target = partition->metadata && partition->metadata_size == strlen(target) &&
                         memcmp(partition->metadata, target, partition->metadata_size) == 0;
        if (partition->offset >= 0 && !of_target)
            log_warn(feed->log, "offsets_void",
                     "connector=%s topic=%s partition=%d offset=%lld cause=\"the target is another "
                     "one than was filled: the partition is read from its beginning\"",
                     feed->name, feed->topic, partition->partition, (long long)partition->offset);
        if (partition->offset < 0 || !of_target) partition->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    topic_offsets_begin(feed->offsets, feed->topic, target);
    code = rd_kafka_assign(feed->consumer, feed->assigned);
    return !code || kafka_error_code(err, code, feed->topic);
}

static bool open_session(struct topic_feed *feed, struct error *err) {
    struct change_position position;
    struct feed_identity identity = {.slot = feed->group};
    if (!identify(feed, err) || !feed->sink.ops->prepare(feed->sink.self, &position, err) ||
        !find_start(feed, err))
        return false;
    describe(feed);
    if (!feed->sink.ops->started(feed->sink.self, &identity, err)) return false;
    rd_kafka_resume_partitions(feed->consumer, feed->assigned);
    feed->paused = false;
    feed->open = true;
    backoff_reset(&feed->backoff);
    tell(feed, "streaming", "");
    log_info(feed->log, "group_streaming", "connector=%s topic=%s group=%s partitions=%d of=%d",
             feed->name, feed->topic, feed->group, feed->assigned->cnt, feed->n_partitions);
    return true;
}

static void commit(struct topic_feed *feed, bool wait) {
    uint64_t confirmed = feed->sink.ops->confirmed_lsn(feed->sink.self);
    rd_kafka_topic_partition_list_t *done = topic_offsets_take(feed->offsets, confirmed);
    if (!done) return;
    rd_kafka_resp_err_t code = rd_kafka_commit(feed->consumer, done, !wait);
    if (code)
        log_warn(feed->log, "offsets_not_committed", "connector=%s cause=\"%s\"", feed->name,
                 rd_kafka_err2str(code));
    rd_kafka_topic_partition_list_destroy(done);
}

/* What is under way is let finish if that is quick; what is not in the sink then is read again, by us or by another. */
static void end_session(struct topic_feed *feed, const struct error *cause, bool drains) {
    if (!feed->open) return;
    feed->open = false;
    feed->sink.ops->ended(feed->sink.self, cause);
    int64_t due_us = clock_mono_us() + (drains ? DRAIN_US : 0);
    struct timespec look = {.tv_nsec = DRAIN_LOOK_NS};
    while (feed->sink.ops->confirmed_lsn(feed->sink.self) < feed->sequence &&
           clock_mono_us() < due_us)
        nanosleep(&look, NULL);
    commit(feed, true);
    sender_abandon(feed->sender, ABANDON_US);
    topic_offsets_clear(feed->offsets);
}

static void fail_session(struct topic_feed *feed, const struct error *err) {
    end_session(feed, err, false);
    feed->open_due_us = clock_mono_us() + backoff_next_us(&feed->backoff);
    tell(feed, "waiting", err->message);
    log_warn(feed->log, "group_waiting", "connector=%s topic=%s cause=\"%s\"", feed->name,
             feed->topic, err->message);
}

/* ---- the group ---- */

static void forget_assigned(struct topic_feed *feed) {
    if (feed->assigned) rd_kafka_topic_partition_list_destroy(feed->assigned);
    feed->assigned = NULL;
}

/* Nothing is fetched before the session is open: it knows from where. */
static void take_assignment(struct topic_feed *feed,
                            const rd_kafka_topic_partition_list_t *partitions) {
    forget_assigned(feed);
    feed->assigned = rd_kafka_topic_partition_list_copy(partitions);
    for (int i = 0; i < feed->assigned->cnt; i++)
        feed->assigned->elems[i].offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(feed->consumer, feed->assigned);
    rd_kafka_pause_partitions(feed->consumer, feed->assigned);
    feed->paused = true;
    feed->open_due_us = 0;
    tell(feed, feed->assigned->cnt ? "opening" : "standby", "");
}

/* Within rd_kafka_consumer_poll, or the consumer's close. */
static void on_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *partitions, void *opaque) {
    struct topic_feed *feed = opaque;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        take_assignment(feed, partitions);
        return;
    }
    struct error cause;
    error_set(&cause, ERROR_STOPPED, true, "the group's partitions are shared out anew");
    end_session(feed, &cause, code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS);
    rd_kafka_assign(consumer, NULL);
    forget_assigned(feed);
    pthread_mutex_lock(&feed->lock);
    feed->status.rebalances++;
    pthread_mutex_unlock(&feed->lock);
    tell(feed, "rebalancing", "");
}

static bool join(struct topic_feed *feed, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(&feed->kafka, feed->log, err);
    if (!conf) return false;
    kafka_conf_set(conf, "group.id", feed->group);
    kafka_conf_set(conf, "enable.auto.commit", "false");
    kafka_conf_set(conf, "enable.auto.offset.store", "false");
    kafka_conf_set(conf, "isolation.level", "read_committed");
    kafka_conf_set(conf, "auto.offset.reset", "error"); /* a gap is never stepped over in silence */
    kafka_conf_set(conf, "allow.auto.create.topics", "false");
    kafka_conf_set(conf, "partition.assignment.strategy", "range");
    kafka_conf_set(conf, "session.timeout.ms", "10000");
    kafka_conf_set(conf, "heartbeat.interval.ms", "2000");
    kafka_conf_set(conf, "topic.metadata.refresh.interval.ms", "10000");
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, feed);
    feed->consumer = kafka_open(RD_KAFKA_CONSUMER, conf, err);
    if (!feed->consumer) return false;
    rd_kafka_poll_set_consumer(feed->consumer);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, feed->topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(feed->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return !code || kafka_error_code(err, code, feed->topic);
}

static void leave(struct topic_feed *feed) {
    if (!feed->consumer) return;
    struct error cause;
    error_set(&cause, ERROR_STOPPED, false, "stopped");
    end_session(feed, &cause, true);
    rd_kafka_consumer_close(feed->consumer);
    rd_kafka_destroy(feed->consumer);
    feed->consumer = NULL;
    forget_assigned(feed);
}

/* ---- records ---- */

/* The row of `fields`; *n_found: so many of its columns are in them. */
static struct value *read_row(struct topic_feed *feed, const json_t *fields, size_t *n_found) {
    const struct catalog_table *table = table_source_described(feed->source);
    struct value *row = arena_alloc(feed->arena, (table->n_columns + 1u) * sizeof *row);
    *n_found = 0;
    for (uint16_t i = 0; i < table->n_columns; i++) {
        const json_t *field = json_object_get(fields, table->columns[i].name);
        *n_found += field != NULL;
        row[i] = topic_row_value(&table->columns[i], &feed->format, field, feed->arena);
    }
    return row;
}

static uint64_t hash_fields(const json_t *fields) {
    uint64_t hash = 1;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)fields, name, value) hash =
        XXH3_64bits_withSeed(name, strlen(name), hash);
    return hash | 1;
}

/* Columns that the table has not, or lacks: it may have been altered since it was looked at. Once for each such set of them. */
static bool has_altered(struct topic_feed *feed, const json_t *fields, size_t n_found) {
    if (n_found == json_object_size(fields) && n_found == feed->relation.n_columns) return false;
    uint64_t hash = hash_fields(fields);
    if (hash == feed->odd_fields) return false;
    feed->odd_fields = hash;
    return true;
}

static bool give(struct topic_feed *feed, const struct topic_event *event, struct change *change,
                 struct error *err) {
    struct transaction tx = {.xid = event->xid,
                             .commit_lsn = feed->sequence,
                             .end_lsn = feed->sequence,
                             .commit_time_us = event->commit_time_us};
    const struct change_sink_ops *ops = feed->sink.ops;
    void *self = feed->sink.self;
    change->relation = &feed->relation;
    return ops->begin(self, &tx, err) && ops->change(self, &tx, change, err) &&
           ops->commit(self, &tx, err);
}

static bool give_row(struct topic_feed *feed, const struct topic_event *event, uint64_t version,
                     struct error *err) {
    size_t n_found = 0;
    struct change change = {.row_lsn = version, .operation = CHANGE_DELETE};
    bool whole = event->before && feed->relation.replica_identity == 'f';
    if (whole) change.old_row = read_row(feed, event->before, &n_found);
    if (event->operation == 'd') {
        if (!whole)
            change.old_row = read_row(feed, event->key ? event->key : event->before, &n_found);
        return give(feed, event, &change, err);
    }
    change.operation = event->operation == 'u' ? CHANGE_UPDATE : CHANGE_INSERT;
    change.new_row = read_row(feed, event->after, &n_found);
    if (has_altered(feed, event->after, n_found))
        return error_set(err, ERROR_CONFLICT, true,
                         "an event of %s has other columns: the table is "
                         "looked at again",
                         feed->topic);
    return give(feed, event, &change, err);
}

/* In one partition the order of everything is known; of several, each may be at another place. */
static bool give_truncate(struct topic_feed *feed, const struct topic_event *event,
                          uint64_t version, struct error *err) {
    struct change change = {.row_lsn = version, .operation = CHANGE_TRUNCATE};
    if (feed->n_partitions == 1) return give(feed, event, &change, err);
    metric_add(feed->figures->unreadable, 1);
    log_error(
        feed->log, "truncate_not_followed",
        "connector=%s topic=%s cause=\"it has %d partitions, whose order is not known: remove "
        "what is left in the target with `freshet verify --repair`\"",
        feed->name, feed->topic, feed->n_partitions);
    return feed->sink.ops->progress(feed->sink.self, feed->sequence, err);
}

static bool give_event(struct topic_feed *feed, const struct topic_event *event, uint64_t version,
                       struct error *err) {
    switch (event->operation) {
    case 'c':
    case 'r':
    case 'u':
    case 'd': return give_row(feed, event, version, err);
    case 't': return give_truncate(feed, event, version, err);
    default: return feed->sink.ops->progress(feed->sink.self, feed->sequence, err);
    }
}

static bool take_record(struct topic_feed *feed, const rd_kafka_message_t *message,
                        struct error *err) {
    struct slice key = slice_make(message->key, message->key_len);
    struct slice value = slice_make(message->payload, message->len);
    struct topic_event event;
    feed->sequence++;
    topic_offsets_note(feed->offsets, feed->sequence, message->partition, message->offset + 1);
    arena_reset(feed->arena);
    bool ok;
    if (topic_event_read(key, value, &event)) {
        ok = give_event(feed, &event, topic_version(message->offset), err);
    } else {
        metric_add(feed->figures->unreadable, 1);
        log_error(feed->log, "record_unreadable", "connector=%s topic=%s partition=%d offset=%lld",
                  feed->name, feed->topic, message->partition, (long long)message->offset);
        ok = feed->sink.ops->progress(feed->sink.self, feed->sequence, err);
    }
    topic_event_deinit(&event);
    return ok;
}

/* ---- the thread ---- */

/* What the client mends by itself is only told. */
static bool take_error(struct topic_feed *feed, const rd_kafka_message_t *message,
                       struct error *err) {
    const char *text = rd_kafka_message_errstr(message);
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return error_set(err, ERROR_CONFLICT, true,
                         "topic \"%s\" no longer holds the records that come next: %s", feed->topic,
                         text ? text : "");
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        tell(feed, "waiting", "the topic does not exist: its publisher makes it");
        return true;
    default:
        if (!feed->open) tell(feed, "waiting", text ? text : rd_kafka_err2str(message->err));
        return true;
    }
}

static bool take_message(struct topic_feed *feed, const rd_kafka_message_t *message,
                         struct error *err) {
    if (message->err) return take_error(feed, message, err);
    return !feed->open || take_record(feed, message, err);
}

/* What is fetched ahead is lost with a pause: so one comes only when the sink lets nothing through for a while. Until then the
 * client is not asked; its heartbeats go on. False: ask it now. */
static bool hold(struct topic_feed *feed, int64_t now_us) {
    bool full = !feed->open || !feed->sink.ops->ready(feed->sink.self);
    if (!full) feed->ready_us = now_us;
    bool briefly = feed->open && full && !feed->paused && now_us - feed->ready_us < HOLD_US;
    if (briefly) {
        struct timespec look = {.tv_nsec = DRAIN_LOOK_NS};
        nanosleep(&look, NULL);
    }
    return briefly;
}

static void hold_or_go_on(struct topic_feed *feed) {
    bool full = !feed->open || !feed->sink.ops->ready(feed->sink.self);
    if (!feed->assigned || full == feed->paused) return;
    if (full)
        rd_kafka_pause_partitions(feed->consumer, feed->assigned);
    else
        rd_kafka_resume_partitions(feed->consumer, feed->assigned);
    feed->paused = full;
}

static bool turn(struct topic_feed *feed, int64_t now_us, struct error *err) {
    if (now_us - feed->ticked_us < TICK_EVERY_US) return true;
    feed->ticked_us = now_us;
    pthread_mutex_lock(&feed->lock);
    feed->status.records = feed->sequence;
    pthread_mutex_unlock(&feed->lock);
    if (!feed->open) return true;
    commit(feed, false);
    return feed->sink.ops->tick(feed->sink.self, now_us, err);
}

static bool run_once(struct topic_feed *feed, struct error *err) {
    int64_t now_us = clock_mono_us();
    bool due = feed->assigned && feed->assigned->cnt && !feed->open && now_us >= feed->open_due_us;
    if (due && !open_session(feed, err)) return false;
    if (hold(feed, now_us)) return turn(feed, now_us, err);
    hold_or_go_on(feed);
    rd_kafka_message_t *message = rd_kafka_consumer_poll(feed->consumer, POLL_MS);
    bool ok = !message || take_message(feed, message, err);
    if (message) rd_kafka_message_destroy(message);
    return ok && turn(feed, now_us, err);
}

static void *run(void *arg) {
    struct topic_feed *feed = arg;
    struct timespec look = {.tv_nsec = 50 * 1000000L};
    while (!atomic_load(&feed->stop)) {
        struct error err = {0};
        if (!feed->consumer) {
            tell(feed, "joining", "");
            if (join(feed, &err)) continue;
            tell(feed, "waiting", err.message);
            nanosleep(&look, NULL);
        } else if (!run_once(feed, &err)) {
            fail_session(feed, &err);
        }
    }
    leave(feed);
    tell(feed, "stopped", "");
    return NULL;
}

bool topic_feed_start(struct topic_feed *feed, struct error *err) {
    ASSERT(!feed->running);
    atomic_store(&feed->stop, false);
    int failed = thread_start(&feed->thread, NULL, run, feed);
    if (failed)
        return error_set(err, ERROR_SYSTEM, false, "connector %s: no thread: %s", feed->name,
                         strerror(failed));
    feed->running = true;
    return true;
}

void topic_feed_stop(struct topic_feed *feed) {
    if (!feed->running) return;
    atomic_store(&feed->stop, true);
    pthread_join(feed->thread, NULL);
    feed->running = false;
}

json_t *topic_feed_status(struct topic_feed *feed) {
    pthread_mutex_lock(&feed->lock);
    struct topic_feed_state state = feed->status;
    pthread_mutex_unlock(&feed->lock);
    return json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:s}", "state", state.state, "topic",
                     feed->topic, "group", feed->group, "partitions", state.n_assigned, "records",
                     (json_int_t)state.records, "rebalances", (json_int_t)state.rebalances, "cause",
                     state.cause);
}

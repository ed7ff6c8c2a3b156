/* Records into Kafka, a batch of whole PostgreSQL transactions at a time.
 *
 *          write            interval or records reached            acknowledged
 *   IDLE ---------> OPEN ------------------------------> CLOSING ---------------> IDLE
 *                    ^  write, commit                       | ready() is false meanwhile
 *                    +-- (still inside a transaction)
 *
 * exactly-once: a batch is a Kafka transaction, which holds the position record too: CLOSING writes it and
 * commits. at-least-once: a batch is flushed, then its position record is written and flushed; a crash between
 * repeats the batch. Either way the server is told no more than the positions topic holds.
 *
 * Nothing here blocks for longer than half a second while a session streams: librdkafka's calls are resumed from tick
 * to tick. Any error ends the session, and with it the producer: the next one fences it and starts over from the
 * position. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/event_table.h"
#include "cdc/kafka_topics.h"
#include "cdc/output.h"
#include "cdc/oversize.h"
#include "cdc/positions.h"

enum {
    SLICE_MS = 10, /* of a blocking call, between two status updates */
    /* Of commit_transaction, which comes back as soon as it is done. Resumed, it first asks librdkafka's own thread where it
     * is; where that thread has no time to answer within the call's timeout, librdkafka 2.0 takes the commit for an abort
     * once it ends, and stops the process (seen with 10 ms on a busy machine). Nothing is read meanwhile anyway. */
    COMMIT_SLICE_MS = 500,
    PREPARE_TIMEOUT_MS = 10000,  /* of a start's calls */
    ENDING_TIMEOUT_MS = 3000,    /* for what is whole to be committed when a session ends */
    PROGRESS_EVERY_US = 1000000, /* positions without records are written no more often */
    RECORD_OVERHEAD_BYTES = 256, /* librdkafka's own, a record */
    /* What one broker takes at a time: five requests of up to a megabyte. A request that is ready and must wait
     * behind them makes librdkafka's thread spin, on the very cores that the broker and the walsender may need:
     * seen with a long queue, three times the CPU a row and two thirds of the throughput. */
    BROKER_BYTES = 4 * 1024 * 1024,
    CHECK_QUEUE_EVERY = 64, /* records */
    QUEUE_FULL_TRIES =
        500, /* of SLICE_MS each: only records far larger than the last ones get there */
};

enum batch_state { BATCH_IDLE, BATCH_OPEN, BATCH_CLOSING };

/* A topic's name, and its handle in the session's producer. */
struct topic {
    struct topic *next;
    char *name;
    struct topic_kind kind;
    rd_kafka_topic_t *handle; /* NULL: not used in this session yet */
    bool announced;           /* in this session: it is there, or under way */
};

struct output_kafka {
    const struct publisher_config *config;
    struct log *log;
    bool exactly_once;
    char *transactional_id;
    struct kafka_topics *cluster;
    struct topic *topics;
    struct topic *positions;

    /* Of the session. */
    rd_kafka_t *producer;
    enum batch_state state;
    bool partial;                /* records of a transaction that has not ended yet */
    bool position_written;       /* CLOSING: its record is produced */
    int64_t opened_us;           /* of the batch */
    uint64_t batch_records;      /* in the batch */
    int64_t closed_us;           /* when the last batch was done */
    struct change_position next; /* what the next batch makes durable */
    rd_kafka_resp_err_t failure; /* of a delivery; 0: none */
    struct oversize oversize;

    /* Backpressure. */
    uint64_t queue_bytes;   /* the bound: the configured one, or what the brokers take at a time */
    uint64_t average_bytes; /* of the records lately, with overhead */
    unsigned unchecked;     /* records since the queue was looked at */
    bool full;

    /* Any thread. */
    _Atomic uint64_t confirmed_lsn;
    _Atomic bool connected;
    struct metric *batches;
    struct metric *aborted;
    struct metric *queue_records;
    struct metric *failures;
};

/* ---- life ---- */

static void make_metrics(struct output_kafka *k, struct metrics *metrics) {
    k->batches = metrics_counter(metrics, "freshet_cdc_kafka_batches_total",
                                 "Batches (Kafka transactions where delivery is exactly-once) that "
                                 "Kafka acknowledged.",
                                 NULL);
    k->aborted = metrics_counter(metrics, "freshet_cdc_kafka_aborts_total",
                                 "Batches given up; their events are published again.", NULL);
    k->queue_records =
        metrics_gauge(metrics, "freshet_cdc_kafka_queue_records",
                      "Records handed to the Kafka client and not yet acknowledged.", NULL);
    k->failures = metrics_counter(metrics, "freshet_cdc_kafka_delivery_failures_total",
                                  "Records that Kafka refused or that timed out.", NULL);
}

static struct topic *add_topic(struct output_kafka *k, const char *name,
                               const struct topic_kind *kind) {
    struct topic *topic = mem_zalloc(sizeof *topic);
    topic->kind = *kind;
    topic->name = mem_strdup(name);
    topic->next = k->topics;
    k->topics = topic;
    return topic;
}

static void *create(const struct publisher_config *config, const struct publisher_deps *deps,
                    struct error *err) {
    /* A wrong property is told at the start, not when the first session opens. */
    rd_kafka_conf_t *probe = kafka_conf(&config->kafka, deps->log, err);
    if (!probe) return NULL;
    rd_kafka_conf_destroy(probe);
    struct output_kafka *k = mem_zalloc(sizeof *k);
    k->config = config;
    k->log = deps->log;
    k->exactly_once = config->delivery == DELIVERY_EXACTLY_ONCE;
    k->transactional_id = mem_printf("freshet-%s-%s", config->prefix, config->slot);
    k->cluster = kafka_topics_create(deps->log);
    make_metrics(k, deps->metrics);
    struct arena *arena = arena_create(256);
    k->positions =
        add_topic(k, event_topic(arena, config->prefix, NULL, "positions"), &topic_of_rows);
    arena_destroy(&arena);
    return k;
}

/* Drops the session's producer with all that is not acknowledged. */
static void close_producer(struct output_kafka *k) {
    if (!k->producer) return;
    if (k->state != BATCH_IDLE) metric_bump(k->aborted, 1);
    kafka_topics_drop(k->cluster);
    rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT |
                                    RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (struct topic *topic = k->topics; topic; topic = topic->next) {
        if (topic->handle) rd_kafka_topic_destroy(topic->handle);
        topic->handle = NULL;
        topic->announced = false;
    }
    rd_kafka_destroy_flags(k->producer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    k->producer = NULL;
    k->state = BATCH_IDLE;
    k->partial = k->full = false;
    atomic_store(&k->connected, false);
    metric_set(k->queue_records, 0);
}

static void destroy(void *arg) {
    struct output_kafka *k = arg;
    close_producer(k);
    for (struct topic *topic = k->topics; topic;) {
        struct topic *next = topic->next;
        mem_free(topic->name);
        mem_free(topic);
        topic = next;
    }
    kafka_topics_destroy(&k->cluster);
    mem_free(k->transactional_id);
    mem_free(k);
}

/* ---- a session's start ---- */

/* Only failures come here (delivery.report.only.error). */
static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque) {
    (void)producer;
    (void)opaque;
    struct output_kafka *k = message->_private;
    if (!message->err || message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
        message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT)
        return;
    metric_bump(k->failures, 1);
    if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        oversize_note(&k->oversize, rd_kafka_topic_name(message->rkt),
                      slice_make(message->key, message->key_len),
                      slice_make(message->payload, message->len));
    if (!k->failure) k->failure = message->err;
}

static bool has_property(const struct kafka_config *config, const char *name, const char *alias) {
    for (size_t i = 0; i < config->n_properties; i++) {
        if (strcmp(config->properties[i].name, name) == 0 ||
            strcmp(config->properties[i].name, alias) == 0)
            return true;
    }
    return false;
}

static rd_kafka_conf_t *producer_conf(struct output_kafka *k, struct error *err) {
    rd_kafka_conf_t *conf = kafka_conf(&k->config->kafka, k->log, err);
    if (!conf) return NULL;
    static const struct {
        const char *name;
        const char *alias;
        const char *value;
    } defaults[] = {
        {"compression.type", "compression.codec", "lz4"},
        /* A batch's end flushes whatever lingers; shorter, the client's threads spin through its last
         * millisecond over and over (twice the CPU a row). */
        {"linger.ms", "queue.buffering.max.ms", "100"},
        {"socket.nagle.disable", "socket.nagle.disable", "true"},
        /* How long an unfinished transaction of a process that never comes back holds readers up, and how long
         * the largest transaction may take: the most that brokers allow unless told otherwise. */
        {"transaction.timeout.ms", "transaction.timeout.ms", "900000"},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        if (!has_property(&k->config->kafka, defaults[i].name, defaults[i].alias))
            kafka_conf_set(conf, defaults[i].name, defaults[i].value);
    }
    kafka_conf_set(conf, "enable.idempotence", "true");
    if (k->exactly_once) kafka_conf_set(conf, "transactional.id", k->transactional_id);
    kafka_conf_set(conf, "partitioner", "murmur2_random"); /* the Java client's placement */
    kafka_conf_set(conf, "delivery.report.only.error", "true");
    /* The bound is ours, in ready(); the client's own is the wall behind it. */
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)(k->config->queue_bytes / 512));
    kafka_conf_set(conf, "queue.buffering.max.kbytes", text);
    kafka_conf_set(conf, "queue.buffering.max.messages", "10000000");
    if (k->oversize.alone) kafka_conf_set(conf, "batch.num.messages", "1");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    return conf;
}

static bool init_transactions(struct output_kafka *k, struct error *err) {
    if (!k->exactly_once) return true;
    rd_kafka_error_t *error = rd_kafka_init_transactions(k->producer, PREPARE_TIMEOUT_MS);
    if (!error) return true;
    kafka_error(err, error, "init_transactions");
    rd_kafka_error_destroy(error);
    return false;
}

static bool prepare(void *arg, bool slot_exists, struct change_position *position,
                    struct error *err) {
    (void)slot_exists;
    struct output_kafka *k = arg;
    close_producer(k);
    oversize_begin(&k->oversize);
    rd_kafka_conf_t *conf = producer_conf(k, err);
    if (!conf) return false;
    k->producer = kafka_open(RD_KAFKA_PRODUCER, conf, err);
    if (!k->producer) return false;
    struct kafka_topic_spec spec = {
        .partitions = 1, .replication = k->config->topic_replication, .compacted = true};
    bool ok = kafka_topics_refresh(k->cluster, k->producer, PREPARE_TIMEOUT_MS, err) &&
              kafka_topics_ensure(k->cluster, k->producer, k->positions->name, &spec, err) &&
              init_transactions(k, err) &&
              positions_read(&k->config->kafka, k->positions->name, k->config->slot, k->log,
                             PREPARE_TIMEOUT_MS, position, err);
    if (!ok) {
        close_producer(k);
        return error_prefix(err, "Kafka at %s", k->config->kafka.brokers);
    }
    k->next = *position;
    k->failure = RD_KAFKA_RESP_ERR_NO_ERROR;
    k->average_bytes = 1024;
    unsigned n_brokers = kafka_topics_brokers(k->cluster);
    k->queue_bytes = (uint64_t)BROKER_BYTES * (n_brokers ? n_brokers : 1);
    if (k->queue_bytes > k->config->queue_bytes) k->queue_bytes = k->config->queue_bytes;
    atomic_store(&k->confirmed_lsn, position->end_lsn);
    atomic_store(&k->connected, true);
    log_info(k->log, "position_read", "slot=%s lsn=" LSN_FMT " snapshot_done=%s delivery=%s",
             k->config->slot, LSN_ARG(position->end_lsn), position->snapshot_done ? "yes" : "no",
             k->exactly_once ? "exactly-once" : "at-least-once");
    return true;
}

static bool started(void *arg, const struct feed_identity *identity, struct error *err) {
    (void)err;
    struct output_kafka *k = arg;
    k->next.system_identifier = identity->system_identifier;
    return true;
}

static void *topic(void *arg, const char *name, const struct topic_kind *kind, struct error *err) {
    (void)err;
    return add_topic(arg, name, kind);
}

static struct kafka_topic_spec topic_spec(const struct output_kafka *k, const struct topic *to) {
    return (struct kafka_topic_spec){.partitions =
                                         to->kind.ordered ? 1 : (int)k->config->topic_partitions,
                                     .replication = k->config->topic_replication,
                                     .retention_ms = to->kind.retention_ms};
}

/* Makes the topic while the feed goes on with its other duties; ready() is false meanwhile. */
static bool announce(void *arg, void *handle, struct error *err) {
    struct output_kafka *k = arg;
    struct topic *to = handle;
    if (to->announced) return true;
    struct kafka_topic_spec spec = topic_spec(k, to);
    to->announced = true;
    return kafka_topics_begin(k->cluster, k->producer, to->name, &spec, err);
}

static bool open_topic(struct output_kafka *k, struct topic *to, struct error *err) {
    struct kafka_topic_spec spec = topic_spec(k, to);
    bool ensured = to == k->positions || to->announced;
    if (!ensured && !kafka_topics_ensure(k->cluster, k->producer, to->name, &spec, err))
        return false;
    to->announced = true;
    to->handle = rd_kafka_topic_new(k->producer, to->name, NULL);
    return to->handle || kafka_error_code(err, rd_kafka_last_error(), to->name);
}

/* ---- batches ---- */

static bool open_batch(struct output_kafka *k, struct error *err) {
    if (k->exactly_once) {
        rd_kafka_error_t *error = rd_kafka_begin_transaction(k->producer);
        if (error) {
            kafka_error(err, error, "begin_transaction");
            rd_kafka_error_destroy(error);
            return false;
        }
    }
    k->state = BATCH_OPEN;
    k->opened_us = clock_mono_us();
    k->batch_records = 0;
    k->position_written = false;
    return true;
}

static rd_kafka_resp_err_t produce_with_headers(struct output_kafka *k, const struct topic *to,
                                                const struct record *record) {
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->n_headers);
    for (unsigned i = 0; i < record->n_headers; i++)
        rd_kafka_header_add(headers, record->headers[i].name, -1, record->headers[i].value.data,
                            (ssize_t)record->headers[i].value.len);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        k->producer, RD_KAFKA_V_RKT(to->handle), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)(uintptr_t)record->key.data, record->key.len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.len),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(k), RD_KAFKA_V_END);
    if (code) rd_kafka_headers_destroy(headers); /* on success they are the message's */
    return code;
}

static rd_kafka_resp_err_t produce(struct output_kafka *k, const struct topic *to,
                                   const struct record *record) {
    if (record->n_headers) return produce_with_headers(k, to, record);
    int32_t partition = to->kind.ordered ? 0 : RD_KAFKA_PARTITION_UA;
    if (rd_kafka_produce(to->handle, partition, RD_KAFKA_MSG_F_COPY,
                         (void *)(uintptr_t)record->value.data, record->value.len, record->key.data,
                         record->key.len, k) == 0)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    return rd_kafka_last_error();
}

static enum write_result write_record(void *arg, const struct record *record, struct error *err) {
    struct output_kafka *k = arg;
    struct topic *to = record->topic;
    if (!to->handle && !open_topic(k, to, err)) return WRITE_FAILED;
    if (oversize_knows(&k->oversize, to->name, record->key, record->value)) {
        error_set(err, ERROR_LIMIT, false,
                  "the broker refused a record of %zu bytes: larger than max.message.bytes of "
                  "topic %s allows",
                  record->key.len + record->value.len, to->name);
        return WRITE_REFUSED;
    }
    if (k->state == BATCH_IDLE && !open_batch(k, err)) return WRITE_FAILED;
    k->partial = true;
    rd_kafka_resp_err_t code = produce(k, to, record);
    for (int tries = 0; code == RD_KAFKA_RESP_ERR__QUEUE_FULL && tries < QUEUE_FULL_TRIES;
         tries++) {
        rd_kafka_poll(k->producer, SLICE_MS);
        code = produce(k, to, record);
    }
    if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        error_set(err, ERROR_LIMIT, false,
                  "a record of %zu bytes is larger than message.max.bytes allows",
                  record->key.len + record->value.len);
        return WRITE_REFUSED;
    }
    if (code) {
        kafka_error_code(err, code, to->name);
        return WRITE_FAILED;
    }
    uint64_t bytes = record->key.len + record->value.len + RECORD_OVERHEAD_BYTES;
    k->average_bytes += bytes / 64 - k->average_bytes / 64;
    k->batch_records++;
    k->unchecked++;
    return WRITE_DONE;
}

static bool write_position(struct output_kafka *k, struct error *err) {
    struct buf key = {0};
    struct buf value = {0};
    position_compose_key(k->config->slot, &key);
    position_compose_value(&k->next, &value);
    struct record record = {
        .topic = k->positions, .key = buf_slice(&key), .value = buf_slice(&value)};
    bool ok = write_record(k, &record, err) == WRITE_DONE;
    buf_deinit(&key);
    buf_deinit(&value);
    k->partial = false;
    k->position_written = ok;
    return ok;
}

static bool check_failure(struct output_kafka *k, struct error *err) {
    if (!k->failure) return true;
    kafka_error_code(err, k->failure, "a record was not delivered");
    /* Known by then: the next session finds out which, the one after that goes on without it. */
    if (k->failure == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) err->retriable = true;
    return false;
}

/* What an error means for the session: a fenced one says by whom, and may come back when that one has gone. */
static bool commit_error(rd_kafka_error_t *error, struct error *err) {
    kafka_error(err, error, "commit_transaction");
    switch (rd_kafka_error_code(error)) {
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        error_set(err, ERROR_CONFLICT, true,
                  "Kafka: fenced: another process publishes with the same prefix and slot, or the "
                  "transaction took longer than transaction.timeout.ms");
        break;
    default:
        /* All of it is done again from the position: nothing is lost, and nothing is there twice. */
        if (err->code != ERROR_REFUSED) err->retriable = true;
    }
    rd_kafka_error_destroy(error);
    return false;
}

static void batch_done(struct output_kafka *k, int64_t now_us) {
    k->state = BATCH_IDLE;
    k->closed_us = now_us;
    atomic_store(&k->confirmed_lsn, k->next.end_lsn);
    metric_bump(k->batches, 1);
}

/* Goes on with CLOSING for a while. */
static bool close_batch(struct output_kafka *k, struct error *err) {
    if (k->exactly_once) {
        if (!k->position_written && !write_position(k, err)) return false;
        rd_kafka_error_t *error = rd_kafka_commit_transaction(k->producer, COMMIT_SLICE_MS);
        if (!error) {
            if (!check_failure(k, err)) return false;
            batch_done(k, clock_mono_us());
            return true;
        }
        if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT &&
            !rd_kafka_error_txn_requires_abort(error) && !rd_kafka_error_is_fatal(error)) {
            rd_kafka_error_destroy(error);
            return true;
        }
        return commit_error(error, err);
    }
    rd_kafka_resp_err_t code = rd_kafka_flush(k->producer, SLICE_MS);
    if (!check_failure(k, err)) return false;
    if (code) return true; /* timed out: on with it at the next tick */
    if (!k->position_written) return write_position(k, err);
    batch_done(k, clock_mono_us());
    return true;
}

static bool is_due(const struct output_kafka *k, int64_t now_us) {
    if (k->partial) return false;
    if (k->state == BATCH_IDLE)
        return k->next.end_lsn > atomic_load(&k->confirmed_lsn) &&
               now_us - k->closed_us >= PROGRESS_EVERY_US;
    return k->batch_records >= k->config->transaction_records ||
           now_us - k->opened_us >= k->config->transaction_interval_ms * 1000;
}

static bool close_when_due(struct output_kafka *k, int64_t now_us, struct error *err) {
    if (k->state != BATCH_CLOSING) {
        if (!is_due(k, now_us)) return true;
        if (k->state == BATCH_IDLE && !open_batch(k, err)) return false;
        k->state = BATCH_CLOSING;
    }
    return close_batch(k, err);
}

static bool commit(void *arg, const struct change_position *position, int64_t now_us,
                   struct error *err) {
    struct output_kafka *k = arg;
    k->next = *position;
    k->partial = false;
    return close_when_due(k, now_us, err);
}

static bool progress(void *arg, uint64_t end_lsn, int64_t now_us, struct error *err) {
    (void)now_us;
    (void)err;
    struct output_kafka *k = arg;
    /* A batch that is being closed has its position already: this one waits for the next. */
    if (k->state != BATCH_CLOSING && end_lsn > k->next.end_lsn) k->next.end_lsn = end_lsn;
    return true;
}

static bool tick(void *arg, int64_t now_us, struct error *err) {
    struct output_kafka *k = arg;
    rd_kafka_poll(k->producer, 0);
    metric_set(k->queue_records, rd_kafka_outq_len(k->producer));
    if (!check_failure(k, err) || !kafka_topics_poll(k->cluster, 0, err)) return false;
    char why[256];
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(k->producer, why, sizeof why);
    if (fatal) {
        bool ok = kafka_error_code(err, fatal, why);
        err->retriable = true; /* fatal to this producer; the next may do */
        return ok;
    }
    return close_when_due(k, now_us, err);
}

/* By the records in the client's queue times their size lately: the client does not tell its bytes. */
static bool ready(void *arg) {
    struct output_kafka *k = arg;
    if (k->state == BATCH_CLOSING || kafka_topics_busy(k->cluster)) return false;
    if (!k->full && k->unchecked < CHECK_QUEUE_EVERY) return true;
    k->unchecked = 0;
    uint64_t queued = (uint64_t)rd_kafka_outq_len(k->producer) * k->average_bytes;
    /* Once full, wait for some room rather than for one record's. */
    k->full = queued >= (k->full ? k->queue_bytes / 4 * 3 : k->queue_bytes);
    return !k->full;
}

static uint64_t confirmed_lsn(void *arg) {
    struct output_kafka *k = arg;
    return atomic_load(&k->confirmed_lsn);
}

/* What is whole is committed, if Kafka lets us; a transaction cut short is dropped. */
static void ended(void *arg) {
    struct output_kafka *k = arg;
    if (!k->producer) return;
    int64_t deadline_us = clock_mono_us() + (int64_t)ENDING_TIMEOUT_MS * 1000;
    struct error err;
    bool worth_it = k->state != BATCH_IDLE && !k->partial && !k->failure &&
                    !rd_kafka_fatal_error(k->producer, NULL, 0);
    if (worth_it) k->state = BATCH_CLOSING;
    while (worth_it && k->state == BATCH_CLOSING && clock_mono_us() < deadline_us)
        worth_it = close_batch(k, &err);
    close_producer(k);
}

static bool settled(void *arg) {
    const struct output_kafka *k = arg;
    return k->state == BATCH_IDLE;
}

static void status(void *arg, json_t *into) {
    struct output_kafka *k = arg;
    json_object_set_new(into, "delivery",
                        json_string(k->exactly_once ? "exactly-once" : "at-least-once"));
    json_object_set_new(into, "brokers", json_string(k->config->kafka.brokers));
    json_object_set_new(into, "connected", json_boolean(atomic_load(&k->connected)));
    json_object_set_new(into, "transactional_id",
                        k->exactly_once ? json_string(k->transactional_id) : json_null());
    char lsn[32];
    uint64_t confirmed = atomic_load(&k->confirmed_lsn);
    snprintf(lsn, sizeof lsn, LSN_FMT, LSN_ARG(confirmed));
    json_object_set_new(into, "published_lsn", json_string(lsn));
    json_object_set_new(into, "queue_records", json_integer(atomic_load(&k->queue_records->value)));
}

const struct output_ops output_kafka = {
    .name = "kafka",
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .started = started,
    .ended = ended,
    .topic = topic,
    .announce = announce,
    .write = write_record,
    .commit = commit,
    .progress = progress,
    .tick = tick,
    .ready = ready,
    .confirmed_lsn = confirmed_lsn,
    .settled = settled,
    .status = status,
};

/* Records into Kafka, a batch of whole PostgreSQL transactions at a time: see output_kafka_parts.h. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/encode/event_table.h"
#include "cdc/output/output_kafka_parts.h"
#include "cdc/output/positions.h"

enum {
    PREPARE_TIMEOUT_MS = 10000, /* of a start's calls */
    ENDING_TIMEOUT_MS = 3000,   /* for what is whole to be committed when a session ends */
    ANNOUNCED_WAIT_MS = 100,    /* a turn of waiting for a topic that is being made */
    /* What one broker takes at a time: five requests of up to a megabyte. A request that is ready and must wait
     * behind them makes librdkafka's thread spin, on the very cores that the broker and the walsender may need:
     * seen with a long queue, three times the CPU a row and two thirds of the throughput. */
    BROKER_BYTES = 4 * 1024 * 1024,
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
    k->unacknowledged = metrics_gauge(
        metrics, "freshet_cdc_kafka_unacknowledged_seconds",
        "How long the batch in hand has waited for Kafka's acknowledgement; 0: none waits.", NULL);
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
    k->transactional_id = mem_printf("freshet-%s-%s%s", config->prefix, config->slot,
                                     config->replay ? "-replay" : "");
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
    k->partial = k->split = k->full = false;
    atomic_store(&k->unacknowledged_since_us, 0);
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
    for (int i = 0; i < N_POSITION_NOTES; i++)
        buf_deinit(&k->notes[i].text);
    mem_free(k->transactional_id);
    mem_free(k);
}

/* ---- a session's start ---- */

static bool init_transactions(struct output_kafka *k, struct error *err) {
    if (!k->exactly_once) return true;
    rd_kafka_error_t *error = rd_kafka_init_transactions(k->producer, PREPARE_TIMEOUT_MS);
    if (!error) return true;
    kafka_error(err, error, "init_transactions");
    rd_kafka_error_destroy(error);
    return false;
}

static bool ensure_positions(struct output_kafka *k, struct error *err) {
    struct kafka_topic_spec spec = {
        .partitions = 1, .replication = k->config->topic_replication, .compacted = true};
    return k->config->replay ||
           kafka_topics_ensure(k->cluster, k->producer, k->positions->name, &spec, err);
}

/* Once older processes are fenced. */
static bool read_position(struct output_kafka *k, struct change_position *position,
                          struct error *err) {
    *position = (struct change_position){0};
    if (k->config->replay) return true;
    struct buf notes[N_POSITION_NOTES] = {0};
    bool ok = positions_read(&k->config->kafka, k->positions->name, k->config->slot, k->log,
                             PREPARE_TIMEOUT_MS, position, notes, err);
    for (int i = 0; i < N_POSITION_NOTES; i++) {
        buf_deinit(&k->notes[i].text);
        k->notes[i] = (struct kept_note){.text = notes[i]};
    }
    if (!ok) return false;
    struct buf *snapshot = &k->notes[NOTE_SNAPSHOT].text;
    position->keeps_notes = true;
    position->note = snapshot->len ? buf_text(snapshot) : NULL;
    log_info(k->log, "position_read", "slot=%s lsn=" LSN_FMT " snapshot_done=%s delivery=%s",
             k->config->slot, LSN_ARG(position->end_lsn), position->snapshot_done ? "yes" : "no",
             k->exactly_once ? "exactly-once" : "at-least-once");
    return true;
}

static bool prepare(void *arg, bool slot_exists, struct change_position *position,
                    struct error *err) {
    (void)slot_exists;
    struct output_kafka *k = arg;
    close_producer(k);
    oversize_begin(&k->oversize);
    atomic_store(&k->guessed, false);
    k->producer = output_kafka_open(k, err);
    if (!k->producer) return false;
    bool ok = kafka_topics_refresh(k->cluster, k->producer, PREPARE_TIMEOUT_MS, err) &&
              ensure_positions(k, err) && init_transactions(k, err) &&
              read_position(k, position, err);
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
    return true;
}

static bool peek(void *arg, struct change_position *position, struct error *err) {
    const struct output_kafka *k = arg;
    return positions_read(&k->config->kafka, k->positions->name, k->config->slot, k->log,
                          PREPARE_TIMEOUT_MS, position, NULL, err) ||
           error_prefix(err, "Kafka at %s", k->config->kafka.brokers);
}

static bool reset(void *arg, const struct change_position *position, struct error *err) {
    struct output_kafka *k = arg;
    k->next = *position;
    return output_kafka_store(k, PREPARE_TIMEOUT_MS, err) ||
           error_prefix(err, "Kafka at %s", k->config->kafka.brokers);
}

static bool started(void *arg, const struct feed_identity *identity, struct error *err) {
    (void)err;
    struct output_kafka *k = arg;
    k->next.system_identifier = identity->system_identifier;
    k->next.timeline = identity->timeline;
    k->next.timeline_lsn = identity->timeline_lsn;
    if (k->next.end_lsn > identity->start_lsn && !identity->slot_created) {
        k->next.end_lsn = identity->start_lsn;
        atomic_store(&k->confirmed_lsn, identity->start_lsn);
    }
    return true;
}

static void *topic(void *arg, const char *name, const struct topic_kind *kind, struct error *err) {
    (void)err;
    return add_topic(arg, name, kind);
}

static struct kafka_topic_spec topic_spec(const struct output_kafka *k, const struct topic *to) {
    struct kafka_topic_spec spec = {.partitions =
                                        to->kind.ordered ? 1 : (int)k->config->topic_partitions,
                                    .replication = k->config->topic_replication,
                                    .retention_ms = to->kind.retention_ms,
                                    .max_message_bytes = to->kind.max_message_bytes};
    if (to->kind.retention_ms || to == k->positions) return spec; /* ours to know */
    spec = topic_rules_spec(k->config->n_topics, k->config->topics, to->name, spec);
    if (to->kind.ordered) spec.partitions = 1;
    return spec;
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

bool output_kafka_open_topic(struct output_kafka *k, struct topic *to, struct error *err) {
    struct kafka_topic_spec spec = topic_spec(k, to);
    bool ensured = to == k->positions || to->announced;
    while (ensured && kafka_topics_busy(k->cluster)) { /* announced by the very row that comes */
        if (!kafka_topics_poll(k->cluster, ANNOUNCED_WAIT_MS, err)) return false;
    }
    if (!ensured && !kafka_topics_ensure(k->cluster, k->producer, to->name, &spec, err))
        return false;
    to->announced = true;
    to->handle = rd_kafka_topic_new(k->producer, to->name, NULL);
    return to->handle || kafka_error_code(err, rd_kafka_last_error(), to->name);
}

/* ---- its end, and what is told of it ---- */

static void ended(void *arg) {
    struct output_kafka *k = arg;
    if (!k->producer) return;
    output_kafka_finish(k, ENDING_TIMEOUT_MS);
    close_producer(k);
}

static uint64_t confirmed_lsn(void *arg) {
    struct output_kafka *k = arg;
    return atomic_load(&k->confirmed_lsn);
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
    int64_t since_us = atomic_load(&k->unacknowledged_since_us);
    json_object_set_new(into, "unacknowledged_seconds",
                        json_real(since_us ? (double)(clock_mono_us() - since_us) / 1e6 : 0));
    json_object_set_new(into, "queue_records", json_integer(atomic_load(&k->queue_records->value)));
}

const struct output_ops output_kafka = {
    .name = "kafka",
    .create = create,
    .destroy = destroy,
    .prepare = prepare,
    .peek = peek,
    .reset = reset,
    .started = started,
    .ended = ended,
    .topic = topic,
    .announce = announce,
    .write = output_kafka_write,
    .commit = output_kafka_commit,
    .part_due = output_kafka_part_due,
    .part = output_kafka_part,
    .note = output_kafka_note,
    .noted = output_kafka_noted,
    .progress = output_kafka_progress,
    .tick = output_kafka_tick,
    .tick_due_us = output_kafka_tick_due_us,
    .ready = output_kafka_ready,
    .confirmed_lsn = confirmed_lsn,
    .settled = settled,
    .status = status,
};

/* Records and batches: see output_kafka_parts.h. */
#include <string.h>

#include "base/clock.h"
#include "cdc/output/murmur2.h"
#include "cdc/output/output_kafka_parts.h"
#include "cdc/output/positions.h"
#include "cdc/publish/replay_source.h"

enum {
    SLICE_MS = 10, /* of a blocking call, between two status updates */
    /* Of a commit's flush, and of commit_transaction. Both come back as soon as they are done. Resumed, the latter first asks
     * librdkafka's own thread where it is; where that thread has no time to answer within the call's timeout, librdkafka
     * 2.0 takes the commit for an abort once it ends, and stops the process (seen with 10 ms on a busy machine). Nothing is
     * read meanwhile anyway. */
    COMMIT_SLICE_MS = 500,
    PROGRESS_EVERY_US = 1000000, /* positions without records are written no more often */
    SLOW_US = 10000000,          /* a batch that takes longer to close is told of, as often */
    RECORD_OVERHEAD_BYTES = 256, /* librdkafka's own, a record */
    CHECK_QUEUE_EVERY = 64,      /* records */
    STUCK_US = 10000,            /* a full queue of which nothing is acknowledged is sent on */
    FLUSH_MS = 2,                /* of that: for librdkafka's threads to see it */
    EARLY_PART = 3,              /* of the interval: no more than that is left to closing */
    SMALL_PART = 10,             /* of the most records: a small batch */
    QUEUE_FULL_TRIES =
        500, /* of SLICE_MS each: only records far larger than the last ones get there */
};

/* ---- records ---- */

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
    k->position_written = k->flushed = k->split = false;
    return true;
}

/* What the partitioner is told of the record; NULL: nothing, its key decides. */
static void *placement(const struct record *record) {
    if (!record->placed_by.data) return NULL;
    uint32_t hash = murmur2(record->placed_by) & INT32_MAX;
    return (void *)(uintptr_t)(OUTPUT_KAFKA_PLACED | hash);
}

static int32_t partition_of(const struct topic *to) {
    return to->kind.ordered ? 0 : RD_KAFKA_PARTITION_UA;
}

static rd_kafka_resp_err_t produce_with_headers(struct output_kafka *k, const struct topic *to,
                                                const struct record *record) {
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->n_headers);
    for (unsigned i = 0; i < record->n_headers; i++)
        rd_kafka_header_add(headers, record->headers[i].name, -1, record->headers[i].value.data,
                            (ssize_t)record->headers[i].value.len);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        k->producer, RD_KAFKA_V_RKT(to->handle), RD_KAFKA_V_PARTITION(partition_of(to)),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY((void *)(uintptr_t)record->key.data, record->key.len),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.len),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(placement(record)), RD_KAFKA_V_END);
    if (code) rd_kafka_headers_destroy(headers); /* on success they are the message's */
    return code;
}

static rd_kafka_resp_err_t produce(struct output_kafka *k, const struct topic *to,
                                   const struct record *record) {
    if (record->n_headers) return produce_with_headers(k, to, record);
    if (rd_kafka_produce(to->handle, partition_of(to), RD_KAFKA_MSG_F_COPY,
                         (void *)(uintptr_t)record->value.data, record->value.len, record->key.data,
                         record->key.len, placement(record)) == 0)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    return rd_kafka_last_error();
}

/* What an error means for the session: a fenced one says by whom, and may come back when that one has gone. */
static bool transaction_error(rd_kafka_error_t *error, struct error *err) {
    kafka_error(err, error, "the transaction");
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

/* A transaction that has failed takes no more records; why, its commit tells. */
static void explain_refusal(struct output_kafka *k, rd_kafka_resp_err_t code,
                            const struct topic *to, struct error *err) {
    kafka_error_code(err, code, to->name);
    bool failed = code == RD_KAFKA_RESP_ERR__STATE && k->exactly_once && !k->position_written;
    if (!failed || !output_kafka_check(k, err)) return;
    rd_kafka_error_t *error = rd_kafka_commit_transaction(k->producer, SLICE_MS);
    if (error) transaction_error(error, err);
}

enum write_result output_kafka_write(void *arg, const struct record *record, struct error *err) {
    struct output_kafka *k = arg;
    struct topic *to = record->topic;
    if (!to->handle && !output_kafka_open_topic(k, to, err)) return WRITE_FAILED;
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
        explain_refusal(k, code, to, err);
        return WRITE_FAILED;
    }
    uint64_t bytes = record->key.len + record->value.len + RECORD_OVERHEAD_BYTES;
    k->average_bytes += bytes / 64 - k->average_bytes / 64;
    k->batch_records++;
    k->unchecked++;
    return WRITE_DONE;
}

/* ---- closing ---- */

static bool write_notes(struct output_kafka *k, struct error *err) {
    for (int i = 0; i < N_POSITION_NOTES; i++) {
        struct kept_note *note = &k->notes[i];
        if (!note->due) continue;
        struct buf key = {0};
        position_compose_note_key(k->config->slot, i, &key);
        struct record record = {.topic = k->positions, .key = buf_slice(&key)};
        if (note->text.len) record.value = buf_slice(&note->text);
        note->due = output_kafka_write(k, &record, err) != WRITE_DONE;
        buf_deinit(&key);
        if (note->due) return false;
    }
    return true;
}

static bool is_note_due(const struct output_kafka *k) {
    for (int i = 0; i < N_POSITION_NOTES; i++) {
        if (k->notes[i].due) return true;
    }
    return false;
}

static bool write_position(struct output_kafka *k, struct error *err) {
    if (k->config->replay) {
        k->position_written =
            replay_source_store(k->config->replay, k->producer, k->exactly_once, err);
        return k->position_written;
    }
    struct buf key = {0};
    struct buf value = {0};
    position_compose_key(k->config->slot, &key);
    position_compose_value(&k->next, &value);
    struct record record = {
        .topic = k->positions, .key = buf_slice(&key), .value = buf_slice(&value)};
    bool ok = output_kafka_write(k, &record, err) == WRITE_DONE && write_notes(k, err);
    buf_deinit(&key);
    buf_deinit(&value);
    k->partial = false;
    k->position_written = ok;
    return ok;
}

static void batch_done(struct output_kafka *k, int64_t now_us) {
    k->state = BATCH_IDLE;
    k->split = false;
    k->closed_us = now_us;
    int64_t took_us = now_us - k->closing_us;
    k->average_closing_us += (took_us - k->average_closing_us) / (k->average_closing_us ? 8 : 1);
    atomic_store(&k->confirmed_lsn, k->next.end_lsn);
    atomic_store(&k->unacknowledged_since_us, 0);
    metric_bump(k->batches, 1);
}

/* Brokers that are away, or lack replicas, or slow us down by a quota, are waited for; and that is said. */
static void tell_slow(struct output_kafka *k, int64_t now_us) {
    if (k->state != BATCH_CLOSING || now_us - k->told_us < SLOW_US) return;
    k->told_us = now_us;
    log_warn(k->log, "kafka_waiting",
             "seconds=%lld records=%d cause=\"a batch is not acknowledged yet\"",
             (long long)(now_us - k->closing_us) / 1000000, rd_kafka_outq_len(k->producer));
}

/* A transaction that has failed sends nothing more: its flush would never end. Begun again it says why; one that is well is
 * merely open already. */
static bool transaction_is_well(struct output_kafka *k, struct error *err) {
    rd_kafka_error_t *error = rd_kafka_begin_transaction(k->producer);
    if (!error || rd_kafka_error_is_fatal(error) || rd_kafka_error_txn_requires_abort(error))
        return error ? transaction_error(error, err)
                     : error_set(err, ERROR_PROTOCOL, true, "Kafka: the transaction had ended");
    rd_kafka_error_destroy(error);
    return true;
}

/* commit_transaction would flush too; but whether all was taken must be known before it. */
static bool flush_transaction(struct output_kafka *k, struct error *err) {
    if (k->flushed) return true;
    rd_kafka_resp_err_t code = rd_kafka_flush(k->producer, COMMIT_SLICE_MS);
    if (!output_kafka_check(k, err)) return false;
    k->flushed = code == RD_KAFKA_RESP_ERR_NO_ERROR;
    return k->flushed || transaction_is_well(k, err);
}

/* Goes on with CLOSING for a while. */
static bool close_batch(struct output_kafka *k, struct error *err) {
    if (k->exactly_once) {
        if (!k->position_written && !write_position(k, err)) return false;
        if (!flush_transaction(k, err)) return false;
        if (!k->flushed) return true;
        rd_kafka_error_t *error = rd_kafka_commit_transaction(k->producer, COMMIT_SLICE_MS);
        if (!error) {
            if (!output_kafka_check(k, err)) return false;
            batch_done(k, clock_mono_us());
            return true;
        }
        if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT &&
            !rd_kafka_error_txn_requires_abort(error) && !rd_kafka_error_is_fatal(error)) {
            rd_kafka_error_destroy(error);
            return true;
        }
        return transaction_error(error, err);
    }
    rd_kafka_resp_err_t code = rd_kafka_flush(k->producer, SLICE_MS);
    if (!output_kafka_check(k, err)) return false;
    if (code) return true; /* timed out: on with it at the next tick */
    if (!k->position_written) return write_position(k, err);
    batch_done(k, clock_mono_us());
    return true;
}

/* When an open batch's time is over. What comes while one is closed waits for that and then for the next one's end: of a small
 * batch the interval leaves time for both, so that a row is with consumers within it. Large ones are about throughput. */
static int64_t interval_end_us(const struct output_kafka *k) {
    int64_t interval_us = k->config->transaction_interval_ms * 1000;
    int64_t early_us = 2 * k->average_closing_us;
    if (early_us > interval_us / EARLY_PART) early_us = interval_us / EARLY_PART;
    if (k->batch_records > k->config->transaction_records / SMALL_PART) early_us = 0;
    return k->opened_us + interval_us - early_us;
}

static bool is_due(const struct output_kafka *k, int64_t now_us) {
    if (k->partial) return false;
    if (k->split) return true;
    if (k->state == BATCH_IDLE)
        return is_note_due(k) || (k->next.end_lsn > atomic_load(&k->confirmed_lsn) &&
                                  now_us - k->closed_us >= PROGRESS_EVERY_US);
    return k->batch_records >= k->config->transaction_records || now_us >= interval_end_us(k);
}

static void begin_closing(struct output_kafka *k, int64_t now_us) {
    k->state = BATCH_CLOSING;
    k->closing_us = k->told_us = now_us;
    atomic_store(&k->unacknowledged_since_us, now_us);
}

static bool close_when_due(struct output_kafka *k, int64_t now_us, struct error *err) {
    if (k->state != BATCH_CLOSING) {
        if (!is_due(k, now_us)) return true;
        if (k->state == BATCH_IDLE && !open_batch(k, err)) return false;
        begin_closing(k, now_us);
    }
    if (!close_batch(k, err)) return false;
    tell_slow(k, now_us);
    return true;
}

void output_kafka_finish(struct output_kafka *k, int timeout_ms) {
    int64_t deadline_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    struct error err;
    bool worth_it = k->state != BATCH_IDLE && !k->partial && !k->failure &&
                    !rd_kafka_fatal_error(k->producer, NULL, 0);
    if (worth_it) begin_closing(k, clock_mono_us());
    while (worth_it && k->state == BATCH_CLOSING && clock_mono_us() < deadline_us)
        worth_it = close_batch(k, &err);
}

bool output_kafka_store(struct output_kafka *k, int timeout_ms, struct error *err) {
    int64_t deadline_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    if (!open_batch(k, err)) return false;
    begin_closing(k, clock_mono_us());
    while (k->state == BATCH_CLOSING && clock_mono_us() < deadline_us) {
        if (!close_batch(k, err)) return false;
    }
    return k->state == BATCH_IDLE ||
           error_set(err, ERROR_TIMEOUT, true, "the position was not acknowledged in %d ms",
                     timeout_ms);
}

/* ---- what the publisher calls ---- */

bool output_kafka_commit(void *arg, const struct change_position *position, int64_t now_us,
                         struct error *err) {
    struct output_kafka *k = arg;
    k->next = *position;
    k->partial = k->split = false;
    return close_when_due(k, now_us, err);
}

bool output_kafka_part_due(void *arg) {
    const struct output_kafka *k = arg;
    uint64_t most = k->config->split_transactions;
    return most && k->state == BATCH_OPEN && k->batch_records >= most;
}

void output_kafka_note(void *arg, enum position_note which, struct slice text) {
    struct output_kafka *k = arg;
    struct kept_note *note = &k->notes[which];
    note->text.len = 0;
    buf_append_slice(&note->text, text);
    note->due = true;
}

struct slice output_kafka_noted(void *arg, enum position_note note) {
    const struct output_kafka *k = arg;
    return buf_slice(&k->notes[note].text);
}

/* Closed at the next tick; until then nothing more is taken in. */
void output_kafka_part(void *arg, const struct change_position *position) {
    struct output_kafka *k = arg;
    uint64_t end_lsn = k->next.end_lsn; /* keepalives may have brought it further */
    k->next = *position;
    if (end_lsn > k->next.end_lsn) k->next.end_lsn = end_lsn;
    k->partial = false;
    k->split = true;
}

bool output_kafka_progress(void *arg, uint64_t end_lsn, int64_t now_us, struct error *err) {
    (void)now_us;
    (void)err;
    struct output_kafka *k = arg;
    /* A batch that is being closed has its position already: this one waits for the next. */
    if (k->state != BATCH_CLOSING && end_lsn > k->next.end_lsn) k->next.end_lsn = end_lsn;
    return true;
}

bool output_kafka_tick(void *arg, int64_t now_us, struct error *err) {
    struct output_kafka *k = arg;
    rd_kafka_poll(k->producer, 0);
    metric_set(k->queue_records, rd_kafka_outq_len(k->producer));
    int64_t since_us = atomic_load(&k->unacknowledged_since_us);
    metric_set(k->unacknowledged, since_us ? (now_us - since_us) / 1000000 : 0);
    if (!output_kafka_check(k, err) || !kafka_topics_poll(k->cluster, 0, err)) return false;
    return close_when_due(k, now_us, err);
}

/* So that a batch ends when its time is over, and not when the feed happens to look. */
int64_t output_kafka_tick_due_us(void *arg) {
    const struct output_kafka *k = arg;
    if (k->state != BATCH_OPEN || k->partial) return 0;
    return interval_end_us(k);
}

/* A queue that is full while no request is: spread over many partitions, its records would linger. A flush tells librdkafka to
 * send what it has; it need not end. */
static void send_lingering(struct output_kafka *k, int queued) {
    int64_t now_us = clock_mono_us();
    if (queued != k->stuck_records) {
        k->stuck_records = queued;
        k->stuck_us = now_us;
    } else if (now_us - k->stuck_us >= STUCK_US) {
        rd_kafka_flush(k->producer, FLUSH_MS);
        k->stuck_us = clock_mono_us();
    }
}

/* By the records in the client's queue times their size lately: the client does not tell its bytes. */
bool output_kafka_ready(void *arg) {
    struct output_kafka *k = arg;
    if (k->state == BATCH_CLOSING || k->split || kafka_topics_busy(k->cluster)) return false;
    if (!k->full && k->unchecked < CHECK_QUEUE_EVERY) return true;
    k->unchecked = 0;
    int records = rd_kafka_outq_len(k->producer);
    uint64_t queued = (uint64_t)records * k->average_bytes;
    /* Once full, wait for some room rather than for one record's. */
    k->full = queued >= (k->full ? k->queue_bytes / 4 * 3 : k->queue_bytes);
    if (k->full) send_lingering(k, records);
    return !k->full;
}

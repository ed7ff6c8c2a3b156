#include "cdc/publisher.h"

#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "cdc/dead_letter.h"
#include "cdc/encode.h"
#include "cdc/invalidations.h"
#include "cdc/keeper.h"
#include "cdc/output.h"
#include "cdc/tables.h"

enum { OP_CREATE, OP_UPDATE, OP_DELETE, OP_READ, OP_TRUNCATE, OP_MESSAGE, OP_COUNT };

static const char op_letters[OP_COUNT + 1] = "cudrtm";

struct publisher_metrics {
    struct metric *events[OP_COUNT];
    struct metric *bytes;
    struct metric *as_text;
    struct metric *dead_letters;
    struct metric *skipped_oversize;
    struct metric *published_lsn;
};

struct publisher {
    struct publisher_config config;
    struct publisher_deps deps;
    const struct event_encoder *encoder;
    const struct output_ops *output_ops;
    void *output;
    struct tables *tables;
    struct keeper *keeper;
    struct invalidations *invalidations; /* NULL: none are asked for */
    uint64_t seen_generation;            /* the keeper's, when the catalog was last read for them */
    struct publisher_metrics metrics;

    /* Of the session; the feed's thread. */
    struct change_position position;
    struct event_source source;
    struct event_order order;
    bool begin_written; /* the open transaction's BEGIN, of transaction metadata */
    int64_t now_us;     /* wall clock of the event in hand */
    struct buf key;
    struct buf value;
    struct buf header;

    struct arena *names;
    void *message_topic; /* handles of the output, made at first use */
    void *transaction_topic;
    void *dead_letter_topic;
};

/* ---- records ---- */

static struct slice bytes_of(const struct buf *buf) { return slice_make(buf->data, buf->len); }

static void *side_topic(struct publisher *p, void **handle, const char *name, struct error *err) {
    if (!*handle) {
        const char *topic = event_topic(p->names, p->config.prefix, NULL, name);
        *handle = p->output_ops->topic(p->output, topic, &topic_of_rows, err);
    }
    return *handle;
}

static void *table_topic(struct publisher *p, struct event_table *table, struct error *err) {
    if (!table->topic_handle)
        table->topic_handle = p->output_ops->topic(p->output, table->topic, &topic_of_rows, err);
    return table->topic_handle;
}

/* What can't be published goes to the dead letters with its cause, and the stream goes on. */
static bool bury(struct publisher *p, const struct event *event, const char *cause,
                 struct error *err) {
    metric_bump(p->metrics.dead_letters, 1);
    log_warn(p->deps.log, "dead_letter", "table=%s.%s op=%c lsn=%llu cause=\"%s\"",
             event->table ? event->table->schema : "", event->table ? event->table->name : "",
             event->op, (unsigned long long)event->lsn, cause);
    struct buf letter = {0};
    dead_letter_compose(&p->source, event, bytes_of(&p->key), cause, &letter);
    struct record record = {.topic = side_topic(p, &p->dead_letter_topic, "dead-letters", err),
                            .value = bytes_of(&letter)};
    bool ok = record.topic && p->output_ops->write(p->output, &record, err) == WRITE_DONE;
    buf_deinit(&letter);
    return ok;
}

static bool settle_oversize(struct publisher *p, const struct event *event, const char *cause,
                            struct error *err) {
    switch (p->config.on_oversize) {
    case OVERSIZE_DEAD_LETTER: return bury(p, event, cause, err);
    case OVERSIZE_FAIL:
        return error_set(err, ERROR_LIMIT, false, "%s; cdc.on_oversize is `fail`", cause);
    case OVERSIZE_SKIP: break;
    }
    metric_bump(p->metrics.skipped_oversize, 1);
    log_warn(p->deps.log, "event_skipped", "table=%s.%s op=%c lsn=%llu cause=\"%s\"",
             event->table ? event->table->schema : "", event->table ? event->table->name : "",
             event->op, (unsigned long long)event->lsn, cause);
    return true;
}

static bool write_record(struct publisher *p, const struct event *event,
                         const struct record *record, struct error *err) {
    struct error local;
    switch (p->output_ops->write(p->output, record, &local)) {
    case WRITE_DONE: metric_bump(p->metrics.bytes, (int64_t)record->value.len); return true;
    case WRITE_REFUSED: return settle_oversize(p, event, local.message, err);
    case WRITE_FAILED: break;
    }
    return error_set(err, local.code, local.retriable, "%s", local.message);
}

/* {"status":"BEGIN","id":"<xid>:<lsn>",...} to <prefix>.transaction. */
static bool write_boundary(struct publisher *p, const char *status, uint64_t lsn,
                           struct error *err) {
    bool begin = *status == 'B';
    struct buf key = {0};
    struct buf value = {0};
    buf_printf(&key, "{\"id\":\"%u:%llu\"}", (unsigned)(uint32_t)p->source.xid,
               (unsigned long long)lsn);
    buf_printf(&value, "{\"status\":\"%s\",\"id\":\"%u:%llu\",\"event_count\":", status,
               (unsigned)(uint32_t)p->source.xid, (unsigned long long)lsn);
    if (begin) {
        buf_append_text(&value, "null,\"data_collections\":null");
    } else {
        buf_append_u64(&value, p->order.total);
        buf_append_text(&value, ",\"data_collections\":");
        tables_append_counts(p->tables, &value);
    }
    buf_append_text(&value, ",\"ts_ms\":");
    buf_append_i64(&value, p->source.commit_time_us / 1000);
    buf_append_char(&value, '}');
    p->key.len = p->value.len = 0;
    p->encoder->frame(FRAME_TRANSACTION_KEY, bytes_of(&key), &p->key);
    p->encoder->frame(FRAME_TRANSACTION, bytes_of(&value), &p->value);
    struct record record = {.topic = side_topic(p, &p->transaction_topic, "transaction", err),
                            .key = bytes_of(&p->key),
                            .value = bytes_of(&p->value)};
    bool ok = record.topic && p->output_ops->write(p->output, &record, err) == WRITE_DONE;
    buf_deinit(&key);
    buf_deinit(&value);
    return ok;
}

/* The event's place in its transaction, counted; NULL where it has none. */
static bool count_order(struct publisher *p, struct event *event, struct event_table *table,
                        struct error *err) {
    if (!p->config.format.transaction_metadata || !p->source.xid || p->source.snapshot) return true;
    if (!p->begin_written && !write_boundary(p, "BEGIN", event->lsn, err)) return false;
    p->begin_written = true;
    p->order.total++;
    if (table) tables_count_event(p->tables, table);
    p->order.in_collection = table ? table->transaction_events : 1;
    event->order = &p->order;
    return true;
}

/* One event of a table: its record, and in a delete its tombstone. `key_row` NULL: a null key. */
static bool write_event(struct publisher *p, struct event *event, struct event_table *table,
                        const struct value *key_row, const struct record_header *header,
                        struct error *err) {
    struct record record = {.topic = table_topic(p, table, err)};
    if (!record.topic || !count_order(p, event, table, err)) return false;
    if (header) record.headers[record.n_headers++] = *header;
    if (p->encoder->rows_only)
        record.headers[record.n_headers++] =
            (struct record_header){.name = "__op", .value = slice_make(&event->op, 1)};
    struct encode_tally tally = {0};
    p->key.len = p->value.len = 0;
    bool encoded = !key_row || !table->n_key ||
                   p->encoder->key(table, key_row, event->old_whole, &tally, &p->key);
    bool is_row = !p->encoder->rows_only || event->after;
    if (is_row) encoded = encoded && p->encoder->value(&p->source, event, &tally, &p->value);
    if (tally.as_text) metric_bump(p->metrics.as_text, (int64_t)tally.as_text);
    if (!encoded) {
        char cause[256];
        snprintf(cause, sizeof cause, "column %.*s holds a value that format.non_finite refuses",
                 (int)strlen(tally.refused) - 1, tally.refused);
        return bury(p, event, cause, err);
    }
    if (p->key.len) record.key = bytes_of(&p->key);
    if (is_row) record.value = bytes_of(&p->value);
    if (!write_record(p, event, &record, err)) return false;
    if (event->op != 'd' || !p->config.format.tombstones || !is_row) return true;
    record.value = (struct slice){0};
    return write_record(p, event, &record, err);
}

/* ---- changes ---- */

static bool is_skipped(const struct publisher *p, char op) {
    return p->config.skip_operations && strchr(p->config.skip_operations, op);
}

/* A changed key: the row leaves its old key and appears under the new one, and each side names the other, in bare
 * JSON whatever the encoding. */
static bool write_moved(struct publisher *p, struct event *event, struct event_table *table,
                        const struct change *change, struct error *err) {
    struct encode_tally tally = {0};
    const struct value *old_whole = change->old_is_key ? NULL : change->old_row;
    struct event gone = *event;
    gone.op = 'd';
    gone.before = change->old_row;
    gone.before_is_key = change->old_is_key;
    gone.after = NULL;
    gone.old_whole = NULL;
    p->header.len = 0;
    if (!encode_json.key(table, change->new_row, old_whole, &tally, &p->header))
        return bury(p, event, "the new key cannot be encoded", err);
    struct record_header header = {.name = "__debezium.newkey", .value = bytes_of(&p->header)};
    if (!write_event(p, &gone, table, change->old_row, &header, err)) return false;

    p->header.len = 0;
    if (!encode_json.key(table, change->old_row, NULL, &tally, &p->header))
        return bury(p, event, "the old key cannot be encoded", err);
    header = (struct record_header){.name = "__debezium.oldkey", .value = bytes_of(&p->header)};
    event->op = 'c';
    event->before = NULL;
    return write_event(p, event, table, change->new_row, &header, err);
}

static bool on_insert(struct publisher *p, struct event *event, struct event_table *table,
                      const struct change *change, struct error *err) {
    event->after = change->new_row;
    return write_event(p, event, table, change->new_row, NULL, err);
}

static bool on_update(struct publisher *p, struct event *event, struct event_table *table,
                      const struct change *change, struct error *err) {
    bool whole = change->old_row && !change->old_is_key;
    event->after = change->new_row;
    event->before = whole ? change->old_row : NULL;
    event->old_whole = whole ? change->old_row : NULL;
    if (change->old_row && event_key_changed(table, change->old_row, change->new_row))
        return write_moved(p, event, table, change, err);
    return write_event(p, event, table, change->new_row, NULL, err);
}

static bool on_delete(struct publisher *p, struct event *event, struct event_table *table,
                      const struct change *change, struct error *err) {
    event->before = change->old_row;
    event->before_is_key = change->old_is_key;
    return write_event(p, event, table, change->old_row, NULL, err);
}

static bool on_truncate(struct publisher *p, struct event *event, struct event_table *table,
                        const struct change *change, struct error *err) {
    (void)change;
    return write_event(p, event, table, NULL, NULL, err);
}

static bool on_message(struct publisher *p, struct event *event, struct event_table *table,
                       const struct change *change, struct error *err) {
    (void)table;
    struct encode_tally tally = {0};
    event->message_prefix = change->message_prefix;
    event->message_content = change->message_content;
    if (!count_order(p, event, NULL, err)) return false;
    p->key.len = p->value.len = 0;
    p->encoder->message_key(change->message_prefix, &p->key);
    p->encoder->value(&p->source, event, &tally, &p->value);
    struct record record = {.topic = side_topic(p, &p->message_topic, "message", err),
                            .key = bytes_of(&p->key),
                            .value = bytes_of(&p->value)};
    return record.topic && write_record(p, event, &record, err);
}

static const struct operation {
    int op;
    bool (*write)(struct publisher *p, struct event *event, struct event_table *table,
                  const struct change *change, struct error *err);
} operations[] = {
    [CHANGE_INSERT] = {OP_CREATE, on_insert},    [CHANGE_UPDATE] = {OP_UPDATE, on_update},
    [CHANGE_DELETE] = {OP_DELETE, on_delete},    [CHANGE_TRUNCATE] = {OP_TRUNCATE, on_truncate},
    [CHANGE_MESSAGE] = {OP_MESSAGE, on_message}, [CHANGE_READ] = {OP_READ, on_insert},
};

/* Skipped operations, too, are news to caches. */
static bool invalidate(struct publisher *p, const struct transaction *tx,
                       const struct change *change, struct error *err) {
    if (!p->invalidations || !change->relation || tx->snapshot) return true;
    const struct catalog_table *table = NULL;
    if (!invalidations_knows(p->invalidations, change->relation)) {
        if (!tables_find(p->tables, change->relation, err)) return false; /* reads the catalog */
        table = tables_catalog(p->tables, change->relation->oid);
    }
    return invalidations_change(p->invalidations, tx, change, table, err);
}

static bool sink_change(void *self, const struct transaction *tx, const struct change *change,
                        struct error *err) {
    struct publisher *p = self;
    if (!invalidate(p, tx, change, err)) return false;
    const struct operation *operation = &operations[change->operation];
    char op = op_letters[operation->op];
    if (is_skipped(p, op)) return true;
    struct event event = {
        .op = op, .lsn = change->row_lsn, .marker = change->marker, .now_us = clock_wall_us()};
    struct event_table *table = NULL;
    if (change->operation != CHANGE_MESSAGE) {
        table = tables_find(p->tables, change->relation, err);
        if (!table) return false;
        event.table = table;
    }
    if (!operation->write(p, &event, table, change, err)) return false;
    metric_bump(p->metrics.events[operation->op], 1);
    return true;
}

static bool sink_relation(void *self, const struct relation *relation, struct error *err) {
    struct publisher *p = self;
    struct event_table *table = tables_find(p->tables, relation, err);
    if (!table || !table_topic(p, table, err)) return false;
    return !p->output_ops->announce || p->output_ops->announce(p->output, table->topic_handle, err);
}

/* ---- transactions ---- */

/* An index that was made or dropped comes with no message of the stream. */
static void look_at_columns(struct publisher *p) {
    uint64_t generation = keeper_generation(p->keeper);
    if (!p->invalidations || generation == p->seen_generation) return;
    struct error err;
    if (!tables_refresh(p->tables, &err)) {
        log_warn(p->deps.log, "catalog_not_read", "cause=\"%s\"", err.message);
        return;
    }
    p->seen_generation = generation;
    invalidations_columns_changed(p->invalidations);
}

static bool sink_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct publisher *p = self;
    p->source.snapshot = tx->snapshot;
    p->source.xid = tx->xid;
    p->source.commit_time_us = tx->commit_time_us;
    if (tx->snapshot && !tx->xid) p->source.xid = tables_next_xid(p->tables);
    /* A message outside a transaction is its own predecessor, as Debezium counts. */
    if (!tx->snapshot && !tx->xid) p->source.last_lsn = tx->end_lsn;
    event_source_begin(&p->source);
    p->order = (struct event_order){0};
    p->begin_written = false;
    look_at_columns(p);
    return true;
}

static bool make_durable(struct publisher *p, struct error *err) {
    return p->output_ops->commit(p->output, &p->position, clock_mono_us(), err);
}

static bool sink_commit(void *self, const struct transaction *tx, struct error *err) {
    struct publisher *p = self;
    if (p->begin_written && !write_boundary(p, "END", tx->end_lsn, err)) return false;
    tables_reset_counts(p->tables);
    if (tx->snapshot) return true; /* sink_snapshot_done makes it durable */
    if (p->invalidations && !invalidations_commit(p->invalidations, tx, err)) return false;
    p->source.last_lsn = tx->end_lsn;
    p->position.end_lsn = tx->end_lsn;
    return make_durable(p, err);
}

static bool sink_snapshot_done(void *self, uint64_t slot_lsn, struct error *err) {
    struct publisher *p = self;
    p->position.end_lsn = slot_lsn;
    p->position.snapshot_done = true;
    return make_durable(p, err);
}

static bool sink_progress(void *self, uint64_t wal_end_lsn, struct error *err) {
    struct publisher *p = self;
    int64_t now_us = clock_mono_us();
    if (wal_end_lsn > p->position.end_lsn) p->position.end_lsn = wal_end_lsn;
    if (p->invalidations && invalidations_due(p->invalidations, now_us))
        return invalidations_beat(p->invalidations, wal_end_lsn, now_us, err) &&
               make_durable(p, err);
    return p->output_ops->progress(p->output, wal_end_lsn, now_us, err);
}

/* ---- sessions ---- */

static bool sink_prepare(void *self, struct change_position *position, struct error *err) {
    struct publisher *p = self;
    struct tables_facts facts;
    if (!tables_prepare(p->tables, &facts, err)) return false;
    /* Never fence a process that is at work: it would fence us in return. */
    if (facts.slot_active_pid)
        return error_set(err, ERROR_UNAVAILABLE, true,
                         "slot \"%s\" is active for PID %d: another process streams from it",
                         p->config.slot, facts.slot_active_pid);
    if (!p->output_ops->prepare(p->output, facts.slot_exists, position, err)) return false;
    p->position = *position;
    p->source.last_lsn = position->end_lsn;
    return true;
}

static bool sink_started(void *self, const struct feed_identity *identity, struct error *err) {
    struct publisher *p = self;
    /* The stream begins at the position; where there is none yet, with the slot. */
    uint64_t since_lsn =
        identity->slot_created || !p->position.end_lsn ? identity->slot_lsn : p->position.end_lsn;
    if (p->invalidations) invalidations_start(p->invalidations, identity, since_lsn);
    p->position.system_identifier = identity->system_identifier;
    keeper_start(p->keeper);
    return p->output_ops->started(p->output, identity, err);
}

static void sink_ended(void *self, const struct error *cause) {
    (void)cause;
    struct publisher *p = self;
    p->output_ops->ended(p->output);
    tables_reset_counts(p->tables);
    keeper_stop(p->keeper);
}

static bool sink_tick(void *self, int64_t now_us, struct error *err) {
    struct publisher *p = self;
    metric_set(p->metrics.published_lsn, (int64_t)p->output_ops->confirmed_lsn(p->output));
    return p->output_ops->tick(p->output, now_us, err);
}

static bool sink_ready(void *self) {
    struct publisher *p = self;
    return p->output_ops->ready(p->output);
}

/* A heartbeat tells how far the server is, so the server is asked. */
static bool sink_wants_progress(void *self) {
    struct publisher *p = self;
    return p->invalidations && invalidations_due(p->invalidations, clock_mono_us()) &&
           p->output_ops->ready(p->output);
}

static uint64_t sink_confirmed_lsn(void *self) {
    struct publisher *p = self;
    return p->output_ops->confirmed_lsn(p->output);
}

static const struct change_sink_ops sink_ops = {
    .prepare = sink_prepare,
    .started = sink_started,
    .ended = sink_ended,
    .relation = sink_relation,
    .begin = sink_begin,
    .change = sink_change,
    .commit = sink_commit,
    .snapshot_done = sink_snapshot_done,
    .progress = sink_progress,
    .tick = sink_tick,
    .ready = sink_ready,
    .wants_progress = sink_wants_progress,
    .confirmed_lsn = sink_confirmed_lsn,
};

struct change_sink publisher_sink(struct publisher *publisher) {
    return (struct change_sink){.ops = &sink_ops, .self = publisher, .name = "cdc"};
}

/* ---- life ---- */

static void make_metrics(struct publisher *p) {
    struct metrics *metrics = p->deps.metrics;
    for (int i = 0; i < OP_COUNT; i++) {
        char label[16];
        snprintf(label, sizeof label, "op=\"%c\"", op_letters[i]);
        p->metrics.events[i] = metrics_counter(
            metrics, "freshet_cdc_events_total",
            "Events encoded, by operation (tombstones are part of their delete).", label);
    }
    p->metrics.bytes = metrics_counter(metrics, "freshet_cdc_event_bytes_total",
                                       "Bytes of record values handed to the output.", NULL);
    p->metrics.as_text = metrics_counter(
        metrics, "freshet_cdc_values_as_text_total",
        "Column values written as PostgreSQL's text because their type has no rule, or what came "
        "did not fit it.",
        NULL);
    p->metrics.dead_letters =
        metrics_counter(metrics, "freshet_cdc_dead_letters_total",
                        "Events that could not be published and went to the dead letters.", NULL);
    p->metrics.skipped_oversize = metrics_counter(
        metrics, "freshet_cdc_oversize_skipped_total",
        "Events left out because they are larger than the brokers take (cdc.on_oversize: skip).",
        NULL);
    p->metrics.published_lsn =
        metrics_gauge(metrics, "freshet_cdc_published_lsn_bytes",
                      "Position up to which every event is durable in the output, as a WAL byte "
                      "position.",
                      NULL);
}

struct publisher *publisher_create(const struct publisher_config *config,
                                   const struct publisher_deps *deps, struct error *err) {
    const struct event_encoder *encoder = event_encoder_find(config->format.encoding);
    if (!encoder) {
        struct buf names = {0};
        event_encoder_names(&names);
        error_set(err, ERROR_CONFIG, false, "format.encoding \"%s\" is not known: %s",
                  config->format.encoding, buf_text(&names));
        buf_deinit(&names);
        return NULL;
    }
    struct publisher *p = mem_zalloc(sizeof *p);
    p->config = *config;
    p->deps = *deps;
    p->encoder = encoder;
    p->output_ops = output_find(config->output);
    p->output = p->output_ops->create(&p->config, deps, err);
    if (!p->output) {
        mem_free(p);
        return NULL;
    }
    p->names = arena_create(1024);
    p->tables = tables_create(&p->config, deps->log);
    p->keeper = keeper_create(&p->config, deps->log);
    event_source_init(&p->source, config->version, config->prefix, config->database,
                      &p->config.format);
    if (config->invalidations)
        p->invalidations = invalidations_create(&p->config, deps, p->output_ops, p->output);
    make_metrics(p);
    return p;
}

void publisher_destroy(struct publisher **publisher) {
    struct publisher *p = *publisher;
    if (!p) return;
    keeper_destroy(&p->keeper);
    invalidations_destroy(&p->invalidations);
    p->output_ops->destroy(p->output);
    tables_destroy(&p->tables);
    event_source_deinit(&p->source);
    buf_deinit(&p->key);
    buf_deinit(&p->value);
    buf_deinit(&p->header);
    arena_destroy(&p->names);
    mem_free(p);
    *publisher = NULL;
}

json_t *publisher_status(struct publisher *p) {
    json_t *events = json_object();
    for (int i = 0; i < OP_COUNT; i++) {
        char letter[2] = {op_letters[i], '\0'};
        json_object_set_new(events, letter,
                            json_integer(atomic_load(&p->metrics.events[i]->value)));
    }
    json_t *status = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "output", p->output_ops->name, "prefix",
        p->config.prefix, "publication", p->config.publication, "encoding", p->encoder->name,
        "events", events, "dead_letters", (json_int_t)atomic_load(&p->metrics.dead_letters->value),
        "values_as_text", (json_int_t)atomic_load(&p->metrics.as_text->value));
    p->output_ops->status(p->output, status);
    return status;
}

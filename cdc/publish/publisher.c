#include "cdc/publish/publisher.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/pattern.h"
#include "cdc/publish/publisher_parts.h"

/* ---- changes ---- */

/* Skipped operations, too, are news to caches. */
static bool invalidate(struct publisher *p, const struct transaction *tx,
                       const struct change *change, struct error *err) {
    if (!p->invalidations || !change->relation || tx->snapshot) return true;
    const struct catalog_table *table = NULL;
    const struct table_shape *shape = NULL;
    if (!invalidations_knows(p->invalidations, change->relation)) {
        const struct event_table *known = tables_find(p->tables, change->relation, err);
        if (!known) return false;
        shape = known->shape;
        table = tables_catalog(p->tables, change->relation->oid); /* read by then */
    }
    return invalidations_change(p->invalidations, tx, change, table, shape, err);
}

static bool sink_change(void *self, const struct transaction *tx, const struct change *change,
                        struct error *err) {
    struct publisher *p = self;
    if (!invalidate(p, tx, change, err)) return false;
    const struct change_part *part = &p->position.part;
    p->hand.durable = part->commit_lsn == tx->commit_lsn && change->index < part->changes;
    bool ok = publish_change(p, change, err) && publish_part(p, tx, change, err);
    p->hand.durable = false;
    return ok;
}

static bool sink_relation(void *self, const struct relation *relation, struct error *err) {
    struct publisher *p = self;
    struct event_table *table = tables_look(p->tables, relation, err);
    if (!table) return false;
    if (table->outbox || (table->shape && table->shape->excluded)) return true; /* no topic */
    if (!publish_topic(p, table, err)) return false;
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
    p->source.snapshot = tx->snapshot && !tx->incremental;
    p->source.xid = tx->xid;
    p->source.commit_time_us = tx->commit_time_us;
    if (p->source.snapshot && !p->snapshot_xid) p->snapshot_xid = tables_next_xid(p->tables);
    if (p->source.snapshot) {
        p->source.xid = p->snapshot_xid;
        /* Where there was a position, it is given up (when_needed). */
        p->position.snapshot_done = false;
        p->position.end_lsn = p->position.last_end_lsn = 0;
    }
    /* A message outside a transaction is its own predecessor, as Debezium counts. */
    if (!tx->snapshot && !tx->xid) p->source.last_lsn = tx->end_lsn;
    event_source_begin(&p->source);
    p->order = (struct event_order){0};
    p->begin_written = p->noted = false;
    p->hand.commit_lsn = tx->commit_lsn;
    tables_begin(p->tables, tx->snapshot ? 0 : tx->xid);
    look_at_columns(p);
    return true;
}

void publish_keep_schemas(struct publisher *p) {
    struct buf text = {0};
    if (!p->registry || !p->output_ops->note || !schema_registry_learnt(p->registry, &text)) return;
    p->output_ops->note(p->output, NOTE_SCHEMAS, buf_slice(&text));
    buf_deinit(&text);
}

static bool make_durable(struct publisher *p, struct error *err) {
    publish_keep_schemas(p);
    return p->output_ops->commit(p->output, &p->position, clock_mono_us(), err);
}

static void reach(struct publisher *p, uint64_t lsn) {
    if (lsn > p->position.end_lsn) p->position.end_lsn = lsn;
    if (lsn > p->position.last_end_lsn) p->position.last_end_lsn = lsn;
}

/* A part of a snapshot is durable with the note that says so, or comes again. */
static bool commit_snapshot(struct publisher *p, const struct transaction *tx, struct error *err) {
    if (!p->noted) return true;                 /* sink_snapshot_done makes it durable */
    if (tx->incremental) reach(p, tx->end_lsn); /* the initial one is a position when it is whole */
    return make_durable(p, err);
}

static bool sink_note(void *self, struct slice text, struct error *err) {
    (void)err;
    struct publisher *p = self;
    ASSERT(p->output_ops->note);
    p->output_ops->note(p->output, NOTE_SNAPSHOT, text);
    p->noted = true;
    return true;
}

static bool beat(struct publisher *p, int64_t now_us, struct error *err) {
    return !heartbeat_is_due(p->heartbeat, now_us) || heartbeat_write(p->heartbeat, now_us, err);
}

/* What one huge value has made larger is given back. */
static void shrink(struct buf *buf) {
    enum { KEEP_BYTES = 4 * 1024 * 1024 };
    if (buf->cap > KEEP_BYTES) buf_deinit(buf);
}

static bool sink_commit(void *self, const struct transaction *tx, struct error *err) {
    struct publisher *p = self;
    shrink(&p->key);
    shrink(&p->value);
    if (p->begin_written && !publish_boundary(p, "END", tx->end_lsn, err)) return false;
    tables_reset_counts(p->tables);
    if (tx->snapshot) return commit_snapshot(p, tx, err);
    if (p->invalidations && !invalidations_commit(p->invalidations, tx, err)) return false;
    p->source.last_lsn = tx->end_lsn;
    p->position.part = (struct change_part){0};
    p->position.end_lsn = p->position.last_end_lsn = tx->end_lsn;
    return beat(p, clock_mono_us(), err) && make_durable(p, err);
}

static bool sink_snapshot_done(void *self, uint64_t slot_lsn, struct error *err) {
    struct publisher *p = self;
    reach(p, slot_lsn);
    p->position.snapshot_done = true;
    return make_durable(p, err);
}

static bool wants_beat(const struct publisher *p, int64_t now_us) {
    return heartbeat_is_due(p->heartbeat, now_us) ||
           (p->invalidations && invalidations_due(p->invalidations, now_us));
}

static bool sink_progress(void *self, uint64_t wal_end_lsn, struct error *err) {
    struct publisher *p = self;
    int64_t now_us = clock_mono_us();
    if (wal_end_lsn > p->position.end_lsn) p->position.end_lsn = wal_end_lsn;
    if (!wants_beat(p, now_us)) return p->output_ops->progress(p->output, wal_end_lsn, now_us, err);
    if (p->invalidations && invalidations_due(p->invalidations, now_us) &&
        !invalidations_beat(p->invalidations, wal_end_lsn, now_us, err))
        return false;
    return beat(p, now_us, err) && make_durable(p, err);
}

/* ---- sessions ---- */

static bool sink_prepare(void *self, struct change_position *position, struct error *err) {
    struct publisher *p = self;
    struct tables_facts facts;
    if (!tables_prepare(p->tables, &facts, err)) return false;
    if (!p->output_ops->prepare(p->output, facts.slot_exists, position, err)) return false;
    if (p->registry && p->output_ops->noted &&
        !schema_registry_recall(p->registry, p->output_ops->noted(p->output, NOTE_SCHEMAS), err))
        return false;
    p->position = *position;
    p->snapshot_xid = 0;
    p->source.last_lsn = position->last_end_lsn;
    return true;
}

static bool sink_peek(void *self, struct change_position *position, struct error *err) {
    struct publisher *p = self;
    return p->output_ops->peek(p->output, position, err);
}

static bool sink_reset(void *self, const struct change_position *position, struct error *err) {
    struct publisher *p = self;
    return p->output_ops->reset(p->output, position, err);
}

static bool sink_started(void *self, const struct feed_identity *identity, struct error *err) {
    struct publisher *p = self;
    if (p->position.end_lsn > identity->start_lsn && !identity->slot_created) {
        p->position.end_lsn = identity->start_lsn;
        if (p->source.last_lsn > identity->start_lsn) p->source.last_lsn = identity->start_lsn;
    }
    /* The stream begins at the position; where there is none yet, with the slot. */
    uint64_t since_lsn =
        identity->slot_created || !p->position.end_lsn ? identity->slot_lsn : p->position.end_lsn;
    if (p->invalidations) invalidations_start(p->invalidations, identity, since_lsn);
    p->position.system_identifier = identity->system_identifier;
    p->position.timeline = identity->timeline;
    p->position.timeline_lsn = identity->timeline_lsn;
    heartbeat_start(p->heartbeat, clock_mono_us());
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

static int64_t sink_tick_due_us(void *self) {
    struct publisher *p = self;
    return p->output_ops->tick_due_us ? p->output_ops->tick_due_us(p->output) : 0;
}

static bool sink_ready(void *self) {
    struct publisher *p = self;
    return p->output_ops->ready(p->output);
}

/* A heartbeat tells how far the server is, so the server is asked. */
static bool sink_wants_progress(void *self) {
    struct publisher *p = self;
    return wants_beat(p, clock_mono_us()) && p->output_ops->ready(p->output);
}

static uint64_t sink_confirmed_lsn(void *self) {
    struct publisher *p = self;
    return p->output_ops->confirmed_lsn(p->output);
}

static void sink_snapshot_where(void *self, const char *schema, const char *table,
                                struct buf *out) {
    const struct publisher *p = self;
    if (!publisher_wants(&p->config, schema, table))
        buf_append_text(out, "false");
    else
        shape_where(&p->config.shape, schema, table, out);
}

static const struct change_sink_ops sink_ops = {
    .snapshot_where = sink_snapshot_where,
    .prepare = sink_prepare,
    .peek = sink_peek,
    .reset = sink_reset,
    .started = sink_started,
    .ended = sink_ended,
    .relation = sink_relation,
    .described_again = sink_relation,
    .begin = sink_begin,
    .change = sink_change,
    .commit = sink_commit,
    .snapshot_done = sink_snapshot_done,
    .note = sink_note,
    .progress = sink_progress,
    .tick = sink_tick,
    .tick_due_us = sink_tick_due_us,
    .ready = sink_ready,
    .wants_progress = sink_wants_progress,
    .confirmed_lsn = sink_confirmed_lsn,
};

struct change_sink publisher_sink(struct publisher *publisher) {
    const char *name = publisher->config.name ? publisher->config.name : "cdc";
    return (struct change_sink){.ops = &sink_ops, .self = publisher, .name = name};
}

bool publisher_wants(const struct publisher_config *config, const char *schema, const char *table) {
    return pattern_match_any(config->n_tables, config->tables, schema, table) &&
           shape_admits(&config->shape, schema, table);
}

/* ---- life ---- */

static void make_metrics(struct publisher *p) {
    struct metrics *metrics = p->deps.metrics;
    for (int i = 0; i < OP_COUNT; i++) {
        char label[16];
        snprintf(label, sizeof label, "op=\"%c\"", PUBLISH_LETTERS[i]);
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
    p->metrics.filtered = metrics_counter(
        metrics, "freshet_cdc_filtered_total",
        "Changes of rows that cdc.shape's `where` leaves out, as far as the server has sent them.",
        NULL);
    p->metrics.outbox = metrics_counter(metrics, "freshet_cdc_outbox_messages_total",
                                        "Messages of outboxes that were published.", NULL);
    p->metrics.published_lsn =
        metrics_gauge(metrics, "freshet_cdc_published_lsn_bytes",
                      "Position up to which every event is durable in the output, as a WAL byte "
                      "position.",
                      NULL);
}

static bool has_filters(const struct shape_rules *rules) {
    for (uint32_t i = 0; i < rules->n_entries; i++) {
        if (rules->entries[i].where) return true;
    }
    return false;
}

/* Those that may fail. */
static bool create_parts(struct publisher *p, struct error *err) {
    const struct publisher_deps *deps = &p->deps;
    if (p->encoder->registers) {
        p->registry = schema_registry_create(&p->config.registry, deps->log, deps->metrics, err);
        if (!p->registry) return false;
    }
    p->shaper = shaper_create(&p->config.shape, err);
    if (!p->shaper) return false;
    p->output_ops = output_find(p->config.output);
    p->output = p->output_ops->create(&p->config, deps, err);
    return p->output != NULL;
}

static void destroy_parts(struct publisher *p) {
    if (p->output) p->output_ops->destroy(p->output);
    shaper_destroy(&p->shaper);
    schema_registry_destroy(&p->registry);
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
    if (!create_parts(p, err)) {
        destroy_parts(p);
        mem_free(p);
        return NULL;
    }
    p->outbox_topics = outbox_topics_create();
    p->names = arena_create(1024);
    p->scratch = arena_create(16 * 1024);
    p->tables = tables_create(&p->config, p->registry, deps->log);
    p->keeper = keeper_create(&p->config, deps->log);
    event_source_init(&p->source, config->version, config->prefix, config->database,
                      &p->config.format);
    p->source.registry = p->registry;
    if (config->invalidations)
        p->invalidations = invalidations_create(&p->config, deps, p->output_ops, p->output);
    p->heartbeat =
        heartbeat_create(&p->config, deps, encoder, &p->source, p->output_ops, p->output);
    if (config->format.unchanged == UNCHANGED_REREAD || has_filters(&p->config.shape))
        p->reread = reread_create(config->database_url, deps->log, deps->metrics);
    make_metrics(p);
    return p;
}

void publisher_destroy(struct publisher **publisher) {
    struct publisher *p = *publisher;
    if (!p) return;
    keeper_destroy(&p->keeper);
    invalidations_destroy(&p->invalidations);
    heartbeat_destroy(&p->heartbeat);
    reread_destroy(&p->reread);
    tables_destroy(&p->tables);
    destroy_parts(p);
    outbox_topics_destroy(&p->outbox_topics);
    event_source_deinit(&p->source);
    buf_deinit(&p->key);
    buf_deinit(&p->value);
    buf_deinit(&p->header);
    buf_deinit(&p->placed_by);
    arena_destroy(&p->names);
    arena_destroy(&p->scratch);
    mem_free(p);
    *publisher = NULL;
}

json_t *publisher_status(struct publisher *p) {
    json_t *events = json_object();
    for (int i = 0; i < OP_COUNT; i++) {
        char letter[2] = {PUBLISH_LETTERS[i], '\0'};
        json_object_set_new(events, letter,
                            json_integer(atomic_load(&p->metrics.events[i]->value)));
    }
    json_t *status = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:I, s:I}", "output", p->output_ops->name, "prefix",
        p->config.prefix, "publication", p->config.publication, "encoding", p->encoder->name,
        "events", events, "dead_letters", (json_int_t)atomic_load(&p->metrics.dead_letters->value),
        "values_as_text", (json_int_t)atomic_load(&p->metrics.as_text->value));
    if (p->config.shape.n_entries)
        json_object_set_new(status, "filtered",
                            json_integer(atomic_load(&p->metrics.filtered->value)));
    if (p->config.n_outboxes || p->config.n_outbox_messages)
        json_object_set_new(status, "outbox_messages",
                            json_integer(atomic_load(&p->metrics.outbox->value)));
    if (p->registry) schema_registry_status(p->registry, status);
    p->output_ops->status(p->output, status);
    return status;
}

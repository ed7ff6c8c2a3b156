#include "cdc/publish/invalidations.h"

#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/invalidation.h"
#include "base/mem.h"
#include "cdc/encode/event_table.h"

enum {
    PART_BYTES = 256 * 1024, /* a transaction's record is written when it is as long */
    VALUE_BYTES = 8 * 1024,  /* a row with a longer one stands for its whole table */
    MIN_SLOTS = 64,          /* a power of two */
};

/* A relation, as the records describe it. */
struct carried {
    uint32_t oid;
    uint32_t version;       /* 0: to be made anew */
    uint64_t record;        /* the last record that it was written into, */
    uint32_t place;         /* and where there */
    uint64_t coarse_record; /* the last in which a change stands for the whole table */
    uint16_t n_columns;
    uint16_t *places; /* of its columns in the relation's */
    bool hidden;      /* one of them must not be shown: a row stands for the whole table */
    struct buf description;
};

struct invalidations {
    const struct publisher_config *config;
    const struct output_ops *output_ops;
    void *output;
    struct arena *names;
    void *topic;            /* the output's handle, made at first use */
    struct carried **slots; /* by OID; open addressing, at most half full */
    uint32_t n_slots;
    uint32_t n_carried;
    struct invalidation head;
    uint64_t record; /* number of the one that is being filled, from 1 */
    struct buf relations;
    struct buf changes;
    struct buf bytes;
    uint32_t n_relations;
    uint32_t n_changes;
    struct value *values; /* for an old and a new row */
    int64_t
        written_us; /* when the last whole transaction or heartbeat was; 0: none in this session */
    struct metric *transactions;
    struct metric *parts;
    struct metric *heartbeats;
    struct metric *written_bytes;
    struct metric *coarse;
};

/* ---- life ---- */

static void make_metrics(struct invalidations *inv, struct metrics *metrics) {
    static const char name[] = "freshet_cdc_invalidation_records_total";
    static const char help[] = "Records written to the topic of invalidations, by kind.";
    inv->transactions = metrics_counter(metrics, name, help, "kind=\"transaction\"");
    inv->parts = metrics_counter(metrics, name, help, "kind=\"part\"");
    inv->heartbeats = metrics_counter(metrics, name, help, "kind=\"heartbeat\"");
    inv->written_bytes = metrics_counter(metrics, "freshet_cdc_invalidation_bytes_total",
                                         "Bytes of records of the topic of invalidations.", NULL);
    inv->coarse = metrics_counter(
        metrics, "freshet_cdc_invalidation_coarse_total",
        "Records too large for Kafka, which name whole tables instead of their rows.", NULL);
}

struct invalidations *invalidations_create(const struct publisher_config *config,
                                           const struct publisher_deps *deps,
                                           const struct output_ops *output_ops, void *output) {
    struct invalidations *inv = mem_zalloc(sizeof *inv);
    inv->config = config;
    inv->output_ops = output_ops;
    inv->output = output;
    inv->names = arena_create(1024);
    inv->n_slots = MIN_SLOTS;
    inv->slots = mem_calloc(inv->n_slots, sizeof(struct carried *));
    inv->values = mem_calloc(2 * (size_t)INVALIDATION_MAX_COLUMNS, sizeof *inv->values);
    inv->record = 1;
    make_metrics(inv, deps->metrics);
    return inv;
}

static void carried_destroy(struct carried *carried) {
    if (!carried) return;
    buf_deinit(&carried->description);
    mem_free(carried->places);
    mem_free(carried);
}

void invalidations_destroy(struct invalidations **invalidations) {
    struct invalidations *inv = *invalidations;
    *invalidations = NULL;
    if (!inv) return;
    for (uint32_t i = 0; i < inv->n_slots; i++)
        carried_destroy(inv->slots[i]);
    mem_free(inv->slots);
    buf_deinit(&inv->relations);
    buf_deinit(&inv->changes);
    buf_deinit(&inv->bytes);
    arena_destroy(&inv->names);
    mem_free(inv->values);
    mem_free(inv);
}

static void new_record(struct invalidations *inv) {
    inv->record++;
    inv->relations.len = inv->changes.len = inv->bytes.len = 0;
    inv->n_relations = inv->n_changes = 0;
}

void invalidations_start(struct invalidations *inv, const struct feed_identity *identity,
                         uint64_t since_lsn) {
    inv->head = (struct invalidation){
        .source = {.system_identifier = identity->system_identifier,
                   .timeline = identity->timeline,
                   .server_start_us = identity->server_start_us,
                   .database = slice_from(inv->config->database),
                   .publication = slice_from(inv->config->publication)},
        .since_lsn = since_lsn,
    };
    inv->written_us = 0;
    new_record(inv);
}

/* ---- relations ---- */

static struct carried **find_slot(const struct invalidations *inv, uint32_t oid) {
    uint32_t at = oid * UINT32_C(2654435761);
    for (;; at++) {
        struct carried **slot = &inv->slots[at & (inv->n_slots - 1)];
        if (!*slot || (*slot)->oid == oid) return slot;
    }
}

static void grow(struct invalidations *inv) {
    struct carried **old = inv->slots;
    uint32_t n_old = inv->n_slots;
    inv->n_slots *= 2;
    inv->slots = mem_calloc(inv->n_slots, sizeof(struct carried *));
    for (uint32_t i = 0; i < n_old; i++) {
        if (old[i]) *find_slot(inv, old[i]->oid) = old[i];
    }
    mem_free(old);
}

void invalidations_columns_changed(struct invalidations *inv) {
    for (uint32_t i = 0; i < inv->n_slots; i++) {
        if (inv->slots[i]) inv->slots[i]->version = 0;
    }
}

static bool is_unique(const struct catalog_table *table, const char *name) {
    for (uint16_t i = 0; i < table->n_indexes; i++) {
        const struct catalog_index *index = &table->indexes[i];
        for (uint16_t k = 0; k < index->n_columns; k++) {
            if (strcmp(table->columns[index->columns[k]].name, name) == 0) return true;
        }
    }
    return false;
}

/* Is "schema.table.column" among those that the configuration names? */
static bool is_declared(const struct publisher_config *config, const struct relation *relation,
                        const char *name) {
    for (uint32_t i = 0; i < config->n_invalidation_columns; i++) {
        const char *wanted = config->invalidation_columns[i];
        const char *column = strrchr(wanted, '.');
        size_t schema_len = strlen(relation->schema);
        size_t table_len = strlen(relation->name);
        if (column && strcmp(column + 1, name) == 0 &&
            (size_t)(column - wanted) == schema_len + 1 + table_len &&
            memcmp(wanted, relation->schema, schema_len) == 0 && wanted[schema_len] == '.' &&
            memcmp(wanted + schema_len + 1, relation->name, table_len) == 0)
            return true;
    }
    return false;
}

static struct invalidation_column column_of(const struct relation_column *column) {
    return (struct invalidation_column){.name = slice_from(column->name),
                                        .type_oid = column->type_oid,
                                        .typmod = column->typmod,
                                        .identity = column->identity};
}

/* The relation as a whole; its hash is the fingerprint. */
static void describe(const struct relation *relation, const uint16_t *places, uint16_t n_columns,
                     uint64_t fingerprint, struct buf *out) {
    struct invalidation_column *columns = mem_calloc(n_columns + 1u, sizeof *columns);
    for (uint16_t i = 0; i < n_columns; i++)
        columns[i] = column_of(&relation->columns[places ? places[i] : i]);
    struct invalidation_relation description = {.oid = relation->oid,
                                                .fingerprint = fingerprint,
                                                .schema = slice_from(relation->schema),
                                                .name = slice_from(relation->name),
                                                .replica_identity = relation->replica_identity,
                                                .n_columns = n_columns,
                                                .columns = columns};
    invalidation_write_relation(out, &description);
    mem_free(columns);
}

static void make_carried(const struct invalidations *inv, struct carried *carried,
                         const struct relation *relation, const struct catalog_table *table,
                         const struct table_shape *shape) {
    ASSERT(relation->n_columns <= INVALIDATION_MAX_COLUMNS);
    carried->oid = relation->oid;
    carried->version = relation->version;
    carried->record = 0;
    carried->n_columns = 0;
    carried->hidden = false;
    mem_free(carried->places);
    carried->places = mem_calloc(relation->n_columns + 1u, sizeof *carried->places);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct relation_column *column = &relation->columns[i];
        bool wanted = table ? is_unique(table, column->name) : column->identity;
        if (!wanted && !is_declared(inv->config, relation, column->name)) continue;
        carried->places[carried->n_columns++] = i;
        carried->hidden |= shape && (shape->excluded || (i < shape->n_hidden && shape->hidden[i]));
    }
    carried->description.len = 0;
    describe(relation, NULL, relation->n_columns, 0, &carried->description);
    uint64_t fingerprint = XXH3_64bits(carried->description.data, carried->description.len);
    carried->description.len = 0;
    describe(relation, carried->places, carried->n_columns, fingerprint, &carried->description);
}

bool invalidations_knows(struct invalidations *inv, const struct relation *relation) {
    const struct carried *carried = *find_slot(inv, relation->oid);
    return carried && carried->version == relation->version;
}

static struct carried *find_carried(struct invalidations *inv, const struct relation *relation,
                                    const struct catalog_table *table,
                                    const struct table_shape *shape) {
    struct carried **slot = find_slot(inv, relation->oid);
    struct carried *carried = *slot;
    if (carried && carried->version == relation->version) return carried;
    if (!carried) {
        carried = *slot = mem_zalloc(sizeof *carried);
        if (++inv->n_carried * 2 > inv->n_slots) {
            carried->oid = relation->oid;
            grow(inv);
        }
    }
    make_carried(inv, carried, relation, table, shape);
    return carried;
}

/* ---- records ---- */

/* A record of the rows' tables in place of the rows. */
static void make_coarse(struct invalidations *inv) {
    inv->changes.len = 0;
    for (uint32_t i = 0; i < inv->n_relations; i++) {
        struct invalidation_change change = {.operation = CHANGE_TRUNCATE, .relation = i};
        invalidation_write_change(&inv->changes, &change);
    }
    inv->n_changes = inv->n_relations;
    metric_bump(inv->coarse, 1);
}

static enum write_result write_bytes(struct invalidations *inv, struct error *err) {
    inv->bytes.len = 0;
    invalidation_write(&inv->bytes, &inv->head, inv->n_relations, buf_slice(&inv->relations),
                       inv->n_changes, buf_slice(&inv->changes));
    struct record record = {.topic = inv->topic, .value = buf_slice(&inv->bytes)};
    return inv->output_ops->write(inv->output, &record, err);
}

static bool open_topic(struct invalidations *inv, struct error *err) {
    if (inv->topic) return true;
    struct topic_kind kind = {.ordered = true,
                              .retention_ms = inv->config->invalidations_retention_ms};
    const char *name = event_topic(inv->names, inv->config->prefix, NULL, "invalidations");
    inv->topic = inv->output_ops->topic(inv->output, name, &kind, err);
    return inv->topic != NULL;
}

static bool write_record(struct invalidations *inv, struct error *err) {
    if (!open_topic(inv, err)) return false;
    enum write_result result = write_bytes(inv, err);
    if (result == WRITE_REFUSED) {
        make_coarse(inv);
        result = write_bytes(inv, err);
    }
    if (result != WRITE_DONE) return error_prefix(err, "the record of invalidations");
    metric_bump(inv->written_bytes, (int64_t)inv->bytes.len);
    new_record(inv);
    return true;
}

static void write_head(struct invalidations *inv, const struct transaction *tx, bool last) {
    inv->head.kind = INVALIDATION_TRANSACTION;
    inv->head.xid = tx->xid;
    inv->head.commit_lsn = tx->commit_lsn;
    inv->head.commit_time_us = tx->commit_time_us;
    inv->head.last = last;
    inv->head.end_lsn = last ? tx->end_lsn : 0;
}

/* ---- transactions ---- */

static const struct value *carry(const struct carried *carried, const struct value *row,
                                 struct value *out, bool *fits) {
    if (!row) return NULL;
    for (uint16_t i = 0; i < carried->n_columns; i++) {
        out[i] = row[carried->places[i]];
        bool has_bytes = out[i].kind == VALUE_TEXT || out[i].kind == VALUE_BINARY;
        if (has_bytes && out[i].len > VALUE_BYTES) *fits = false;
    }
    return out;
}

static void write_change(struct invalidations *inv, struct carried *carried,
                         const struct change *change) {
    bool fits = !carried->hidden;
    struct invalidation_change written = {
        .operation = change->operation,
        .relation = carried->place,
        .old_is_key = change->old_is_key,
        .n_columns = carried->n_columns,
        .old_row = carry(carried, change->old_row, inv->values, &fits),
        .new_row = carry(carried, change->new_row, inv->values + INVALIDATION_MAX_COLUMNS, &fits),
    };
    if (!fits && carried->coarse_record == inv->record) return; /* said of it already */
    if (!fits) {
        carried->coarse_record = inv->record;
        written =
            (struct invalidation_change){.operation = CHANGE_TRUNCATE, .relation = carried->place};
    }
    invalidation_write_change(&inv->changes, &written);
    inv->n_changes++;
}

bool invalidations_change(struct invalidations *inv, const struct transaction *tx,
                          const struct change *change, const struct catalog_table *table,
                          const struct table_shape *shape, struct error *err) {
    bool of_row = change->operation == CHANGE_INSERT || change->operation == CHANGE_UPDATE ||
                  change->operation == CHANGE_DELETE;
    if (!of_row && change->operation != CHANGE_TRUNCATE) return true;
    if (inv->relations.len + inv->changes.len >= PART_BYTES) {
        write_head(inv, tx, false);
        if (!write_record(inv, err)) return false;
        inv->head.part++;
        metric_bump(inv->parts, 1);
    }
    struct carried *carried = find_carried(inv, change->relation, table, shape);
    if (carried->record != inv->record) {
        carried->record = inv->record;
        carried->place = inv->n_relations++;
        buf_append_slice(&inv->relations, buf_slice(&carried->description));
    }
    write_change(inv, carried, change);
    return true;
}

bool invalidations_commit(struct invalidations *inv, const struct transaction *tx,
                          struct error *err) {
    if (inv->n_changes == 0 && inv->head.part == 0) return true;
    write_head(inv, tx, true);
    if (!write_record(inv, err)) return false;
    inv->head.since_lsn = tx->end_lsn;
    inv->head.part = 0;
    inv->written_us = clock_mono_us();
    metric_bump(inv->transactions, 1);
    return true;
}

/* ---- heartbeats ---- */

bool invalidations_due(const struct invalidations *inv, int64_t now_us) {
    return now_us - inv->written_us >= inv->config->invalidations_interval_ms * 1000;
}

bool invalidations_beat(struct invalidations *inv, uint64_t end_lsn, int64_t now_us,
                        struct error *err) {
    ASSERT(inv->n_changes == 0 && inv->head.part == 0);
    inv->head.kind = INVALIDATION_HEARTBEAT;
    inv->head.end_lsn = end_lsn > inv->head.since_lsn ? end_lsn : inv->head.since_lsn;
    inv->head.interval_ms = (uint32_t)inv->config->invalidations_interval_ms;
    if (!write_record(inv, err)) return false;
    inv->head.since_lsn = inv->head.end_lsn;
    inv->written_us = now_us;
    metric_bump(inv->heartbeats, 1);
    return true;
}

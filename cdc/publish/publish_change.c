#include <string.h>

#include "base/clock.h"
#include "cdc/encode/encode_json.h"
#include "cdc/publish/publisher_parts.h"

/* ---- records ---- */

static struct slice bytes_of(const struct buf *buf) { return slice_make(buf->data, buf->len); }

void *publish_side_topic(struct publisher *p, void **handle, const char *name, struct error *err) {
    if (!*handle) {
        const char *topic = event_topic(p->names, p->config.prefix, NULL, name);
        *handle = p->output_ops->topic(p->output, topic, &topic_of_rows, err);
    }
    return *handle;
}

void *publish_topic(struct publisher *p, struct event_table *table, struct error *err) {
    if (!table->topic_handle)
        table->topic_handle = p->output_ops->topic(p->output, table->topic, &topic_of_rows, err);
    return table->topic_handle;
}

/* What the topic's records share: a registry may have to be asked for it. */
static bool prepare_side(struct publisher *p, enum event_side side, struct error *err) {
    return !p->encoder->prepare_side || p->encoder->prepare_side(&p->source, side, err);
}

/* {"status":"BEGIN","id":"<xid>:<lsn>",...} to <prefix>.transaction. */
bool publish_boundary(struct publisher *p, const char *status, uint64_t lsn, struct error *err) {
    bool begin = *status == 'B';
    if (!prepare_side(p, SIDE_TRANSACTION, err)) return false;
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
    p->encoder->frame(&p->source, FRAME_TRANSACTION_KEY, bytes_of(&key), &p->key);
    p->encoder->frame(&p->source, FRAME_TRANSACTION, bytes_of(&value), &p->value);
    struct record record = {.topic =
                                publish_side_topic(p, &p->transaction_topic, "transaction", err),
                            .key = bytes_of(&p->key),
                            .value = bytes_of(&p->value)};
    bool ok = record.topic && publish_write(p, &record, err) == WRITE_DONE;
    buf_deinit(&key);
    buf_deinit(&value);
    return ok;
}

static bool is_counted(const struct publisher *p, const struct event *event) {
    return p->config.format.transaction_metadata && p->source.xid && event->op != 'r';
}

static bool begin_order(struct publisher *p, const struct event *event, struct error *err) {
    if (!is_counted(p, event) || p->begin_written || p->hand.only) return true;
    p->begin_written = true;
    return publish_boundary(p, "BEGIN", event->lsn, err);
}

/* The event's place in its transaction, counted; NULL where it has none. */
static bool count_order(struct publisher *p, struct event *event, struct event_table *table,
                        struct error *err) {
    if (p->hand.only) { /* a replay: it was counted when it came */
        if (p->order.total) event->order = &p->order;
        return true;
    }
    if (!is_counted(p, event)) return true;
    if (!begin_order(p, event, err)) return false;
    p->order.total++;
    if (table) tables_count_event(p->tables, table);
    p->order.in_collection = table ? table->transaction_events : 1;
    event->order = &p->order;
    return true;
}

/* The images that the table's view has. */
static void apply_view(const struct event_table *table, struct event *event) {
    enum shape_view view = table->shape ? table->shape->view : VIEW_NEW_AND_OLD_IMAGES;
    if (view == VIEW_NEW_IMAGE) event->before = NULL;
    if (view == VIEW_OLD_IMAGE) event->after = NULL;
}

/* The bytes whose hash is the record's place, where other columns than the key's decide. */
static bool place_by(struct publisher *p, const struct event *event,
                     const struct event_table *table, const struct value *row,
                     struct encode_tally *tally, struct slice *placed_by) {
    if (!row || !table->shape || !table->shape->n_partition_by) return true;
    p->placed_by.len = 0;
    if (!encode_json_columns(table, table->shape->n_partition_by, table->shape->partition_by, row,
                             event->old_row, tally, &p->placed_by))
        return false;
    *placed_by = bytes_of(&p->placed_by);
    return true;
}

static bool is_skipped(const struct publisher *p, char op) {
    return p->config.skip_operations && strchr(p->config.skip_operations, op);
}

/* One event of a table: its record, and in a delete its tombstone. `key_row` NULL: a null key. */
static bool write_event(struct publisher *p, struct event *event, struct event_table *table,
                        const struct value *key_row, const struct record_header *header,
                        struct error *err) {
    if (p->hand.only && p->hand.only != event->op) return true;
    if (is_skipped(p, event->op)) return true;
    struct record record = {.topic = publish_topic(p, table, err)};
    if (!record.topic || !count_order(p, event, table, err)) return false;
    if (header) record.headers[record.n_headers++] = *header;
    if (p->encoder->rows_only)
        record.headers[record.n_headers++] =
            (struct record_header){.name = "__op", .value = slice_make(&event->op, 1)};
    struct encode_tally tally = {0};
    p->key.len = p->value.len = 0;
    apply_view(table, event);
    bool encoded = place_by(p, event, table, key_row, &tally, &record.placed_by);
    if (key_row && table->n_key)
        encoded = encoded && p->encoder->key(table, key_row, event->old_row, &tally, &p->key);
    bool is_row = !p->encoder->rows_only || event->after;
    if (is_row) encoded = encoded && p->encoder->value(&p->source, event, &tally, &p->value);
    if (tally.as_text) metric_bump(p->metrics.as_text, (int64_t)tally.as_text);
    if (!encoded) {
        char cause[256];
        snprintf(cause, sizeof cause, "column %.*s %s", (int)strlen(tally.refused) - 1,
                 tally.refused, tally.why);
        return publish_bury(p, event, cause, err);
    }
    if (p->key.len) record.key = bytes_of(&p->key);
    if (is_row) record.value = bytes_of(&p->value);
    if (!publish_record(p, event, &record, err)) return false;
    if (event->op != 'd' || !p->config.format.tombstones || !is_row) return true;
    record.value = (struct slice){0};
    return publish_record(p, event, &record, err);
}

/* ---- changes ---- */

/* A changed key: the row leaves its old key and appears under the new one, and each side names the other, in bare
 * JSON whatever the encoding. */
static bool write_moved(struct publisher *p, struct event *event, struct event_table *table,
                        const struct change *change, struct error *err) {
    struct encode_tally tally = {0};
    struct event gone = *event;
    gone.op = 'd';
    gone.before = change->old_row;
    gone.before_is_key = change->old_is_key;
    gone.after = NULL;
    gone.old_row = NULL;
    p->header.len = 0;
    if (!encode_json_header(table, change->new_row, change->old_row, &tally, &p->header))
        return publish_bury(p, event, "the new key cannot be encoded", err);
    struct record_header header = {.name = "__debezium.newkey", .value = bytes_of(&p->header)};
    if (!write_event(p, &gone, table, change->old_row, &header, err)) return false;

    p->header.len = 0;
    if (!encode_json_header(table, change->old_row, NULL, &tally, &p->header))
        return publish_bury(p, event, "the old key cannot be encoded", err);
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

static bool moves(const struct event_table *table, const struct change *change) {
    return change->operation == CHANGE_UPDATE && change->old_row &&
           event_key_changed(table, change->old_row, change->new_row);
}

static bool on_update(struct publisher *p, struct event *event, struct event_table *table,
                      const struct change *change, struct error *err) {
    event->after = change->new_row;
    /* An old key comes with a row that keeps its own, too, where that is stored apart. */
    event->before = change->old_row;
    event->before_is_key = change->old_is_key;
    event->old_row = change->old_row;
    if (moves(table, change)) return write_moved(p, event, table, change, err);
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
    if (!prepare_side(p, SIDE_MESSAGE, err) || !count_order(p, event, NULL, err)) return false;
    p->key.len = p->value.len = 0;
    p->encoder->message_key(&p->source, change->message_prefix, &p->key);
    if (!p->encoder->value(&p->source, event, &tally, &p->value))
        return publish_bury(p, event, "the message's times are beyond its types", err);
    struct record record = {.topic = publish_side_topic(p, &p->message_topic, "message", err),
                            .key = bytes_of(&p->key),
                            .value = bytes_of(&p->value)};
    return record.topic && publish_record(p, event, &record, err);
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

char publish_op_letter(enum change_operation operation) {
    return PUBLISH_LETTERS[operations[operation].op];
}

bool publish_table_change(struct publisher *p, struct event_table *table,
                          const struct change *change, struct error *err) {
    const struct operation *operation = &operations[change->operation];
    char op = publish_op_letter(change->operation);
    struct event event = {.op = op,
                          .table = table,
                          .lsn = change->row_lsn,
                          .marker = change->marker,
                          .now_us = clock_wall_us()};
    /* Of what is skipped the transaction is told all the same; and a row that moves to another key is a delete and a create,
     * whatever becomes of updates. */
    if (is_skipped(p, op) && !moves(table, change)) return begin_order(p, &event, err);
    p->hand.change = change;
    bool ok = operation->write(p, &event, table, change, err);
    if (ok) metric_bump(p->metrics.events[operation->op], 1);
    return ok;
}

static bool publish_by_kind(struct publisher *p, const struct change *change, struct error *err) {
    if (change->operation == CHANGE_MESSAGE) {
        const struct outbox_entry *outbox = outbox_find_prefix(
            p->config.n_outbox_messages, p->config.outbox_messages, change->message_prefix);
        return outbox ? publish_outbox_message(p, outbox, change, err)
                      : publish_table_change(p, NULL, change, err);
    }
    struct event_table *table = tables_find(p->tables, change->relation, err);
    if (!table) return false;
    /* What is replayed is as events show it already. */
    if (table->shape && !p->hand.only) return publish_shaped(p, table, change, err);
    return table->outbox ? publish_outbox_row(p, table, change, err)
                         : publish_table_change(p, table, change, err);
}

bool publish_change(struct publisher *p, const struct change *change, struct error *err) {
    p->hand.change = change;
    p->hand.records = 0;
    struct change whole = *change;
    bool wanted = p->config.format.unchanged == UNCHANGED_REREAD && !p->hand.only;
    bool ok = !wanted || reread_change(p->reread, &whole, err);
    ok = ok && publish_by_kind(p, &whole, err);
    p->hand.change = NULL;
    return ok;
}

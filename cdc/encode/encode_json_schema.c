/* Debezium's envelope with its schema, as Kafka Connect's JSON converter writes both: {"schema":...,"payload":...}. The schemas
 * of a table's records are made once; the payload is the plain encoder's. */
#include "cdc/encode/encode.h"
#include "cdc/encode/event_schema.h"

static struct slice make_head(const struct connect_schema *schema, struct arena *arena) {
    struct buf text = {0};
    buf_append_text(&text, "{\"schema\":");
    connect_schema_json(schema, NULL, &text);
    buf_append_text(&text, ",\"payload\":");
    struct slice head = arena_dup(arena, buf_slice(&text));
    buf_deinit(&text);
    return head;
}

static bool schema_prepare(struct event_table *table, struct schema_registry *registry,
                           struct error *err) {
    (void)registry;
    (void)err;
    const struct connect_field *columns = event_schema_columns(table, table->arena);
    struct connect_schema key = event_schema_key(table, table->topic, columns, table->arena);
    struct connect_schema envelope =
        event_schema_envelope(table, table->topic, columns, table->arena);
    table->key_head = make_head(&key, table->arena);
    table->value_head = make_head(&envelope, table->arena);
    return true;
}

static bool schema_key(const struct event_table *table, const struct value *row,
                       const struct value *old_row, struct encode_tally *tally, struct buf *out) {
    buf_append_slice(out, table->key_head);
    if (!encode_json.key(table, row, old_row, tally, out)) return false;
    buf_append_char(out, '}');
    return true;
}

/* Of a schema that is the same for every table. */
static void append_framed_head(const struct connect_schema *schema, struct buf *out) {
    buf_append_text(out, "{\"schema\":");
    connect_schema_json(schema, NULL, out);
    buf_append_text(out, ",\"payload\":");
}

static bool schema_value(const struct event_source *source, const struct event *event,
                         struct encode_tally *tally, struct buf *out) {
    if (event->table)
        buf_append_slice(out, event->table->value_head);
    else
        append_framed_head(source->format->bytes == BYTES_BASE64 ? &connect_message_value
                                                                 : &connect_text_message_value,
                           out);
    if (!encode_json.value(source, event, tally, out)) return false;
    buf_append_char(out, '}');
    return true;
}

static void schema_message_key(const struct event_source *source, struct slice prefix,
                               struct buf *out) {
    append_framed_head(&connect_message_key, out);
    encode_json.message_key(source, prefix, out);
    buf_append_char(out, '}');
}

static void schema_frame(const struct event_source *source, enum event_frame frame,
                         struct slice payload, struct buf *out) {
    (void)source;
    static const struct connect_schema *const schemas[] = {
        [FRAME_TRANSACTION_KEY] = &connect_transaction_key,
        [FRAME_TRANSACTION] = &connect_transaction_value,
        [FRAME_HEARTBEAT_KEY] = &connect_heartbeat_key,
        [FRAME_HEARTBEAT] = &connect_heartbeat_value,
    };
    append_framed_head(schemas[frame], out);
    buf_append_slice(out, payload);
    buf_append_char(out, '}');
}

const struct event_encoder encode_json_schema = {
    .name = "json-schema",
    .prepare = schema_prepare,
    .key = schema_key,
    .value = schema_value,
    .message_key = schema_message_key,
    .frame = schema_frame,
};

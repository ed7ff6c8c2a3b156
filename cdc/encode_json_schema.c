/* Debezium's envelope with its schema, as Kafka Connect's JSON converter writes both: {"schema":...,"payload":...}. The schemas
 * of a table's records are made once; the payload is the plain encoder's. */
#include "cdc/encode.h"

static struct slice make_head(const struct connect_schema *schema, struct arena *arena) {
    struct buf text = {0};
    buf_append_text(&text, "{\"schema\":");
    connect_schema_json(schema, NULL, &text);
    buf_append_text(&text, ",\"payload\":");
    struct slice head = arena_dup(arena, buf_slice(&text));
    buf_deinit(&text);
    return head;
}

static const char *named(const struct event_table *table, const char *suffix, struct buf *text) {
    text->len = 0;
    buf_printf(text, "%s.%s", table->topic, suffix);
    return buf_text(text);
}

static void prepare_key(struct event_table *table, struct buf *text) {
    struct connect_field *fields = arena_alloc(table->arena, (table->n_key + 1u) * sizeof *fields);
    for (uint16_t i = 0; i < table->n_key; i++)
        fields[i] = table->columns[table->key[i]].field;
    struct connect_schema key = {.kind = CONNECT_STRUCT,
                                 .name = named(table, "Key", text),
                                 .n_fields = table->n_key,
                                 .fields = fields};
    table->key_head = make_head(&key, table->arena);
}

static void prepare_value(struct event_table *table, struct buf *text) {
    struct connect_field *columns =
        arena_alloc(table->arena, (table->n_columns + 1u) * sizeof *columns);
    for (uint16_t i = 0; i < table->n_columns; i++)
        columns[i] = table->columns[i].field;
    struct connect_schema row = {.kind = CONNECT_STRUCT,
                                 .optional = true,
                                 .name = arena_strdup(table->arena, named(table, "Value", text)),
                                 .n_fields = table->n_columns,
                                 .fields = columns};
    const struct connect_field fields[] = {
        {"before", row},
        {"after", row},
        {"source", connect_source},
        {"transaction", connect_transaction_block},
        {"op", {.kind = CONNECT_STRING}},
        {"ts_ms", {.kind = CONNECT_INT64, .optional = true}},
        {"ts_us", {.kind = CONNECT_INT64, .optional = true}},
        {"ts_ns", {.kind = CONNECT_INT64, .optional = true}},
    };
    struct connect_schema envelope = {.kind = CONNECT_STRUCT,
                                      .name = named(table, "Envelope", text),
                                      .version = 2,
                                      .n_fields = sizeof fields / sizeof *fields,
                                      .fields = fields};
    table->value_head = make_head(&envelope, table->arena);
}

static void schema_prepare(struct event_table *table) {
    struct buf text = {0};
    prepare_key(table, &text);
    prepare_value(table, &text);
    buf_deinit(&text);
}

static bool schema_key(const struct event_table *table, const struct value *row,
                       const struct value *old_whole, struct encode_tally *tally, struct buf *out) {
    buf_append_slice(out, table->key_head);
    if (!encode_json.key(table, row, old_whole, tally, out)) return false;
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

static void schema_message_key(struct slice prefix, struct buf *out) {
    append_framed_head(&connect_message_key, out);
    encode_json.message_key(prefix, out);
    buf_append_char(out, '}');
}

static void schema_frame(enum event_frame frame, struct slice payload, struct buf *out) {
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

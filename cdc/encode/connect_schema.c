#include "cdc/encode/connect_schema.h"

#include <string.h>

#include "base/json.h"

static const char *const kind_names[] = {
    [CONNECT_INT16] = "int16",   [CONNECT_INT32] = "int32",   [CONNECT_INT64] = "int64",
    [CONNECT_FLOAT] = "float",   [CONNECT_DOUBLE] = "double", [CONNECT_BOOLEAN] = "boolean",
    [CONNECT_STRING] = "string", [CONNECT_BYTES] = "bytes",   [CONNECT_ARRAY] = "array",
    [CONNECT_MAP] = "map",       [CONNECT_STRUCT] = "struct",
};

static void append_quoted(struct buf *out, const char *text) {
    json_append_string_java(out, slice_from(text));
}

static void append_parts(const struct connect_schema *schema, struct buf *out) {
    static const struct connect_schema map_key = {.kind = CONNECT_STRING};
    if (schema->kind == CONNECT_ARRAY) {
        buf_append_text(out, ",\"items\":");
        connect_schema_json(schema->items, NULL, out);
    } else if (schema->kind == CONNECT_MAP) {
        buf_append_text(out, ",\"keys\":");
        connect_schema_json(&map_key, NULL, out);
        buf_append_text(out, ",\"values\":");
        connect_schema_json(schema->items, NULL, out);
    } else if (schema->kind == CONNECT_STRUCT) {
        buf_append_text(out, ",\"fields\":[");
        for (uint16_t i = 0; i < schema->n_fields; i++) {
            if (i) buf_append_char(out, ',');
            connect_schema_json(&schema->fields[i].schema, schema->fields[i].name, out);
        }
        buf_append_char(out, ']');
    }
}

void connect_schema_json(const struct connect_schema *schema, const char *field, struct buf *out) {
    buf_printf(out, "{\"type\":\"%s\"", kind_names[schema->kind]);
    append_parts(schema, out);
    buf_append_text(out, schema->optional ? ",\"optional\":true" : ",\"optional\":false");
    if (schema->name) {
        buf_append_text(out, ",\"name\":");
        append_quoted(out, schema->name);
    }
    if (schema->version) buf_printf(out, ",\"version\":%d", schema->version);
    if (schema->doc) {
        buf_append_text(out, ",\"doc\":");
        append_quoted(out, schema->doc);
    }
    for (uint16_t i = 0; i < schema->n_parameters; i++) {
        buf_append_text(out, i ? "," : ",\"parameters\":{");
        append_quoted(out, schema->parameters[i].name);
        buf_append_char(out, ':');
        append_quoted(out, schema->parameters[i].value);
    }
    if (schema->n_parameters) buf_append_char(out, '}');
    if (schema->default_json.data) {
        buf_append_text(out, ",\"default\":");
        buf_append_slice(out, schema->default_json);
    }
    if (field) {
        buf_append_text(out, ",\"field\":");
        append_quoted(out, field);
    }
    buf_append_char(out, '}');
}

void connect_schema_parameter(struct connect_schema *schema, const char *name, const char *value,
                              struct arena *arena) {
    size_t n = schema->n_parameters;
    struct connect_parameter *all = arena_alloc(arena, (n + 1) * sizeof *all);
    if (n) memcpy(all, schema->parameters, n * sizeof *all);
    all[n] = (struct connect_parameter){name, arena_strdup(arena, value)};
    schema->parameters = all;
    schema->n_parameters++;
}

/* --- what is the same for every table --- */

#define FIELD(field, kind_, optional_)                                                             \
    {                                                                                              \
        field, { .kind = CONNECT_##kind_, .optional = (optional_) }                                \
    }
#define STRUCT(fields_)                                                                            \
    .kind = CONNECT_STRUCT, .n_fields = sizeof(fields_) / sizeof *(fields_), .fields = (fields_)

#define SNAPSHOT_MARKERS                                                                           \
    "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"
static const struct connect_parameter markers[] = {{"allowed", SNAPSHOT_MARKERS}};

static const struct connect_field source_fields[] = {
    FIELD("version", STRING, false),
    FIELD("connector", STRING, false),
    FIELD("name", STRING, false),
    FIELD("ts_ms", INT64, false),
    {"snapshot",
     {.kind = CONNECT_STRING,
      .optional = true,
      .name = "io.debezium.data.Enum",
      .version = 1,
      .n_parameters = 1,
      .parameters = markers,
      .default_json = {"\"false\"", 7}}},
    FIELD("db", STRING, false),
    FIELD("sequence", STRING, true),
    FIELD("ts_us", INT64, true),
    FIELD("ts_ns", INT64, true),
    FIELD("schema", STRING, false),
    FIELD("table", STRING, false),
    FIELD("txId", INT64, true),
    FIELD("lsn", INT64, true),
    FIELD("xmin", INT64, true),
};
#define SOURCE                                                                                     \
    STRUCT(source_fields), .name = "io.debezium.connector.postgresql.Source", .version = 1
const struct connect_schema connect_source = {SOURCE};

static const struct connect_field block_fields[] = {
    FIELD("id", STRING, false),
    FIELD("total_order", INT64, false),
    FIELD("data_collection_order", INT64, false),
};
#define BLOCK STRUCT(block_fields), .optional = true, .name = "event.block", .version = 1
const struct connect_schema connect_transaction_block = {BLOCK};

static const struct connect_field message_key_fields[] = {FIELD("prefix", STRING, true)};
const struct connect_schema connect_message_key = {
    STRUCT(message_key_fields),
    .name = "io.debezium.connector.postgresql.MessageKey",
    .version = 1,
};

/* Twice: the content as bytes, and as their text in another form. */
#define MESSAGE_VALUE(name_, kind_)                                                                \
    static const struct connect_field name_##_fields[] = {FIELD("prefix", STRING, true),           \
                                                          FIELD("content", kind_, true)};          \
    static const struct connect_field name_##_value_fields[] = {                                   \
        FIELD("op", STRING, false),                                                                \
        FIELD("ts_ms", INT64, true),                                                               \
        {"source", {SOURCE}},                                                                      \
        {"transaction", {BLOCK}},                                                                  \
        {"message",                                                                                \
         {STRUCT(name_##_fields), .name = "io.debezium.connector.postgresql.Message",              \
          .version = 1}},                                                                          \
    };                                                                                             \
    const struct connect_schema connect_##name_##_value = {                                        \
        STRUCT(name_##_value_fields),                                                              \
        .name = "io.debezium.connector.postgresql.MessageValue",                                   \
        .version = 1,                                                                              \
    };
MESSAGE_VALUE(message, BYTES)
MESSAGE_VALUE(text_message, STRING)

static const struct connect_field transaction_key_fields[] = {FIELD("id", STRING, false)};
const struct connect_schema connect_transaction_key = {
    STRUCT(transaction_key_fields),
    .name = "io.debezium.connector.common.TransactionMetadataKey",
    .version = 1,
};

static const struct connect_field collection_fields[] = {
    FIELD("data_collection", STRING, false),
    FIELD("event_count", INT64, false),
};
static const struct connect_schema collection = {STRUCT(collection_fields), .optional = true,
                                                 .name = "event.collection", .version = 1};
static const struct connect_field transaction_value_fields[] = {
    FIELD("status", STRING, false),
    FIELD("id", STRING, false),
    FIELD("event_count", INT64, true),
    {"data_collections", {.kind = CONNECT_ARRAY, .optional = true, .items = &collection}},
    FIELD("ts_ms", INT64, false),
};
const struct connect_schema connect_transaction_value = {
    STRUCT(transaction_value_fields),
    .name = "io.debezium.connector.common.TransactionMetadataValue",
    .version = 1,
};

static const struct connect_field heartbeat_key_fields[] = {FIELD("serverName", STRING, false)};
const struct connect_schema connect_heartbeat_key = {
    STRUCT(heartbeat_key_fields),
    .name = "io.debezium.connector.common.ServerNameKey",
    .version = 1,
};

static const struct connect_field heartbeat_value_fields[] = {FIELD("ts_ms", INT64, false)};
const struct connect_schema connect_heartbeat_value = {
    STRUCT(heartbeat_value_fields),
    .name = "io.debezium.connector.common.Heartbeat",
    .version = 1,
};

/* What values of each type look like, in the words of Kafka Connect: kinds, and the names that Debezium gives them. */
#include <inttypes.h>
#include <stdio.h>

#include "cdc/encode/codec_rules.h"

static void describe(struct connect_schema *schema, enum connect_kind kind, const char *name) {
    schema->kind = kind;
    schema->name = name;
    schema->version = name ? 1 : 0;
}

#define PLAIN(function, kind)                                                                      \
    void function(const struct codec *codec, struct connect_schema *schema, struct arena *arena) { \
        (void)codec;                                                                               \
        (void)arena;                                                                               \
        describe(schema, kind, NULL);                                                              \
    }
PLAIN(codec_describe_int16, CONNECT_INT16)
PLAIN(codec_describe_int32, CONNECT_INT32)
PLAIN(codec_describe_int64, CONNECT_INT64)
PLAIN(codec_describe_float, CONNECT_FLOAT)
PLAIN(codec_describe_double, CONNECT_DOUBLE)
PLAIN(codec_describe_boolean, CONNECT_BOOLEAN)

static void add_number(struct connect_schema *schema, const char *name, int32_t value,
                       struct arena *arena) {
    char text[16];
    snprintf(text, sizeof text, "%" PRId32, value);
    connect_schema_parameter(schema, name, text, arena);
}

void codec_describe_decimal(const struct codec *codec, struct connect_schema *schema,
                            struct arena *arena) {
    static const struct connect_field variable[] = {{"scale", {.kind = CONNECT_INT32}},
                                                    {"value", {.kind = CONNECT_BYTES}}};
    switch (codec->format->decimals) {
    case DECIMALS_STRING: return;
    case DECIMALS_DOUBLE: schema->kind = CONNECT_DOUBLE; return;
    case DECIMALS_PRECISE: break;
    }
    if (codec->scale == SCALE_VARIABLE) {
        describe(schema, CONNECT_STRUCT, "io.debezium.data.VariableScaleDecimal");
        schema->doc = "Variable scaled decimal";
        schema->n_fields = 2;
        schema->fields = variable;
        return;
    }
    describe(schema, CONNECT_BYTES, "org.apache.kafka.connect.data.Decimal");
    add_number(schema, "scale", codec->scale, arena);
    if (codec->precision) add_number(schema, "connect.decimal.precision", codec->precision, arena);
}

void codec_describe_date(const struct codec *codec, struct connect_schema *schema,
                         struct arena *arena) {
    (void)arena;
    describe(schema, CONNECT_INT32,
             codec->format->times == TIMES_CONNECT ? "org.apache.kafka.connect.data.Date"
                                                   : "io.debezium.time.Date");
}

void codec_describe_time(const struct codec *codec, struct connect_schema *schema,
                         struct arena *arena) {
    (void)arena;
    if (codec->format->times == TIMES_CONNECT)
        describe(schema, CONNECT_INT32, "org.apache.kafka.connect.data.Time");
    else if (codec->format->times == TIMES_ADAPTIVE && codec->digits <= 3)
        describe(schema, CONNECT_INT32, "io.debezium.time.Time");
    else
        describe(schema, CONNECT_INT64, "io.debezium.time.MicroTime");
}

void codec_describe_timestamp(const struct codec *codec, struct connect_schema *schema,
                              struct arena *arena) {
    (void)arena;
    const char *name =
        codec->digits <= 3 ? "io.debezium.time.Timestamp" : "io.debezium.time.MicroTimestamp";
    if (codec->format->times == TIMES_CONNECT) name = "org.apache.kafka.connect.data.Timestamp";
    describe(schema, CONNECT_INT64, name);
}

void codec_describe_interval(const struct codec *codec, struct connect_schema *schema,
                             struct arena *arena) {
    (void)arena;
    if (codec->format->intervals == INTERVALS_STRING)
        describe(schema, CONNECT_STRING, "io.debezium.time.Interval");
    else
        describe(schema, CONNECT_INT64, "io.debezium.time.MicroDuration");
}

void codec_describe_bytes(const struct codec *codec, struct connect_schema *schema,
                          struct arena *arena) {
    (void)arena;
    if (codec->format->bytes == BYTES_BASE64) schema->kind = CONNECT_BYTES;
}

void codec_describe_bit(const struct codec *codec, struct connect_schema *schema,
                        struct arena *arena) {
    if (codec->bits == 1) {
        schema->kind = CONNECT_BOOLEAN;
        return;
    }
    describe(schema, CONNECT_BYTES, "io.debezium.data.Bits");
    add_number(schema, "length", codec->bits > 0 ? codec->bits : INT32_MAX, arena);
}

void codec_describe_hstore(const struct codec *codec, struct connect_schema *schema,
                           struct arena *arena) {
    static const struct connect_schema text = {.kind = CONNECT_STRING, .optional = true};
    (void)arena;
    if (codec->format->hstore == HSTORE_MAP) {
        describe(schema, CONNECT_MAP, NULL);
        schema->items = &text;
    } else {
        describe(schema, CONNECT_STRING, "io.debezium.data.Json");
    }
}

void codec_describe_point(const struct codec *codec, struct connect_schema *schema,
                          struct arena *arena) {
    static const struct connect_field parts[] = {
        {"x", {.kind = CONNECT_DOUBLE}},
        {"y", {.kind = CONNECT_DOUBLE}},
        {"wkb", {.kind = CONNECT_BYTES, .optional = true}},
        {"srid", {.kind = CONNECT_INT32, .optional = true}},
    };
    (void)codec;
    (void)arena;
    describe(schema, CONNECT_STRUCT, "io.debezium.data.geometry.Point");
    schema->doc = "Geometry (POINT)";
    schema->n_fields = sizeof parts / sizeof *parts;
    schema->fields = parts;
}

static void describe_array_of(const struct connect_schema *items, struct connect_schema *schema) {
    describe(schema, CONNECT_ARRAY, NULL);
    schema->items = items;
}

void codec_describe_small_vector(const struct codec *codec, struct connect_schema *schema,
                                 struct arena *arena) {
    static const struct connect_schema number = {.kind = CONNECT_INT16, .optional = true};
    (void)codec;
    (void)arena;
    describe_array_of(&number, schema);
}

void codec_describe_vector(const struct codec *codec, struct connect_schema *schema,
                           struct arena *arena) {
    static const struct connect_schema number = {.kind = CONNECT_INT64, .optional = true};
    (void)codec;
    (void)arena;
    describe_array_of(&number, schema);
}

void codec_describe_enum(const struct codec *codec, struct connect_schema *schema,
                         struct arena *arena) {
    describe(schema, CONNECT_STRING, "io.debezium.data.Enum");
    connect_schema_parameter(schema, "allowed", codec->labels ? codec->labels : "", arena);
}

void codec_describe_array(const struct codec *codec, struct connect_schema *schema,
                          struct arena *arena) {
    struct connect_schema *items = arena_zalloc(arena, sizeof *items);
    /* Debezium says of an enum's elements, and of no others, that none is null. */
    bool optional = codec->element->rule->describe != codec_describe_enum;
    codec_schema(codec->element, optional, NULL, arena, items);
    describe_array_of(items, schema);
}

/* connect_schema.h: the schema of a value as Kafka Connect describes one, and its JSON, as Connect's JSON converter writes it.
 *
 *     struct connect_schema schema = {.kind = CONNECT_INT32, .name = "io.debezium.time.Date", .version = 1};
 *     connect_schema_json(&schema, NULL, &out)      {"type":"int32","optional":false,"name":"io.debezium.time.Date","version":1}
 *
 * Names, versions and parameters are Debezium's. What a schema points to lives in an arena, or for ever. */
#ifndef FRESHET_CDC_CONNECT_SCHEMA_H
#define FRESHET_CDC_CONNECT_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

enum connect_kind {
    CONNECT_INT16,
    CONNECT_INT32,
    CONNECT_INT64,
    CONNECT_FLOAT,
    CONNECT_DOUBLE,
    CONNECT_BOOLEAN,
    CONNECT_STRING,
    CONNECT_BYTES,
    CONNECT_ARRAY,  /* of `items` */
    CONNECT_MAP,    /* of strings to `items` */
    CONNECT_STRUCT, /* of `fields` */
};

struct connect_field;

struct connect_parameter {
    const char *name, *value;
};

struct connect_schema {
    enum connect_kind kind;
    bool optional;
    const char *name; /* NULL: none */
    int version;      /* 0: none */
    const char *doc;
    uint16_t n_parameters;
    const struct connect_parameter *parameters;
    struct slice default_json; /* data NULL: none */
    const struct connect_schema *items;
    uint16_t n_fields;
    const struct connect_field *fields;
};

struct connect_field {
    const char *name;
    struct connect_schema schema;
};

/* Appends it; as a field of a struct, where a name is given. */
void connect_schema_json(const struct connect_schema *schema, const char *field, struct buf *out);

/* One more parameter. */
void connect_schema_parameter(struct connect_schema *schema, const char *name, const char *value,
                              struct arena *arena);

/* What is the same for every table. */
extern const struct connect_schema connect_source;
extern const struct connect_schema connect_transaction_block;
extern const struct connect_schema connect_message_key, connect_message_value,
    connect_text_message_value; /* the content in hex, say */
extern const struct connect_schema connect_transaction_key, connect_transaction_value;
extern const struct connect_schema connect_heartbeat_key, connect_heartbeat_value;

#endif

/* avro.h: Kafka Connect's schemas and values as Avro, by the conventions of Confluent's and Apicurio's Avro converters: a struct
 * is a record of its schema's name, what is optional a union with null, and what Avro has no word for stands in properties
 * (connect.name, connect.version, connect.parameters, connect.default, connect.type).
 *
 *     avro_schema_append(&schema, &text)          the schema, as a registry keeps it
 *     avro_replace_json(&schema, &out, at)        a value that a codec has written as JSON
 *
 * Pure; any thread. Avro specification 1.12, "Schema Declaration", "Binary encoding". */
#ifndef FRESHET_CDC_AVRO_H
#define FRESHET_CDC_AVRO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "cdc/encode/connect_schema.h"

void avro_schema_append(const struct connect_schema *schema, struct buf *out);

/* Avro's names are [A-Za-z_][A-Za-z0-9_]*, a full name those with dots between. As Debezium adjusts them: every other character
 * is an underscore, and a digit in front gets one before it; here behind a dot, too, where Debezium leaves it alone and Apicurio's
 * Confluent API then refuses the schema. */
void avro_full_name_append(const char *name, struct buf *out);
void avro_field_name_append(const char *name, struct buf *out);

/* Zigzag, base 128. */
static inline void avro_append_long(struct buf *out, int64_t value) {
    uint64_t rest = value < 0 ? ~((uint64_t)value << 1) : (uint64_t)value << 1;
    char *at = buf_reserve(out, 10);
    for (; rest >= 0x80; rest >>= 7)
        *at++ = (char)(rest | 0x80);
    *at++ = (char)rest;
    out->len = (size_t)(at - out->data);
}

/* bytes, and string: both are their length and themselves. */
static inline void avro_append_bytes(struct buf *out, struct slice bytes) {
    avro_append_long(out, (int64_t)bytes.len);
    buf_append_slice(out, bytes);
}

/* The byte that says which side of an optional value's union follows: null stands first, but behind a type with a default. */
static inline char avro_branch(const struct connect_schema *schema, bool null) {
    return schema->default_json.data ? (null ? 2 : 0) : (null ? 0 : 2);
}

/* The value of `schema` that stands at the end of *out as JSON, from `at` on and without white space, gives way to its Avro.
 * A struct's fields stand in the schema's order. False: it does not fit the schema; *out then ends at `at`. */
bool avro_replace_json(const struct connect_schema *schema, struct buf *out, size_t at)
    __attribute__((warn_unused_result));

#endif

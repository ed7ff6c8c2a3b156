/* codec.h: one column's values as JSON: PostgreSQL's text in, JSON's out, by the rule of the column's type.
 *
 *     struct codec *codec = codec_resolve(types, oid, typmod, format, arena);      once a relation
 *     codec_encode(codec, text, &out)                                              once a value; no allocation
 *
 * The rules are Debezium's (PostgreSQL connector, "Data type mappings"). A new type is one row of the table in
 * codec.c and one function in codec_<family>.c. Codecs are immutable; any thread. */
#ifndef FRESHET_CDC_CODEC_H
#define FRESHET_CDC_CODEC_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"
#include "cdc/decode/types.h"
#include "cdc/encode/connect_schema.h"
#include "cdc/encode/format.h"

enum codec_result {
    CODEC_DONE,
    CODEC_AS_TEXT, /* what came was not what the type prints, or has no rule: written as a JSON string */
    CODEC_REFUSED, /* the configuration wants no such value (format.non_finite) */
};

struct codec;

/* Appends the value. *out is as it was on CODEC_REFUSED. */
enum codec_result codec_encode(const struct codec *codec, struct slice text, struct buf *out);

/* What an encoder other than JSON's need not read back from JSON. */
enum codec_form {
    FORM_JSON,    /* as codec_encode writes it */
    FORM_TEXT,    /* a string: PostgreSQL's text as it is */
    FORM_INTEGER, /* digits, with a minus or none */
    FORM_BOOLEAN, /* t, f */
    FORM_HEX,     /* bytes: \x and two digits each */
};
enum codec_form codec_form(const struct codec *codec);

/* The same in a header, as Kafka Connect writes it there: a decimal that is bytes elsewhere as its digits. */
enum codec_result codec_encode_header(const struct codec *codec, struct slice text,
                                      struct buf *out);

/* Never fails: an unknown type's codec writes text. `format` must outlive the codec. */
const struct codec *codec_resolve(const struct types *types, uint32_t type_oid, int32_t typmod,
                                  const struct event_format *format, struct arena *arena);

/* What its values look like, with the column's default where it has one (`default_sql` as pg_get_expr prints it; NULL for none). */
void codec_schema(const struct codec *codec, bool optional, const char *default_sql,
                  struct arena *arena, struct connect_schema *schema);

/* The column's default, where it is a literal, or a function's result, for which Debezium has a stand-in. False: none. */
bool codec_default(const struct codec *codec, const char *default_sql, struct buf *out);

/* What stands in a delete for a NOT NULL column that is not in the stream: the column's default where that is
 * known (codec_default), else the type's zero. */
void codec_filler(const struct codec *codec, const char *default_sql, struct buf *out);

/* What stands for an unchanged TOASTed value that is not in the stream, in the column's own form. */
void codec_placeholder(const struct codec *codec, struct buf *out);

/* Bytes that are no column's, in the form of `format.bytes`, quoted. */
void codec_bytes(const struct event_format *format, struct slice bytes, struct buf *out);

#define CODEC_PLACEHOLDER "__debezium_unavailable_value"

#endif

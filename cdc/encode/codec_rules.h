/* codec_rules.h: what the codec families share among themselves: the rule's shape and its functions. Private to
 * codec*.c. */
#ifndef FRESHET_CDC_CODEC_RULES_H
#define FRESHET_CDC_CODEC_RULES_H

#include "cdc/encode/codec.h"

enum { SCALE_VARIABLE = INT32_MAX };

typedef enum codec_result codec_function(const struct codec *codec, struct slice text,
                                         struct buf *out);
typedef void codec_writer(const struct codec *codec, struct buf *out);
/* Fills in what the type says of the schema; kind STRING if nothing. */
typedef void codec_describer(const struct codec *codec, struct connect_schema *schema,
                             struct arena *arena);

struct codec_rule {
    const char *type; /* pg_type.typname */
    codec_function *encode;
    codec_writer *zero;        /* in a delete, where the column may not be null */
    codec_writer *placeholder; /* of an unchanged TOASTed value */
    bool default_literal;      /* a literal default is the column's default */
    const char *generated; /* what stands for a default that is a function's result; NULL: none */
    codec_describer *describe; /* NULL: a string */
    const char *schema_name;   /* of the schema, version 1; NULL: none, or describe knows */
};

struct codec {
    const struct codec_rule *rule;
    const struct event_format *format;
    int32_t scale;               /* numeric: digits behind the point, or SCALE_VARIABLE */
    int32_t precision;           /* numeric: all digits; 0: any number */
    int32_t digits;              /* of a second's fraction: 0 to 6 */
    int32_t bits;                /* of bit and varbit: the declared length, -1 for none */
    bool single;                 /* a float4, not a float8 */
    bool domain;                 /* the column's type is a domain over this one */
    const struct codec *element; /* of an array */
    char delimiter;
    const char *labels; /* of an enum: a,b,c */
};

/* codec_number.c */
codec_function codec_integer, codec_boolean, codec_float, codec_numeric, codec_money, codec_vector;
/* Of a decimal that is written as bytes: false for all else. */
bool codec_decimal_digits(const struct codec *codec, struct slice text, struct buf *out);
codec_writer codec_zero_numeric, codec_zero_float, codec_placeholder_numeric;
/* codec_time.c */
codec_function codec_date, codec_time, codec_timetz, codec_timestamp, codec_timestamptz,
    codec_interval;
codec_writer codec_zero_interval;
/* codec_bytes.c */
codec_function codec_bytea, codec_bit;
codec_writer codec_zero_bit, codec_placeholder_bytea, codec_placeholder_bit;
/* codec_struct.c: values with parts */
codec_function codec_array, codec_hstore, codec_point;
codec_writer codec_zero_hstore, codec_zero_point, codec_placeholder_array, codec_placeholder_hstore;
/* codec_describe.c */
codec_describer codec_describe_int16, codec_describe_int32, codec_describe_int64,
    codec_describe_float, codec_describe_double, codec_describe_boolean, codec_describe_decimal,
    codec_describe_date, codec_describe_time, codec_describe_timestamp, codec_describe_interval,
    codec_describe_bytes, codec_describe_bit, codec_describe_hstore, codec_describe_point,
    codec_describe_small_vector, codec_describe_vector, codec_describe_enum, codec_describe_array;

/* codec.c */
enum codec_result codec_text(const struct codec *codec, struct slice text, struct buf *out);

#endif

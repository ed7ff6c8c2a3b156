/* codec_rules.h: what the codec families share among themselves: the rule's shape and its functions. Private to
 * codec*.c. */
#ifndef FRESHET_CDC_CODEC_RULES_H
#define FRESHET_CDC_CODEC_RULES_H

#include "cdc/codec.h"

enum { SCALE_VARIABLE = INT32_MAX };

typedef enum codec_result codec_function(const struct codec *codec, struct slice text,
                                         struct buf *out);
typedef void codec_writer(const struct codec *codec, struct buf *out);

struct codec_rule {
    const char *type; /* pg_type.typname */
    codec_function *encode;
    codec_writer *zero;        /* in a delete, where the column may not be null */
    codec_writer *placeholder; /* of an unchanged TOASTed value */
    bool default_literal;      /* a literal default is used in the zero's place */
};

struct codec {
    const struct codec_rule *rule;
    const struct event_format *format;
    int32_t scale;               /* numeric: digits behind the point, or SCALE_VARIABLE */
    int32_t digits;              /* of a second's fraction: 0 to 6 */
    int32_t bits;                /* of bit and varbit: the declared length, -1 for none */
    bool single;                 /* a float4, not a float8 */
    bool domain;                 /* the column's type is a domain over this one */
    const struct codec *element; /* of an array */
    char delimiter;
};

/* codec_number.c */
codec_function codec_integer, codec_boolean, codec_float, codec_numeric, codec_money, codec_vector;
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

/* codec.c */
enum codec_result codec_text(const struct codec *codec, struct slice text, struct buf *out);

#endif

/* codec_check.h: one value through one codec, compared with what must come out. */
#ifndef FRESHET_TESTS_CODEC_CHECK_H
#define FRESHET_TESTS_CODEC_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cdc/encode/codec.h"

/* OIDs of the types that tests use, as pg_type has them; extensions' and users' types are made up. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_CHAR = 18,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT2VECTOR = 22,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_OID = 26,
    OID_OIDVECTOR = 30,
    OID_JSON = 114,
    OID_XML = 142,
    OID_POINT = 600,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_MONEY = 790,
    OID_MONEY_ARRAY = 791,
    OID_BOOL_ARRAY = 1000,
    OID_INT4_ARRAY = 1007,
    OID_TEXT_ARRAY = 1009,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMP_ARRAY = 1115,
    OID_DATE_ARRAY = 1182,
    OID_TIME_ARRAY = 1183,
    OID_TIMESTAMPTZ = 1184,
    OID_TIMESTAMPTZ_ARRAY = 1185,
    OID_INTERVAL = 1186,
    OID_INTERVAL_ARRAY = 1187,
    OID_NUMERIC_ARRAY = 1231,
    OID_TIMETZ = 1266,
    OID_BIT = 1560,
    OID_BIT_ARRAY = 1561,
    OID_VARBIT = 1562,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_UUID_ARRAY = 2951,
    OID_JSONB = 3802,
    OID_INT4RANGE = 3904,
    OID_FLOAT8_ARRAY = 1022,
    OID_BYTEA_ARRAY = 1001,
    OID_HSTORE = 90001,
    OID_HSTORE_ARRAY,
    OID_MOOD,
    OID_MOOD_ARRAY,
    OID_POSINT,
    OID_PRICE,
    OID_PAIR,
    OID_STRANGE,
    OID_BOX_ARRAY,
    OID_BOX,
    OID_DMOOD,
};

static inline struct types *codec_check_types(void) {
    static const struct type known[] = {
        {OID_BOOL, "bool", 'b', ',', 0, -1, 0, NULL},
        {OID_BYTEA, "bytea", 'b', ',', 0, -1, 0, NULL},
        {OID_CHAR, "char", 'b', ',', 0, -1, 0, NULL},
        {OID_NAME, "name", 'b', ',', 0, -1, 0, NULL},
        {OID_INT8, "int8", 'b', ',', 0, -1, 0, NULL},
        {OID_INT2, "int2", 'b', ',', 0, -1, 0, NULL},
        {OID_INT2VECTOR, "int2vector", 'b', ',', 0, -1, OID_INT2, NULL},
        {OID_INT4, "int4", 'b', ',', 0, -1, 0, NULL},
        {OID_TEXT, "text", 'b', ',', 0, -1, 0, NULL},
        {OID_OID, "oid", 'b', ',', 0, -1, 0, NULL},
        {OID_OIDVECTOR, "oidvector", 'b', ',', 0, -1, OID_OID, NULL},
        {OID_JSON, "json", 'b', ',', 0, -1, 0, NULL},
        {OID_XML, "xml", 'b', ',', 0, -1, 0, NULL},
        {OID_POINT, "point", 'b', ',', 0, -1, 0, NULL},
        {OID_FLOAT4, "float4", 'b', ',', 0, -1, 0, NULL},
        {OID_FLOAT8, "float8", 'b', ',', 0, -1, 0, NULL},
        {OID_MONEY, "money", 'b', ',', 0, -1, 0, NULL},
        {OID_MONEY_ARRAY, "_money", 'b', ',', 0, -1, OID_MONEY, NULL},
        {OID_BOOL_ARRAY, "_bool", 'b', ',', 0, -1, OID_BOOL, NULL},
        {OID_INT4_ARRAY, "_int4", 'b', ',', 0, -1, OID_INT4, NULL},
        {OID_TEXT_ARRAY, "_text", 'b', ',', 0, -1, OID_TEXT, NULL},
        {OID_FLOAT8_ARRAY, "_float8", 'b', ',', 0, -1, OID_FLOAT8, NULL},
        {OID_BYTEA_ARRAY, "_bytea", 'b', ',', 0, -1, OID_BYTEA, NULL},
        {OID_BPCHAR, "bpchar", 'b', ',', 0, -1, 0, NULL},
        {OID_VARCHAR, "varchar", 'b', ',', 0, -1, 0, NULL},
        {OID_DATE, "date", 'b', ',', 0, -1, 0, NULL},
        {OID_DATE_ARRAY, "_date", 'b', ',', 0, -1, OID_DATE, NULL},
        {OID_TIME, "time", 'b', ',', 0, -1, 0, NULL},
        {OID_TIME_ARRAY, "_time", 'b', ',', 0, -1, OID_TIME, NULL},
        {OID_TIMESTAMP, "timestamp", 'b', ',', 0, -1, 0, NULL},
        {OID_TIMESTAMP_ARRAY, "_timestamp", 'b', ',', 0, -1, OID_TIMESTAMP, NULL},
        {OID_TIMESTAMPTZ, "timestamptz", 'b', ',', 0, -1, 0, NULL},
        {OID_TIMESTAMPTZ_ARRAY, "_timestamptz", 'b', ',', 0, -1, OID_TIMESTAMPTZ, NULL},
        {OID_INTERVAL, "interval", 'b', ',', 0, -1, 0, NULL},
        {OID_INTERVAL_ARRAY, "_interval", 'b', ',', 0, -1, OID_INTERVAL, NULL},
        {OID_NUMERIC_ARRAY, "_numeric", 'b', ',', 0, -1, OID_NUMERIC, NULL},
        {OID_TIMETZ, "timetz", 'b', ',', 0, -1, 0, NULL},
        {OID_BIT, "bit", 'b', ',', 0, -1, 0, NULL},
        {OID_BIT_ARRAY, "_bit", 'b', ',', 0, -1, OID_BIT, NULL},
        {OID_VARBIT, "varbit", 'b', ',', 0, -1, 0, NULL},
        {OID_NUMERIC, "numeric", 'b', ',', 0, -1, 0, NULL},
        {OID_UUID, "uuid", 'b', ',', 0, -1, 0, NULL},
        {OID_UUID_ARRAY, "_uuid", 'b', ',', 0, -1, OID_UUID, NULL},
        {OID_JSONB, "jsonb", 'b', ',', 0, -1, 0, NULL},
        {OID_INT4RANGE, "int4range", 'r', ',', 0, -1, 0, NULL},
        {OID_HSTORE, "hstore", 'b', ',', 0, -1, 0, NULL},
        {OID_HSTORE_ARRAY, "_hstore", 'b', ',', 0, -1, OID_HSTORE, NULL},
        {OID_MOOD, "mood", 'e', ',', 0, -1, 0, "sad,ok,happy"},
        {OID_MOOD_ARRAY, "_mood", 'b', ',', 0, -1, OID_MOOD, NULL},
        {OID_POSINT, "posint", 'd', ',', OID_INT4, -1, 0, NULL},
        {OID_PRICE, "price", 'd', ',', OID_NUMERIC, (10 << 16 | 2) + 4, 0, NULL},
        {OID_DMOOD, "dmood", 'd', ',', OID_MOOD, -1, 0, "sad,ok,happy"},
        {OID_PAIR, "pair", 'c', ',', 0, -1, 0, NULL},
        {OID_STRANGE, "strange", 'b', ',', 0, -1, 0, NULL},
        {OID_BOX, "box", 'b', ';', 0, -1, 0, NULL},
        {OID_BOX_ARRAY, "_box", 'b', ',', 0, -1, OID_BOX, NULL},
    };
    struct types *types = types_create();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        types_add(types, &known[i]);
    return types;
}

#define NUMERIC_TYPMOD(precision, scale) (((precision) << 16 | ((scale)&0x7ff)) + 4)

struct codec_case {
    uint32_t oid;
    int32_t typmod;
    const char *text;
    const char *json; /* NULL: refused */
    enum codec_result result;
};

static inline void codec_check(const struct event_format *format, const struct codec_case *cases,
                               size_t n) {
    struct types *types = codec_check_types();
    for (size_t i = 0; i < n; i++) {
        struct arena *arena = arena_create(1024);
        const struct codec *codec =
            codec_resolve(types, cases[i].oid, cases[i].typmod, format, arena);
        struct buf out = {0};
        enum codec_result result = codec_encode(codec, slice_from(cases[i].text), &out);
        if (cases[i].json) assert_string_equal(buf_text(&out), cases[i].json);
        if (result != cases[i].result) print_error("%s: result %d\n", cases[i].text, (int)result);
        assert_int_equal(result, cases[i].result);
        if (result == CODEC_REFUSED) assert_int_equal(out.len, 0);
        buf_deinit(&out);
        arena_destroy(&arena);
    }
    types_destroy(&types);
}

#define CODEC_CHECK(format, ...)                                                                   \
    do {                                                                                           \
        const struct codec_case cases_[] = {__VA_ARGS__};                                          \
        codec_check(format, cases_, sizeof cases_ / sizeof *cases_);                               \
    } while (0)

#endif

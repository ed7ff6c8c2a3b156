#include "cdc/codec.h"

#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "cdc/codec_rules.h"

enum { MAX_DOMAIN_DEPTH = 32 };

enum codec_result codec_text(const struct codec *codec, struct slice text, struct buf *out) {
    (void)codec;
    json_append_string_java(out, text);
    return CODEC_DONE;
}

static void zero_text(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "\"\"");
}

static void zero_number(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_char(out, '0');
}

static void zero_false(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "false");
}

static void zero_array(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "[]");
}

/* Without fraction whatever the column's digits, as Debezium writes it. */
static void zero_timestamptz(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "\"1970-01-01T00:00:00Z\"");
}

static void zero_timetz(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "\"00:00:00Z\"");
}

static void placeholder_text(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "\"" CODEC_PLACEHOLDER "\"");
}

/* Types of fixed size are never TOASTed. */
static void placeholder_none(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "null");
}

#define TEXT(name, literal)                                                                        \
    { name, codec_text, zero_text, placeholder_text, literal }
#define FIXED(name, encode, zero, literal)                                                         \
    { name, encode, zero, placeholder_none, literal }

/* By pg_type.typname. Those that are written as PostgreSQL prints them are here too: what is not in the table,
 * nor an enum, composite or range, is counted as a type without a rule. */
static const struct codec_rule rules[] = {
    FIXED("bool", codec_boolean, zero_false, true),
    FIXED("int2", codec_integer, zero_number, true),
    FIXED("int4", codec_integer, zero_number, true),
    FIXED("int8", codec_integer, zero_number, true),
    FIXED("oid", codec_integer, zero_number, true),
    FIXED("float4", codec_float, codec_zero_float, true),
    FIXED("float8", codec_float, codec_zero_float, true),
    {"numeric", codec_numeric, codec_zero_numeric, codec_placeholder_numeric, true},
    FIXED("money", codec_money, codec_zero_numeric, false),
    FIXED("date", codec_date, zero_number, true),
    FIXED("time", codec_time, zero_number, true),
    FIXED("timetz", codec_timetz, zero_timetz, false),
    FIXED("timestamp", codec_timestamp, zero_number, true),
    FIXED("timestamptz", codec_timestamptz, zero_timestamptz, true),
    FIXED("interval", codec_interval, codec_zero_interval, true),
    {"bytea", codec_bytea, zero_text, codec_placeholder_bytea, false},
    {"bit", codec_bit, codec_zero_bit, codec_placeholder_bit, true},
    {"varbit", codec_bit, codec_zero_bit, codec_placeholder_bit, true},
    {"hstore", codec_hstore, codec_zero_hstore, codec_placeholder_hstore, false},
    FIXED("point", codec_point, codec_zero_point, false),
    FIXED("int2vector", codec_vector, zero_array, false),
    FIXED("oidvector", codec_vector, zero_array, false),
    TEXT("text", true),
    TEXT("varchar", true),
    TEXT("bpchar", true),
    TEXT("name", true),
    TEXT("char", true),
    TEXT("json", true),
    TEXT("jsonb", true),
    TEXT("uuid", true),
    TEXT("citext", false),
    TEXT("xml", false),
    TEXT("ltree", false),
    TEXT("inet", false),
    TEXT("cidr", false),
    TEXT("macaddr", false),
    TEXT("macaddr8", false),
    TEXT("tsvector", false),
    TEXT("tsquery", false),
    TEXT("line", false),
    TEXT("lseg", false),
    TEXT("box", false),
    TEXT("path", false),
    TEXT("polygon", false),
    TEXT("circle", false),
    TEXT("pg_lsn", false),
    TEXT("tid", false),
    TEXT("xid", false),
    TEXT("xid8", false),
    TEXT("cid", false),
    TEXT("pg_snapshot", false),
    TEXT("txid_snapshot", false),
    TEXT("regclass", false),
    TEXT("regcollation", false),
    TEXT("regconfig", false),
    TEXT("regdictionary", false),
    TEXT("regnamespace", false),
    TEXT("regoper", false),
    TEXT("regoperator", false),
    TEXT("regproc", false),
    TEXT("regprocedure", false),
    TEXT("regrole", false),
    TEXT("regtype", false),
};

static enum codec_result text_without_rule(const struct codec *codec, struct slice text,
                                           struct buf *out) {
    codec_text(codec, text, out);
    return CODEC_AS_TEXT;
}

static const struct codec_rule array_rule = {"array", codec_array, zero_array,
                                             codec_placeholder_array, false};
static const struct codec_rule text_rule = TEXT("composite or range", false);
static const struct codec_rule enum_rule = TEXT("enum", true);
static const struct codec_rule unknown_rule = {"unknown", text_without_rule, zero_text,
                                               placeholder_text, false};

/* Elements of these types are written as PostgreSQL prints them, though the types alone are not. */
static const char *const text_in_arrays[] = {"money", "interval", "varbit", "point"};

enum codec_result codec_encode(const struct codec *codec, struct slice text, struct buf *out) {
    size_t before = out->len;
    if (!text.data) text.data = ""; /* an empty buffer's slice */
    enum codec_result result = codec->rule->encode(codec, text, out);
    if (result == CODEC_DONE) return result;
    if (result == CODEC_AS_TEXT && codec->rule != &unknown_rule) {
        out->len = before;
        json_append_string_java(out, text);
    }
    if (result == CODEC_REFUSED) out->len = before;
    return result;
}

static const struct codec_rule *rule_of(const struct type *type) {
    if (type->element_oid && strcmp(type->name, "int2vector") != 0 &&
        strcmp(type->name, "oidvector") != 0)
        return &array_rule;
    if (type->kind == 'e') return &enum_rule;
    if (type->kind == 'c' || type->kind == 'r' || type->kind == 'm') return &text_rule;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strcmp(rules[i].type, type->name) == 0) return &rules[i];
    }
    return &unknown_rule;
}

/* typmods as the types' own in and out functions pack them. */
static void read_typmod(struct codec *codec, int32_t typmod) {
    codec->digits = 6;
    codec->bits = typmod;
    codec->scale = SCALE_VARIABLE;
    if (codec->rule->encode == codec_money) codec->scale = 2;
    if (typmod < 0) return;
    if (codec->rule->encode == codec_numeric) {
        int32_t scale = (typmod - 4) & 0x7ff; /* 11 bits, signed since PostgreSQL 15 */
        codec->scale = scale > 1023 ? scale - 2048 : scale;
    }
    if (typmod <= 6) codec->digits = typmod;
}

static const struct codec *array_codec(const struct types *types, const struct type *array,
                                       int32_t typmod, const struct event_format *format,
                                       struct arena *arena, struct codec *codec) {
    struct codec *element = arena_alloc(arena, sizeof *element);
    *element = *codec_resolve(types, array->element_oid, typmod, format, arena);
    for (size_t i = 0; i < sizeof text_in_arrays / sizeof *text_in_arrays; i++) {
        if (strcmp(element->rule->type, text_in_arrays[i]) == 0) element->rule = &text_rule;
    }
    codec->element = element;
    const struct type *type = types_find(types, array->element_oid);
    codec->delimiter = type ? type->delimiter : ',';
    return codec;
}

const struct codec *codec_resolve(const struct types *types, uint32_t type_oid, int32_t typmod,
                                  const struct event_format *format, struct arena *arena) {
    struct codec *codec = arena_zalloc(arena, sizeof *codec);
    codec->format = format;
    const struct type *type = types_find(types, type_oid);
    for (int depth = 0; type && type->kind == 'd' && depth < MAX_DOMAIN_DEPTH; depth++) {
        codec->domain = true;
        if (type->base_typmod >= 0) typmod = type->base_typmod;
        type = types_find(types, type->base_oid);
    }
    codec->rule = type ? rule_of(type) : &unknown_rule;
    codec->single = strcmp(codec->rule->type, "float4") == 0;
    read_typmod(codec, typmod);
    if (codec->rule == &array_rule) return array_codec(types, type, typmod, format, arena, codec);
    return codec;
}

/* The text of a literal as pg_get_expr prints one: 5, (-5), true, 'x''y'::text, B'101'::"bit",
 * '(5)'::numeric(3,0). False: an expression. Appends the text without quotes. */
static bool literal_text(const char *sql, struct buf *text) {
    size_t len = strlen(sql);
    while (len >= 2 && sql[0] == '(' && sql[len - 1] == ')') {
        sql++;
        len -= 2;
    }
    if (len && (*sql == 'B' || *sql == 'X') && sql[1] == '\'') {
        sql++;
        len--;
    }
    const char *end = sql + len;
    if (len && *sql == '\'') {
        for (sql++; sql < end; sql++) {
            if (*sql == '\'' && sql + 1 < end && sql[1] == '\'')
                sql++;
            else if (*sql == '\'')
                break;
            buf_append_char(text, *sql);
        }
        if (sql == end) return false;
        sql++;
    } else {
        size_t run = strspn(sql, "+-.0123456789eE");
        if (run == 0)
            run = strncmp(sql, "true", 4) == 0 ? 4 : strncmp(sql, "false", 5) == 0 ? 5 : 0;
        if (run == 0 || run > len) return false;
        buf_append(text, sql, run);
        sql += run;
    }
    if (sql == end) return true;
    /* A cast may follow, and nothing else: no operator, no call, no literal. */
    if (end - sql < 3 || sql[0] != ':' || sql[1] != ':') return false;
    for (sql += 2; sql < end; sql++) {
        if (strchr("|+*/'<>=:~@#&", *sql)) return false;
    }
    return true;
}

/* A column's values print all digits of its scale, a default's literal need not. */
static void pad_to_scale(const struct codec *codec, struct buf *text) {
    if (codec->scale == SCALE_VARIABLE || codec->scale <= 0) return;
    const char *point = text->len ? memchr(text->data, '.', text->len) : NULL;
    size_t behind = point ? (size_t)(text->data + text->len - point - 1) : 0;
    if (!point) buf_append_char(text, '.');
    for (; behind < (size_t)codec->scale; behind++)
        buf_append_char(text, '0');
}

void codec_filler(const struct codec *codec, const char *default_sql, struct buf *out) {
    size_t before = out->len;
    bool usable = codec->rule->default_literal && !codec->domain;
    /* Debezium has no default for a decimal that carries its own scale. */
    if (codec->rule->encode == codec_numeric && codec->scale == SCALE_VARIABLE &&
        codec->format->decimals == DECIMALS_PRECISE)
        usable = false;
    if (default_sql && usable) {
        struct buf text = {0};
        bool done = literal_text(default_sql, &text);
        if (done && codec->rule->encode == codec_numeric) pad_to_scale(codec, &text);
        done = done && codec_encode(codec, buf_slice(&text), out) == CODEC_DONE;
        buf_deinit(&text);
        if (done) return;
        out->len = before;
        /* A generated UUID: Debezium's stand-in is the nil one. */
        if (strcmp(codec->rule->type, "uuid") == 0) {
            buf_append_text(out, "\"00000000-0000-0000-0000-000000000000\"");
            return;
        }
    }
    codec->rule->zero(codec, out);
}

void codec_placeholder(const struct codec *codec, struct buf *out) {
    codec->rule->placeholder(codec, out);
}

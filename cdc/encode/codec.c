#include "cdc/encode/codec.h"

#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "cdc/encode/codec_rules.h"

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

/* Written as PostgreSQL prints it. */
#define TEXT(type_)                                                                                \
    { .type = (type_), .encode = codec_text, .zero = zero_text, .placeholder = placeholder_text }
#define NAMED(type_, schema_)                                                                      \
    {                                                                                              \
        .type = (type_), .encode = codec_text, .zero = zero_text, .placeholder = placeholder_text, \
        .schema_name = (schema_)                                                                   \
    }
/* The same, with a default that is known. */
#define KNOWN(type_, schema_, generated_)                                                          \
    {                                                                                              \
        .type = (type_), .encode = codec_text, .zero = zero_text, .placeholder = placeholder_text, \
        .schema_name = (schema_), .default_literal = true, .generated = (generated_)               \
    }
/* Of fixed size. */
#define FIXED(type_, encode_, zero_, describe_, ...)                                               \
    {                                                                                              \
        .type = (type_), .encode = (encode_), .zero = (zero_), .placeholder = placeholder_none,    \
        .describe = (describe_), __VA_ARGS__                                                       \
    }
#define DEFAULT(generated_) .default_literal = true, .generated = (generated_)

#define NIL_UUID "00000000-0000-0000-0000-000000000000"

/* By pg_type.typname. Those that are written as PostgreSQL prints them are here too: what is not in the table,
 * nor an enum, composite or range, is counted as a type without a rule. */
static const struct codec_rule rules[] = {
    FIXED("bool", codec_boolean, zero_false, codec_describe_boolean, DEFAULT("f")),
    FIXED("int2", codec_integer, zero_number, codec_describe_int16, DEFAULT("0")),
    FIXED("int4", codec_integer, zero_number, codec_describe_int32, DEFAULT("0")),
    FIXED("int8", codec_integer, zero_number, codec_describe_int64, DEFAULT("0")),
    FIXED("oid", codec_integer, zero_number, codec_describe_int64),
    FIXED("float4", codec_float, codec_zero_float, codec_describe_float, DEFAULT("0")),
    FIXED("float8", codec_float, codec_zero_float, codec_describe_double, DEFAULT("0")),
    {.type = "numeric",
     .encode = codec_numeric,
     .zero = codec_zero_numeric,
     .placeholder = codec_placeholder_numeric,
     .describe = codec_describe_decimal,
     DEFAULT("0.0")},
    FIXED("money", codec_money, codec_zero_numeric, codec_describe_decimal),
    FIXED("date", codec_date, zero_number, codec_describe_date, DEFAULT("1970-01-01")),
    FIXED("time", codec_time, zero_number, codec_describe_time, DEFAULT("00:00:00")),
    FIXED("timetz", codec_timetz, zero_timetz, NULL, .schema_name = "io.debezium.time.ZonedTime"),
    FIXED("timestamp", codec_timestamp, zero_number, codec_describe_timestamp,
          DEFAULT("1970-01-01 00:00:00")),
    FIXED("timestamptz", codec_timestamptz, zero_timestamptz, NULL,
          .schema_name = "io.debezium.time.ZonedTimestamp", DEFAULT("1970-01-01 00:00:00+00")),
    FIXED("interval", codec_interval, codec_zero_interval, codec_describe_interval,
          DEFAULT("00:00:00")),
    {.type = "bytea",
     .encode = codec_bytea,
     .zero = zero_text,
     .placeholder = codec_placeholder_bytea,
     .describe = codec_describe_bytes},
    {.type = "bit",
     .encode = codec_bit,
     .zero = codec_zero_bit,
     .placeholder = codec_placeholder_bit,
     .describe = codec_describe_bit,
     .default_literal = true},
    {.type = "varbit",
     .encode = codec_bit,
     .zero = codec_zero_bit,
     .placeholder = codec_placeholder_bit,
     .describe = codec_describe_bit,
     .default_literal = true},
    {.type = "hstore",
     .encode = codec_hstore,
     .zero = codec_zero_hstore,
     .placeholder = codec_placeholder_hstore,
     .describe = codec_describe_hstore},
    FIXED("point", codec_point, codec_zero_point, codec_describe_point),
    FIXED("int2vector", codec_vector, zero_array, codec_describe_small_vector),
    FIXED("oidvector", codec_vector, zero_array, codec_describe_vector),
    KNOWN("text", NULL, ""),
    KNOWN("varchar", NULL, ""),
    KNOWN("bpchar", NULL, ""),
    KNOWN("json", "io.debezium.data.Json", "{}"),
    KNOWN("jsonb", "io.debezium.data.Json", "{}"),
    KNOWN("uuid", "io.debezium.data.Uuid", NIL_UUID),
    KNOWN("xml", "io.debezium.data.Xml", NULL),
    NAMED("ltree", "io.debezium.data.Ltree"),
    NAMED("tsvector", "io.debezium.data.Tsvector"),
    TEXT("name"),
    TEXT("char"),
    TEXT("citext"),
    TEXT("inet"),
    TEXT("cidr"),
    TEXT("macaddr"),
    TEXT("macaddr8"),
    TEXT("tsquery"),
    TEXT("line"),
    TEXT("lseg"),
    TEXT("box"),
    TEXT("path"),
    TEXT("polygon"),
    TEXT("circle"),
    TEXT("pg_lsn"),
    TEXT("tid"),
    TEXT("xid"),
    TEXT("xid8"),
    TEXT("cid"),
    TEXT("pg_snapshot"),
    TEXT("txid_snapshot"),
    TEXT("regclass"),
    TEXT("regcollation"),
    TEXT("regconfig"),
    TEXT("regdictionary"),
    TEXT("regnamespace"),
    TEXT("regoper"),
    TEXT("regoperator"),
    TEXT("regproc"),
    TEXT("regprocedure"),
    TEXT("regrole"),
    TEXT("regtype"),
};

static enum codec_result text_without_rule(const struct codec *codec, struct slice text,
                                           struct buf *out) {
    codec_text(codec, text, out);
    return CODEC_AS_TEXT;
}

static const struct codec_rule array_rule = {.type = "array",
                                             .encode = codec_array,
                                             .zero = zero_array,
                                             .placeholder = codec_placeholder_array,
                                             .describe = codec_describe_array};
static const struct codec_rule text_rule = TEXT("composite or range");
static const struct codec_rule enum_rule = {.type = "enum",
                                            .encode = codec_text,
                                            .zero = zero_text,
                                            .placeholder = placeholder_text,
                                            .default_literal = true,
                                            .describe = codec_describe_enum};
static const struct codec_rule unknown_rule = {.type = "unknown",
                                               .encode = text_without_rule,
                                               .zero = zero_text,
                                               .placeholder = placeholder_text};

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

enum codec_result codec_encode_header(const struct codec *codec, struct slice text,
                                      struct buf *out) {
    return codec_decimal_digits(codec, text, out) ? CODEC_DONE : codec_encode(codec, text, out);
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
        codec->precision = (typmod - 4) >> 16 & 0xffff;
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
    codec->labels = type ? type->labels : NULL;
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

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '"';
}

/* Does the expression call a function? f(...), CURRENT_DATE and its like; a type's (5,2) behind :: is none. */
static bool calls_function(const char *sql) {
    static const char *const words[] = {"CURRENT_", "LOCALTIME", "SESSION_USER"};
    bool quoted = false;
    const char *word = NULL; /* where the word before this place begins */
    for (const char *at = sql; *at; at++) {
        if (*at == '\'') quoted = !quoted;
        if (quoted) continue;
        for (size_t i = 0; !word && i < sizeof words / sizeof *words; i++) {
            if (strncmp(at, words[i], strlen(words[i])) == 0) return true;
        }
        if (*at == '(' && word && !(word - sql >= 2 && word[-1] == ':')) return true;
        if (!is_word(*at) && *at != '.')
            word = NULL;
        else if (!word)
            word = at;
    }
    return false;
}

static bool encode_default(const struct codec *codec, struct buf *text, struct buf *out) {
    if (codec->rule->encode == codec_numeric) pad_to_scale(codec, text);
    size_t before = out->len;
    if (codec_encode(codec, buf_slice(text), out) == CODEC_DONE) return true;
    out->len = before;
    return false;
}

bool codec_default(const struct codec *codec, const char *default_sql, struct buf *out) {
    if (!default_sql || !codec->rule->default_literal || codec->domain) return false;
    /* Debezium has no default for a decimal that carries its own scale. */
    if (codec->rule->encode == codec_numeric && codec->scale == SCALE_VARIABLE &&
        codec->format->decimals == DECIMALS_PRECISE)
        return false;
    struct buf text = {0};
    bool done = literal_text(default_sql, &text) && encode_default(codec, &text, out);
    if (!done && codec->rule->generated && calls_function(default_sql)) {
        text.len = 0;
        bool whole = codec->rule->encode == codec_numeric && codec->scale != SCALE_VARIABLE;
        buf_append_text(&text, whole ? "0" : codec->rule->generated);
        done = encode_default(codec, &text, out);
    }
    buf_deinit(&text);
    return done;
}

void codec_filler(const struct codec *codec, const char *default_sql, struct buf *out) {
    if (!codec_default(codec, default_sql, out)) codec->rule->zero(codec, out);
}

void codec_schema(const struct codec *codec, bool optional, const char *default_sql,
                  struct arena *arena, struct connect_schema *schema) {
    const struct codec_rule *rule = codec->rule;
    *schema = (struct connect_schema){.kind = CONNECT_STRING,
                                      .optional = optional,
                                      .name = rule->schema_name,
                                      .version = rule->schema_name ? 1 : 0};
    if (rule->describe) rule->describe(codec, schema, arena);
    struct buf text = {0};
    if (codec_default(codec, default_sql, &text))
        schema->default_json = arena_dup(arena, buf_slice(&text));
    buf_deinit(&text);
}

void codec_placeholder(const struct codec *codec, struct buf *out) {
    codec->rule->placeholder(codec, out);
}

enum codec_form codec_form(const struct codec *codec) {
    codec_function *encode = codec->rule->encode;
    if (encode == codec_text) return FORM_TEXT;
    if (encode == codec_integer) return FORM_INTEGER;
    if (encode == codec_boolean) return FORM_BOOLEAN;
    return encode == codec_bytea && codec->format->bytes == BYTES_BASE64 ? FORM_HEX : FORM_JSON;
}

#include "connectors/source/topic_row.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"

/* pg_type.dat */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_NAME = 19,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_OID = 26,
    OID_JSON = 114,
    OID_XML = 142,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_JSONB = 3802,
};

enum { NUMERIC_MAX_BYTES = 16, TYPMOD_HEADER = 4, TEXT_MAX = 64 };
#define SECONDS_PER_DAY INT64_C(86400)
static const char placeholder[] = "__debezium_unavailable_value";
static const struct value unknown = {.kind = VALUE_UNCHANGED};
static const struct value none = {.kind = VALUE_NULL};

typedef struct value reader(const struct catalog_column *column, const struct topic_format *format,
                            const json_t *json, struct arena *arena);

static struct value text_value(struct slice text) {
    return (struct value){.kind = VALUE_TEXT, .data = text.data, .len = (uint32_t)text.len};
}

static struct value copied(struct arena *arena, const char *text) {
    return text_value(arena_dup(arena, slice_from(text)));
}

static struct value read_bool(const struct catalog_column *column,
                              const struct topic_format *format, const json_t *json,
                              struct arena *arena) {
    (void)column, (void)format, (void)arena;
    if (!json_is_boolean(json)) return unknown;
    return text_value(json_is_true(json) ? slice_make("t", 1) : slice_make("f", 1));
}

static struct value read_integer(const struct catalog_column *column,
                                 const struct topic_format *format, const json_t *json,
                                 struct arena *arena) {
    (void)column, (void)format;
    char text[TEXT_MAX];
    if (!json_is_integer(json)) return unknown;
    snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    return copied(arena, text);
}

static struct value read_string(const struct catalog_column *column,
                                const struct topic_format *format, const json_t *json,
                                struct arena *arena) {
    (void)column, (void)format, (void)arena;
    if (!json_is_string(json)) return unknown;
    return text_value(slice_make(json_string_value(json), json_string_length(json)));
}

/* The shortest digits that read back as the same number, laid out as PostgreSQL does: with an exponent below 1e-4 and from
 * 1e15 on (float4: 1e6). */
static bool print_float(double number, bool single, char *out, size_t size) {
    char digits[TEXT_MAX];
    int most = single ? 9 : 17;
    for (int precision = 1; precision <= most; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision - 1, number);
        bool same = single ? strtof(digits, NULL) == (float)number : strtod(digits, NULL) == number;
        if (!same) continue;
        int exponent = atoi(strchr(digits, 'e') + 1);
        bool plain = exponent >= -4 && exponent < (single ? 6 : 15);
        int decimals = precision - 1 - exponent;
        if (plain)
            snprintf(out, size, "%.*f", decimals > 0 ? decimals : 0, number);
        else
            snprintf(out, size, "%s", digits);
        return true;
    }
    return false;
}

static struct value read_float(const struct catalog_column *column,
                               const struct topic_format *format, const json_t *json,
                               struct arena *arena) {
    (void)format;
    char text[TEXT_MAX];
    double number = json_number_value(json);
    if (!json_is_number(json) || !isfinite(number)) return unknown;
    bool single = column->base_type_oid == OID_FLOAT4;
    return print_float(number, single, text, sizeof text) ? copied(arena, text) : unknown;
}

/* Howard Hinnant's days_to_civil. False: not of the years 1 to 9999. */
static bool print_date(int64_t days, char *out, size_t size) {
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t day = doy - (153 * mp + 2) / 5 + 1;
    int64_t month = mp < 10 ? mp + 3 : mp - 9;
    int64_t year = yoe + era * 400 + (month <= 2);
    if (year < 1 || year > 9999) return false;
    snprintf(out, size, "%04d-%02d-%02d", (int)year, (int)month, (int)day);
    return true;
}

static struct value read_date(const struct catalog_column *column,
                              const struct topic_format *format, const json_t *json,
                              struct arena *arena) {
    (void)column, (void)format;
    char text[TEXT_MAX];
    if (!json_is_integer(json) || llabs(json_integer_value(json)) > 10000 * 366LL) return unknown;
    return print_date(json_integer_value(json), text, sizeof text) ? copied(arena, text) : unknown;
}

/* ".5", ".123456", or nothing. */
static void print_fraction(int64_t micros, char *out, size_t size) {
    *out = '\0';
    if (!micros) return;
    snprintf(out, size, ".%06d", (int)micros);
    for (char *end = out + strlen(out) - 1; *end == '0'; end--)
        *end = '\0';
}

static struct value read_timestamp(const struct catalog_column *column,
                                   const struct topic_format *format, const json_t *json,
                                   struct arena *arena) {
    int32_t precision = column->base_typmod;
    bool millis = format->times == TOPIC_TIMES_CONNECT || (precision >= 0 && precision <= 3);
    /* Connect's milliseconds do not tell what is finer. */
    bool coarse = millis && (precision < 0 || precision > 3);
    if (!json_is_integer(json) || coarse) return unknown;
    int64_t micros = json_integer_value(json);
    if (llabs(micros) > INT64_MAX / 1000) return unknown;
    if (millis) micros *= 1000;
    int64_t day_us = SECONDS_PER_DAY * 1000000;
    int64_t days = micros / day_us - (micros % day_us < 0);
    int64_t within = micros - days * day_us;
    int64_t seconds = within / 1000000;
    char date[TEXT_MAX];
    char fraction[16];
    char text[2 * TEXT_MAX];
    if (!print_date(days, date, sizeof date)) return unknown;
    print_fraction(within % 1000000, fraction, sizeof fraction);
    snprintf(text, sizeof text, "%s %02d:%02d:%02d%s", date, (int)(seconds / 3600),
             (int)(seconds / 60 % 60), (int)(seconds % 60), fraction);
    return copied(arena, text);
}

/* "2026-01-02T03:04:05.123456Z" */
static struct value read_timestamptz(const struct catalog_column *column,
                                     const struct topic_format *format, const json_t *json,
                                     struct arena *arena) {
    (void)column, (void)format;
    static const char pattern[] = "dddd-dd-ddTdd:dd:dd";
    const char *given = json_string_value(json);
    size_t len = given ? json_string_length(json) : 0;
    size_t head = sizeof pattern - 1;
    if (len <= head || len > 30 || given[len - 1] != 'Z') return unknown;
    for (size_t i = 0; i < head; i++) {
        bool digit = given[i] >= '0' && given[i] <= '9';
        if (pattern[i] == 'd' ? !digit : given[i] != pattern[i]) return unknown;
    }
    size_t end = len - 1;
    bool fraction = given[head] == '.';
    if (!fraction && end != head) return unknown;
    if (fraction && strspn(given + head + 1, "0123456789") != end - head - 1) return unknown;
    while (fraction && given[end - 1] == '0')
        end--;
    if (fraction && end == head + 1) end--;
    if (memcmp(given, "0000", 4) == 0) return unknown;
    char text[TEXT_MAX];
    snprintf(text, sizeof text, "%.10s %.*s+00", given, (int)(end - 11), given + 11);
    return copied(arena, text);
}

/* `unscaled`, two's complement, the highest byte first. */
static bool print_decimal(struct slice unscaled, int scale, char *out, size_t size) {
    if (!unscaled.len || unscaled.len > NUMERIC_MAX_BYTES || scale < 0 || scale > 38) return false;
    __int128 number = (signed char)unscaled.data[0];
    for (size_t i = 1; i < unscaled.len; i++)
        number = (__int128)((unsigned __int128)number << 8 | (unsigned char)unscaled.data[i]);
    bool negative = number < 0;
    unsigned __int128 left = negative ? -(unsigned __int128)number : (unsigned __int128)number;
    char digits[48];
    size_t at = sizeof digits;
    int n = 0;
    do {
        if (n == scale && scale > 0) digits[--at] = '.';
        digits[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
        n++;
    } while ((left || n <= scale) && at > 2);
    if (left || n <= scale) return false;
    snprintf(out, size, "%s%.*s", negative ? "-" : "", (int)(sizeof digits - at), digits + at);
    return true;
}

static struct value read_unscaled(const char *base64, int scale, struct arena *arena) {
    struct buf bytes = {0};
    char text[TEXT_MAX];
    bool ok = base64 && base64_decode(&bytes, slice_from(base64)) &&
              print_decimal(buf_slice(&bytes), scale, text, sizeof text);
    buf_deinit(&bytes);
    return ok ? copied(arena, text) : unknown;
}

static struct value read_numeric(const struct catalog_column *column,
                                 const struct topic_format *format, const json_t *json,
                                 struct arena *arena) {
    if (json_is_object(json)) { /* VariableScaleDecimal */
        const json_t *scale = json_object_get(json, "scale");
        return json_is_integer(scale) && llabs(json_integer_value(scale)) < 100
                   ? read_unscaled(json_string_value(json_object_get(json, "value")),
                                   (int)json_integer_value(scale), arena)
                   : unknown;
    }
    if (!json_is_string(json)) return unknown;
    if (format->decimals == TOPIC_DECIMALS_STRING)
        return strpbrk(json_string_value(json), "Ee") ? unknown
                                                      : read_string(column, format, json, arena);
    if (format->decimals != TOPIC_DECIMALS_PRECISE || column->base_typmod < TYPMOD_HEADER)
        return unknown;
    return read_unscaled(json_string_value(json), (column->base_typmod - TYPMOD_HEADER) & 0x7ff,
                         arena);
}

static struct value read_bytes(const struct catalog_column *column,
                               const struct topic_format *format, const json_t *json,
                               struct arena *arena) {
    (void)column;
    struct buf bytes = {0};
    struct buf hex = {0};
    const char *text = json_string_value(json);
    struct value value = unknown;
    if (text && format->bytes == TOPIC_BYTES_BASE64 && base64_decode(&bytes, slice_from(text))) {
        buf_append_text(&hex, "\\x");
        for (size_t i = 0; i < bytes.len; i++)
            buf_printf(&hex, "%02x", (unsigned char)bytes.data[i]);
        value = text_value(arena_dup(arena, buf_slice(&hex)));
    }
    buf_deinit(&bytes);
    buf_deinit(&hex);
    return value;
}

static const struct {
    uint32_t type_oid;
    reader *read;
} readers[] = {
    {OID_BOOL, read_bool},           {OID_INT2, read_integer},
    {OID_INT4, read_integer},        {OID_INT8, read_integer},
    {OID_OID, read_integer},         {OID_TEXT, read_string},
    {OID_VARCHAR, read_string},      {OID_BPCHAR, read_string},
    {OID_NAME, read_string},         {OID_UUID, read_string},
    {OID_JSON, read_string},         {OID_JSONB, read_string},
    {OID_XML, read_string},          {OID_FLOAT4, read_float},
    {OID_FLOAT8, read_float},        {OID_DATE, read_date},
    {OID_TIMESTAMP, read_timestamp}, {OID_TIMESTAMPTZ, read_timestamptz},
    {OID_NUMERIC, read_numeric},     {OID_BYTEA, read_bytes},
};

static reader *find_reader(const struct catalog_column *column) {
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (readers[i].type_oid == column->base_type_oid) return readers[i].read;
    }
    bool plain = column->base_typtype == 'e' || strcmp(column->base_type_name, "citext") == 0;
    return plain ? read_string : NULL;
}

struct value topic_row_value(const struct catalog_column *column, const struct topic_format *format,
                             const json_t *json, struct arena *arena) {
    if (json_is_null(json)) {
        /* Numbers that no JSON number tells, and dates that no day does, may be written as null. */
        bool told = column->base_type_oid != OID_NUMERIC && column->base_type_oid != OID_FLOAT4 &&
                    column->base_type_oid != OID_FLOAT8;
        return told ? none : unknown;
    }
    if (!json) return unknown;
    if (json_is_string(json) && strcmp(json_string_value(json), placeholder) == 0) return unknown;
    /* bytea's placeholder is its text as bytes. */
    reader *read = find_reader(column);
    if (!read) return unknown;
    struct value value = read(column, format, json, arena);
    static const char hidden[] = "\\x5f5f646562657a69756d5f756e617661696c61626c655f76616c7565";
    bool is_hidden = column->base_type_oid == OID_BYTEA && value.kind == VALUE_TEXT &&
                     value.len == sizeof hidden - 1 && memcmp(value.data, hidden, value.len) == 0;
    return is_hidden ? unknown : value;
}

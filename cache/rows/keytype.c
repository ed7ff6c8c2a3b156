#include "cache/rows/keytype.h"

#include <stdint.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool all_of(struct slice text, const char *allowed) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\0' || !strchr(allowed, text.data[i])) return false;
    }
    return text.len > 0;
}

/* Plain decimal within the bounds is good. What only newer servers take (0x2A, 1_000) or pads with blanks is theirs
 * to judge; everything else is no integer anywhere. */
static enum keytype_verdict check_integer(struct slice text, uint64_t max_positive,
                                          uint64_t max_negative) {
    size_t i = 0;
    bool negative = text.len > 0 && text.data[0] == '-';
    if (text.len > 0 && (text.data[0] == '-' || text.data[0] == '+')) i++;
    uint64_t value = 0;
    size_t first = i;
    for (; i < text.len && is_digit(text.data[i]); i++) {
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return KEY_VALUE_BAD;
        value = value * 10 + digit;
    }
    if (i > first && i == text.len)
        return value <= (negative ? max_negative : max_positive) ? KEY_VALUE_GOOD : KEY_VALUE_BAD;
    return all_of(text, "0123456789abcdefABCDEFxXoObB_+- \t\n\v\f\r") &&
                   memchr(text.data, '0', text.len) != NULL
               ? KEY_VALUE_UNSURE
           : all_of(text, "0123456789_+- \t\n\v\f\r") ? KEY_VALUE_UNSURE
                                                      : KEY_VALUE_BAD;
}

static enum keytype_verdict check_int2(struct slice text) {
    return check_integer(text, INT16_MAX, (uint64_t)INT16_MAX + 1);
}

static enum keytype_verdict check_int4(struct slice text) {
    return check_integer(text, INT32_MAX, (uint64_t)INT32_MAX + 1);
}

static enum keytype_verdict check_int8(struct slice text) {
    return check_integer(text, INT64_MAX, (uint64_t)INT64_MAX + 1);
}

/* An oid may be written as a negative int4. */
static enum keytype_verdict check_oid(struct slice text) {
    return check_integer(text, UINT32_MAX, (uint64_t)INT32_MAX + 1);
}

static enum keytype_verdict check_uuid(struct slice text) {
    if (!all_of(text, "0123456789abcdefABCDEF-{}")) return KEY_VALUE_BAD;
    bool usual = text.len == 36;
    for (size_t i = 0; usual && i < text.len; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        usual = hyphen == (text.data[i] == '-') && text.data[i] != '{' && text.data[i] != '}';
    }
    return usual ? KEY_VALUE_GOOD : KEY_VALUE_UNSURE;
}

static enum keytype_verdict check_numeric(struct slice text) {
    static const char special[] = "iInNfFaAtTyY+-"; /* NaN, Infinity */
    if (all_of(text, "0123456789.+-eE_xXoObBaAcCdDfF \t\n\v\f\r")) return KEY_VALUE_UNSURE;
    return all_of(text, special) ? KEY_VALUE_UNSURE : KEY_VALUE_BAD;
}

static enum keytype_verdict check_text(struct slice text) {
    (void)text; /* keytype_is_text was asked before */
    return KEY_VALUE_GOOD;
}

static enum keytype_verdict check_temporal(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (is_digit(text.data[i])) return KEY_VALUE_UNSURE;
    }
    static const char *const words[] = {"infinity",  "-infinity", "+infinity", "epoch",   "now",
                                        "yesterday", "today",     "tomorrow",  "allballs"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_equal_nocase(text, slice_from(words[i]))) return KEY_VALUE_UNSURE;
    }
    return KEY_VALUE_BAD;
}

/* Digits and marks, an ISO 'T', zone 'Z' or UTC, BC, or infinity. Names of days, months and zones are left out: what
 * they mean may change, and what is not known to last is not kept. */
static bool temporal_lasts(struct slice text) {
    static const char *const words[] = {"infinity", "-infinity", "epoch"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_equal_nocase(text, slice_from(words[i]))) return true;
    }
    struct slice head = text;
    if (head.len > 3 && slice_equal_nocase(slice_make(head.data + head.len - 3, 3), SLICE(" BC")))
        head.len -= 3;
    return all_of(head, "0123456789-+:./ TtZz");
}

/* 0, 42, -7; within the type's bounds, as was checked before. */
static bool is_plain_integer(struct slice text) {
    size_t first = text.len > 0 && text.data[0] == '-' ? 1 : 0;
    if (text.len == first || !all_of(slice_make(text.data + first, text.len - first), "0123456789"))
        return false;
    return text.data[first] != '0' || text.len == 1;
}

static bool is_plain_uuid(struct slice text) {
    return check_uuid(text) == KEY_VALUE_GOOD && all_of(text, "0123456789abcdef-");
}

static bool is_plain_text(struct slice text) {
    (void)text; /* of a deterministic collation: equal texts are equal bytes */
    return true;
}

static bool normalise_blanks(struct slice text, struct buf *identity) {
    while (text.len > 0 && text.data[text.len - 1] == ' ')
        text.len--;
    buf_append_slice(identity, text);
    return true;
}

static bool looks_iso(struct slice text) {
    /* Year of four digits or more, month, day. */
    size_t year = 0;
    while (year < text.len && is_digit(text.data[year]))
        year++;
    return year >= 4 && text.len >= year + 6 && text.data[year] == '-' &&
           text.data[year + 3] == '-' && is_digit(text.data[year + 1]) &&
           is_digit(text.data[year + 4]);
}

static bool is_infinite(struct slice text) {
    return slice_equal(text, SLICE("infinity")) || slice_equal(text, SLICE("-infinity"));
}

static bool normalise_date(struct slice text, struct buf *identity) {
    if (!is_infinite(text) && !looks_iso(text)) return false;
    buf_append_slice(identity, text);
    return true;
}

/* 2026-01-31 10:00:00 → 2026-01-31T10:00:00, as to_json prints it. */
static bool normalise_timestamp(struct slice text, struct buf *identity) {
    if (is_infinite(text)) return normalise_date(text, identity);
    const char *blank = text.len ? memchr(text.data, ' ', text.len) : NULL;
    if (!blank || !looks_iso(text)) return false;
    size_t before = (size_t)(blank - text.data);
    buf_append(identity, text.data, before);
    buf_append_char(identity, 'T');
    buf_append(identity, blank + 1, text.len - before - 1);
    return true;
}

/* The stream's session is in UTC: 2026-01-31 10:00:00+00[ BC] → 2026-01-31T10:00:00[ BC]. */
static bool normalise_timestamptz(struct slice text, struct buf *identity) {
    if (is_infinite(text)) return normalise_date(text, identity);
    const char *zone = text.len ? memchr(text.data, '+', text.len) : NULL;
    if (!zone) return false;
    size_t before = (size_t)(zone - text.data);
    struct slice after = slice_make(zone, text.len - before);
    if (!slice_equal(after, SLICE("+00")) && !slice_equal(after, SLICE("+00 BC"))) return false;
    if (!normalise_timestamp(slice_make(text.data, before), identity)) return false;
    buf_append(identity, after.data + 3, after.len - 3);
    return true;
}

/* 1.50 → 1.5, 10.00 → 10, as trim_scale has it. */
static bool normalise_numeric(struct slice text, struct buf *identity) {
    if (text.len > 0 && memchr(text.data, '.', text.len)) {
        while (text.data[text.len - 1] == '0')
            text.len--;
        if (text.data[text.len - 1] == '.') text.len--;
    }
    buf_append_slice(identity, text);
    return true;
}

static bool normalise_bytea(struct slice text, struct buf *identity) {
    if (text.len < 2 || memcmp(text.data, "\\x", 2) != 0) return false;
    buf_append(identity, text.data + 2, text.len - 2);
    return true;
}

#define AS_TEXT "(%s)::text"
#define AS_JSON "(pg_catalog.to_json(%s) #>> '{}')"

static const struct keytype types[] = {
    {"int4", "an integer", true, AS_TEXT, check_int4, NULL, is_plain_integer, NULL},
    {"int8", "an integer", true, AS_TEXT, check_int8, NULL, is_plain_integer, NULL},
    {"int2", "an integer", true, AS_TEXT, check_int2, NULL, is_plain_integer, NULL},
    {"oid", "an integer", true, AS_TEXT, check_oid, NULL, NULL, NULL},
    {"uuid", "a uuid", true, AS_TEXT, check_uuid, NULL, is_plain_uuid, NULL},
    {"text", "text", true, AS_TEXT, check_text, NULL, is_plain_text, NULL},
    {"varchar", "text", true, AS_TEXT, check_text, NULL, is_plain_text, NULL},
    {"name", "a name", true, AS_TEXT, check_text, NULL, NULL, NULL},
    {"bool", "a boolean", true, "CASE WHEN %s THEN 't' ELSE 'f' END", NULL, NULL, NULL, NULL},
    {"date", "a date", true, AS_JSON, check_temporal, temporal_lasts, NULL, normalise_date},
    {"timestamp", "a timestamp", true, AS_JSON, check_temporal, temporal_lasts, NULL,
     normalise_timestamp},
    {"timestamptz", "a timestamp", true, "(pg_catalog.to_json(%s AT TIME ZONE 'UTC') #>> '{}')",
     check_temporal, temporal_lasts, NULL, normalise_timestamptz},
    {"time", "a time", true, AS_TEXT, check_temporal, temporal_lasts, NULL, NULL},
    {"bytea", "a bytea value", true, "pg_catalog.encode(%s, 'hex')", NULL, NULL, NULL,
     normalise_bytea},
    /* Their cast to text, unlike their output, always shows the mask. */
    {"inet", "a network address", true, AS_JSON, NULL, NULL, NULL, NULL},
    {"cidr", "a network", true, AS_JSON, NULL, NULL, NULL, NULL},
    {"macaddr", "a MAC address", true, AS_TEXT, NULL, NULL, NULL, NULL},
    {"macaddr8", "a MAC address", true, AS_TEXT, NULL, NULL, NULL, NULL},
    {"numeric", "a number", true, "pg_catalog.trim_scale(%s)::text", check_numeric, NULL, NULL,
     normalise_numeric},
    /* Equal values may be stored, and printed, in several ways: */
    {"bpchar", "text", false, AS_TEXT, check_text, NULL, NULL, normalise_blanks},
    {"citext", "text", false, AS_TEXT, check_text, NULL, NULL, NULL},
};

static const struct keytype text_by_collation = {"text",     "text", false, AS_TEXT,
                                                 check_text, NULL,   NULL,  NULL};
static const struct keytype any_enum = {"enum", NULL, true, AS_TEXT, NULL, NULL, NULL, NULL};
static const struct keytype any_other = {NULL, NULL, false, NULL, NULL, temporal_lasts, NULL, NULL};

/* ... of which no text tells a time or a day. */
static const struct keytype any_steady = {NULL, NULL, false, NULL, NULL, NULL, NULL, NULL};

static bool is_steady(const char *name) {
    static const char *const steady[] = {
        "float4",    "float8",    "interval", "jsonb",   "bit",    "varbit",  "pg_lsn",
        "char",      "money",     "ltree",    "hstore",  "xid8",   "_int2",   "_int4",
        "_int8",     "_numeric",  "_float4",  "_float8", "_text",  "_bpchar", "_varchar",
        "_name",     "_citext",   "_bool",    "_uuid",   "_bytea", "_inet",   "_oid",
        "int4range", "int8range", "numrange"};
    for (size_t i = 0; i < sizeof steady / sizeof steady[0]; i++)
        if (strcmp(name, steady[i]) == 0) return true;
    return false;
}

const struct keytype *keytype_find(const char *base_type_name, char typtype, bool deterministic) {
    if (typtype == 'e') return &any_enum;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (typtype != 'b' || strcmp(types[i].name, base_type_name) != 0) continue;
        return types[i].check == check_text && !deterministic ? &text_by_collation : &types[i];
    }
    return (typtype == 'b' || typtype == 'r') && is_steady(base_type_name) ? &any_steady
                                                                           : &any_other;
}

/* Texts, and what is printed as nothing else. */
static bool is_textual(const struct keytype *type) {
    return type == &any_enum || strcmp(type->noun, "text") == 0 ||
           strcmp(type->noun, "a name") == 0;
}

static bool is_integer(const struct keytype *type) {
    return type->plain == is_plain_integer; /* not an oid, which has an int4's -1 as 4294967295 */
}

bool keytype_comparable(const struct keytype *a, const struct keytype *b) {
    if (!a->exact || !b->exact || !a->identity || !b->identity) return false;
    return a == b || (is_textual(a) && is_textual(b)) || (is_integer(a) && is_integer(b));
}

/* RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF. */
static size_t utf8_length(const unsigned char *at, size_t left) {
    unsigned char c = at[0];
    size_t len = c < 0x80 ? 1 : c >= 0xC2 && c < 0xE0 ? 2 : c >= 0xE0 && c < 0xF0 ? 3 : 4;
    if (c == 0 || (c >= 0x80 && c < 0xC2) || c > 0xF4 || len > left) return 0;
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
    }
    if (c == 0xE0 && at[1] < 0xA0) return 0;
    if (c == 0xED && at[1] > 0x9F) return 0;
    if (c == 0xF0 && at[1] < 0x90) return 0;
    if (c == 0xF4 && at[1] > 0x8F) return 0;
    return len;
}

bool keytype_is_text(struct slice text) {
    const unsigned char *at = (const unsigned char *)text.data;
    for (size_t left = text.len; left > 0;) {
        size_t len = utf8_length(at, left);
        if (len == 0) return false;
        at += len;
        left -= len;
    }
    return true;
}

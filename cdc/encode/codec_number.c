/* Numbers: integers, floats in Java's form, decimals as unscaled two's complement. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "base/mem.h"
#include "cdc/encode/codec_rules.h"
#include "cdc/encode/java_double.h"

enum { MAX_DIGITS = 150000 /* numeric has 131072 before the point and 16383 behind it */ };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* [-]digits, as they are: any integer type of PostgreSQL prints what JSON reads. */
enum codec_result codec_integer(const struct codec *codec, struct slice text, struct buf *out) {
    (void)codec;
    size_t at = text.len && text.data[0] == '-';
    if (at == text.len || text.len > 20) return CODEC_AS_TEXT;
    for (size_t i = at; i < text.len; i++) {
        if (!is_digit(text.data[i])) return CODEC_AS_TEXT;
    }
    /* JSON allows no leading zero. */
    if (text.data[at] == '0' && text.len > at + 1) return CODEC_AS_TEXT;
    buf_append_slice(out, text);
    return CODEC_DONE;
}

enum codec_result codec_boolean(const struct codec *codec, struct slice text, struct buf *out) {
    (void)codec;
    if (slice_equal(text, SLICE("t")) || slice_equal(text, SLICE("true"))) {
        buf_append(out, "true", 4);
        return CODEC_DONE;
    }
    if (slice_equal(text, SLICE("f")) || slice_equal(text, SLICE("false"))) {
        buf_append(out, "false", 5);
        return CODEC_DONE;
    }
    return CODEC_AS_TEXT;
}

enum codec_result codec_float(const struct codec *codec, struct slice text, struct buf *out) {
    return java_double_append(text, codec->single, out) ? CODEC_DONE : CODEC_AS_TEXT;
}

void codec_zero_float(const struct codec *codec, struct buf *out) {
    (void)codec;
    buf_append_text(out, "0.0");
}

/* "1 2 3" */
enum codec_result codec_vector(const struct codec *codec, struct slice text, struct buf *out) {
    buf_append_char(out, '[');
    for (size_t at = 0; at < text.len;) {
        const char *space = memchr(text.data + at, ' ', text.len - at);
        size_t end = space ? (size_t)(space - text.data) : text.len;
        if (at) buf_append_char(out, ',');
        if (codec_integer(codec, slice_make(text.data + at, end - at), out) != CODEC_DONE)
            return CODEC_AS_TEXT;
        at = end + 1;
    }
    buf_append_char(out, ']');
    return CODEC_DONE;
}

static void append_bytes(const struct codec *codec, struct buf *out, const unsigned char *bytes,
                         size_t len) {
    (void)codec; /* decimals are base64 whatever format.bytes says */
    buf_append_char(out, '"');
    base64_append(out, bytes, len);
    buf_append_char(out, '"');
}

/* Magnitude as little-endian 64-bit words from a run of digits: words[0..*n). `words` has room for all. */
static void magnitude(const char *digits, size_t len, uint64_t *words, size_t *n) {
    static const uint64_t powers[] = {1ULL,
                                      10ULL,
                                      100ULL,
                                      1000ULL,
                                      10000ULL,
                                      100000ULL,
                                      1000000ULL,
                                      10000000ULL,
                                      100000000ULL,
                                      1000000000ULL,
                                      10000000000ULL,
                                      100000000000ULL,
                                      1000000000000ULL,
                                      10000000000000ULL,
                                      100000000000000ULL,
                                      1000000000000000ULL,
                                      10000000000000000ULL,
                                      100000000000000000ULL,
                                      1000000000000000000ULL};
    ASSERT(digits || len == 0);
    *n = 0;
    for (size_t at = 0; at < len;) {
        size_t group = len - at < 18 ? len - at : 18;
        uint64_t carry = 0;
        for (size_t i = 0; i < group; i++)
            carry = carry * 10 + (uint64_t)(digits[at + i] - '0');
        for (size_t i = 0; i < *n; i++) {
            unsigned __int128 wide = (unsigned __int128)words[i] * powers[group] + carry;
            words[i] = (uint64_t)wide;
            carry = (uint64_t)(wide >> 64);
        }
        if (carry) words[(*n)++] = carry;
        at += group;
    }
}

/* The shortest big-endian two's complement of the digits, base64 in quotes: BigInteger.toByteArray. */
static void append_unscaled(const struct codec *codec, bool negative, const char *digits,
                            size_t len, struct buf *out) {
    uint64_t few[16];
    size_t room = len / 18 + 2;
    uint64_t *words = room > 16 ? mem_calloc(room, sizeof *words) : few;
    size_t n;
    magnitude(digits, len, words, &n);
    size_t n_bytes = n * 8 + 1; /* one more for the sign */
    unsigned char few_bytes[129];
    unsigned char *bytes = n_bytes > sizeof few_bytes ? mem_alloc(n_bytes) : few_bytes;
    unsigned borrow = negative; /* ~x + 1 */
    for (size_t i = 0; i < n_bytes; i++) {
        unsigned byte = i < n * 8 ? (unsigned)(words[i / 8] >> (i % 8 * 8)) & 0xff : 0;
        if (negative) {
            byte = (~byte & 0xff) + borrow;
            borrow = byte >> 8;
        }
        bytes[n_bytes - 1 - i] = (unsigned char)byte;
    }
    size_t skip = 0;
    while (skip + 1 < n_bytes && ((bytes[skip] == 0 && !(bytes[skip + 1] & 0x80)) ||
                                  (bytes[skip] == 0xff && (bytes[skip + 1] & 0x80))))
        skip++;
    append_bytes(codec, out, bytes + skip, n_bytes - skip);
    if (bytes != few_bytes) mem_free(bytes);
    if (words != few) mem_free(words);
}

/* A decimal's text taken apart: sign, and the digits with the point taken out. */
struct decimal {
    bool negative;
    const char *digits; /* n digits, in the text itself where it has no point */
    size_t n;
    int32_t scale; /* digits behind the point */
};

/* `room` holds the digits of a text with a point. */
static bool parse_decimal(struct slice text, struct buf *room, struct decimal *decimal) {
    const char *at = text.data;
    const char *end = at + text.len;
    decimal->negative = at < end && *at == '-';
    at += decimal->negative;
    const char *point = memchr(at, '.', (size_t)(end - at));
    size_t whole = (size_t)((point ? point : end) - at);
    size_t fraction = point ? (size_t)(end - point - 1) : 0;
    if (whole + fraction == 0 || whole + fraction > MAX_DIGITS) return false;
    for (size_t i = 0; i < text.len - decimal->negative; i++) {
        if (!is_digit(at[i]) && at + i != point) return false;
    }
    decimal->scale = (int32_t)fraction;
    decimal->digits = at;
    decimal->n = whole + fraction;
    if (fraction) {
        size_t start = room->len;
        buf_append(room, at, whole);
        buf_append(room, point + 1, fraction);
        decimal->digits = room->data + start;
    }
    return true;
}

static enum codec_result not_finite(const struct codec *codec, struct slice text, struct buf *out) {
    static const struct {
        struct slice text;
        const char *name;
        const char *java;
    } names[] = {
        {SLICE("NaN"), "\"NAN\"", "\"NaN\""},
        {SLICE("Infinity"), "\"POSITIVE_INFINITY\"", "\"Infinity\""},
        {SLICE("-Infinity"), "\"NEGATIVE_INFINITY\"", "\"-Infinity\""},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!slice_equal(text, names[i].text)) continue;
        const char *written = names[i].name;
        if (codec->format->decimals == DECIMALS_DOUBLE) written = names[i].java;
        if (codec->format->decimals == DECIMALS_PRECISE) {
            if (codec->format->non_finite == NON_FINITE_ERROR) return CODEC_REFUSED;
            if (codec->format->non_finite == NON_FINITE_NULL) written = "null";
        }
        buf_append_text(out, written);
        return CODEC_DONE;
    }
    return CODEC_AS_TEXT;
}

/* {"scale":4,"value":"AYr3"}: trailing zeros dropped, never a negative scale. */
static void append_variable(const struct codec *codec, struct decimal *decimal, struct buf *out) {
    while (decimal->scale > 0 && decimal->n > 1 && decimal->digits[decimal->n - 1] == '0') {
        decimal->scale--;
        decimal->n--;
    }
    buf_append_text(out, "{\"scale\":");
    buf_append_i64(out, decimal->scale);
    buf_append_text(out, ",\"value\":");
    append_unscaled(codec, decimal->negative, decimal->digits, decimal->n, out);
    buf_append_char(out, '}');
}

/* The digits brought to the column's scale. False: they have more than it allows. */
static bool rescale(struct decimal *decimal, int32_t scale, struct buf *room) {
    if (decimal->scale < scale) {
        size_t missing = (size_t)(scale - decimal->scale);
        struct buf digits = {0};
        buf_append(&digits, decimal->digits, decimal->n);
        memset(buf_reserve(&digits, missing), '0', missing);
        digits.len += missing;
        room->len = 0;
        buf_append_slice(room, buf_slice(&digits));
        decimal->digits = room->data;
        decimal->n += missing;
        buf_deinit(&digits);
    }
    for (; decimal->scale > scale; decimal->scale--) {
        if (decimal->n == 1 && decimal->digits[0] == '0') break;
        if (decimal->n < 2 || decimal->digits[decimal->n - 1] != '0') return false;
        decimal->n--;
    }
    return true;
}

static void append_int64(const struct codec *codec, int64_t value, struct buf *out) {
    uint64_t big_endian = __builtin_bswap64((uint64_t)value);
    unsigned char bytes[sizeof big_endian];
    memcpy(bytes, &big_endian, sizeof bytes);
    size_t skip = 0;
    while (skip < 7 && ((bytes[skip] == 0 && !(bytes[skip + 1] & 0x80)) ||
                        (bytes[skip] == 0xff && (bytes[skip + 1] & 0x80))))
        skip++;
    append_bytes(codec, out, bytes + skip, sizeof bytes - skip);
}

/* At most 18 digits, and the scale that the column has if it has one: nearly all decimals there are. */
static bool append_short(const struct codec *codec, struct slice text, struct buf *out) {
    bool negative = text.len && text.data[0] == '-';
    if (text.len == negative || text.len - negative > 18) return false;
    int64_t value = 0;
    int32_t behind = -1;
    for (size_t i = negative; i < text.len; i++) {
        char c = text.data[i];
        if (is_digit(c))
            value = value * 10 + (c - '0');
        else if (c != '.' || behind >= 0 || text.len - negative == 1)
            return false;
        if (behind >= 0 || c == '.') behind++;
    }
    if (behind < 0) behind = 0;
    if (codec->scale != SCALE_VARIABLE) {
        if (behind != codec->scale) return false;
        append_int64(codec, negative ? -value : value, out);
        return true;
    }
    for (; behind > 0 && value % 10 == 0; behind--)
        value /= 10;
    buf_append_text(out, "{\"scale\":");
    buf_append_i64(out, behind);
    buf_append_text(out, ",\"value\":");
    append_int64(codec, negative ? -value : value, out);
    buf_append_char(out, '}');
    return true;
}

static enum codec_result append_precise(const struct codec *codec, struct slice text,
                                        struct buf *out) {
    if (append_short(codec, text, out)) return CODEC_DONE;
    struct buf room = {0};
    struct decimal decimal;
    enum codec_result result = CODEC_AS_TEXT;
    if (parse_decimal(text, &room, &decimal)) {
        result = CODEC_DONE;
        if (codec->scale == SCALE_VARIABLE)
            append_variable(codec, &decimal, out);
        else if (rescale(&decimal, codec->scale, &room))
            append_unscaled(codec, decimal.negative, decimal.digits, decimal.n, out);
        else
            result = CODEC_AS_TEXT;
    }
    buf_deinit(&room);
    return result;
}

static bool is_decimal(struct slice text) {
    size_t digits = 0;
    size_t points = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (is_digit(text.data[i]))
            digits++;
        else if (text.data[i] == '.')
            points++;
        else if (text.data[i] != '-' || i != 0)
            return false;
    }
    return digits && points <= 1;
}

enum codec_result codec_numeric(const struct codec *codec, struct slice text, struct buf *out) {
    if (text.len && (text.data[text.len - 1] == 'N' || text.data[text.len - 1] == 'y'))
        return not_finite(codec, text, out);
    if (codec->format->decimals == DECIMALS_PRECISE) return append_precise(codec, text, out);
    if (!is_decimal(text)) return CODEC_AS_TEXT;
    if (codec->format->decimals == DECIMALS_DOUBLE)
        return java_double_append_decimal(text, out) ? CODEC_DONE : CODEC_AS_TEXT;
    return codec_text(codec, text, out);
}

/* "-$1,234.50": the sign and the digits count, whatever lc_monetary puts around them; the last point or comma
 * is the decimal one when two digits follow it. The length, 0: no number. */
static size_t money_digits(struct slice text, char plain[40]) {
    size_t n = 0;
    size_t digits = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if ((c == '-' || c == '(') && digits == 0 && n == 0) plain[n++] = '-';
        if ((c == '.' || c == ',') && i + 3 == text.len && digits) plain[n++] = '.';
        if (!is_digit(c)) continue;
        if (++digits > 19) return 0;
        plain[n++] = c;
    }
    return digits ? n : 0;
}

enum codec_result codec_money(const struct codec *codec, struct slice text, struct buf *out) {
    char plain[40];
    size_t n = money_digits(text, plain);
    return n ? codec_numeric(codec, slice_make(plain, n), out) : CODEC_AS_TEXT;
}

/* java.math.BigDecimal.toString: plain, but for numbers with more than six zeros behind the point before the first digit. */
static void append_big_decimal(const struct decimal *decimal, struct buf *out) {
    const char *digits = decimal->digits;
    size_t n = decimal->n;
    for (; n > 1 && *digits == '0'; n--)
        digits++;
    bool zero = n == 1 && *digits == '0';
    int64_t exponent = (int64_t)n - 1 - decimal->scale;
    if (decimal->negative && !zero) buf_append_char(out, '-');
    if (exponent < -6) {
        buf_append_char(out, *digits);
        if (n > 1) buf_append_char(out, '.');
        buf_append(out, digits + 1, n - 1);
        buf_append_char(out, 'E');
        buf_append_i64(out, exponent);
        return;
    }
    size_t behind = (size_t)decimal->scale;
    if (n <= behind) buf_append_text(out, "0");
    if (n > behind) buf_append(out, digits, n - behind);
    if (!behind) return;
    buf_append_char(out, '.');
    for (size_t zeros = n; zeros < behind; zeros++)
        buf_append_char(out, '0');
    buf_append(out, n > behind ? digits + (n - behind) : digits, n < behind ? n : behind);
}

bool codec_decimal_digits(const struct codec *codec, struct slice text, struct buf *out) {
    bool money = codec->rule->encode == codec_money;
    if ((!money && codec->rule->encode != codec_numeric) || codec->scale == SCALE_VARIABLE ||
        codec->format->decimals != DECIMALS_PRECISE)
        return false;
    char plain[40];
    if (money) text = slice_make(plain, money_digits(text, plain));
    struct buf room = {0};
    struct decimal decimal;
    bool done = text.len && parse_decimal(text, &room, &decimal);
    if (done) append_big_decimal(&decimal, out);
    buf_deinit(&room);
    return done;
}

void codec_zero_numeric(const struct codec *codec, struct buf *out) {
    switch (codec->format->decimals) {
    case DECIMALS_DOUBLE: buf_append_text(out, "0.0"); break;
    case DECIMALS_PRECISE:
        buf_append_text(out, codec->scale == SCALE_VARIABLE ? "{\"scale\":0,\"value\":\"AA==\"}"
                                                            : "\"AA==\"");
        break;
    case DECIMALS_STRING:
        buf_append_text(out, "\"0");
        if (codec->scale != SCALE_VARIABLE && codec->scale > 0) {
            buf_append_char(out, '.');
            for (int32_t i = 0; i < codec->scale; i++)
                buf_append_char(out, '0');
        }
        buf_append_char(out, '"');
        break;
    }
}

void codec_placeholder_numeric(const struct codec *codec, struct buf *out) {
    switch (codec->format->decimals) {
    case DECIMALS_DOUBLE: buf_append_text(out, "null"); break;
    case DECIMALS_STRING: buf_append_text(out, "\"" CODEC_PLACEHOLDER "\""); break;
    case DECIMALS_PRECISE:
        if (codec->scale == SCALE_VARIABLE) buf_append_text(out, "{\"scale\":0,\"value\":");
        append_bytes(codec, out, (const unsigned char *)CODEC_PLACEHOLDER,
                     sizeof CODEC_PLACEHOLDER - 1);
        if (codec->scale == SCALE_VARIABLE) buf_append_char(out, '}');
        break;
    }
}

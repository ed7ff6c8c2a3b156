#include "base/json.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char upper_digits[] = "0123456789ABCDEF";
static const char lower_digits[] = "0123456789abcdef";

/* What stands behind the backslash: 0 as it is, 'u' for \u00XX. */
static const char escapes[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b',         't',           'n', 'u',
    'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u',         'u',           'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\',
};

#ifdef __SSE2__
/* A bit for each byte that needs an escape, or is `limits` or more. */
static unsigned special_bytes(__m128i bytes, __m128i limits) {
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1f);
    __m128i special =
        _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                     _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes),
                                  _mm_cmpeq_epi8(_mm_max_epu8(bytes, limits), bytes)));
    return (unsigned)_mm_movemask_epi8(special);
}

static unsigned special_in_16(const char *at, __m128i limits) {
    return special_bytes(_mm_loadu_si128((const __m128i *)(const void *)at), limits);
}

static unsigned special_in_8(const char *at, __m128i limits) {
    return special_bytes(_mm_loadl_epi64((const __m128i *)(const void *)at), limits) & 0xff;
}
#endif

/* Bytes at the front of `at` that stand for themselves: none that needs an escape, none from `limit` on. What is left at the end
 * is looked at together with some bytes before it. */
static size_t plain_run(const char *at, size_t len, unsigned char limit) {
    size_t i = 0;
#ifdef __SSE2__
    const __m128i limits = _mm_set1_epi8((char)limit);
    unsigned mask;
    for (; i + 16 <= len; i += 16) {
        if ((mask = special_in_16(at + i, limits))) return i + (size_t)__builtin_ctz(mask);
    }
    if (len >= 16) {
        mask = special_in_16(at + len - 16, limits);
        return mask ? len - 16 + (size_t)__builtin_ctz(mask) : len;
    }
    if (len >= 8) {
        if ((mask = special_in_8(at, limits))) return (size_t)__builtin_ctz(mask);
        mask = special_in_8(at + len - 8, limits);
        return mask ? len - 8 + (size_t)__builtin_ctz(mask) : len;
    }
#endif
    while (i < len && !escapes[(unsigned char)at[i]] && (unsigned char)at[i] < limit)
        i++;
    return i;
}

static void append_unit(struct buf *out, uint32_t unit, const char *digits) {
    char *to = buf_reserve(out, 6);
    to[0] = '\\';
    to[1] = 'u';
    for (int i = 0; i < 4; i++)
        to[2 + i] = digits[unit >> (12 - 4 * i) & 15];
    out->len += 6;
}

static void append_escape(struct buf *out, unsigned char c, const char *digits) {
    if (escapes[c] == 'u') {
        append_unit(out, c, digits);
        return;
    }
    char *to = buf_reserve(out, 2);
    to[0] = '\\';
    to[1] = escapes[c];
    out->len += 2;
}

/* A character of four bytes as a surrogate pair; anything else that begins so as it is. Returns its length. */
static size_t append_astral(struct buf *out, const unsigned char *at, size_t left) {
    bool whole = left >= 4 && at[0] <= 0xf4 && (at[1] & 0xc0) == 0x80 && (at[2] & 0xc0) == 0x80 &&
                 (at[3] & 0xc0) == 0x80;
    if (!whole) {
        buf_append_char(out, (char)at[0]);
        return 1;
    }
    uint32_t point = (uint32_t)(at[0] & 7) << 18 | (uint32_t)(at[1] & 63) << 12 |
                     (uint32_t)(at[2] & 63) << 6 | (at[3] & 63);
    point -= 0x10000;
    append_unit(out, 0xd800 + (point >> 10 & 0x3ff), upper_digits);
    append_unit(out, 0xdc00 + (point & 0x3ff), upper_digits);
    return 4;
}

enum { NO_LIMIT = 0xff /* no byte of UTF-8 */, ASTRAL = 0xf0 };

static void append_text(struct buf *out, struct slice text, unsigned char limit,
                        const char *digits) {
    const char *at = text.data;
    size_t left = text.len;
    for (;;) {
        size_t run = plain_run(at, left, limit);
        buf_append(out, at, run);
        if (run == left) return;
        at += run;
        left -= run;
        unsigned char c = (unsigned char)*at;
        size_t taken = 1;
        if (escapes[c])
            append_escape(out, c, digits);
        else if (limit == ASTRAL)
            taken = append_astral(out, (const unsigned char *)at, left);
        else
            buf_append_char(out, (char)c);
        at += taken;
        left -= taken;
    }
}

void json_append_escaped(struct buf *out, struct slice text) {
    append_text(out, text, NO_LIMIT, upper_digits);
}

static void append_quoted(struct buf *out, struct slice text, unsigned char limit,
                          const char *digits) {
    buf_reserve(out, text.len + 2); /* one growth where nothing needs escaping */
    buf_append_char(out, '"');
    append_text(out, text, limit, digits);
    buf_append_char(out, '"');
}

void json_append_string(struct buf *out, struct slice text) {
    append_quoted(out, text, NO_LIMIT, upper_digits);
}

void json_append_string_java(struct buf *out, struct slice text) {
    append_quoted(out, text, ASTRAL, upper_digits);
}

void json_append_string_postgres(struct buf *out, struct slice text) {
    append_quoted(out, text, NO_LIMIT, lower_digits);
}

void base64_append(struct buf *out, const void *data, size_t len) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = data;
    char *to = buf_reserve(out, (len + 2) / 3 * 4);
    for (; len >= 3; len -= 3, in += 3) {
        uint32_t three = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = digits[three >> 6 & 63];
        *to++ = digits[three & 63];
    }
    if (len) {
        uint32_t rest = (uint32_t)in[0] << 16 | (len == 2 ? (uint32_t)in[1] << 8 : 0);
        *to++ = digits[rest >> 18];
        *to++ = digits[rest >> 12 & 63];
        *to++ = len == 2 ? digits[rest >> 6 & 63] : '=';
        *to++ = '=';
    }
    out->len = (size_t)(to - out->data);
}

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_decode(struct buf *out, struct slice text) {
    if (text.len == 0) return true;
    if (text.len % 4) return false;
    size_t padding = text.data[text.len - 1] == '=';
    if (padding && text.data[text.len - 2] == '=') padding = 2;
    char *to = buf_reserve(out, text.len / 4 * 3);
    for (size_t at = 0; at < text.len; at += 4) {
        size_t given = at + 4 == text.len ? 4 - padding : 4;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            int digit = i < given ? base64_digit(text.data[at + i]) : 0;
            if (digit < 0) return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        for (size_t i = 0; i + 1 < given; i++)
            *to++ = (char)(bits >> (16 - 8 * i));
    }
    out->len = (size_t)(to - out->data);
    return true;
}

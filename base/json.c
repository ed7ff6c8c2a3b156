#include "base/json.h"

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char hex_digits[] = "0123456789ABCDEF";

/* What stands behind the backslash: 0 as it is, 'u' for \u00XX. */
static const char escapes[256] = {
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b',         't',           'n', 'u',
    'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u',         'u',           'u', 'u',
    'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\',
};

/* Bytes at the front of `at` that stand for themselves. */
static size_t plain_run(const char *at, size_t len) {
    size_t i = 0;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1f);
    for (; i + 16 <= len; i += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at + i));
        __m128i special = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
            _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes));
        unsigned mask = (unsigned)_mm_movemask_epi8(special);
        if (mask) return i + (size_t)__builtin_ctz(mask);
    }
#endif
    while (i < len && !escapes[(unsigned char)at[i]])
        i++;
    return i;
}

void json_append_escaped(struct buf *out, struct slice text) {
    const char *at = text.data;
    size_t left = text.len;
    for (;;) {
        size_t run = plain_run(at, left);
        buf_append(out, at, run);
        if (run == left) return;
        unsigned char c = (unsigned char)at[run];
        char *to = buf_reserve(out, 6);
        to[0] = '\\';
        to[1] = escapes[c];
        out->len += 2;
        if (to[1] == 'u') {
            to[2] = to[3] = '0';
            to[4] = hex_digits[c >> 4];
            to[5] = hex_digits[c & 15];
            out->len += 4;
        }
        at += run + 1;
        left -= run + 1;
    }
}

void json_append_string(struct buf *out, struct slice text) {
    buf_reserve(out, text.len + 2); /* one growth where nothing needs escaping */
    buf_append_char(out, '"');
    json_append_escaped(out, text);
    buf_append_char(out, '"');
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

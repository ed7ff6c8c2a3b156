#include "cdc/decode/copytext.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char escape_letters[] = "bfnrtv";
static const char escape_bytes[] = "\b\f\n\r\t\v";

static int digit_value(char c, int base) {
    int value = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
    return value < base ? value : -1;
}

/* Up to max digits at *at; moves it past them. -1: none. */
static int read_digits(const char **at, const char *end, int base, int max) {
    int value = -1;
    for (int n = 0; n < max && *at < end; n++) {
        int digit = digit_value(**at, base);
        if (digit < 0) break;
        value = (value < 0 ? 0 : value * base) + digit;
        (*at)++;
    }
    return value;
}

/* What stands behind a backslash, at *at; moves past it. */
static char unescape_one(const char **at, const char *end) {
    const char *known = memchr(escape_letters, **at, sizeof escape_letters - 1);
    if (known) {
        (*at)++;
        return escape_bytes[known - escape_letters];
    }
    if (**at == 'x') {
        const char *digits = *at + 1;
        int value = read_digits(&digits, end, 16, 2);
        if (value >= 0) {
            *at = digits;
            return (char)value;
        }
    }
    int octal = read_digits(at, end, 8, 3);
    return octal >= 0 ? (char)octal : *(*at)++;
}

/* The first tab, newline or backslash from `at` on; `end`: there is none. */
static char *find_mark(char *at, const char *end) {
#ifdef __SSE2__
    const __m128i tab = _mm_set1_epi8('\t');
    const __m128i newline = _mm_set1_epi8('\n');
    const __m128i backslash = _mm_set1_epi8('\\');
    for (; end - at >= 16; at += 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i marks =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, tab), _mm_cmpeq_epi8(bytes, newline)),
                         _mm_cmpeq_epi8(bytes, backslash));
        unsigned mask = (unsigned)_mm_movemask_epi8(marks);
        if (mask) return at + __builtin_ctz(mask);
    }
#endif
    while (at < end && *at != '\t' && *at != '\n' && *at != '\\')
        at++;
    return at;
}

static bool ends_field(const char *at, const char *end) {
    return at == end || *at == '\t' || *at == '\n';
}

/* The rest of a field, from its first backslash at `mark` on, written back over itself. NULL: a broken escape. */
static char *unescape(char *mark, const char *end, struct value *value) {
    char *out = mark;
    char *in = mark;
    while (!ends_field(in, end)) {
        if (*in == '\\') {
            if (++in == end) return NULL;
            const char *behind = in;
            *out++ = unescape_one(&behind, end);
            in += behind - in;
        } else {
            char *next = find_mark(in, end);
            memmove(out, in, (size_t)(next - in));
            out += next - in;
            in = next;
        }
    }
    value->len = (uint32_t)(out - value->data);
    return in;
}

/* One field; returns what ends it. NULL: a broken escape. */
static char *take_field(char *at, const char *end, struct value *value) {
    *value = (struct value){.kind = VALUE_TEXT, .data = at};
    char *mark = find_mark(at, end);
    if (ends_field(mark, end)) {
        value->len = (uint32_t)(mark - at);
        return mark;
    }
    if (mark == at && end - at >= 2 && at[1] == 'N' && ends_field(at + 2, end)) {
        *value = (struct value){.kind = VALUE_NULL, .data = ""};
        return at + 2;
    }
    return unescape(mark, end, value);
}

size_t copytext_take(char *rows, size_t len, uint16_t n_columns, struct value *values) {
    char *at = rows;
    const char *end = rows + (len < UINT32_MAX ? len : UINT32_MAX);
    for (uint16_t i = 0; i < n_columns; i++) {
        if (i && (at == end || *at++ != '\t')) return 0;
        at = take_field(at, end, &values[i]);
        if (!at) return 0;
    }
    return at < end && *at == '\n' ? (size_t)(at - rows) + 1 : 0;
}

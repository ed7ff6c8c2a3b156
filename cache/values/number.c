#include "cache/values/number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

bool number_parse_i64(struct slice text, int64_t *value) {
    const char *at = text.data;
    const char *end = text.data + text.len;
    if (text.len == 0 || text.len > NUMBER_I64_MAX_LEN) return false;
    bool negative = *at == '-';
    if (negative) at++;
    if (at == end) return false;
    if (*at == '0') {
        *value = 0;
        return text.len == 1;
    }
    int64_t sum = 0; /* counted downwards: there is one negative number more */
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
        if (__builtin_mul_overflow(sum, 10, &sum)) return false;
        if (__builtin_sub_overflow(sum, *at - '0', &sum)) return false;
    }
    if (!negative && sum == INT64_MIN) return false;
    *value = negative ? sum : -sum;
    return true;
}

bool number_parse_cursor(struct slice text, uint64_t *cursor) {
    char digits[64];
    if (text.len >= sizeof digits) return false;
    if (text.len) memcpy(digits, text.data, text.len); /* none is 0 to strtoull, and so to Redis */
    digits[text.len] = '\0';
    if (isspace((unsigned char)digits[0])) return false;
    char *end;
    errno = 0;
    *cursor = strtoull(digits, &end, 10);
    return end == digits + text.len && errno != ERANGE;
}

bool number_parse_long_double(struct slice text, long double *value) {
    char digits[NUMBER_LONG_DOUBLE_MAX_LEN];
    if (text.len == 0 || text.len >= sizeof digits) return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    if (isspace((unsigned char)digits[0])) return false;
    char *end;
    errno = 0;
    *value = strtold(digits, &end);
    if (end != digits + text.len || isnan(*value)) return false;
    bool out_of_range = isinf(*value) || fpclassify(*value) == FP_ZERO;
    return !(errno == ERANGE && out_of_range);
}

/* All of the text that stands before a NUL, as strtod reads it. */
static bool parse_double(struct slice text, double *value, size_t *used) {
    char room[128];
    char *digits = text.len < sizeof room ? room : mem_alloc(text.len + 1);
    if (text.len) memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    char *end;
    errno = 0;
    *value = strtod(digits, &end);
    *used = (size_t)(end - digits);
    bool whole = *end == '\0';
    if (digits != room) mem_free(digits);
    return whole && !isnan(*value);
}

bool number_parse_double(struct slice text, double *value) {
    int64_t integer;
    size_t used;
    if (text.len <= 15 && number_parse_i64(text, &integer)) { /* the most frequent, and exact */
        *value = (double)integer;
        return true;
    }
    if (text.len == 0 || isspace((unsigned char)text.data[0])) return false;
    if (!parse_double(text, value, &used) || used != text.len) return false;
    bool out_of_range = isinf(*value) || fpclassify(*value) == FP_ZERO;
    return !(errno == ERANGE && out_of_range);
}

bool number_parse_bound(struct slice text, double *value) {
    size_t used;
    return parse_double(text, value, &used);
}

size_t number_format_double(char out[NUMBER_DOUBLE_MAX_LEN], double value) {
    if (isinf(value))
        return (size_t)snprintf(out, NUMBER_DOUBLE_MAX_LEN, value > 0 ? "inf" : "-inf");
    bool short_integer = fabs(value) < 1e15 && value == (double)(int64_t)value;
    if (short_integer && !(value == 0 && signbit(value)))
        return number_format_i64(out, (int64_t)value);
    return (size_t)snprintf(out, NUMBER_DOUBLE_MAX_LEN, "%.17g", value);
}

size_t number_format_i64(char out[NUMBER_I64_MAX_LEN + 1], int64_t value) {
    char digits[NUMBER_I64_MAX_LEN];
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t n = 0;
    do
        digits[n++] = (char)('0' + rest % 10);
    while (rest /= 10);
    size_t len = 0;
    if (value < 0) out[len++] = '-';
    while (n > 0)
        out[len++] = digits[--n];
    out[len] = '\0';
    return len;
}

size_t number_format_long_double(char out[NUMBER_LONG_DOUBLE_MAX_LEN], long double value) {
    size_t len = (size_t)snprintf(out, NUMBER_LONG_DOUBLE_MAX_LEN, "%.17Lf", value);
    if (memchr(out, '.', len)) {
        while (out[len - 1] == '0')
            len--;
        if (out[len - 1] == '.') len--;
    }
    out[len] = '\0';
    if (strcmp(out, "-0") == 0) len = (size_t)snprintf(out, NUMBER_LONG_DOUBLE_MAX_LEN, "0");
    return len;
}

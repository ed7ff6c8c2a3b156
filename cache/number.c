#include "cache/number.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (text.len == 0 || text.len >= sizeof digits) return false;
    memcpy(digits, text.data, text.len);
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

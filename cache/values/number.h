/* number.h: numbers as Redis 7.0 reads them from arguments and values, and as it writes them. Pure. */
#ifndef FRESHET_CACHE_NUMBER_H
#define FRESHET_CACHE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Decimal digits with an optional '-', in the one canonical form: no '+', spaces, leading zeros or "-0". */
bool number_parse_i64(struct slice text, int64_t *value);
/* A cursor of the SCAN family: leading zeros and a sign are taken, anything behind the digits is not. */
bool number_parse_cursor(struct slice text, uint64_t *cursor);
/* All of the text, as strtold reads it; no leading space, no NaN, nothing that overflows. */
bool number_parse_long_double(struct slice text, long double *value);
/* The same as a double, of any length: scores and weights of sorted sets. */
bool number_parse_double(struct slice text, double *value);
/* An end of a range of scores, which Redis reads more loosely: spaces before it, and nothing at all for 0. */
bool number_parse_bound(struct slice text, double *value);

enum { NUMBER_I64_MAX_LEN = 20, NUMBER_LONG_DOUBLE_MAX_LEN = 5 * 1024 };

size_t number_format_i64(char out[NUMBER_I64_MAX_LEN + 1], int64_t value);
/* Up to 17 decimals, trailing zeros taken off: what INCRBYFLOAT answers and stores. */
size_t number_format_long_double(char out[NUMBER_LONG_DOUBLE_MAX_LEN], long double value);

enum { NUMBER_DOUBLE_MAX_LEN = 32 };

/* 17 digits, as scores are answered: "0.10000000000000001", "1e+300", "inf", "-0". */
size_t number_format_double(char out[NUMBER_DOUBLE_MAX_LEN], double value);

/* False where the sum does not fit. */
static inline bool number_add(int64_t a, int64_t b, int64_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

#endif

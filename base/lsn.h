/* lsn.h: a PostgreSQL log sequence number: a byte position in the WAL as uint64_t, 0 for "none".
 * Written "16/B374D848". Variables that hold one end in _lsn. */
#ifndef FRESHET_BASE_LSN_H
#define FRESHET_BASE_LSN_H

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define LSN_FMT        "%" PRIX32 "/%" PRIX32
#define LSN_ARG(value) (uint32_t)((value) >> 32), (uint32_t)(value)

/* One to eight hexadecimal digits; moves *text behind them. */
static inline bool MUST_CHECK lsn_parse_half(const char **text, uint64_t *half) {
    const char *at = *text;
    *half = 0;
    for (; isxdigit((unsigned char)*at); at++) {
        int digit =
            isdigit((unsigned char)*at) ? *at - '0' : tolower((unsigned char)*at) - 'a' + 10;
        *half = *half << 4 | (uint64_t)digit;
        if (at - *text == 8) return false;
    }
    bool any = at > *text;
    *text = at;
    return any;
}

/* True if all of `text` is an LSN. */
static inline bool MUST_CHECK lsn_parse(const char *text, uint64_t *lsn) {
    uint64_t high;
    uint64_t low;
    if (!lsn_parse_half(&text, &high) || *text++ != '/') return false;
    if (!lsn_parse_half(&text, &low) || *text != '\0') return false;
    *lsn = high << 32 | low;
    return true;
}

#endif

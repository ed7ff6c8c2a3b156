/* lsn.h: a PostgreSQL log sequence number: a byte position in the WAL as uint64_t, 0 for "none".
 * Written "16/B374D848". Variables that hold one end in _lsn. */
#ifndef FRESHET_BASE_LSN_H
#define FRESHET_BASE_LSN_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

#define LSN_FMT        "%" PRIX32 "/%" PRIX32
#define LSN_ARG(value) (uint32_t)((value) >> 32), (uint32_t)(value)

/* True if all of `text` is an LSN. */
static inline bool MUST_CHECK lsn_parse(const char *text, uint64_t *lsn) {
    uint32_t high;
    uint32_t low;
    int end = 0;
    if (sscanf(text, "%8" SCNx32 "/%8" SCNx32 "%n", &high, &low, &end) != 2) return false;
    if (text[end] != '\0') return false;
    *lsn = (uint64_t)high << 32 | low;
    return true;
}

#endif

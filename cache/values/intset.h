/* intset.h: whole numbers, packed and sorted, in one run of bytes: small sets of numbers.
 *
 *     | width: 2, 4 or 8 | number | number | ...      native byte order, ascending, no two alike
 *
 * All numbers have the width that the widest needs; a set widens when it has to, and never narrows. Lookup is by
 * bisection. Pure: no allocation but the buffer that is written to. */
#ifndef FRESHET_CACHE_INTSET_H
#define FRESHET_CACHE_INTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* Of a run of bytes that is not empty. */
static inline unsigned intset_width(struct slice packed) { return (unsigned char)packed.data[0]; }

static inline size_t intset_count(struct slice packed) {
    return (packed.len - 1) / intset_width(packed);
}

int64_t intset_at(struct slice packed, size_t i);
bool intset_has(struct slice packed, int64_t value);

/* An empty buffer becomes a set. False: the number is there already (is not there). */
bool intset_add(struct buf *packed, int64_t value);
bool intset_remove(struct buf *packed, int64_t value);

#endif

/* scored.h: the members of a small sorted set in one run of bytes, in order of (score, member).
 *
 *     | varint member_len << 2 | kind | member | score |  ...       kind: a whole number of 1, 2 or 4 bytes, or a double of 8
 *
 * Two bytes a member beside its own in the common case (short names, small scores). As in Redis's listpack a negative zero becomes 0.
 * Pure: no allocation but the buffer that is written to. A reader never goes past the end, whatever the bytes say. */
#ifndef FRESHET_CACHE_SCORED_H
#define FRESHET_CACHE_SCORED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

struct scored {
    struct slice member;
    double score;
};

void scored_append(struct buf *out, struct slice member, double score);

struct scored_cursor {
    const char *at;
    const char *end;
};
static inline struct scored_cursor scored_begin(struct slice packed) {
    /* An empty run may have no data at all, and NULL + 0 is undefined. */
    return (struct scored_cursor){packed.data, packed.len ? packed.data + packed.len : packed.data};
}
bool scored_next(struct scored_cursor *cursor, struct scored *item);

size_t scored_count(struct slice packed);
/* The member's score, and how many stand before it. */
bool scored_find(struct slice packed, struct slice member, double *score, size_t *rank);

#endif

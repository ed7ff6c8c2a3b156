/* scored.h: the members of a small sorted set in one run of bytes, in order of (score, member).
 *
 *     | u16 n | varint member_len << 2 | kind | member | score |  ...       kind: a whole number of 1, 2 or 4 bytes, or a double of 8
 *
 * Two bytes a member beside its own in the common case (short names, small scores). As in Redis's listpack a negative zero becomes 0.
 * Pure: no allocation but the buffer that is written to. A reader never goes past the end, whatever the bytes say; n is as true as who
 * wrote it. No bytes at all are no members. */
#ifndef FRESHET_CACHE_SCORED_H
#define FRESHET_CACHE_SCORED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/slice.h"

struct scored {
    struct slice member;
    double score;
};

enum { SCORED_MOST = UINT16_MAX };

/* One item, without the run's head. */
void scored_append(struct buf *out, struct slice member, double score);
/* The head of a run of none yet, and what it says from then on. */
void scored_init(struct buf *out);
void scored_set_count(struct buf *run, size_t n);

struct scored_cursor {
    const char *at;
    const char *end;
};
static inline struct scored_cursor scored_begin(struct slice packed) {
    /* An empty run may have no data at all, and NULL + 0 is undefined. */
    if (packed.len < sizeof(uint16_t)) return (struct scored_cursor){0};
    return (struct scored_cursor){packed.data + sizeof(uint16_t), packed.data + packed.len};
}
bool scored_next(struct scored_cursor *cursor, struct scored *item);

static inline size_t scored_count(struct slice packed) {
    uint16_t n = 0;
    if (packed.len >= sizeof n) memcpy(&n, packed.data, sizeof n);
    return n;
}
/* The member's score, and how many stand before it. */
bool scored_find(struct slice packed, struct slice member, double *score, size_t *rank);

#endif

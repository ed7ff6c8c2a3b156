/* Any bytes as a packed run of members with scores: walks stay inside, and what was read of them, packed anew, reads the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/values/scored.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A block of exactly these bytes, so that a sanitizer sees a byte too far. */
    char *bytes = mem_alloc(size + (size == 0));
    if (size) memcpy(bytes, data, size);
    struct slice packed = slice_make(bytes, size);
    struct buf again = {0};
    size_t n = 0;
    scored_init(&again);
    struct scored_cursor cursor = scored_begin(packed);
    struct scored item;
    double score;
    size_t rank;
    while (scored_next(&cursor, &item)) {
        ASSERT(item.member.data >= bytes && item.member.data + item.member.len < bytes + size);
        ASSERT(scored_find(packed, item.member, &score, &rank));
        scored_append(&again, item.member, item.score);
        n++;
    }
    ASSERT(n == 0 || again.len <= size);
    cursor = scored_begin(buf_slice(&again));
    while (scored_next(&cursor, &item))
        n--;
    ASSERT(n == 0);
    buf_deinit(&again);
    mem_free(bytes);
    return 0;
}

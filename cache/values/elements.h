/* elements.h: a run of packed elements that can be walked from both ends: small lists, and the chunks of big ones.
 *
 *     | length | bytes | length, to be read from behind |  ...
 *
 * A length is written in groups of seven bits, the lowest first, the top bit set where more follow; behind the bytes it stands
 * mirrored. Pure. The walks trust the run, which never came from outside. */
#ifndef FRESHET_CACHE_ELEMENTS_H
#define FRESHET_CACHE_ELEMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum { ELEMENTS_SHORT = 127 /* up to there a length is one byte */ };

/* Bytes that an element of this length takes in a run. */
size_t elements_size(size_t len);
/* Writes elements_size bytes. */
void elements_write(char *at, struct slice element);

/* The element that begins at `at`; at moves behind it. */
static inline struct slice elements_forward(const char **at) {
    const char *from = *at;
    size_t len = (uint8_t)*from++;
    size_t len_bytes = 1;
    if (__builtin_expect(len > ELEMENTS_SHORT, 0)) {
        len &= 0x7f;
        uint8_t group;
        do {
            group = (uint8_t)*from++;
            len |= (size_t)(group & 0x7f) << (7 * len_bytes++);
        } while (group & 0x80);
    }
    *at = from + len + len_bytes;
    return slice_make(from, len);
}

/* The element that ends at `at`; at moves to its beginning. */
static inline struct slice elements_backward(const char **at) {
    const char *end = *at;
    size_t len = (uint8_t) * --end;
    size_t len_bytes = 1;
    if (__builtin_expect(len > ELEMENTS_SHORT, 0)) {
        len &= 0x7f;
        uint8_t group;
        do {
            group = (uint8_t) * --end;
            len |= (size_t)(group & 0x7f) << (7 * len_bytes++);
        } while (group & 0x80);
    }
    *at = end - len - len_bytes;
    return slice_make(end - len, len);
}

#endif

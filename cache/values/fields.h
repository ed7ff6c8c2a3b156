/* fields.h: a packed list of (field, value) pairs in one run of bytes: small plain hashes and table rows.
 *
 *     | varint field_len | field | varint value_len | value | ...      in insertion (column) order
 *
 * Pure: no allocation but the buffer that is written to. A reader never goes past `len`, whatever the bytes say. */
#ifndef FRESHET_CACHE_FIELDS_H
#define FRESHET_CACHE_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

void fields_append(struct buf *out, struct slice field, struct slice value);

struct fields_cursor {
    const char *at;
    const char *end;
};
static inline struct fields_cursor fields_begin(struct slice packed) {
    /* An empty list may have no data at all, and NULL + 0 is undefined. */
    return (struct fields_cursor){packed.data, packed.len ? packed.data + packed.len : packed.data};
}
bool fields_next(struct fields_cursor *cursor, struct slice *field, struct slice *value);
bool fields_find(struct slice packed, struct slice field, struct slice *value);
size_t fields_count(struct slice packed);

#endif

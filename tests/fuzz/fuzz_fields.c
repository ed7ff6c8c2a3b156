/* Any bytes as a packed field list: walks stay inside, and what was read of them, packed anew, reads the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/values/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A block of exactly these bytes, so that a sanitizer sees a byte too far. */
    char *bytes = mem_alloc(size + (size == 0));
    if (size) memcpy(bytes, data, size);
    struct slice packed = slice_make(bytes, size);
    struct buf again = {0};
    struct fields_cursor cursor = fields_begin(packed);
    struct slice field;
    struct slice value;
    struct slice found;
    while (fields_next(&cursor, &field, &value)) {
        ASSERT(field.data >= bytes && value.data + value.len <= bytes + size);
        ASSERT(fields_find(packed, field, &found));
        fields_append(&again, field, value);
    }
    ASSERT(fields_count(buf_slice(&again)) == fields_count(packed));
    ASSERT(again.len <= size);
    buf_deinit(&again);
    mem_free(bytes);
    return 0;
}

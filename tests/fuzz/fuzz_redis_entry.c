/* What the Redis connector remembers of a row: whatever is read as an entry is written back as the same bytes. And dates as
 * scores: any text. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "connectors/redis/entry.h"
#include "connectors/redis/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf again = {0};
    struct entry entry;
    if (entry_read(slice_make(data, size), &entry)) {
        entry_write(&again, &entry);
        ASSERT(slice_equal(buf_slice(&again), slice_make(data, size)));
    }
    again.len = 0;
    if (layout_epoch(slice_make(data, size), &again)) ASSERT(again.len > 0);
    buf_deinit(&again);
    return 0;
}

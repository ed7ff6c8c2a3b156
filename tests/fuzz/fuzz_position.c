/* The position file: whatever is read as a position is written back as the same bytes. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "connectors/runtime/position.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct position_record record;
    if (!position_read(slice_make(data, size), &record)) return 0;
    struct buf again = {0};
    position_write(&again, &record);
    struct position_record second;
    ASSERT(position_read(buf_slice(&again), &second));
    ASSERT(second.position.end_lsn == record.position.end_lsn);
    ASSERT(strcmp(second.target, record.target) == 0);
    buf_deinit(&again);
    return 0;
}

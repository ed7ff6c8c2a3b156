/* An answer to a _bulk request of three: no bytes break us, and what is not told done or refused stays pending. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "connectors/opensearch/bulk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct shape_column column = {"id", CLASS_LONG, false, NULL, NULL};
    static const uint16_t key = 0;
    struct shape *shape = shape_create("s", "t", 1, &column, 1, &key);
    struct batch *batch = batch_create(BATCH_WRITES, shape, 0);
    struct write_stamp stamp = {.version = 1};
    struct value row = {.kind = VALUE_TEXT, .len = 1, .data = "1"};
    batch_put(batch, SLICE("1"), &stamp, &row, NULL);
    batch_put(batch, SLICE("2"), &stamp, &row, NULL);
    batch_remove(batch, SLICE("3"), &stamp);
    struct error err = {0};
    enum bulk_result result = bulk_read(batch, 0, 3, slice_make(data, size), &err);
    for (size_t i = 0; i < 3; i++)
        ASSERT(result != BULK_DONE || batch->writes[i].outcome != WRITE_PENDING);
    ASSERT(result == BULK_DONE || err.message[0]);
    batch_destroy(&batch);
    shape_release(&shape);
    return 0;
}

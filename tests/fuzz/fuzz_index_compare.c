/* An answer to an _mget of three, and any JSON: no bytes break us, and blanks around a text do not change its digest. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "connectors/document/json_digest.h"
#include "connectors/opensearch/index_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct slice text = slice_make(data, size);
    struct sink_entry entries[3];
    struct error err = {0};
    bool read = index_compare_read(text, entries, 3, &err);
    ASSERT(read || err.message[0]);
    uint64_t digest;
    if (json_digest(text, &digest)) {
        struct buf padded = {0};
        uint64_t again;
        buf_append_text(&padded, " \n");
        buf_append_slice(&padded, text);
        buf_append_text(&padded, "\t\r");
        bool taken = json_digest(buf_slice(&padded), &again);
        ASSERT(taken && again == digest);
        buf_deinit(&padded);
    }
    return 0;
}

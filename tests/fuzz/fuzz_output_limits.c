/* Any text as client-output-buffer-limit: what is taken is shown in a form that means the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/buf.h"
#include "cache/front/output_limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf text = {0};
    struct output_limits limits;
    output_limits_init(&limits, 1);
    buf_append(&text, data, size);
    const char *why = output_limits_set(&limits, buf_slice(&text), false);
    ASSERT(why == output_limits_set(&limits, buf_slice(&text), true));
    text.len = 0;
    output_limits_format(&limits, &text);
    struct output_limits again;
    output_limits_init(&again, 1);
    ASSERT(!output_limits_set(&again, buf_slice(&text), true));
    for (int i = 0; i < OUTPUT_CLASSES; i++) {
        enum output_class class = (enum output_class)i;
        ASSERT(output_limits_hard(&limits, class) == output_limits_hard(&again, class));
        ASSERT(output_limits_soft(&limits, class) == output_limits_soft(&again, class));
        ASSERT(output_limits_soft_us(&limits, class) == output_limits_soft_us(&again, class));
    }
    buf_deinit(&text);
    return 0;
}

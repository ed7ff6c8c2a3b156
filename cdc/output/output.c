#include "cdc/output/output.h"

#include "base/assert.h"

const struct topic_kind topic_of_rows = {0};
/* A row's come in their order; and what other topics do not take is welcome here. */
const struct topic_kind topic_of_letters = {.ordered = true, .max_message_bytes = 1024 * 1024};

const struct output_ops *output_find(enum publisher_output output) {
    static const struct output_ops *const outputs[] = {
        [OUTPUT_KAFKA] = &output_kafka,
        [OUTPUT_STDOUT] = &output_stdout,
    };
    ASSERT((size_t)output < sizeof outputs / sizeof *outputs);
    return outputs[output];
}

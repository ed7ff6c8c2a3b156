/* A timeline history file: what is taken rises, and leads to a younger timeline. */
#include <stdint.h>

#include "base/assert.h"
#include "cdc/feed/lineage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct lineage lineage = {.timeline = 1000};
    bool taken = lineage_parse(slice_make((const char *)data, size), &lineage);
    ASSERT(lineage.n_steps <= LINEAGE_MAX_STEPS);
    for (uint32_t i = 1; taken && i < lineage.n_steps; i++)
        ASSERT(lineage.steps[i].timeline > lineage.steps[i - 1].timeline &&
               lineage.steps[i].end_lsn >= lineage.steps[i - 1].end_lsn);
    if (taken && lineage.n_steps)
        ASSERT(lineage.steps[lineage.n_steps - 1].timeline < lineage.timeline &&
               lineage_begin_lsn(&lineage) == lineage.steps[lineage.n_steps - 1].end_lsn);
    return 0;
}

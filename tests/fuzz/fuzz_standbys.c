/* synchronous_standby_names: whatever is taken has names, and each of them has a part to play. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/standbys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = mem_alloc(size + 1);
    memcpy(text, data, size);
    text[size] = '\0';
    struct standbys standbys;
    bool taken = standbys_parse(text, &standbys);
    ASSERT(standbys.n_names <= STANDBYS_MAX);
    for (uint32_t i = 0; taken && i < standbys.n_names; i++)
        ASSERT(standbys_role(&standbys, standbys.names[i]) != STANDBY_NOT_NAMED);
    standbys_deinit(&standbys);
    mem_free(text);
    return 0;
}

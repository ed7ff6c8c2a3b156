/* Any bytes as the file of a warm start: what is taken for one reads to its end, and written anew reads the same. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/rows/warmfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct slice bytes) {
    struct warmfile file;
    const char *why;
    if (!warmfile_open(bytes, &file, &why)) return;
    struct buf again = {0};
    struct buf scratch = {0};
    struct slice key;
    char form;
    uint64_t n = 0;
    warmfile_begin(&again);
    for (; warmfile_next(&file, &key, &form, &scratch); n++)
        warmfile_add(&again, form, key);
    ASSERT(file.rest.len == 0 && n == file.n_keys);
    warmfile_end(&again);
    ASSERT(warmfile_open(buf_slice(&again), &file, &why) && file.n_keys == n);
    buf_deinit(&again);
    buf_deinit(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = mem_alloc(size + (size == 0));
    if (size) memcpy(bytes, data, size);
    check(slice_make(bytes, size));
    mem_free(bytes);
    /* The lines alone, under a good signature: without it few inputs would pass. */
    struct buf text = {0};
    warmfile_begin(&text);
    buf_append(&text, data, size);
    warmfile_end(&text);
    check(buf_slice(&text));
    buf_deinit(&text);
    return 0;
}

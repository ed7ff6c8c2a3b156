/* Any text as a named query's rows: read to its end and no further; and what is an array has the same digest with its elements
 * the other way round (the first byte says how many). */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "cache/rows/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t digest(struct slice bytes) {
    struct named_query query = {.shape = SHAPE_ROWS};
    struct table table = {.query = &query};
    return digest_of(&table, bytes);
}

/* [{"a":<n>},...], upwards or downwards. */
static uint64_t digest_numbers(uint32_t n, bool downwards) {
    struct buf json = {0};
    for (uint32_t i = 0; i < n; i++)
        buf_printf(&json, "%s{\"a\":\"%u]\\\"\"}", i ? "," : "[", downwards ? n - 1 - i : i);
    buf_append_text(&json, n ? "]" : "[]");
    uint64_t found = digest(buf_slice(&json));
    buf_deinit(&json);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    char *bytes = mem_alloc(size); /* of its very size, for who watches memory */
    memcpy(bytes, data + 1, size - 1);
    struct slice text = slice_make(bytes, size - 1);
    ASSERT(digest(text) == digest(text));
    ASSERT(digest_numbers(data[0], false) == digest_numbers(data[0], true));
    mem_free(bytes);
    return 0;
}

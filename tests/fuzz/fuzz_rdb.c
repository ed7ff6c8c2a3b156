/* Any bytes as the value of a RESTORE: what is read of them lies inside or in scratch memory, and is of one kind. (The checksum is left
 * out: no fuzzer finds the way through one. It is looked at by itself.) */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/values/rdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ENOUGH = 1 << 20 /* bytes read: a small payload may unpack to much, over and over */ };

struct seen {
    enum entry_kind kind;
    size_t bytes;
    unsigned sum;
};

static unsigned sum_of(struct slice bytes) {
    unsigned sum = 0;
    for (size_t i = 0; i < bytes.len; i++)
        sum += (unsigned char)bytes.data[i]; /* a sanitizer sees what is not ours to read */
    return sum;
}

static bool look(const struct rdb_item *item, void *arg) {
    struct seen *seen = arg;
    seen->sum += sum_of(item->name) + sum_of(item->value);
    seen->bytes += item->name.len + item->value.len + 1;
    if (seen->kind == ENTRY_ZSET) ASSERT(!isnan(item->score));
    return seen->bytes < ENOUGH;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *bytes = mem_alloc(size + (size == 0));
    if (size) memcpy(bytes, data, size);
    struct slice payload = slice_make(bytes, size);
    struct slice body;
    struct seen seen = {0};
    (void)rdb_verify(payload, &body);
    if (rdb_kind(payload, &seen.kind))
        (void)rdb_each(payload, look, &seen);
    else
        ASSERT(!rdb_each(payload, look, &seen));
    mem_free(bytes);
    return 0;
}

/* Any bytes as the text of a named query's result, in every shape: what is packed can be walked, in order; nothing is read out of
 * bounds. The same bytes as the key and the SQL of one. The first byte chooses the shape. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/rows/result.h"
#include "cache/values/elements.h"
#include "cache/values/fields.h"
#include "cache/values/scored.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_members(struct slice packed) {
    struct scored_cursor cursor = scored_begin(packed);
    struct scored item;
    double last = 0;
    size_t n = 0;
    for (; scored_next(&cursor, &item); n++) {
        ASSERT(n == 0 || item.score >= last);
        last = item.score;
    }
    ASSERT(n == scored_count(packed));
}

static void walk(enum cache_shape shape, struct slice packed) {
    struct fields_cursor fields = fields_begin(packed);
    struct slice field;
    struct slice value;
    size_t n = 0;
    if (shape == SHAPE_ZSET) walk_members(packed);
    while (shape == SHAPE_HASH && fields_next(&fields, &field, &value))
        n++;
    ASSERT(shape != SHAPE_HASH || n == fields_count(packed));
    for (const char *at = packed.data; shape == SHAPE_LIST && at && at < packed.data + packed.len;)
        elements_forward(&at);
}

static void put_nothing(void *arg, unsigned number, struct buf *out) {
    (void)arg;
    buf_printf(out, "$%u", number);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const columns[] = {"a", "b", "c"};
    if (size == 0) return 0;
    struct named_query query = {
        .shape = (enum cache_shape)(data[0] % (SHAPE_ZSET + 1)),
        .n_columns = (uint16_t)(data[0] % 2 ? 2 : 3),
        .columns = columns,
    };
    struct slice text = slice_make(data + 1, size - 1);
    struct buf packed = {0};
    const char *why;
    if (result_pack(&query, text, &packed, &why)) walk(query.shape, buf_slice(&packed));
    char *copy = mem_slicedup(text);
    struct named_key key;
    named_key_parse(copy, &key);
    packed.len = 0;
    named_substitute(copy, put_nothing, NULL, &packed);
    mem_free(copy);
    buf_deinit(&packed);
    return 0;
}

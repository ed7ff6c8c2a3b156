/* A key's text: what is composed of a row is split into the same again, and no bytes break the splitting. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "connectors/document/shape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void split(const struct shape *shape, struct slice key, struct buf *id,
                  struct buf *routing) {
    id->len = routing->len = 0;
    shape_split_key(shape, key, id, routing);
    ASSERT(id->len <= key.len && routing->len <= key.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct shape_column columns[] = {{"id", CLASS_TEXT, false, NULL, NULL},
                                                  {"part", CLASS_TEXT, false, NULL, NULL},
                                                  {"shop", CLASS_TEXT, false, NULL, NULL}};
    static const uint16_t keys[] = {0, 1};
    static const char *const routings[] = {NULL, "id", "shop"};
    if (size < 2) return 0;
    struct shape *shape = shape_create("s", "t", 3, columns, 1 + data[0] % 2, keys);
    ASSERT(shape_set_parts(shape, routings[data[0] / 2 % 3], NULL));
    struct buf id = {0};
    struct buf routing = {0};
    split(shape, slice_make(data + 1, size - 1), &id, &routing);

    /* Two halves of the input as a row's values. */
    size_t half = (size - 1) / 2;
    const char *text = (const char *)data + 1;
    struct value first = {.kind = VALUE_TEXT, .len = (uint32_t)half, .data = text};
    struct value rest = {
        .kind = VALUE_TEXT, .len = (uint32_t)(size - 1 - half), .data = text + half};
    struct value row[] = {first, rest, rest};
    struct buf key = {0};
    ASSERT(shape_append_key(shape, row, &key));
    split(shape, buf_slice(&key), &id, &routing);
    if (shape->routing != SHAPE_NONE) {
        const struct value *wanted = &row[shape->routing];
        ASSERT(slice_equal(buf_slice(&routing), slice_make(wanted->data, wanted->len)));
    }
    if (shape->n_keys == 1) ASSERT(slice_equal(buf_slice(&id), slice_make(first.data, first.len)));
    buf_deinit(&key);
    buf_deinit(&id);
    buf_deinit(&routing);
    shape_release(&shape);
    return 0;
}

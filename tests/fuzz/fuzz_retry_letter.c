/* A line of a file of dead letters, and its key taken apart by the shapes that tables have. First byte: which of them. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "connectors/document/shape.h"
#include "connectors/runtime/retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct shape *make_shape(uint8_t choice) {
    static const struct shape_column columns[] = {
        {.name = "a"}, {.name = "b"}, {.name = "c"}, {.name = "shop"}};
    static const uint16_t keys[] = {0, 1, 2};
    struct shape *shape = shape_create("s", "t", 4, columns, (uint16_t)(choice % 3 + 1), keys);
    ASSERT(choice < 128 || shape_set_parts(shape, "shop", NULL));
    return shape;
}

static void take_apart(const struct shape *shape, struct slice key) {
    struct buf id = {0};
    struct buf routing = {0};
    struct buf part = {0};
    shape_split_key(shape, key, &id, &routing);
    ASSERT(id.len + routing.len <= key.len);
    struct slice rest = buf_slice(&id);
    for (uint16_t i = 0; i < shape->n_keys; i++)
        shape_take_key(shape, &rest, &part);
    ASSERT(part.len <= id.len);
    buf_deinit(&id);
    buf_deinit(&routing);
    buf_deinit(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    struct shape *shape = make_shape(data[0]);
    struct buf key = {0};
    uint64_t version = 0;
    if (retry_read_letter(slice_make(data + 1, size - 1), &key, &version)) {
        ASSERT(version > 0);
        take_apart(shape, buf_slice(&key));
    }
    buf_deinit(&key);
    shape_release(&shape);
    return 0;
}

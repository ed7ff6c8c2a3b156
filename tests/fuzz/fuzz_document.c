/* Values of every class, from bytes that PostgreSQL would never print: one line comes out, whatever goes in, and JSON
 * where the class does not take the text as JSON already. First byte: class and array. */
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "connectors/document/document.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_ascii(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (data[i] >= 0x80 || data[i] == 0) return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint16_t key = 0;
    if (size == 0) return 0;
    struct shape_column column = {
        .name = "c", .class = data[0] % N_CLASSES, .array = (data[0] & 0x80) != 0};
    struct shape *shape = shape_create("s", "t", 1, &column, 1, &key);
    struct value row = {
        .kind = VALUE_TEXT, .len = (uint32_t)(size - 1), .data = (const char *)data + 1};
    struct buf out = {0};
    document_append(&out, shape, &row);
    ASSERT(memchr(out.data, '\n', out.len) == NULL);
    bool as_it_is = column.class == CLASS_JSON ||
                    (column.class >= CLASS_SHORT && column.class <= CLASS_NUMERIC);
    if (!as_it_is && is_ascii(data, size)) {
        json_t *json = json_loadb(out.data, out.len, 0, NULL);
        ASSERT(json);
        json_decref(json);
    }
    buf_deinit(&out);
    shape_release(&shape);
    return 0;
}

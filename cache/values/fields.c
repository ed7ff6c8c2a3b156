#include "cache/values/fields.h"

#include <stdint.h>

enum { VARINT_MAX = 10 };

/* LEB128: seven bits a byte, the lowest first, the top bit set where more follow. */
static void append_length(struct buf *out, size_t len) {
    char *at = buf_reserve(out, VARINT_MAX);
    size_t n = 0;
    do {
        at[n++] = (char)((len & 0x7f) | (len > 0x7f ? 0x80 : 0));
        len >>= 7;
    } while (len);
    out->len += n;
}

static bool read_length(struct fields_cursor *cursor, size_t *len) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && cursor->at < cursor->end; shift += 7) {
        uint8_t byte = (uint8_t)*cursor->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        *len = value;
        return value <= (size_t)(cursor->end - cursor->at);
    }
    return false;
}

static bool read_run(struct fields_cursor *cursor, struct slice *run) {
    size_t len;
    if (!read_length(cursor, &len)) return false;
    *run = slice_make(cursor->at, len);
    cursor->at += len;
    return true;
}

void fields_append(struct buf *out, struct slice field, struct slice value) {
    append_length(out, field.len);
    buf_append_slice(out, field);
    append_length(out, value.len);
    buf_append_slice(out, value);
}

bool fields_next(struct fields_cursor *cursor, struct slice *field, struct slice *value) {
    if (read_run(cursor, field) && read_run(cursor, value)) return true;
    cursor->at = cursor->end;
    return false;
}

bool fields_find(struct slice packed, struct slice field, struct slice *value) {
    struct fields_cursor cursor = fields_begin(packed);
    struct slice name;
    while (fields_next(&cursor, &name, value))
        if (slice_equal(name, field)) return true;
    return false;
}

size_t fields_count(struct slice packed) {
    struct fields_cursor cursor = fields_begin(packed);
    struct slice field;
    struct slice value;
    size_t n = 0;
    while (fields_next(&cursor, &field, &value))
        n++;
    return n;
}

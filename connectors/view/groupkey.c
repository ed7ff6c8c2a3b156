#include "connectors/view/groupkey.h"

#include <string.h>

void groupkey_append(const struct shape *shape, const struct value *row, struct buf *out) {
    if (!shape->deltas) {
        (void)!shape_append_key(shape, row, out);
        return;
    }
    for (uint16_t i = 0; i < shape->n_keys; i++) {
        const struct value *value = &row[shape->keys[i]];
        if (i) buf_append_char(out, ':');
        if (value->kind == VALUE_TEXT)
            shape_append_part(out, value);
        else
            buf_append_text(out, "%N");
    }
}

bool groupkey_take(const struct shape *shape, struct slice *rest, struct buf *out) {
    if (!shape->deltas) {
        shape_take_key(shape, rest, out);
        return true;
    }
    const char *colon = rest->len ? memchr(rest->data, ':', rest->len) : NULL;
    struct slice part = slice_make(rest->data, colon ? (size_t)(colon - rest->data) : rest->len);
    size_t taken = part.len + (colon ? 1 : 0);
    *rest = slice_make(rest->data + taken, rest->len - taken);
    if (slice_equal(part, SLICE("%N"))) return false;
    for (size_t i = 0; i < part.len; i++) {
        bool escape = part.data[i] == '%' && i + 2 < part.len;
        buf_append_char(out, !escape ? part.data[i] : part.data[i + 1] == '3' ? ':' : '%');
        if (escape) i += 2;
    }
    return true;
}

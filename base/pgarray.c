#include "base/pgarray.h"

void pgarray_begin(struct buf *literal) { buf_append_char(literal, '{'); }

static void separate(struct buf *literal) {
    if (literal->data[literal->len - 1] != '{') buf_append_char(literal, ',');
}

void pgarray_add(struct buf *literal, struct slice value) {
    separate(literal);
    buf_append_char(literal, '"');
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '"' || value.data[i] == '\\') buf_append_char(literal, '\\');
        buf_append_char(literal, value.data[i]);
    }
    buf_append_char(literal, '"');
}

void pgarray_add_null(struct buf *literal) {
    separate(literal);
    buf_append_text(literal, "NULL");
}

void pgarray_end(struct buf *literal) { buf_append(literal, "}", 2); }

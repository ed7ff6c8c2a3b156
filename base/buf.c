#include "base/buf.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/mem.h"

void buf_deinit(struct buf *buf) {
    mem_free(buf->data);
    *buf = (struct buf){0};
}

void buf_grow(struct buf *buf, size_t more) {
    size_t need = buf->len + more;
    ASSERT(need >= buf->len);
    size_t cap = buf->cap ? buf->cap : 64;
    while (cap < need)
        cap *= 2;
    buf->data = mem_realloc(buf->data, cap);
    buf->cap = cap;
}

void buf_append_u64(struct buf *buf, uint64_t value) {
    char digits[20];
    char *end = digits + sizeof digits;
    char *at = end;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_append(buf, at, (size_t)(end - at));
}

void buf_append_i64(struct buf *buf, int64_t value) {
    if (value < 0) {
        buf_append_char(buf, '-');
        buf_append_u64(buf, (uint64_t)0 - (uint64_t)value);
    } else {
        buf_append_u64(buf, (uint64_t)value);
    }
}

void buf_vprintf(struct buf *buf, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    ASSERT(len >= 0);
    char *at = buf_reserve(buf, (size_t)len + 1);
    vsnprintf(at, (size_t)len + 1, format, again);
    buf->len += (size_t)len;
    va_end(again);
}

void buf_printf(struct buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    buf_vprintf(buf, format, args);
    va_end(args);
}

void buf_consume(struct buf *buf, size_t n) {
    ASSERT(n <= buf->len);
    buf->len -= n;
    if (buf->len && n) memmove(buf->data, buf->data + n, buf->len);
}

const char *buf_text(struct buf *buf) {
    *buf_reserve(buf, 1) = '\0';
    return buf->data;
}

/* buf.h: a growable byte buffer, owned by one thread.
 *
 *     struct buf buf = {0};
 *     buf_append(&buf, "x", 1);  buf_printf(&buf, "%d", 7);
 *     buf_deinit(&buf);
 *
 * Growth doubles. The bytes move when it grows: keep offsets, not pointers. */
#ifndef FRESHET_BASE_BUF_H
#define FRESHET_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

struct buf {
    char *data; /* len bytes used of cap; not NUL-terminated */
    size_t len;
    size_t cap;
};

void buf_deinit(struct buf *buf);
/* Makes room for `more` bytes behind len. */
void buf_grow(struct buf *buf, size_t more);

/* At least `more` writable bytes at the end, of none too a place; claim them with buf->len += n. */
static inline char *buf_reserve(struct buf *buf, size_t more) {
    more += more == 0;
    if (__builtin_expect(buf->cap - buf->len < more, 0)) buf_grow(buf, more);
    return buf->data + buf->len;
}

static inline void buf_append(struct buf *buf, const void *data, size_t len) {
    if (len == 0) return;
    memcpy(buf_reserve(buf, len), data, len);
    buf->len += len;
}

static inline void buf_append_slice(struct buf *buf, struct slice slice) {
    buf_append(buf, slice.data, slice.len);
}

static inline void buf_append_text(struct buf *buf, const char *text) {
    buf_append(buf, text, strlen(text));
}

static inline void buf_append_char(struct buf *buf, char c) {
    *buf_reserve(buf, 1) = c;
    buf->len++;
}

void buf_append_i64(struct buf *buf, int64_t value);
void buf_append_u64(struct buf *buf, uint64_t value);
void buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes, moving the rest to the front. */
void buf_consume(struct buf *buf, size_t n);

static inline struct slice buf_slice(const struct buf *buf) {
    return slice_make(buf->data, buf->len);
}

/* NUL-terminates behind len (not counted in it) and returns the bytes. */
const char *buf_text(struct buf *buf);

#endif

/* reader.h: a bounded reader of big-endian protocol bytes with a sticky failure: read on without looking, and
 * ask reader_done() once at the end. After a failure every read gives zero or an empty slice.
 *
 *     struct reader in = reader_make(payload);
 *     uint32_t oid = reader_u32(&in);  struct slice name = reader_cstring(&in);
 *     if (!reader_done(&in)) return INVALID; */
#ifndef FRESHET_CDC_READER_H
#define FRESHET_CDC_READER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

struct reader {
    const char *at;
    const char *end;
    bool failed;
};

static inline struct reader reader_make(struct slice bytes) {
    return (struct reader){.at = bytes.data, .end = bytes.data + bytes.len};
}

static inline void reader_fail(struct reader *in) {
    in->failed = true;
    in->at = in->end;
}

/* True if every byte was read and nothing failed. */
static inline bool reader_done(const struct reader *in) { return !in->failed && in->at == in->end; }

static inline size_t reader_left(const struct reader *in) { return (size_t)(in->end - in->at); }

/* The next len bytes, borrowed. */
static inline struct slice reader_bytes(struct reader *in, size_t len) {
    if (__builtin_expect(reader_left(in) < len, 0)) {
        reader_fail(in);
        return (struct slice){.data = "", .len = 0};
    }
    struct slice bytes = slice_make(in->at, len);
    in->at += len;
    return bytes;
}

static inline uint8_t reader_u8(struct reader *in) {
    if (__builtin_expect(in->at == in->end, 0)) {
        reader_fail(in);
        return 0;
    }
    return (uint8_t)*in->at++;
}

static inline uint16_t reader_u16(struct reader *in) {
    if (__builtin_expect(reader_left(in) < 2, 0)) {
        reader_fail(in);
        return 0;
    }
    uint16_t raw;
    memcpy(&raw, in->at, sizeof raw);
    in->at += sizeof raw;
    return __builtin_bswap16(raw);
}

static inline uint32_t reader_u32(struct reader *in) {
    if (__builtin_expect(reader_left(in) < 4, 0)) {
        reader_fail(in);
        return 0;
    }
    uint32_t raw;
    memcpy(&raw, in->at, sizeof raw);
    in->at += sizeof raw;
    return __builtin_bswap32(raw);
}

static inline uint64_t reader_u64(struct reader *in) {
    uint64_t high = reader_u32(in);
    return high << 32 | reader_u32(in);
}

/* A NUL-terminated string: the slice leaves the NUL out, which stands behind it all the same. */
static inline struct slice reader_cstring(struct reader *in) {
    const char *nul = in->at == in->end ? NULL : memchr(in->at, '\0', reader_left(in));
    if (!nul) {
        reader_fail(in);
        return (struct slice){.data = "", .len = 0};
    }
    struct slice text = slice_make(in->at, (size_t)(nul - in->at));
    in->at = nul + 1;
    return text;
}

#endif

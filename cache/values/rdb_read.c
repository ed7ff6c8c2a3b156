#include <math.h>
#include <string.h>

#include "cache/values/number.h"
#include "cache/values/rdb.h"
#include "cache/values/rdb_format.h"

enum {
    TEXT_MAX_BYTES = 512 * 1024 * 1024,
    LZF_MOST = 88, /* bytes that one compressed byte can stand for, at the utmost */
};

/* Never past its end; what goes wrong stays wrong. */
struct reader {
    const unsigned char *at, *end;
    bool failed;
};

static struct reader reader_of(struct slice bytes) {
    const unsigned char *at = (const unsigned char *)bytes.data;
    return (struct reader){at, at ? at + bytes.len : at, false};
}

static size_t left(const struct reader *reader) { return (size_t)(reader->end - reader->at); }

static bool fail(struct reader *reader) {
    reader->failed = true;
    reader->at = reader->end;
    return false;
}

static const unsigned char *take(struct reader *reader, uint64_t n) {
    if (n > left(reader)) {
        fail(reader);
        return NULL;
    }
    const unsigned char *bytes = reader->at;
    reader->at += n;
    return bytes;
}

static uint64_t take_little(struct reader *reader, unsigned n) {
    const unsigned char *bytes = take(reader, n);
    uint64_t value = 0;
    for (unsigned i = 0; bytes && i < n; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static uint64_t take_big(struct reader *reader, unsigned n) {
    const unsigned char *bytes = take(reader, n);
    uint64_t value = 0;
    for (unsigned i = 0; bytes && i < n; i++)
        value = value << 8 | bytes[i];
    return value;
}

static int64_t take_signed(struct reader *reader, unsigned n) {
    uint64_t value = take_little(reader, n);
    return (int64_t)(value << (64 - 8 * n)) >> (64 - 8 * n);
}

static struct slice take_slice(struct reader *reader, uint64_t n) {
    const unsigned char *bytes = take(reader, n);
    return bytes ? slice_make(bytes, n) : SLICE("");
}

/* --- lengths and strings --- */

/* *encoded: it is no length, but says how a string is written. */
static uint64_t take_length(struct reader *reader, bool *encoded) {
    unsigned first = (unsigned)take_little(reader, 1);
    *encoded = false;
    switch (first >> 6) {
    case LENGTH_6: return first & 0x3f;
    case LENGTH_14: return (uint64_t)(first & 0x3f) << 8 | take_little(reader, 1);
    case LENGTH_ENCODED: *encoded = true; return first & 0x3f;
    default: break;
    }
    if (first == LENGTH_32) return take_big(reader, 4);
    if (first == LENGTH_64) return take_big(reader, 8);
    fail(reader);
    return 0;
}

static uint64_t take_count(struct reader *reader) {
    bool encoded;
    uint64_t count = take_length(reader, &encoded);
    if (encoded) fail(reader);
    return count;
}

static struct slice spell(struct buf *scratch, int64_t number) {
    scratch->len = 0;
    scratch->len = number_format_i64(buf_reserve(scratch, NUMBER_I64_MAX_LEN + 1), number);
    return buf_slice(scratch);
}

/* LZF: | 000nnnnn | n + 1 bytes as they are |, | lllooooo | o | l + 2 bytes from o + 1 back |, with l = 7 one more byte of l
 * before the o. */
static bool decompress(struct slice packed, struct buf *out, size_t len) {
    struct reader in = reader_of(packed);
    while (left(&in) > 0) {
        size_t control = take_little(&in, 1);
        if (control < 32) {
            struct slice run = take_slice(&in, control + 1);
            buf_append_slice(out, run);
        } else {
            size_t n = control >> 5;
            if (n == 7) n += take_little(&in, 1);
            size_t back = ((control & 31) << 8 | take_little(&in, 1)) + 1;
            if (!out->data || back > out->len) return false;
            for (n += 2; n > 0; n--)
                buf_append_char(out, out->data[out->len - back]);
        }
        if (in.failed || out->len > len) return false;
    }
    return out->len == len;
}

static struct slice take_compressed(struct reader *reader, struct buf *scratch) {
    uint64_t packed_len = take_count(reader);
    uint64_t len = take_count(reader);
    struct slice packed = take_slice(reader, packed_len);
    scratch->len = 0;
    bool sound = !reader->failed && len <= TEXT_MAX_BYTES && len <= packed_len * LZF_MOST;
    if (!sound || !decompress(packed, scratch, len)) fail(reader);
    return buf_slice(scratch);
}

/* Borrowed from the payload, or written to `scratch`. */
static struct slice take_text(struct reader *reader, struct buf *scratch) {
    bool encoded;
    uint64_t length = take_length(reader, &encoded);
    if (!encoded) return take_slice(reader, length);
    switch (length) {
    case ENCODED_INT8: return spell(scratch, take_signed(reader, 1));
    case ENCODED_INT16: return spell(scratch, take_signed(reader, 2));
    case ENCODED_INT32: return spell(scratch, take_signed(reader, 4));
    case ENCODED_LZF: return take_compressed(reader, scratch);
    default: fail(reader); return SLICE("");
    }
}

/* --- listpacks: | bytes, 4 | elements, 2 | element | element ... | 0xff |, each element followed by its own length --- */

enum { LISTPACK_HEADER = 6, LISTPACK_END = 0xff };

static struct reader listpack_of(struct slice bytes) {
    struct reader reader = reader_of(bytes);
    bool sound = bytes.len > LISTPACK_HEADER && take_little(&reader, 4) == bytes.len;
    if (sound)
        take(&reader, 2);
    else
        fail(&reader);
    return reader;
}

static bool listpack_ends(const struct reader *reader) {
    return left(reader) == 1 && *reader->at == LISTPACK_END;
}

static struct slice listpack_element(struct reader *reader, unsigned first, struct buf *scratch) {
    if (first < 0x80) return spell(scratch, first);
    if (first < 0xc0) return take_slice(reader, first & 0x3f);
    if (first < 0xe0) {
        int64_t bits = (int64_t)((uint64_t)(first & 0x1f) << 8 | take_little(reader, 1));
        return spell(scratch, bits >= 1 << 12 ? bits - (1 << 13) : bits);
    }
    if (first < 0xf0)
        return take_slice(reader, (uint64_t)(first & 0x0f) << 8 | take_little(reader, 1));
    switch (first) {
    case 0xf0: return take_slice(reader, take_little(reader, 4));
    case 0xf1: return spell(scratch, take_signed(reader, 2));
    case 0xf2: return spell(scratch, take_signed(reader, 3));
    case 0xf3: return spell(scratch, take_signed(reader, 4));
    case 0xf4: return spell(scratch, take_signed(reader, 8));
    default: fail(reader); return SLICE("");
    }
}

/* False: it is malformed. Not called where it ends. */
static bool listpack_next(struct reader *reader, struct buf *scratch, struct slice *element) {
    const unsigned char *from = reader->at;
    *element = listpack_element(reader, (unsigned)take_little(reader, 1), scratch);
    size_t len = (size_t)(reader->at - from);
    /* bytes of the length that follows, seven bits in each */
    take(reader, 1 + (len > 127) + (len >= 16383) + (len >= 2097151) + (len >= 268435455));
    return !reader->failed;
}

/* --- values --- */

struct walk {
    struct reader reader;
    rdb_visit *visit;
    void *arg;
    struct buf name, value; /* scratch */
    uint64_t n;
};

static bool show(struct walk *walk, const struct rdb_item *item) {
    walk->n++;
    return walk->visit(item, walk->arg);
}

static bool each_of_listpack(struct walk *walk, struct slice bytes, bool pairs, bool scores) {
    struct reader reader = listpack_of(bytes);
    while (!reader.failed && !listpack_ends(&reader)) {
        struct rdb_item item = {0};
        if (!listpack_next(&reader, &walk->name, &item.name)) return false;
        if (pairs && (listpack_ends(&reader) || !listpack_next(&reader, &walk->value, &item.value)))
            return false;
        if (scores && !number_parse_double(item.value, &item.score)) return false;
        if (!show(walk, &item)) return false;
    }
    return !reader.failed;
}

static bool read_string(struct walk *walk) {
    struct rdb_item item = {.name = take_text(&walk->reader, &walk->name)};
    return !walk->reader.failed && show(walk, &item);
}

static bool read_elements(struct walk *walk) {
    for (uint64_t n = take_count(&walk->reader); n > 0 && !walk->reader.failed; n--)
        if (!read_string(walk)) return false;
    return true;
}

static bool read_fields(struct walk *walk) {
    for (uint64_t n = take_count(&walk->reader); n > 0 && !walk->reader.failed; n--) {
        struct rdb_item item = {.name = take_text(&walk->reader, &walk->name)};
        item.value = take_text(&walk->reader, &walk->value);
        if (walk->reader.failed || !show(walk, &item)) return false;
    }
    return true;
}

static bool read_scored(struct walk *walk) {
    for (uint64_t n = take_count(&walk->reader); n > 0 && !walk->reader.failed; n--) {
        struct rdb_item item = {.name = take_text(&walk->reader, &walk->name)};
        uint64_t bits = take_little(&walk->reader, 8);
        memcpy(&item.score, &bits, sizeof bits);
        if (walk->reader.failed || isnan(item.score) || !show(walk, &item)) return false;
    }
    return true;
}

/* | width, 4 | count, 4 | numbers |, all little-endian. */
static bool read_intset(struct walk *walk) {
    struct reader reader = reader_of(take_text(&walk->reader, &walk->value));
    uint64_t width = take_little(&reader, 4);
    uint64_t n = take_little(&reader, 4);
    if (width != 2 && width != 4 && width != 8) return false;
    for (; n > 0 && !reader.failed; n--) {
        int64_t number = take_signed(&reader, (unsigned)width);
        struct rdb_item item = {.name = spell(&walk->name, number)};
        if (reader.failed || !show(walk, &item)) return false;
    }
    return !reader.failed && left(&reader) == 0;
}

/* The listpack may have been decompressed: then it is in a buffer that its elements do not use. */
static bool read_packed(struct walk *walk, bool pairs, bool scores) {
    struct buf unpacked = {0};
    struct slice bytes = take_text(&walk->reader, &unpacked);
    bool sound = !walk->reader.failed && each_of_listpack(walk, bytes, pairs, scores);
    buf_deinit(&unpacked);
    return sound;
}

static bool read_packed_hash(struct walk *walk) { return read_packed(walk, true, false); }
static bool read_packed_zset(struct walk *walk) { return read_packed(walk, true, true); }

static bool read_chunks(struct walk *walk) {
    enum { PLAIN = 1, PACKED = 2 };
    for (uint64_t n = take_count(&walk->reader); n > 0 && !walk->reader.failed; n--) {
        uint64_t form = take_count(&walk->reader);
        bool sound = form == PLAIN    ? read_string(walk)
                     : form == PACKED ? read_packed(walk, false, false)
                                      : false;
        if (!sound) return false;
    }
    return true;
}

static const struct type {
    enum rdb_type type;
    enum entry_kind kind;
    bool (*read)(struct walk *walk);
} types[] = {
    {RDB_STRING, ENTRY_STRING, read_string},
    {RDB_LIST, ENTRY_LIST, read_elements},
    {RDB_SET, ENTRY_SET, read_elements},
    {RDB_HASH, ENTRY_HASH, read_fields},
    {RDB_ZSET, ENTRY_ZSET, read_scored},
    {RDB_SET_INTSET, ENTRY_SET, read_intset},
    {RDB_HASH_PACKED, ENTRY_HASH, read_packed_hash},
    {RDB_ZSET_PACKED, ENTRY_ZSET, read_packed_zset},
    {RDB_LIST_CHUNKS, ENTRY_LIST, read_chunks},
};

static const struct type *type_of(struct slice body) {
    if (body.len == 0) return NULL;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if ((unsigned char)body.data[0] == types[i].type) return &types[i];
    return NULL;
}

bool rdb_kind(struct slice body, enum entry_kind *kind) {
    const struct type *type = type_of(body);
    if (type) *kind = type->kind;
    return type != NULL;
}

bool rdb_each(struct slice body, rdb_visit *visit, void *arg) {
    const struct type *type = type_of(body);
    if (!type) return false;
    struct walk walk = {
        reader_of(slice_make(body.data + 1, body.len - 1)), visit, arg, {0}, {0}, 0};
    bool sound = type->read(&walk) && !walk.reader.failed && left(&walk.reader) == 0 && walk.n > 0;
    buf_deinit(&walk.name);
    buf_deinit(&walk.value);
    return sound;
}

bool rdb_verify(struct slice payload, struct slice *body) {
    if (payload.len < RDB_FOOTER_LEN) return false;
    size_t len = payload.len - RDB_FOOTER_LEN;
    struct reader footer = reader_of(slice_make(payload.data + len, RDB_FOOTER_LEN));
    *body = slice_make(payload.data, len);
    if (take_little(&footer, 2) > RDB_VERSION) return false;
    return take_little(&footer, 8) == rdb_checksum(slice_make(payload.data, len + 2));
}

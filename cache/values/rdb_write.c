#include <string.h>

#include "base/assert.h"
#include "cache/values/hash.h"
#include "cache/values/list.h"
#include "cache/values/rdb.h"
#include "cache/values/rdb_format.h"
#include "cache/values/set.h"
#include "cache/values/zset.h"

/* Four bits at a time: a table of 16, which stays in the cache. */
uint64_t rdb_checksum(struct slice bytes) {
    static const uint64_t table[16] = {
        UINT64_C(0x0000000000000000), UINT64_C(0x7d08ff3b88be6f81), UINT64_C(0xfa11fe77117cdf02),
        UINT64_C(0x8719014c99c2b083), UINT64_C(0xdf7adabd7a6e2d6f), UINT64_C(0xa2722586f2d042ee),
        UINT64_C(0x256b24ca6b12f26d), UINT64_C(0x5863dbf1e3ac9dec), UINT64_C(0x95ac9329ac4bc9b5),
        UINT64_C(0xe8a46c1224f5a634), UINT64_C(0x6fbd6d5ebd3716b7), UINT64_C(0x12b5926535897936),
        UINT64_C(0x4ad64994d625e4da), UINT64_C(0x37deb6af5e9b8b5b), UINT64_C(0xb0c7b7e3c7593bd8),
        UINT64_C(0xcdcf48d84fe75459)};
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        sum = sum >> 4 ^ table[(sum ^ byte) & 15];
        sum = sum >> 4 ^ table[(sum ^ byte >> 4) & 15];
    }
    return sum;
}

static void write_length(struct buf *out, uint64_t len) {
    unsigned char bytes[9];
    size_t n = 0;
    if (len < 1 << 6) {
        bytes[n++] = (unsigned char)len;
    } else if (len < 1 << 14) {
        bytes[n++] = (unsigned char)(LENGTH_14 << 6 | len >> 8);
        bytes[n++] = (unsigned char)len;
    } else {
        bool wide = len > UINT32_MAX;
        bytes[n++] = wide ? LENGTH_64 : LENGTH_32;
        for (int shift = wide ? 56 : 24; shift >= 0; shift -= 8)
            bytes[n++] = (unsigned char)(len >> shift);
    }
    buf_append(out, bytes, n);
}

static void write_text(struct buf *out, struct slice text) {
    write_length(out, text.len);
    buf_append_slice(out, text);
}

static void write_footer(struct buf *out) {
    unsigned char version[2] = {RDB_VERSION, 0};
    buf_append(out, version, sizeof version);
    uint64_t sum = rdb_checksum(buf_slice(out));
    unsigned char bytes[8];
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(sum >> 8 * i);
    buf_append(out, bytes, sizeof bytes);
}

void rdb_write_string(struct buf *out, struct slice string) {
    buf_append_char(out, RDB_STRING);
    write_text(out, string);
    write_footer(out);
}

static void write_list(struct buf *out, const struct entry *entry) {
    struct list_view view = list_view_entry(entry);
    struct list_cursor cursor = list_seek(&view, 0, LIST_HEAD);
    struct slice element;
    buf_append_char(out, RDB_LIST);
    write_length(out, list_count(&view));
    while (list_next(&cursor, &element))
        write_text(out, element);
}

static void write_set(struct buf *out, const struct entry *entry) {
    struct set_view view = set_view_entry(entry);
    struct set_walk walk = set_walk(&view);
    struct slice member;
    buf_append_char(out, RDB_SET);
    write_length(out, set_count(&view));
    while (set_next(&walk, &member))
        write_text(out, member);
}

static void write_field(struct slice field, struct slice value, void *arg) {
    write_text(arg, field);
    write_text(arg, value);
}

static void write_hash(struct buf *out, const struct entry *entry) {
    struct hash_view view = hash_view_entry(entry);
    buf_append_char(out, RDB_HASH);
    write_length(out, hash_count(&view));
    hash_each(&view, write_field, out);
}

static void write_scored(struct slice member, double score, void *arg) {
    uint64_t bits;
    unsigned char bytes[8];
    write_text(arg, member);
    memcpy(&bits, &score, sizeof bits);
    for (unsigned i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(bits >> 8 * i);
    buf_append(arg, bytes, sizeof bytes);
}

static void write_zset(struct buf *out, const struct entry *entry) {
    struct zset_view view = zset_view_entry(entry);
    buf_append_char(out, RDB_ZSET);
    write_length(out, zset_count(&view));
    zset_each(&view, 0, zset_count(&view), false, write_scored, out);
}

void rdb_write_entry(struct buf *out, const struct entry *entry) {
    static void (*const writers[ENTRY_KINDS])(struct buf * out, const struct entry *entry) = {
        [ENTRY_LIST] = write_list,
        [ENTRY_SET] = write_set,
        [ENTRY_HASH] = write_hash,
        [ENTRY_ZSET] = write_zset,
    };
    ASSERT(writers[entry->kind]);
    writers[entry->kind](out, entry);
    write_footer(out);
}

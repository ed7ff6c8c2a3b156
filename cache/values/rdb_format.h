/* rdb_format.h: the numbers of Redis's RDB format, for rdb_read.c and rdb_write.c alone. */
#ifndef FRESHET_CACHE_RDB_FORMAT_H
#define FRESHET_CACHE_RDB_FORMAT_H

#include <stdint.h>

#include "base/slice.h"

enum { RDB_VERSION = 10, RDB_FOOTER_LEN = 2 + 8 };

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,
    RDB_SET = 2,
    RDB_HASH = 4,
    RDB_ZSET = 5,         /* scores as doubles, little-endian */
    RDB_SET_INTSET = 11,  /* a string that is an intset */
    RDB_HASH_PACKED = 16, /* a listpack: field, value, ... */
    RDB_ZSET_PACKED = 17, /* a listpack: member, score, ... */
    RDB_LIST_CHUNKS = 18, /* a count of chunks: 1 and an element, or 2 and a listpack */
};

/* The two highest bits of a length's first byte. */
enum rdb_length { LENGTH_6 = 0, LENGTH_14 = 1, LENGTH_LONG = 2, LENGTH_ENCODED = 3 };
/* A first byte of LENGTH_LONG; the length follows, big-endian. */
enum { LENGTH_32 = 0x80, LENGTH_64 = 0x81 };
/* A string that is LENGTH_ENCODED: the other six bits. */
enum rdb_encoding { ENCODED_INT8, ENCODED_INT16, ENCODED_INT32, ENCODED_LZF };

/* Jones's polynomial, reflected, without inversions. */
uint64_t rdb_checksum(struct slice bytes);

#endif

/* rdb.h: values as Redis's DUMP writes them and RESTORE reads them (its RDB format, version 10: Redis 7.0's), so that keys go between
 * the two in both directions.
 *
 *     | type | value ......................... | version, 2 bytes | CRC-64 of all before, 8 bytes |
 *
 * Written are the plain types (string, list, set, hash, sorted set: a count, then the elements one by one), which any Redis since 4.0
 * reads. Read are these, and what Redis 7.0 writes of small and big values: intset, listpacks, quicklists, compressed
 * strings. Streams, modules' types and the forms of Redis before 7.0 are not.
 *
 * Pure but for the buffers: a payload may come from anybody. Nothing is allocated for what it only announces. */
#ifndef FRESHET_CACHE_RDB_H
#define FRESHET_CACHE_RDB_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/store/entry.h"

/* --- writing --- */

void rdb_write_string(struct buf *out, struct slice string);
/* A container; its shard is locked where it is an object. */
void rdb_write_entry(struct buf *out, const struct entry *entry);

/* --- reading --- */

/* Is the end of it right: a version that we know, and the checksum? *body is what stands before. */
bool rdb_verify(struct slice payload, struct slice *body);
/* False: a type that is not read. */
bool rdb_kind(struct slice body, enum entry_kind *kind);

/* A string: the name alone. List and set: an element each. Hash: field and value. Sorted set: member and score, no NaN. What it borrows
 * lives until the visitor returns; false ends the walk. */
struct rdb_item {
    struct slice name;
    struct slice value;
    double score;
};
typedef bool rdb_visit(const struct rdb_item *item, void *arg);
/* False: it is malformed, or has no elements, or a visitor said false. */
bool rdb_each(struct slice body, rdb_visit *visit, void *arg);

#endif

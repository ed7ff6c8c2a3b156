/* entry.h: one key's value in the store. A single allocation: header, key bytes, payload.
 *
 * Strings and rows are immutable once put. A big plain hash is changed in place under its shard's lock; commands that
 * read one hold the lock too (command flag LOCKS_KEYS), so store_peek suffices for strings and rows alone.
 *
 * ENTRY_ROW holds what was read of a table row: up to two forms of it, both true to every applied transaction. */
#ifndef FRESHET_CACHE_ENTRY_H
#define FRESHET_CACHE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/fields.h"

enum entry_kind { ENTRY_STRING, ENTRY_HASH, ENTRY_ROW };

struct entry {
    uint64_t hash;
    int64_t expire_at_ms; /* wall clock; STORE_NEVER: no TTL */
    uint32_t key_len;
    uint8_t kind;
    uint8_t policy; /* the eviction policy's own bits, written without a lock */
    uint16_t flags;
    uint32_t size;                         /* bytes that it is accounted for, everything included */
    struct entry *chain;                   /* the index's own */
    struct entry *wheel_next, *wheel_prev; /* the timing wheel's own */
    /* key bytes and payload follow: only entry.c looks there */
};

/* A row as read by a fill (cache/row.h writes it). `table` is the table map's stable number. */
struct row_stamp {
    uint32_t table;
    uint64_t
        generation; /* of the table when the fill was installed: whole-table eviction is a new generation */
    uint64_t snapshot_xmin; /* of the fill that is the older of the forms */
    uint64_t snapshot_xmax;
    uint64_t applied_lsn; /* when installed */
    int64_t filled_at_us; /* wall clock */
    bool absent;          /* the row did not exist: a negative entry */
};

static inline struct slice entry_key(const struct entry *entry) {
    return slice_make((const char *)(entry + 1), entry->key_len);
}

struct entry *entry_create_string(struct slice key, uint64_t hash, struct slice value,
                                  int64_t expire_at_ms);
/* An empty plain hash; fields are set through hash.h. */
struct entry *entry_create_hash(struct slice key, uint64_t hash, int64_t expire_at_ms);
/* Either form may be missing (data NULL); `fields` is a packed field list (fields.h). */
struct entry *entry_create_row(struct slice key, uint64_t hash, int64_t expire_at_ms,
                               const struct row_stamp *stamp, struct slice json,
                               struct slice fields);
void entry_destroy(struct entry **entry);

struct slice entry_string(const struct entry *entry); /* ENTRY_STRING */
const struct row_stamp *
entry_row_stamp(const struct entry *entry); /* ENTRY_ROW, and the next two */
bool entry_row_json(const struct entry *entry,
                    struct slice *json); /* false: this form was not read */
bool entry_row_fields(const struct entry *entry, struct slice *fields);

#endif

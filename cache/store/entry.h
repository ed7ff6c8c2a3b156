/* entry.h: one key's value in the store: a single block of memory.
 *
 *     | struct entry | timing (only with TTL) | row part or object pointer | key | value bytes |
 *       16 bytes       8 bytes                  by kind                     ^ key_at
 *
 * Made in memory of the common allocator; store_put moves it into a slot of the store's own (ENTRY_SETTLED, heap.h), unless it is
 * too big for one. So a pointer to an entry that was put is no longer good: find it again.
 *
 * Entries are immutable once put, with three exceptions: the eviction policy's byte and the expiry (atomic, so that a
 * reader without a lock may look), and a big plain container (ENTRY_OBJECT: a hash, list, set or sorted set), which is
 * an object of its own that is changed in place: who reads it holds the shard's lock. All the rest is safe behind
 * store_peek. A small container is packed into the value bytes, and a write makes a new entry.
 *
 * Turned down: room to grow inside a string. APPEND and SETRANGE copy the value, and in exchange a reader never sees
 * half a write and never takes a lock.
 *
 * ENTRY_ROW holds what was read of a table row: up to two forms of it, both true to every applied transaction. */
#ifndef FRESHET_CACHE_ENTRY_H
#define FRESHET_CACHE_ENTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/values/fields.h"

enum entry_kind {
    ENTRY_STRING,
    ENTRY_HASH,
    ENTRY_LIST,
    ENTRY_SET,
    ENTRY_ZSET,
    ENTRY_ROW,
    ENTRY_KINDS
};

/* As TYPE tells it; a row is a string. */
const char *entry_kind_name(enum entry_kind kind);

enum { STORE_NEVER = 0 }; /* an expiry of "none" */

enum entry_flag {
    ENTRY_TIMED = 1 << 0,   /* has room for an expiry (which may still be STORE_NEVER) */
    ENTRY_OBJECT = 1 << 1,  /* a container that is an object, not packed bytes */
    ENTRY_ABSENT = 1 << 2,  /* ENTRY_ROW: a negative entry */
    ENTRY_RAW = 1 << 3,     /* ENTRY_STRING made by APPEND or SETRANGE: OBJECT ENCODING says raw */
    ENTRY_TEXT = 1 << 4,    /* ENTRY_STRING made by INCRBYFLOAT: not int, whatever it looks like */
    ENTRY_SETTLED = 1 << 5, /* in a slot of the heap */
};

struct entry {
    uint32_t key_len;
    uint32_t value_len; /* bytes behind the key */
    uint32_t hash;      /* the low half of store_hash(key) */
    uint8_t kind;
    uint8_t flags;
    _Atomic uint8_t policy; /* the eviction policy's own, written without a lock */
    uint8_t key_at;         /* where the key begins, from the start of this struct */
};

/* Follows the header of a timed entry. */
struct entry_timing {
    _Atomic int64_t
        when; /* the expiry in ms of wall clock; the sign bit: late, its wheel's note is of an earlier time */
};

/* A row as read by a fill. `table` is the table map's stable number. */
struct row_stamp {
    uint32_t table;
    bool absent; /* the row did not exist: a negative entry */
    bool
        standby; /* read of a standby: snapshot_xmin is 0, snapshot_xmax the LSN that it had replayed */
    bool written;     /* by a write of ours, whose transaction is snapshot_xmax - 1 */
    uint16_t fill_ms; /* what reading it took, rounded up */
    uint8_t
        kind; /* enum entry_kind as it shows: a row is a string, a named query's result what its shape says */
    uint64_t generation; /* of the table when it was installed: whole-table eviction is a new one */
    uint64_t snapshot_xmin; /* of the fill that is the older of the forms */
    uint64_t snapshot_xmax;
    uint64_t applied_lsn; /* when installed */
    int64_t filled_at_us; /* wall clock */
};

static inline struct slice entry_key(const struct entry *entry) {
    return slice_make((const char *)entry + entry->key_at, entry->key_len);
}

static inline const char *entry_value_bytes(const struct entry *entry) {
    return (const char *)entry + entry->key_at + entry->key_len;
}

static inline struct entry_timing *entry_timing(struct entry *entry) {
    return (struct entry_timing *)(entry + 1);
}

/* STORE_NEVER: no TTL. */
static inline int64_t entry_expiry(const struct entry *entry) {
    if (!(entry->flags & ENTRY_TIMED)) return STORE_NEVER;
    const struct entry_timing *timing = (const struct entry_timing *)(entry + 1);
    return atomic_load_explicit(&timing->when, memory_order_relaxed) & INT64_MAX;
}

/* Under the shard's lock; the entry is timed. */
static inline void entry_set_expiry(struct entry *entry, int64_t expire_at_ms, bool late) {
    int64_t when = expire_at_ms >= 0 ? expire_at_ms : 1; /* long past is past */
    if (late) when |= INT64_MIN;
    atomic_store_explicit(&entry_timing(entry)->when, when, memory_order_relaxed);
}

static inline bool entry_is_late(const struct entry *entry) {
    const struct entry_timing *timing = (const struct entry_timing *)(entry + 1);
    return atomic_load_explicit(&timing->when, memory_order_relaxed) < 0;
}

static inline bool entry_is_expired(const struct entry *entry, int64_t now_ms) {
    int64_t expire_at_ms = entry_expiry(entry);
    return expire_at_ms != STORE_NEVER && expire_at_ms <= now_ms;
}

/* A negative entry: remembered that the row is not there. Absent to every command. */
static inline bool entry_is_absent(const struct entry *entry) {
    return (entry->flags & ENTRY_ABSENT) != 0;
}

/* All of these copy what they are given; keys and values are at most 4 GiB - 1 each (the protocol's limits lie far
 * below). `hash` is store_hash(key). The caller owns the entry until store_put takes it. */
struct entry *entry_create_string(struct slice key, uint64_t hash, struct slice value,
                                  int64_t expire_at_ms);
/* The value's bytes are left for the caller to write, before the entry is put. */
struct entry *entry_create_string_sized(struct slice key, uint64_t hash, size_t value_len,
                                        int64_t expire_at_ms, char **value);
/* A small container, packed as its kind does it. */
struct entry *entry_create_packed(enum entry_kind kind, struct slice key, uint64_t hash,
                                  int64_t expire_at_ms, struct slice packed);
/* A big one: takes *object, of the type that the kind has (entry.c, object_types). */
struct entry *entry_create_object(enum entry_kind kind, struct slice key, uint64_t hash,
                                  int64_t expire_at_ms, void *object);
/* Either form may be missing (data NULL); `fields` is a packed field list (fields.h), or the run of a list or sorted set where
 * stamp->kind says so. With stamp->absent both are. */
struct entry *entry_create_row(struct slice key, uint64_t hash, int64_t expire_at_ms,
                               const struct row_stamp *stamp, struct slice json,
                               struct slice fields);
void entry_destroy(struct entry **entry);

/* Gives back the entry's memory alone: its object has moved to a copy. */
void entry_release(struct entry *entry);

/* Bytes of the block: header, parts, key and value. */
size_t entry_len(const struct entry *entry);
/* A copy in a heap's block of entry_len() bytes. The object moves with it: the old one is then released. */
struct entry *entry_settle(const struct entry *entry, void *block);

/* A copy with room for an expiry, set to expire_at_ms. The object moves with it. */
struct entry *entry_move_timed(struct entry *entry, int64_t expire_at_ms);

/* The value of `entry` under another key; a row has none but its own. A big container's is `object`: a copy, or the entry's own,
 * and then `entry` is taken out by store_rename. */
struct entry *entry_create_renamed(const struct entry *entry, struct slice key, uint64_t hash,
                                   int64_t expire_at_ms, void *object);
/* NULL: it is no big container. */
void *entry_copy_object(const struct entry *entry);

/* Bytes of memory that the entry takes, as the allocator rounds them, a container's object included. */
size_t entry_size(const struct entry *entry);

/* ENTRY_STRING. */
static inline struct slice entry_string(const struct entry *entry) {
    return slice_make(entry_value_bytes(entry), entry->value_len);
}

/* A container without ENTRY_OBJECT. */
static inline struct slice entry_packed(const struct entry *entry) {
    return slice_make(entry_value_bytes(entry), entry->value_len);
}

void *entry_object(const struct entry *entry); /* a container with ENTRY_OBJECT */

/* ENTRY_ROW. False: this form was not read (or the row is absent). */
const struct row_stamp *entry_row_stamp(const struct entry *entry);
bool entry_row_json(const struct entry *entry, struct slice *json);
bool entry_row_fields(const struct entry *entry, struct slice *fields);

/* As TYPE tells it. */
static inline enum entry_kind entry_shown_kind(const struct entry *entry) {
    if (entry->kind != ENTRY_ROW) return (enum entry_kind)entry->kind;
    return (enum entry_kind)entry_row_stamp(entry)->kind;
}

#endif

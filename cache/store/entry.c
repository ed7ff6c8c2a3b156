#include "cache/store/entry.h"

#include <malloc.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/heap.h"
#include "cache/values/hash.h"
#include "cache/values/list.h"
#include "cache/values/set.h"
#include "cache/values/zset.h"

_Static_assert(sizeof(struct entry) == 16, "the header of every key: keep it small");

enum {
    JSON_KNOWN = 1,
    FIELDS_KNOWN = 2,
    TIMED_FROM_BYTES =
        1024, /* values from there on have room for an expiry anyway: EXPIRE does not copy them */
};

/* The fixed part of ENTRY_ROW; the value bytes are the JSON, then the packed fields. */
struct row_part {
    struct row_stamp stamp;
    uint32_t json_len;
    uint32_t known;
};

/* The fixed part of a big container. */
struct object_part {
    void *object;
};

/* What a big container is: one row a kind. */
struct object_type {
    void (*destroy)(void *object);
    size_t (*size)(const void *object); /* bytes of memory that it takes */
    void *(*copy)(const void *object);
};

static void *copy_list(const void *list) { return list_copy(list); }

static const struct object_type object_types[ENTRY_KINDS] = {
    [ENTRY_HASH] = {hash_table_destroy, hash_table_size, hash_table_copy},
    [ENTRY_LIST] = {list_destroy, list_size, copy_list},
    [ENTRY_SET] = {set_table_destroy, set_table_size, set_table_copy},
    [ENTRY_ZSET] = {zset_tree_destroy, zset_tree_size, zset_tree_copy},
};

const char *entry_kind_name(enum entry_kind kind) {
    static const char *const names[ENTRY_KINDS] = {
        [ENTRY_STRING] = "string", [ENTRY_HASH] = "hash", [ENTRY_LIST] = "list",
        [ENTRY_SET] = "set",       [ENTRY_ZSET] = "zset", [ENTRY_ROW] = "string"};
    return names[kind];
}

static size_t timing_size(const struct entry *entry) {
    return entry->flags & ENTRY_TIMED ? sizeof(struct entry_timing) : 0;
}

/* The fixed part by kind lies between the timing and the key. */
static void *entry_part(struct entry *entry) { return (char *)(entry + 1) + timing_size(entry); }

static const void *entry_const_part(const struct entry *entry) {
    return (const char *)(entry + 1) + timing_size(entry);
}

static struct entry *entry_alloc(enum entry_kind kind, struct slice key, uint64_t hash,
                                 int64_t expire_at_ms, size_t part_size, size_t value_len) {
    ASSERT(key.len < UINT32_MAX && value_len < UINT32_MAX);
    bool timed = expire_at_ms != STORE_NEVER || value_len >= TIMED_FROM_BYTES;
    size_t key_at = sizeof(struct entry) + (timed ? sizeof(struct entry_timing) : 0) + part_size;
    struct entry *entry = mem_alloc(key_at + key.len + value_len);
    entry->key_len = (uint32_t)key.len;
    entry->value_len = (uint32_t)value_len;
    entry->hash = (uint32_t)hash;
    entry->kind = (uint8_t)kind;
    entry->flags = timed ? ENTRY_TIMED : 0;
    atomic_init(&entry->policy, 0);
    entry->key_at = (uint8_t)key_at;
    if (timed) {
        entry_set_expiry(entry, expire_at_ms, false);
    }
    if (key.len) memcpy((char *)entry + key_at, key.data, key.len);
    return entry;
}

static char *value_of(struct entry *entry) {
    return (char *)entry + entry->key_at + entry->key_len;
}

struct entry *entry_create_string_sized(struct slice key, uint64_t hash, size_t value_len,
                                        int64_t expire_at_ms, char **value) {
    struct entry *entry = entry_alloc(ENTRY_STRING, key, hash, expire_at_ms, 0, value_len);
    *value = value_of(entry);
    return entry;
}

struct entry *entry_create_string(struct slice key, uint64_t hash, struct slice value,
                                  int64_t expire_at_ms) {
    char *bytes;
    struct entry *entry = entry_create_string_sized(key, hash, value.len, expire_at_ms, &bytes);
    if (value.len) memcpy(bytes, value.data, value.len);
    return entry;
}

struct entry *entry_create_packed(enum entry_kind kind, struct slice key, uint64_t hash,
                                  int64_t expire_at_ms, struct slice packed) {
    struct entry *entry = entry_alloc(kind, key, hash, expire_at_ms, 0, packed.len);
    if (packed.len) memcpy(value_of(entry), packed.data, packed.len);
    return entry;
}

struct entry *entry_create_object(enum entry_kind kind, struct slice key, uint64_t hash,
                                  int64_t expire_at_ms, void *object) {
    ASSERT(object && object_types[kind].destroy);
    struct entry *entry = entry_alloc(kind, key, hash, expire_at_ms, sizeof(struct object_part), 0);
    entry->flags |= ENTRY_OBJECT;
    *(struct object_part *)entry_part(entry) = (struct object_part){object};
    return entry;
}

struct entry *entry_create_row(struct slice key, uint64_t hash, int64_t expire_at_ms,
                               const struct row_stamp *stamp, struct slice json,
                               struct slice fields) {
    ASSERT(!stamp->absent || (!json.data && !fields.data));
    struct entry *entry = entry_alloc(ENTRY_ROW, key, hash, expire_at_ms, sizeof(struct row_part),
                                      json.len + fields.len);
    if (stamp->absent) entry->flags |= ENTRY_ABSENT;
    uint32_t known = (json.data ? JSON_KNOWN : 0) | (fields.data ? FIELDS_KNOWN : 0);
    *(struct row_part *)entry_part(entry) = (struct row_part){*stamp, (uint32_t)json.len, known};
    if (json.len) memcpy(value_of(entry), json.data, json.len);
    if (fields.len) memcpy(value_of(entry) + json.len, fields.data, fields.len);
    return entry;
}

/* Readers may write the policy's byte meanwhile. */
static void copy_header(struct entry *to, const struct entry *from) {
    to->key_len = from->key_len;
    to->value_len = from->value_len;
    to->hash = from->hash;
    to->kind = from->kind;
    to->flags = from->flags;
    atomic_init(&to->policy, atomic_load_explicit(&from->policy, memory_order_relaxed));
    to->key_at = from->key_at;
}

struct entry *entry_move_timed(struct entry *entry, int64_t expire_at_ms) {
    ASSERT(!(entry->flags & ENTRY_TIMED));
    size_t rest = entry_len(entry) - sizeof *entry;
    struct entry *moved = mem_alloc(sizeof *entry + sizeof(struct entry_timing) + rest);
    copy_header(moved, entry);
    moved->flags = (uint8_t)((entry->flags | ENTRY_TIMED) & ~ENTRY_SETTLED);
    moved->key_at = (uint8_t)(entry->key_at + sizeof(struct entry_timing));
    entry_set_expiry(moved, expire_at_ms, false);
    memcpy(entry_timing(moved) + 1, entry + 1, rest);
    return moved;
}

size_t entry_len(const struct entry *entry) {
    return (size_t)entry->key_at + entry->key_len + entry->value_len;
}

struct entry *entry_settle(const struct entry *entry, void *block) {
    struct entry *settled = block;
    copy_header(settled, entry);
    memcpy(settled + 1, entry + 1, entry_len(entry) - sizeof *entry);
    settled->flags |= ENTRY_SETTLED;
    return settled;
}

void entry_release(struct entry *entry) {
    if (entry->flags & ENTRY_SETTLED)
        heap_free(entry);
    else
        mem_free(entry);
}

struct entry *entry_create_renamed(const struct entry *entry, struct slice key, uint64_t hash,
                                   int64_t expire_at_ms, void *object) {
    ASSERT(entry->kind != ENTRY_ROW);
    if (entry->flags & ENTRY_OBJECT)
        return entry_create_object(entry->kind, key, hash, expire_at_ms, object);
    struct entry *renamed =
        entry_create_packed(entry->kind, key, hash, expire_at_ms, entry_packed(entry));
    renamed->flags |= entry->flags & (ENTRY_RAW | ENTRY_TEXT);
    return renamed;
}

void *entry_copy_object(const struct entry *entry) {
    if (!(entry->flags & ENTRY_OBJECT)) return NULL;
    return object_types[entry->kind].copy(entry_object(entry));
}

void entry_destroy(struct entry **entry) {
    struct entry *gone = *entry;
    *entry = NULL;
    if (!gone) return;
    if (gone->flags & ENTRY_OBJECT) object_types[gone->kind].destroy(entry_object(gone));
    entry_release(gone);
}

/* malloc_usable_size only reads what the allocator keeps about the block. */
static size_t block_size(const void *block) {
    union {
        const void *in;
        void *out;
    } cast = {.in = block};
    return malloc_usable_size(cast.out);
}

size_t entry_size(const struct entry *entry) {
    size_t size = entry->flags & ENTRY_SETTLED ? heap_block_size(entry) : block_size(entry);
    if (entry->flags & ENTRY_OBJECT) size += object_types[entry->kind].size(entry_object(entry));
    return size;
}

void *entry_object(const struct entry *entry) {
    ASSERT(entry->flags & ENTRY_OBJECT);
    return ((const struct object_part *)entry_const_part(entry))->object;
}

static const struct row_part *row_part(const struct entry *entry) {
    ASSERT(entry->kind == ENTRY_ROW);
    return entry_const_part(entry);
}

const struct row_stamp *entry_row_stamp(const struct entry *entry) {
    return &row_part(entry)->stamp;
}

bool entry_row_json(const struct entry *entry, struct slice *json) {
    const struct row_part *part = row_part(entry);
    if (!(part->known & JSON_KNOWN)) return false;
    *json = slice_make(entry_value_bytes(entry), part->json_len);
    return true;
}

bool entry_row_fields(const struct entry *entry, struct slice *fields) {
    const struct row_part *part = row_part(entry);
    if (!(part->known & FIELDS_KNOWN)) return false;
    *fields =
        slice_make(entry_value_bytes(entry) + part->json_len, entry->value_len - part->json_len);
    return true;
}

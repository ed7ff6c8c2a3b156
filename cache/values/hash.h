/* hash.h: plain hashes: packed fields while small (as Redis's listpack: at most 512 fields of at most 64 bytes, if not
 * configured otherwise), a table beyond. A small hash is immutable like a string: a write makes a new entry. A table changes in place, under the lock.
 *
 *     read:   struct hash_view view = hash_view_entry(entry);  hash_find(&view, field, &value);
 *     write:  struct hash_edit edit;
 *             hash_edit_begin(&edit, entry or NULL, hash, limits);
 *             hash_edit_set(&edit, field, value); ...
 *             hash_edit_end(&edit, store, guard, key)           puts, replaces, or removes where no field is left
 *
 * A row's fields are read through a view as well (hash_view_packed). */
#ifndef FRESHET_CACHE_HASH_H
#define FRESHET_CACHE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/store/entry.h"

struct store;
struct store_guard;
struct hash_table;

/* What a packed hash holds at most: hash-max-listpack-entries and hash-max-listpack-value, as they are now. */
struct hash_limits {
    uint64_t fields;
    uint64_t len_bytes; /* of a field, and of a value */
};

/* --- tables --- */

struct hash_table *hash_table_create(uint64_t seed);
/* The row of ENTRY_HASH among the object types (entry.c). */
void hash_table_destroy(void *table);
size_t hash_table_size(const void *table);
void *hash_table_copy(const void *table);

/* --- reading: what a view borrows lives as long as its entry, or until the next edit of a table --- */

struct hash_view {
    const struct hash_table *table; /* NULL: packed */
    struct slice packed;
};

struct hash_view hash_view_entry(const struct entry *entry); /* an ENTRY_HASH */
static inline struct hash_view hash_view_packed(struct slice packed) {
    return (struct hash_view){NULL, packed};
}

size_t hash_count(const struct hash_view *view);
bool hash_find(const struct hash_view *view, struct slice field, struct slice *value);
typedef void hash_visit(struct slice field, struct slice value, void *arg);
void hash_each(const struct hash_view *view, hash_visit *visit, void *arg);
/* As store_scan. A packed view is visited whole in one call, as Redis does. */
uint64_t hash_scan(const struct hash_view *view, uint64_t cursor, uint32_t count, hash_visit *visit,
                   void *arg);
/* Any field of one that is not empty. */
void hash_random(const struct hash_view *view, uint64_t random, struct slice *field,
                 struct slice *value);

/* --- writing --- */

struct hash_edit {
    struct entry *entry; /* NULL: a new key */
    uint64_t hash;
    struct hash_limits limits;
    struct hash_table *table; /* of the entry, or made by this edit; NULL: packed */
    bool made_table;
    bool changed;
    size_t old_size;
    size_t n_packed;
    struct buf packed; /* the small hash as it will be */
};

void hash_edit_begin(struct hash_edit *edit, struct entry *entry, uint64_t hash,
                     struct hash_limits limits);
/* As things stand within the edit. Borrowed until its next call. */
struct hash_view hash_edit_view(const struct hash_edit *edit);
/* True: the field is new. */
bool hash_edit_set(struct hash_edit *edit, struct slice field, struct slice value);
/* True: the field was there. */
bool hash_edit_delete(struct hash_edit *edit, struct slice field);
/* The entry's expiry is kept. False: it does not fit in memory, and nothing was changed but by tables in place. */
bool hash_edit_end(struct hash_edit *edit, struct store *store, const struct store_guard *guard,
                   struct slice key);
/* Instead of the end, where nothing was set or deleted. */
void hash_edit_abandon(struct hash_edit *edit);

#endif

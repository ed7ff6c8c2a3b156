/* set.h: plain sets in three forms, by what they hold:
 *
 *     numbers     packed and sorted (intset.h), up to set-max-intset-entries       OBJECT ENCODING: intset
 *     words       packed: | 1 | n | len | bytes | len | bytes | ...                hashtable, as Redis 7.0 would have it
 *                 up to 128 members of at most 64 bytes
 *     table       a hash table, changed in place under the shard's lock            hashtable
 *
 * A set of numbers becomes one of words with its first member that is no number, and never goes back; nor does a table. A packed
 * set is immutable like a string: a write makes a new entry.
 *
 *     read:   struct set_view view = set_view_entry(entry);  set_has(&view, member);
 *             struct set_walk walk = set_walk(&view);  while (set_next(&walk, &member)) ...
 *     write:  struct set_edit edit;
 *             set_edit_begin(&edit, entry or NULL, hash, max_numbers);
 *             set_edit_add(&edit, member); ...
 *             set_edit_end(&edit, store, guard, key)           puts, replaces, or removes where no member is left */
#ifndef FRESHET_CACHE_SET_H
#define FRESHET_CACHE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/store/entry.h"
#include "cache/store/index.h"
#include "cache/values/number.h"

struct store;
struct store_guard;
struct set_table;

enum {
    SET_WORDS_MAX = 128,
    SET_WORD_MAX_LEN = 64,
};

/* The row of ENTRY_SET among the object types (entry.c). */
void set_table_destroy(void *table);
size_t set_table_size(const void *table);
void *set_table_copy(const void *table);

/* --- reading: what a view borrows lives as long as its entry, or until the next edit --- */

struct set_view {
    const struct set_table *table; /* NULL: packed */
    struct slice packed;           /* empty: no members */
};

struct set_view set_view_entry(const struct entry *entry); /* an ENTRY_SET */
size_t set_count(const struct set_view *view);
bool set_has(const struct set_view *view, struct slice member);
bool set_is_numbers(const struct set_view *view);

/* From one member to the next. A member that is a packed number is spelled in the walk's own memory, until the next one. */
struct set_walk {
    struct set_view view;
    size_t at; /* packed: the next number or byte; table: the next bucket */
    struct index_iter iter;
    char digits[NUMBER_I64_MAX_LEN + 1];
};

struct set_walk set_walk(const struct set_view *view);
bool set_next(struct set_walk *walk, struct slice *member);

typedef void set_visit(struct slice member, void *arg);
/* As store_scan. A packed set is visited whole in one call, as Redis does. */
uint64_t set_scan(const struct set_view *view, uint64_t cursor, uint32_t count, set_visit *visit,
                  void *arg);
/* Any member of one that is not empty, each with the same chance. `digits` has room for one that is a packed number. */
struct slice set_random(const struct set_view *view, uint64_t random,
                        char digits[NUMBER_I64_MAX_LEN + 1]);

/* --- writing --- */

struct set_edit {
    struct entry *entry; /* NULL: a new key */
    uint64_t hash;
    struct set_table *table; /* of the entry, or made by this edit; NULL: packed */
    bool made_table;
    bool changed;
    size_t max_numbers;
    size_t old_size;
    struct buf packed; /* the small set as it will be */
};

/* max_numbers: set-max-intset-entries, as it is now. */
void set_edit_begin(struct set_edit *edit, struct entry *entry, uint64_t hash, size_t max_numbers);
/* As things stand within the edit. Borrowed until its next call. */
struct set_view set_edit_view(const struct set_edit *edit);
/* True: the member is new. */
bool set_edit_add(struct set_edit *edit, struct slice member);
/* True: the member was there. It may not be the edit's own memory. */
bool set_edit_remove(struct set_edit *edit, struct slice member);
/* The entry's expiry is kept. False: it does not fit in memory, and nothing was changed but by tables in place. */
bool set_edit_end(struct set_edit *edit, struct store *store, const struct store_guard *guard,
                  struct slice key);
/* Instead of the end, where nothing was changed. */
void set_edit_abandon(struct set_edit *edit);

#endif

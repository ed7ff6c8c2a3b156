/* list.h: plain lists. Small ones are packed into their entry, which is immutable like a string's: a write makes a new one. Big
 * ones are an object that changes in place, under the shard's lock: a ring of chunks, each a run of packed elements.
 *
 *     read:   struct list_view view = list_view_entry(entry);
 *             struct list_cursor at = list_seek(&view, 0, LIST_HEAD);
 *             while (list_next(&at, &element)) ...
 *     write:  struct list_edit edit;
 *             struct list *list = list_edit_begin(&edit, entry or NULL, hash);
 *             list_push(list, LIST_TAIL, element); ...
 *             list_edit_end(&edit, store, guard, key)        puts, replaces, or removes where no element is left
 *
 * How elements are packed is in elements.h.
 *
 *     ring:  [chunk n=12] [chunk n=80] ... [chunk n=75] [chunk n=3]      the counts lie in the ring
 *     chunk: | free | element element ... element | free |
 *
 * Push and pop are O(1) at both ends; finding an index steps over the counts of n / 100 chunks or so, then over the elements of
 * one. Turned down: a linked list of chunks (each step to an index is a cache miss), and a tree of counts (a list is nearly
 * always used at its ends). */
#ifndef FRESHET_CACHE_LIST_H
#define FRESHET_CACHE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "cache/store/entry.h"

struct list;
struct list_chunk;
struct store;
struct store_guard;

enum list_end { LIST_HEAD, LIST_TAIL };

enum {
    LIST_PACKED_MAX_BYTES = 1024, /* of packed elements: beyond it a list is an object */
    LIST_CHUNK_BYTES = 4096,      /* a larger element has a chunk of its own */
};

/* --- reading: what a view borrows lives as long as its entry, or until the next change of an object --- */

struct list_view {
    const struct list *list; /* NULL: packed */
    struct slice packed;
};

struct list_view list_view_entry(const struct entry *entry); /* an ENTRY_LIST */
size_t list_count(const struct list_view *view);

struct list_cursor {
    const struct list *list;
    size_t chunk;    /* the number of the chunk that the run is */
    const char *at;  /* the next element is behind it, or before it */
    const char *run; /* from run to end */
    const char *end;
    enum list_end from;
};

/* Goes from the element at `index` (counted from the head, below or at the count) towards the other end than `from`:
 * LIST_HEAD: to the tail. */
struct list_cursor list_seek(const struct list_view *view, size_t index, enum list_end from);
bool list_next(struct list_cursor *cursor, struct slice *element);
/* False: there is none so far. */
bool list_at(const struct list_view *view, size_t index, struct slice *element);

/* --- changing: elements are copied --- */

struct list *list_create(void);
struct list *list_copy(const struct list *list);
void list_destroy(void *list);
size_t list_size(const void *list); /* bytes of memory */
struct list_view list_view_of(const struct list *list);
size_t list_length(const struct list *list);

void list_push(struct list *list, enum list_end end, struct slice element);
/* Takes off n elements, at most all. */
void list_drop(struct list *list, enum list_end end, size_t n);
/* Index below the length. */
void list_replace(struct list *list, size_t index, struct slice element);
/* Before the element that is there now; index at most the length. */
void list_insert(struct list *list, size_t index, struct slice element);
/* Takes out elements that equal `element`, at most `most` of them, those nearest to `end`. Returns how many. */
size_t list_remove(struct list *list, struct slice element, size_t most, enum list_end end);

/* --- writing a key --- */

struct list_edit {
    struct entry *entry; /* NULL: a new key */
    uint64_t hash;
    struct list *list;
    bool in_place; /* the list is the entry's own */
    size_t old_size;
};

/* The list as it will be. To be changed until one of the next two. */
struct list *list_edit_begin(struct list_edit *edit, struct entry *entry, uint64_t hash);
/* The entry's expiry is kept. False: it does not fit in memory, and nothing was changed but by objects in place (ask
 * store_fits before). */
bool list_edit_end(struct list_edit *edit, struct store *store, const struct store_guard *guard,
                   struct slice key);
/* Instead of the end, where nothing was changed. */
void list_edit_abandon(struct list_edit *edit);

#endif

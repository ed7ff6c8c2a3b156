/* zset.h: plain sorted sets: members packed in order while few and short (scored.h; as Redis's listpack: at most
 * zset-max-listpack-entries of at most zset-max-listpack-value bytes), a zset_tree beyond. A small one is immutable like a string: a
 * write makes a new entry. A tree changes in place, under the shard's lock, and stays one until the key goes.
 *
 *     read:   struct zset_view view = zset_view_entry(entry);  zset_score(&view, member, &score);
 *             zset_range_scores(&view, &range, &from, &to);  zset_each(&view, from, to, false, visit, arg);
 *     write:  struct zset_edit edit;
 *             zset_edit_begin(&edit, entry or NULL, hash, &limits);
 *             zset_edit_set(&edit, member, score); ...
 *             zset_edit_end(&edit, store, guard, key)           puts, replaces, or removes where no member is left
 *
 * Every range of Redis's is one of ranks here, [from, to): by rank, by score, by name; so reading, popping, storing and removing
 * know ranks alone.
 *
 * A zset_tree is a B+-tree with counts (ranktree.h, which says why no skip list) for the order, and the hash index of hashes and
 * of the store (index.h) for members by name, over one entry a member that holds name and score: about 75 bytes a
 * member of 16 bytes, where Redis 7.0 takes 125. Neither ever pauses to grow. Turned down: the tree alone with a second one by
 * name (O(log n) for ZSCORE, the most frequent read). */
#ifndef FRESHET_CACHE_ZSET_H
#define FRESHET_CACHE_ZSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/store/entry.h"

struct store;
struct store_guard;
struct zset_tree;

/* The row of ENTRY_ZSET among the object types (entry.c). */
void zset_tree_destroy(void *tree);
size_t zset_tree_size(const void *tree);
void *zset_tree_copy(const void *tree);

/* --- reading: what a view borrows lives as long as its entry, or until the next edit --- */

struct zset_view {
    const struct zset_tree *tree; /* NULL: packed */
    struct slice packed;          /* empty: no members */
};

struct zset_view zset_view_entry(const struct entry *entry); /* an ENTRY_ZSET */

size_t zset_count(const struct zset_view *view);
bool zset_score(const struct zset_view *view, struct slice member, double *score);
bool zset_rank(const struct zset_view *view, struct slice member, size_t *rank);

struct score_range {
    double min, max;
    bool min_excluded, max_excluded;
};

/* An end of a range by name: the least name there could be, the greatest, or one that is spelled. */
struct name_bound {
    enum { NAME_LEAST, NAME_SPELLED, NAME_GREATEST } kind;
    struct slice name;
    bool excluded;
};
struct name_range {
    struct name_bound min, max;
};

/* The ranks of the members in the range; *from == *to where there are none. */
void zset_range_scores(const struct zset_view *view, const struct score_range *range, size_t *from,
                       size_t *to);
/* It supposes, as Redis does, that all scores are the same. Where they are not, a packed one still answers what Redis would:
 * that depends on the end from which one looks, so `reverse` tells it. */
void zset_range_names(const struct zset_view *view, const struct name_range *range, bool reverse,
                      size_t *from, size_t *to);
/* Of Redis's start and stop, each of which counts from the end where negative; from the other end with `reverse`. */
void zset_range_ranks(size_t count, int64_t start, int64_t stop, bool reverse, size_t *from,
                      size_t *to);

typedef void zset_visit(struct slice member, double score, void *arg);
/* The members of ranks [from, to), the greatest first with `reverse`; `to` is no more than their count, or SIZE_MAX where it goes
 * forward. The visitor may not change the set. */
void zset_each(const struct zset_view *view, size_t from, size_t to, bool reverse,
               zset_visit *visit, void *arg);
/* As store_scan. A packed view is visited whole in one call, as Redis does. */
uint64_t zset_scan(const struct zset_view *view, uint64_t cursor, uint32_t count, zset_visit *visit,
                   void *arg);

/* --- writing --- */

struct zset_limits {
    uint64_t entries; /* a packed one holds no more */
    uint64_t value_bytes;
};

struct zset_edit {
    struct entry *entry; /* NULL: a new key */
    uint64_t hash;
    struct zset_limits limits;
    struct zset_tree *tree; /* of the entry, or made by this edit; NULL: packed */
    bool made_tree;
    bool changed;
    size_t old_size;
    struct buf packed; /* the small set as it will be */
};

enum zset_change { ZSET_SAME, ZSET_UPDATED, ZSET_ADDED };

void zset_edit_begin(struct zset_edit *edit, struct entry *entry, uint64_t hash,
                     const struct zset_limits *limits);
/* As things stand within the edit. Borrowed until its next call. */
struct zset_view zset_edit_view(const struct zset_edit *edit);
/* The score is no NaN. */
enum zset_change zset_edit_set(struct zset_edit *edit, struct slice member, double score);
/* True: the member was there. It may not be the edit's own memory. */
bool zset_edit_delete(struct zset_edit *edit, struct slice member);
void zset_edit_delete_ranks(struct zset_edit *edit, size_t from, size_t to);
/* A new key's set that was a tree on the way is packed after all, where these limits allow. */
void zset_edit_pack(struct zset_edit *edit, const struct zset_limits *limits);
/* The entry's expiry is kept. False: it does not fit in memory, and nothing was changed but by trees in place. */
bool zset_edit_end(struct zset_edit *edit, struct store *store, const struct store_guard *guard,
                   struct slice key);
/* Instead of the end, where nothing was changed, or all of it was for this command alone (entry NULL). */
void zset_edit_abandon(struct zset_edit *edit);

#endif

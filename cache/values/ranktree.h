/* ranktree.h: entries in the order of (score, key), where each knows its place: a B+-tree that counts. The order inside a big
 * sorted set (zset.h); the members by name are an index beside it.
 *
 *     ranktree_insert(&tree, member);  ranktree_remove(&tree, member);
 *     size_t rank = ranktree_partition(&tree, is_before, &bound);        how many come before a bound
 *     struct rank_cursor cursor = ranktree_at(&tree, rank);  while ((member = rank_next(&cursor))) ...
 *
 *     inner (1 KiB): up to 31 children, each with its first entry, that one's score, and how many entries it holds
 *     leaf (512 B):  up to 61 pointers to entries, and the leaves on both sides
 *
 * Why not a skip list with ranks, as Redis has: its node takes 40 to 60 bytes, a leaf 8 to 12 a member; a search among a million
 * meets some 25 nodes, each a miss of the cache, where here it is three lines of inner nodes and half a dozen members. Turned down: the
 * scores in the leaves as well (one miss instead of six in the last step, for 12 bytes a member more).
 *
 * Entries that come in ascending order fill the leaves; a leaf that has become thin is joined with a neighbour. Every call but
 * ranktree_deinit is O(log n). Under its owner's lock. The entries are the owner's: a member's score is the 8 bytes of its value,
 * and stays while it is in the tree. */
#ifndef FRESHET_CACHE_RANKTREE_H
#define FRESHET_CACHE_RANKTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/slice.h"
#include "cache/store/entry.h"

struct rank_leaf;

/* A node and what its parent knows of it. */
struct rank_child {
    void *node;          /* rank_leaf at height 0, else rank_inner; NULL: an empty tree's root */
    size_t count;        /* entries below */
    double score;        /* of the first */
    struct entry *first; /* in order */
};

struct ranktree {
    struct rank_child root;
    unsigned height;
    size_t bytes; /* of the nodes */
};

static inline double ranked_score(const struct entry *member) {
    double score;
    memcpy(&score, entry_value_bytes(member), sizeof score);
    return score;
}

/* All of a new tree is zero. */
void ranktree_deinit(struct ranktree *tree);

static inline size_t ranktree_count(const struct ranktree *tree) { return tree->root.count; }

/* There is none of that score and key in the tree. */
void ranktree_insert(struct ranktree *tree, struct entry *member);
/* It is in the tree. */
void ranktree_remove(struct ranktree *tree, const struct entry *member);

/* Does the member come before the bound? True for the first members in order, false for the rest. `score` is the member's. */
typedef bool ranktree_before(double score, const struct entry *member, const void *bound);
/* For how many is it true? */
size_t ranktree_partition(const struct ranktree *tree, ranktree_before *before, const void *bound);

/* How many members come before (score, key). */
size_t ranktree_rank(const struct ranktree *tree, double score, struct slice key);

/* Between two members. Good until the tree changes. */
struct rank_cursor {
    const struct rank_leaf *leaf;
    unsigned at;
};
/* Before the member of that rank; `rank` may be the count. */
struct rank_cursor ranktree_at(const struct ranktree *tree, size_t rank);
/* The member behind the cursor, or before it, and moves over it. NULL at the end. */
struct entry *rank_next(struct rank_cursor *cursor);
struct entry *rank_previous(struct rank_cursor *cursor);

#endif

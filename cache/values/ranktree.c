#include "cache/values/ranktree.h"

#include <stdint.h>

#include "base/assert.h"
#include "base/mem.h"

enum { LEAF_MAX = 61, INNER_MAX = 31 };

struct rank_leaf {
    struct entry *entries[LEAF_MAX];
    struct rank_leaf *previous, *next;
    uint32_t n;
};

struct rank_inner {
    struct rank_child children[INNER_MAX];
    uint32_t n;
};

_Static_assert(sizeof(struct rank_leaf) == 512, "a size that the allocator has");
_Static_assert(sizeof(struct rank_inner) == 1000, "of 1024");

/* --- order --- */

struct place {
    double score;
    struct slice key;
};

static bool is_before(double score, const struct entry *member, const void *bound) {
    const struct place *place = bound;
    if (score != place->score) return score < place->score;
    return slice_compare(entry_key(member), place->key) < 0;
}

static bool is_not_after(double score, const struct entry *member, const void *bound) {
    const struct place *place = bound;
    if (score != place->score) return score < place->score;
    return slice_compare(entry_key(member), place->key) <= 0;
}

/* How many of the leaf's entries are before the bound. */
static uint32_t leaf_partition(const struct rank_leaf *leaf, ranktree_before *before,
                               const void *bound) {
    uint32_t low = 0;
    uint32_t high = leaf->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (before(ranked_score(leaf->entries[middle]), leaf->entries[middle], bound))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* How many of the children begin before the bound. */
static uint32_t inner_partition(const struct rank_inner *inner, ranktree_before *before,
                                const void *bound) {
    uint32_t low = 0;
    uint32_t high = inner->n;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        const struct rank_child *child = &inner->children[middle];
        if (before(child->score, child->first, bound))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* --- nodes --- */

static struct rank_leaf *leaf_create(struct ranktree *tree) {
    struct rank_leaf *leaf = mem_alloc(sizeof *leaf);
    leaf->previous = leaf->next = NULL;
    leaf->n = 0;
    tree->bytes += sizeof *leaf;
    return leaf;
}

/* Takes it out of its neighbours' line. */
static void leaf_destroy(struct ranktree *tree, struct rank_leaf *leaf) {
    if (leaf->previous) leaf->previous->next = leaf->next;
    if (leaf->next) leaf->next->previous = leaf->previous;
    mem_free(leaf);
    tree->bytes -= sizeof *leaf;
}

static struct rank_inner *inner_create(struct ranktree *tree) {
    struct rank_inner *inner = mem_alloc(sizeof *inner);
    inner->n = 0;
    tree->bytes += sizeof *inner;
    return inner;
}

static void inner_destroy(struct ranktree *tree, struct rank_inner *inner) {
    mem_free(inner);
    tree->bytes -= sizeof *inner;
}

static struct rank_child child_of_leaf(struct rank_leaf *leaf) {
    struct entry *first = leaf->entries[0];
    return (struct rank_child){leaf, leaf->n, ranked_score(first), first};
}

/* The leaf has changed. Its first entry is only looked at where it is another one. */
static void renew_leaf(struct rank_child *child) {
    struct rank_leaf *leaf = child->node;
    if (leaf->n > 0 && leaf->entries[0] != child->first) *child = child_of_leaf(leaf);
    child->count = leaf->n;
}

static struct rank_child child_of_inner(struct rank_inner *inner) {
    struct rank_child child = inner->children[0];
    child.node = inner;
    for (uint32_t i = 1; i < inner->n; i++)
        child.count += inner->children[i].count;
    return child;
}

static uint32_t node_size(const struct rank_child *child, unsigned height) {
    return height == 0 ? ((const struct rank_leaf *)child->node)->n
                       : ((const struct rank_inner *)child->node)->n;
}

static void free_below(struct rank_child *child, unsigned height) {
    if (height > 0) {
        struct rank_inner *inner = child->node;
        for (uint32_t i = 0; i < inner->n; i++)
            free_below(&inner->children[i], height - 1);
    }
    mem_free(child->node);
}

void ranktree_deinit(struct ranktree *tree) {
    if (tree->root.node) free_below(&tree->root, tree->height);
    *tree = (struct ranktree){0};
}

/* --- inserting: each returns true where its node was split; `right` is then the new one behind it --- */

static void leaf_put(struct rank_leaf *leaf, uint32_t at, struct entry *member) {
    memmove(leaf->entries + at + 1, leaf->entries + at, (leaf->n - at) * sizeof member);
    leaf->entries[at] = member;
    leaf->n++;
}

/* What comes behind the last of all leaves the full node full: ascending members fill the tree. */
static struct rank_leaf *leaf_split(struct ranktree *tree, struct rank_leaf *leaf, bool at_end) {
    struct rank_leaf *right = leaf_create(tree);
    uint32_t keep = at_end && !leaf->next ? leaf->n : leaf->n / 2;
    right->n = leaf->n - keep;
    leaf->n = keep;
    memcpy(right->entries, leaf->entries + keep, right->n * sizeof right->entries[0]);
    right->previous = leaf;
    right->next = leaf->next;
    if (right->next) right->next->previous = right;
    leaf->next = right;
    return right;
}

static bool leaf_insert(struct ranktree *tree, struct rank_child *child, struct entry *member,
                        const struct place *place, struct rank_child *right) {
    struct rank_leaf *leaf = child->node;
    struct rank_leaf *behind = NULL;
    uint32_t at = leaf_partition(leaf, is_before, place);
    if (leaf->n == LEAF_MAX) behind = leaf_split(tree, leaf, at == LEAF_MAX);
    if (behind && at >= leaf->n && (at > leaf->n || behind->n == 0))
        leaf_put(behind, at - leaf->n, member);
    else
        leaf_put(leaf, at, member);
    renew_leaf(child);
    if (behind) *right = child_of_leaf(behind);
    return behind != NULL;
}

static void inner_put(struct rank_inner *inner, uint32_t at, const struct rank_child *child) {
    memmove(inner->children + at + 1, inner->children + at, (inner->n - at) * sizeof *child);
    inner->children[at] = *child;
    inner->n++;
}

static bool inner_add(struct ranktree *tree, struct rank_inner *inner, uint32_t at,
                      const struct rank_child *fresh, struct rank_child *right) {
    if (inner->n < INNER_MAX) {
        inner_put(inner, at, fresh);
        return false;
    }
    struct rank_inner *behind = inner_create(tree);
    uint32_t keep = at == inner->n ? inner->n : inner->n / 2;
    behind->n = inner->n - keep;
    inner->n = keep;
    memcpy(behind->children, inner->children + keep, behind->n * sizeof *fresh);
    if (at > keep || behind->n == 0)
        inner_put(behind, at - keep, fresh);
    else
        inner_put(inner, at, fresh);
    *right = child_of_inner(behind);
    return true;
}

static bool insert_below(struct ranktree *tree, struct rank_child *child, unsigned height,
                         struct entry *member, const struct place *place,
                         struct rank_child *right) {
    if (height == 0) return leaf_insert(tree, child, member, place, right);
    struct rank_inner *inner = child->node;
    uint32_t at = inner_partition(inner, is_before, place);
    if (at > 0) at--;
    struct rank_child fresh;
    bool split = insert_below(tree, &inner->children[at], height - 1, member, place, &fresh) &&
                 inner_add(tree, inner, at + 1, &fresh, right);
    *child = child_of_inner(inner);
    return split;
}

void ranktree_insert(struct ranktree *tree, struct entry *member) {
    if (!tree->root.node) {
        struct rank_leaf *leaf = leaf_create(tree);
        leaf_put(leaf, 0, member);
        tree->root = child_of_leaf(leaf);
        return;
    }
    struct place place = {ranked_score(member), entry_key(member)};
    struct rank_child right;
    if (!insert_below(tree, &tree->root, tree->height, member, &place, &right)) return;
    struct rank_inner *top = inner_create(tree);
    inner_put(top, 0, &tree->root);
    inner_put(top, 1, &right);
    tree->root = child_of_inner(top);
    tree->height++;
}

/* --- removing --- */

static void node_destroy(struct ranktree *tree, struct rank_child *child, unsigned height) {
    if (height == 0)
        leaf_destroy(tree, child->node);
    else
        inner_destroy(tree, child->node);
}

/* Takes all that `right` holds behind what `left` has. */
static void join(struct ranktree *tree, struct rank_child *left, struct rank_child *right,
                 unsigned height) {
    if (height == 0) {
        struct rank_leaf *to = left->node;
        const struct rank_leaf *from = right->node;
        memcpy(to->entries + to->n, from->entries, from->n * sizeof from->entries[0]);
        to->n += from->n;
    } else {
        struct rank_inner *to = left->node;
        const struct rank_inner *from = right->node;
        memcpy(to->children + to->n, from->children, from->n * sizeof from->children[0]);
        to->n += from->n;
    }
    left->count += right->count;
    node_destroy(tree, right, height);
}

static void inner_drop(struct rank_inner *inner, uint32_t at) {
    inner->n--;
    memmove(inner->children + at, inner->children + at + 1,
            (inner->n - at) * sizeof inner->children[0]);
}

/* The child at `at` has lost an entry: it goes if it is empty, and joins a neighbour where both together leave room. */
static void settle(struct ranktree *tree, struct rank_inner *inner, uint32_t at, unsigned height) {
    uint32_t most = (height == 0 ? LEAF_MAX : INNER_MAX) * 3 / 4;
    struct rank_child *children = inner->children;
    uint32_t n = node_size(&children[at], height);
    if (n == 0) {
        node_destroy(tree, &children[at], height);
        inner_drop(inner, at);
    } else if (at + 1 < inner->n && n + node_size(&children[at + 1], height) <= most) {
        join(tree, &children[at], &children[at + 1], height);
        inner_drop(inner, at + 1);
    } else if (at > 0 && n + node_size(&children[at - 1], height) <= most) {
        join(tree, &children[at - 1], &children[at], height);
        inner_drop(inner, at);
    }
}

static void remove_below(struct ranktree *tree, struct rank_child *child, unsigned height,
                         const struct entry *member, const struct place *place) {
    if (height == 0) {
        struct rank_leaf *leaf = child->node;
        uint32_t at = leaf_partition(leaf, is_before, place);
        ASSERT(at < leaf->n && leaf->entries[at] == member);
        leaf->n--;
        memmove(leaf->entries + at, leaf->entries + at + 1,
                (leaf->n - at) * sizeof leaf->entries[0]);
        renew_leaf(child);
        return;
    }
    struct rank_inner *inner = child->node;
    uint32_t at = inner_partition(inner, is_not_after, place);
    ASSERT(at > 0);
    remove_below(tree, &inner->children[at - 1], height - 1, member, place);
    settle(tree, inner, at - 1, height - 1);
    child->count--;
    if (inner->n > 0) *child = child_of_inner(inner);
}

void ranktree_remove(struct ranktree *tree, const struct entry *member) {
    struct place place = {ranked_score(member), entry_key(member)};
    remove_below(tree, &tree->root, tree->height, member, &place);
    if (tree->root.count == 0) {
        node_destroy(tree, &tree->root, tree->height);
        ASSERT(tree->bytes == 0);
        *tree = (struct ranktree){0};
    }
    while (tree->height > 0 && node_size(&tree->root, tree->height) == 1) {
        struct rank_inner *top = tree->root.node;
        tree->root = top->children[0];
        inner_destroy(tree, top);
        tree->height--;
    }
}

/* --- finding --- */

size_t ranktree_partition(const struct ranktree *tree, ranktree_before *before, const void *bound) {
    size_t rank = 0;
    const void *node = tree->root.node;
    if (!node) return 0;
    for (unsigned height = tree->height; height > 0; height--) {
        const struct rank_inner *inner = node;
        uint32_t n = inner_partition(inner, before, bound);
        if (n == 0) return rank;
        for (uint32_t i = 0; i + 1 < n; i++)
            rank += inner->children[i].count;
        node = inner->children[n - 1].node;
    }
    return rank + leaf_partition(node, before, bound);
}

size_t ranktree_rank(const struct ranktree *tree, double score, struct slice key) {
    return ranktree_partition(tree, is_before, &(struct place){score, key});
}

struct rank_cursor ranktree_at(const struct ranktree *tree, size_t rank) {
    ASSERT(rank <= tree->root.count);
    const void *node = tree->root.node;
    if (!node) return (struct rank_cursor){0};
    for (unsigned height = tree->height; height > 0; height--) {
        const struct rank_inner *inner = node;
        uint32_t i = 0;
        while (i + 1 < inner->n && rank >= inner->children[i].count)
            rank -= inner->children[i++].count;
        node = inner->children[i].node;
    }
    return (struct rank_cursor){node, (unsigned)rank};
}

struct entry *rank_next(struct rank_cursor *cursor) {
    if (!cursor->leaf) return NULL;
    if (cursor->at == cursor->leaf->n) {
        if (!cursor->leaf->next) return NULL;
        *cursor = (struct rank_cursor){cursor->leaf->next, 0};
    }
    return cursor->leaf->entries[cursor->at++];
}

struct entry *rank_previous(struct rank_cursor *cursor) {
    if (!cursor->leaf) return NULL;
    if (cursor->at == 0) {
        if (!cursor->leaf->previous) return NULL;
        *cursor = (struct rank_cursor){cursor->leaf->previous, cursor->leaf->previous->n};
    }
    return cursor->leaf->entries[--cursor->at];
}

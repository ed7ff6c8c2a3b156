#include "cache/values/zset.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/index.h"
#include "cache/store/store.h"
#include "cache/values/ranktree.h"
#include "cache/values/scored.h"

enum { PACKED_MAX_BYTES = 1 << 20 }; /* whatever the limits allow: each write copies it */

/* A member is an entry without expiry; its value is the score. No reader goes there without the shard's lock, so
 * what goes is freed at once. */
struct zset_tree {
    struct index index;
    struct ranktree ranks;
    uint64_t seed;
    size_t member_bytes;
};

/* --- trees --- */

static struct zset_tree *tree_create(uint64_t seed) {
    struct zset_tree *tree = mem_zalloc(sizeof *tree);
    index_init(&tree->index, NULL);
    tree->seed = seed;
    return tree;
}

static void destroy_member(struct entry *member, void *arg) {
    (void)arg;
    entry_destroy(&member);
}

void zset_tree_destroy(void *object) {
    struct zset_tree *tree = object;
    ranktree_deinit(&tree->ranks);
    index_each(&tree->index, destroy_member, NULL);
    index_deinit(&tree->index);
    mem_free(tree);
}

size_t zset_tree_size(const void *object) {
    const struct zset_tree *tree = object;
    return sizeof *tree + tree->index.bytes + tree->ranks.bytes + tree->member_bytes;
}

static uint32_t member_hash(const struct zset_tree *tree, struct slice member) {
    return (uint32_t)XXH3_64bits_withSeed(member.data, member.len, tree->seed);
}

static void tree_add(struct zset_tree *tree, struct slice name, uint32_t hash, double score) {
    char *value;
    struct entry *member = entry_create_string_sized(name, hash, sizeof score, STORE_NEVER, &value);
    memcpy(value, &score, sizeof score);
    tree->member_bytes += entry_size(member);
    index_insert(&tree->index, member);
    ranktree_insert(&tree->ranks, member);
}

static void tree_move(struct zset_tree *tree, struct entry *member, double score) {
    ranktree_remove(&tree->ranks, member);
    memcpy((char *)member + member->key_at + member->key_len, &score, sizeof score);
    ranktree_insert(&tree->ranks, member);
}

static enum zset_change tree_set(struct zset_tree *tree, struct slice name, double score) {
    uint32_t hash = member_hash(tree, name);
    struct entry *member = index_find(&tree->index, name, hash);
    if (!member) {
        tree_add(tree, name, hash, score);
        return ZSET_ADDED;
    }
    if (ranked_score(member) == score) return ZSET_SAME;
    tree_move(tree, member, score);
    return ZSET_UPDATED;
}

static void tree_remove(struct zset_tree *tree, struct entry *member) {
    ranktree_remove(&tree->ranks, member);
    index_remove(&tree->index, member);
    tree->member_bytes -= entry_size(member);
    entry_destroy(&member);
}

static const struct entry *tree_find(const struct zset_tree *tree, struct slice name) {
    return index_find(&tree->index, name, member_hash(tree, name));
}

/* --- reading --- */

struct zset_view zset_view_entry(const struct entry *entry) {
    ASSERT(entry->kind == ENTRY_ZSET);
    if (entry->flags & ENTRY_OBJECT) return (struct zset_view){.tree = entry_object(entry)};
    return (struct zset_view){.packed = entry_packed(entry)};
}

size_t zset_count(const struct zset_view *view) {
    return view->tree ? ranktree_count(&view->tree->ranks) : scored_count(view->packed);
}

bool zset_score(const struct zset_view *view, struct slice member, double *score) {
    size_t rank;
    if (!view->tree) return scored_find(view->packed, member, score, &rank);
    const struct entry *found = tree_find(view->tree, member);
    if (found) *score = ranked_score(found);
    return found != NULL;
}

bool zset_rank(const struct zset_view *view, struct slice member, size_t *rank) {
    double score;
    if (!view->tree) return scored_find(view->packed, member, &score, rank);
    if (!zset_score(view, member, &score)) return false;
    *rank = ranktree_rank(&view->tree->ranks, score, member);
    return true;
}

/* All of a packed one's members, to go backwards or to and fro. The caller frees it. */
static struct scored *unpack(struct slice packed, size_t *n) {
    *n = scored_count(packed);
    struct scored *items = mem_calloc(*n + 1, sizeof *items);
    struct scored_cursor cursor = scored_begin(packed);
    for (size_t i = 0; i < *n; i++)
        ASSERT(scored_next(&cursor, &items[i]));
    return items;
}

void zset_each(const struct zset_view *view, size_t from, size_t to, bool reverse,
               zset_visit *visit, void *arg) {
    if (view->tree) {
        struct rank_cursor cursor = ranktree_at(&view->tree->ranks, reverse ? to : from);
        for (size_t i = from; i < to; i++) {
            const struct entry *member = reverse ? rank_previous(&cursor) : rank_next(&cursor);
            if (!member) break;
            visit(entry_key(member), ranked_score(member), arg);
        }
    } else if (!reverse) {
        struct scored_cursor cursor = scored_begin(view->packed);
        struct scored item;
        for (size_t i = 0; i < to && scored_next(&cursor, &item); i++)
            if (i >= from) visit(item.member, item.score, arg);
    } else {
        size_t n;
        struct scored *items = unpack(view->packed, &n);
        for (size_t i = to; i > from; i--)
            visit(items[i - 1].member, items[i - 1].score, arg);
        mem_free(items);
    }
}

struct member_visit {
    zset_visit *visit;
    void *arg;
    uint32_t n;
};

static void visit_member(struct entry *member, void *arg) {
    struct member_visit *to = arg;
    to->n++;
    to->visit(entry_key(member), ranked_score(member), to->arg);
}

uint64_t zset_scan(const struct zset_view *view, uint64_t cursor, uint32_t count, zset_visit *visit,
                   void *arg) {
    if (!view->tree) {
        zset_each(view, 0, SIZE_MAX, false, visit, arg);
        return 0;
    }
    if (cursor > UINT32_MAX) return 0;
    struct member_visit to = {visit, arg, 0};
    uint32_t next = (uint32_t)cursor;
    do
        next = index_scan(&view->tree->index, next, visit_member, &to);
    while (next != 0 && to.n < count);
    return next;
}

/* --- ranges --- */

void zset_range_ranks(size_t count, int64_t start, int64_t stop, bool reverse, size_t *from,
                      size_t *to) {
    int64_t n = (int64_t)count;
    if (start < 0) start += n;
    if (stop < 0) stop += n;
    if (start < 0) start = 0;
    if (stop >= n) stop = n - 1;
    *from = *to = 0;
    if (start > stop) return;
    *from = (size_t)(reverse ? n - 1 - stop : start);
    *to = *from + (size_t)(stop - start + 1);
}

static bool is_below(double score, const struct entry *member, const void *bound) {
    const struct score_range *range = bound;
    (void)member;
    return range->min_excluded ? score <= range->min : score < range->min;
}

static bool is_not_above(double score, const struct entry *member, const void *bound) {
    const struct score_range *range = bound;
    (void)member;
    return range->max_excluded ? score < range->max : score <= range->max;
}

void zset_range_scores(const struct zset_view *view, const struct score_range *range, size_t *from,
                       size_t *to) {
    *from = *to = 0;
    if (view->tree) {
        *from = ranktree_partition(&view->tree->ranks, is_below, range);
        *to = ranktree_partition(&view->tree->ranks, is_not_above, range);
    } else {
        struct scored_cursor cursor = scored_begin(view->packed);
        struct scored item;
        while (scored_next(&cursor, &item)) {
            *from += is_below(item.score, NULL, range);
            *to += is_not_above(item.score, NULL, range);
        }
    }
    if (*to < *from) *to = *from;
}

static int compare_to_bound(struct slice name, const struct name_bound *bound) {
    switch (bound->kind) {
    case NAME_LEAST: return 1;
    case NAME_GREATEST: return -1;
    case NAME_SPELLED: return slice_compare(name, bound->name);
    }
    ASSERT_UNREACHABLE();
}

static bool reaches(struct slice name, const struct name_bound *min) {
    int order = compare_to_bound(name, min);
    return min->excluded ? order > 0 : order >= 0;
}

static bool stays_within(struct slice name, const struct name_bound *max) {
    int order = compare_to_bound(name, max);
    return max->excluded ? order < 0 : order <= 0;
}

static bool is_left_of_names(double score, const struct entry *member, const void *bound) {
    (void)score;
    return !reaches(entry_key(member), &((const struct name_range *)bound)->min);
}

static bool is_not_right_of_names(double score, const struct entry *member, const void *bound) {
    (void)score;
    return stays_within(entry_key(member), &((const struct name_range *)bound)->max);
}

static bool names_nothing(const struct name_range *range) {
    const struct name_bound *min = &range->min;
    const struct name_bound *max = &range->max;
    int order = (int)min->kind - (int)max->kind;
    if (min->kind == NAME_SPELLED && max->kind == NAME_SPELLED)
        order = slice_compare(min->name, max->name);
    return order > 0 || (order == 0 && (min->excluded || max->excluded));
}

/* Looks at one member after the other from the end that is asked for, as Redis does it in a listpack. */
static void packed_range_names(struct slice packed, const struct name_range *range, bool reverse,
                               size_t *from, size_t *to) {
    size_t n;
    struct scored *items = unpack(packed, &n);
    bool overlaps = n > 0 && reaches(items[n - 1].member, &range->min) &&
                    stays_within(items[0].member, &range->max);
    size_t low = 0;
    size_t high = n;
    if (!overlaps) {
        high = 0;
    } else if (reverse) {
        while (high > 0 && !stays_within(items[high - 1].member, &range->max))
            high--;
        low = high;
        while (low > 0 && reaches(items[low - 1].member, &range->min))
            low--;
    } else {
        while (low < n && !reaches(items[low].member, &range->min))
            low++;
        high = low;
        while (high < n && stays_within(items[high].member, &range->max))
            high++;
    }
    *from = low;
    *to = high;
    mem_free(items);
}

void zset_range_names(const struct zset_view *view, const struct name_range *range, bool reverse,
                      size_t *from, size_t *to) {
    *from = *to = 0;
    if (names_nothing(range)) return;
    if (!view->tree) {
        packed_range_names(view->packed, range, reverse, from, to);
        return;
    }
    *from = ranktree_partition(&view->tree->ranks, is_left_of_names, range);
    *to = ranktree_partition(&view->tree->ranks, is_not_right_of_names, range);
    if (*to < *from) *to = *from;
}

/* --- writing --- */

void zset_edit_begin(struct zset_edit *edit, struct entry *entry, uint64_t hash,
                     const struct zset_limits *limits) {
    *edit = (struct zset_edit){.entry = entry, .hash = hash, .limits = *limits};
    if (!entry) {
        scored_init(&edit->packed);
        return;
    }
    ASSERT(entry->kind == ENTRY_ZSET);
    if (entry->flags & ENTRY_OBJECT) {
        edit->tree = entry_object(entry);
        edit->old_size = entry_size(entry);
        return;
    }
    buf_append_slice(&edit->packed, entry_packed(entry));
}

struct zset_view zset_edit_view(const struct zset_edit *edit) {
    return (struct zset_view){edit->tree, buf_slice(&edit->packed)};
}

static void add_to_tree(struct slice member, double score, void *arg) {
    struct zset_tree *tree = arg;
    tree_add(tree, member, member_hash(tree, member), score);
}

void *zset_tree_copy(const void *object) {
    const struct zset_tree *tree = object;
    struct zset_tree *copy = tree_create(tree->seed);
    zset_each(&(struct zset_view){.tree = tree}, 0, SIZE_MAX, false, add_to_tree, copy);
    return copy;
}

static void become_tree(struct zset_edit *edit) {
    struct zset_view view = zset_edit_view(edit);
    edit->tree = tree_create(edit->hash);
    edit->made_tree = true;
    zset_each(&view, 0, SIZE_MAX, false, add_to_tree, edit->tree);
    buf_deinit(&edit->packed);
}

struct packing {
    struct buf packed;
    uint64_t value_bytes;
    bool fits;
};

static void pack_member(struct slice member, double score, void *arg) {
    struct packing *packing = arg;
    packing->fits &= member.len <= packing->value_bytes && packing->packed.len < PACKED_MAX_BYTES;
    if (packing->fits) scored_append(&packing->packed, member, score);
}

void zset_edit_pack(struct zset_edit *edit, const struct zset_limits *limits) {
    struct zset_view view = zset_edit_view(edit);
    struct packing packing = {.value_bytes = limits->value_bytes, .fits = true};
    size_t n = zset_count(&view);
    ASSERT(!edit->entry);
    edit->limits = *limits;
    if (!edit->made_tree || n > limits->entries || n > SCORED_MOST) return;
    scored_init(&packing.packed);
    zset_each(&view, 0, SIZE_MAX, false, pack_member, &packing);
    if (!packing.fits) {
        buf_deinit(&packing.packed);
        return;
    }
    scored_set_count(&packing.packed, n);
    zset_tree_destroy(edit->tree);
    edit->tree = NULL;
    edit->made_tree = false;
    edit->packed = packing.packed;
}

/* A member's bytes in the packed run, and what they say. */
struct packed_place {
    size_t from, to;
    struct scored item;
};

static bool packed_locate(const struct buf *packed, struct slice member,
                          struct packed_place *place) {
    struct scored_cursor cursor = scored_begin(buf_slice(packed));
    place->from = (size_t)(cursor.at - packed->data);
    while (scored_next(&cursor, &place->item)) {
        place->to = (size_t)(cursor.at - packed->data);
        if (slice_equal(place->item.member, member)) return true;
        place->from = place->to;
    }
    return false;
}

/* Takes the bytes of n members out. */
static void packed_cut(struct buf *packed, size_t from, size_t to, size_t n) {
    memmove(packed->data + from, packed->data + to, packed->len - to);
    packed->len -= to - from;
    scored_set_count(packed, scored_count(buf_slice(packed)) - n);
}

static void packed_insert(struct buf *packed, struct slice member, double score) {
    struct buf fresh = {0};
    struct scored_cursor cursor = scored_begin(buf_slice(packed));
    struct scored item;
    size_t at = (size_t)(cursor.at - packed->data);
    while (scored_next(&cursor, &item)) {
        if (item.score > score || (item.score == score && slice_compare(item.member, member) > 0))
            break;
        at = (size_t)(cursor.at - packed->data);
    }
    scored_append(&fresh, member, score);
    char *end = buf_reserve(packed, fresh.len);
    memmove(packed->data + at + fresh.len, packed->data + at, (size_t)(end - packed->data) - at);
    memcpy(packed->data + at, fresh.data, fresh.len);
    packed->len += fresh.len;
    scored_set_count(packed, scored_count(buf_slice(packed)) + 1);
    buf_deinit(&fresh);
}

static bool fits_packed(const struct zset_edit *edit, struct slice member) {
    size_t n = scored_count(buf_slice(&edit->packed));
    return n < edit->limits.entries && n < SCORED_MOST && member.len <= edit->limits.value_bytes &&
           edit->packed.len + member.len < PACKED_MAX_BYTES;
}

static enum zset_change packed_set(struct zset_edit *edit, struct slice member, double score) {
    struct packed_place place;
    if (packed_locate(&edit->packed, member, &place)) {
        if (place.item.score == score) return ZSET_SAME;
        packed_cut(&edit->packed, place.from, place.to, 1);
        packed_insert(&edit->packed, member, score);
        return ZSET_UPDATED;
    }
    if (!fits_packed(edit, member)) {
        become_tree(edit);
        return tree_set(edit->tree, member, score);
    }
    packed_insert(&edit->packed, member, score);
    return ZSET_ADDED;
}

enum zset_change zset_edit_set(struct zset_edit *edit, struct slice member, double score) {
    ASSERT(score == score);
    enum zset_change change =
        edit->tree ? tree_set(edit->tree, member, score) : packed_set(edit, member, score);
    edit->changed |= change != ZSET_SAME;
    return change;
}

bool zset_edit_delete(struct zset_edit *edit, struct slice member) {
    struct packed_place place;
    if (edit->tree) {
        struct entry *found =
            index_find(&edit->tree->index, member, member_hash(edit->tree, member));
        if (!found) return false;
        tree_remove(edit->tree, found);
    } else {
        if (!packed_locate(&edit->packed, member, &place)) return false;
        packed_cut(&edit->packed, place.from, place.to, 1);
    }
    edit->changed = true;
    return true;
}

static void packed_delete_ranks(struct zset_edit *edit, size_t from, size_t to) {
    struct scored_cursor cursor = scored_begin(buf_slice(&edit->packed));
    struct scored item;
    const char *first = cursor.at;
    for (size_t i = 0; i < to; i++) {
        if (i == from) first = cursor.at;
        ASSERT(scored_next(&cursor, &item));
    }
    packed_cut(&edit->packed, (size_t)(first - edit->packed.data),
               (size_t)(cursor.at - edit->packed.data), to - from);
}

void zset_edit_delete_ranks(struct zset_edit *edit, size_t from, size_t to) {
    if (from >= to) return;
    edit->changed = true;
    if (!edit->tree) {
        packed_delete_ranks(edit, from, to);
        return;
    }
    for (size_t n = to - from; n > 0; n--) {
        struct rank_cursor cursor = ranktree_at(&edit->tree->ranks, from);
        tree_remove(edit->tree, rank_next(&cursor));
    }
}

static bool edit_put(struct zset_edit *edit, struct store *store, const struct store_guard *guard,
                     struct slice key) {
    int64_t expire_at_ms = edit->entry ? entry_expiry(edit->entry) : STORE_NEVER;
    struct entry *entry;
    if (edit->made_tree)
        entry = entry_create_object(ENTRY_ZSET, key, edit->hash, expire_at_ms, edit->tree);
    else
        entry = entry_create_packed(ENTRY_ZSET, key, edit->hash, expire_at_ms,
                                    buf_slice(&edit->packed));
    edit->made_tree = false; /* it is the entry's now */
    return store_put(store, guard, &entry);
}

bool zset_edit_end(struct zset_edit *edit, struct store *store, const struct store_guard *guard,
                   struct slice key) {
    bool kept = true;
    struct zset_view view = zset_edit_view(edit);
    bool in_place = edit->tree && !edit->made_tree;
    if (in_place && edit->changed) store_resized(store, guard, edit->entry, edit->old_size);
    if (edit->changed && zset_count(&view) == 0) {
        if (edit->entry) store_remove(store, guard, key, edit->hash, REMOVED_DELETED);
    } else if (edit->changed && !in_place) {
        kept = edit_put(edit, store, guard, key);
    }
    zset_edit_abandon(edit);
    return kept;
}

void zset_edit_abandon(struct zset_edit *edit) {
    if (edit->made_tree) zset_tree_destroy(edit->tree);
    edit->tree = NULL;
    edit->made_tree = false;
    buf_deinit(&edit->packed);
}

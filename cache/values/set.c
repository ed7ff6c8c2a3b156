#include "cache/values/set.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/store.h"
#include "cache/values/intset.h"

/* What a packed set's first byte says: one of intset.h's widths, or that words follow. */
enum { WORDS = 1, WORDS_HEADER = 2 };

/* Members are entries without value and expiry in an index of their own. No reader goes there without the shard's
 * lock, so what goes is freed at once. */
struct set_table {
    struct index index;
    uint64_t seed;
    size_t member_bytes;
};

/* --- tables --- */

static struct set_table *table_create(uint64_t seed) {
    struct set_table *table = mem_zalloc(sizeof *table);
    index_init(&table->index, NULL);
    table->seed = seed;
    return table;
}

static void destroy_member(struct entry *member, void *arg) {
    (void)arg;
    entry_destroy(&member);
}

void set_table_destroy(void *object) {
    struct set_table *table = object;
    index_each(&table->index, destroy_member, NULL);
    index_deinit(&table->index);
    mem_free(table);
}

size_t set_table_size(const void *object) {
    const struct set_table *table = object;
    return sizeof *table + table->index.bytes + table->member_bytes;
}

static uint64_t member_hash(const struct set_table *table, struct slice member) {
    return XXH3_64bits_withSeed(member.data, member.len, table->seed);
}

static struct entry *table_find(const struct set_table *table, struct slice member) {
    return index_find(&table->index, member, (uint32_t)member_hash(table, member));
}

static bool table_add(struct set_table *table, struct slice member) {
    uint64_t hash = member_hash(table, member);
    if (index_find(&table->index, member, (uint32_t)hash)) return false;
    struct entry *fresh = entry_create_string(member, hash, SLICE(""), STORE_NEVER);
    table->member_bytes += entry_size(fresh);
    index_insert(&table->index, fresh);
    return true;
}

static void copy_member(struct entry *member, void *arg) { table_add(arg, entry_key(member)); }

void *set_table_copy(const void *object) {
    const struct set_table *table = object;
    struct set_table *copy = table_create(table->seed);
    index_each(&table->index, copy_member, copy);
    return copy;
}

static bool table_remove(struct set_table *table, struct slice member) {
    struct entry *gone = table_find(table, member);
    if (!gone) return false;
    index_remove(&table->index, gone);
    table->member_bytes -= entry_size(gone);
    entry_destroy(&gone);
    return true;
}

/* --- packed words --- */

static bool is_words(struct slice packed) { return packed.len > 0 && packed.data[0] == WORDS; }

static size_t words_count(struct slice packed) { return (unsigned char)packed.data[1]; }

/* The word whose length stands at *at; *at moves behind it. */
static struct slice word_next(struct slice packed, size_t *at) {
    size_t len = (unsigned char)packed.data[*at];
    struct slice word = slice_make(packed.data + *at + 1, len);
    *at += 1 + len;
    return word;
}

/* Where the word's length stands; the end of all where it is not there. */
static size_t word_locate(struct slice packed, struct slice wanted) {
    size_t at = WORDS_HEADER;
    while (at < packed.len) {
        size_t from = at;
        if (slice_equal(word_next(packed, &at), wanted)) return from;
    }
    return at;
}

static void word_append(struct buf *packed, struct slice word) {
    if (packed->len == 0) buf_append(packed, (char[]){WORDS, 0}, WORDS_HEADER);
    packed->data[1]++;
    buf_append_char(packed, (char)word.len);
    buf_append_slice(packed, word);
}

/* --- reading --- */

struct set_view set_view_entry(const struct entry *entry) {
    ASSERT(entry->kind == ENTRY_SET);
    if (entry->flags & ENTRY_OBJECT) return (struct set_view){.table = entry_object(entry)};
    return (struct set_view){.packed = entry_packed(entry)};
}

size_t set_count(const struct set_view *view) {
    if (view->table) return view->table->index.count;
    if (view->packed.len == 0) return 0;
    return is_words(view->packed) ? words_count(view->packed) : intset_count(view->packed);
}

bool set_is_numbers(const struct set_view *view) {
    return !view->table && view->packed.len > 0 && !is_words(view->packed);
}

bool set_has(const struct set_view *view, struct slice member) {
    int64_t number;
    if (view->table) return table_find(view->table, member) != NULL;
    if (view->packed.len == 0) return false;
    if (is_words(view->packed)) return word_locate(view->packed, member) < view->packed.len;
    return number_parse_i64(member, &number) && intset_has(view->packed, number);
}

struct set_walk set_walk(const struct set_view *view) {
    struct set_walk walk = {.view = *view};
    if (!view->table && is_words(view->packed)) walk.at = WORDS_HEADER;
    return walk;
}

static struct slice spell(char digits[NUMBER_I64_MAX_LEN + 1], int64_t number) {
    return slice_make(digits, number_format_i64(digits, number));
}

static bool next_of_table(struct set_walk *walk, struct slice *member) {
    const struct index *index = &walk->view.table->index;
    struct entry *entry;
    while (!(entry = index_next(&walk->iter))) {
        if (walk->at >= index_buckets(index)) return false;
        walk->iter = index_bucket(index, (uint32_t)walk->at++);
    }
    *member = entry_key(entry);
    return true;
}

bool set_next(struct set_walk *walk, struct slice *member) {
    struct slice packed = walk->view.packed;
    if (walk->view.table) return next_of_table(walk, member);
    if (packed.len == 0) return false;
    if (is_words(packed)) {
        if (walk->at >= packed.len) return false;
        *member = word_next(packed, &walk->at);
        return true;
    }
    if (walk->at >= intset_count(packed)) return false;
    *member = spell(walk->digits, intset_at(packed, walk->at++));
    return true;
}

struct member_visit {
    set_visit *visit;
    void *arg;
    uint32_t n;
};

static void visit_member(struct entry *member, void *arg) {
    struct member_visit *to = arg;
    to->n++;
    to->visit(entry_key(member), to->arg);
}

uint64_t set_scan(const struct set_view *view, uint64_t cursor, uint32_t count, set_visit *visit,
                  void *arg) {
    if (!view->table) {
        struct set_walk walk = set_walk(view);
        struct slice member;
        while (set_next(&walk, &member))
            visit(member, arg);
        return 0;
    }
    if (cursor > UINT32_MAX) return 0;
    struct member_visit to = {visit, arg, 0};
    uint32_t next = (uint32_t)cursor;
    do
        next = index_scan(&view->table->index, next, visit_member, &to);
    while (next != 0 && to.n < count);
    return next;
}

struct slice set_random(const struct set_view *view, uint64_t random,
                        char digits[NUMBER_I64_MAX_LEN + 1]) {
    if (view->table) return entry_key(index_random(&view->table->index, random));
    size_t count = set_count(view);
    ASSERT(count > 0);
    size_t wanted = random % count;
    if (!is_words(view->packed)) return spell(digits, intset_at(view->packed, wanted));
    size_t at = WORDS_HEADER;
    while (wanted-- > 0)
        (void)word_next(view->packed, &at);
    return word_next(view->packed, &at);
}

/* --- writing --- */

void set_edit_begin(struct set_edit *edit, struct entry *entry, uint64_t hash, size_t max_numbers) {
    *edit = (struct set_edit){.entry = entry, .hash = hash, .max_numbers = max_numbers};
    if (!entry) return;
    ASSERT(entry->kind == ENTRY_SET);
    if (entry->flags & ENTRY_OBJECT) {
        edit->table = entry_object(entry);
        edit->old_size = entry_size(entry);
        return;
    }
    buf_append_slice(&edit->packed, entry_packed(entry));
}

struct set_view set_edit_view(const struct set_edit *edit) {
    return (struct set_view){edit->table, buf_slice(&edit->packed)};
}

static void become_table(struct set_edit *edit) {
    struct set_view view = set_edit_view(edit);
    struct set_walk walk = set_walk(&view);
    struct slice member;
    struct set_table *table = table_create(edit->hash);
    while (set_next(&walk, &member))
        table_add(table, member);
    edit->table = table;
    edit->made_table = true;
    buf_deinit(&edit->packed);
}

static void become_words(struct set_edit *edit) {
    struct set_view view = set_edit_view(edit);
    struct set_walk walk = set_walk(&view);
    struct slice member;
    struct buf words = {0};
    while (set_next(&walk, &member))
        word_append(&words, member);
    buf_deinit(&edit->packed);
    edit->packed = words;
}

static bool add_number(struct set_edit *edit, int64_t number) {
    if (!intset_add(&edit->packed, number)) return false;
    if (intset_count(buf_slice(&edit->packed)) > edit->max_numbers) become_table(edit);
    return true;
}

/* The set is packed, and not of numbers alone any more. */
static bool add_word(struct set_edit *edit, struct slice member) {
    struct set_view view = set_edit_view(edit);
    if (set_has(&view, member)) return false;
    if (set_count(&view) >= SET_WORDS_MAX || member.len > SET_WORD_MAX_LEN) {
        become_table(edit);
        return table_add(edit->table, member);
    }
    if (set_is_numbers(&view)) become_words(edit);
    word_append(&edit->packed, member);
    return true;
}

bool set_edit_add(struct set_edit *edit, struct slice member) {
    bool added;
    int64_t number;
    bool words = is_words(buf_slice(&edit->packed));
    if (edit->table)
        added = table_add(edit->table, member);
    else if (!words && number_parse_i64(member, &number))
        added = add_number(edit, number);
    else
        added = add_word(edit, member);
    edit->changed |= added;
    return added;
}

static bool remove_word(struct buf *packed, struct slice member) {
    size_t from = word_locate(buf_slice(packed), member);
    if (from == packed->len) return false;
    size_t behind = from + 1 + member.len;
    memmove(packed->data + from, packed->data + behind, packed->len - behind);
    packed->len -= behind - from;
    packed->data[1]--;
    return true;
}

bool set_edit_remove(struct set_edit *edit, struct slice member) {
    bool removed = false;
    int64_t number;
    if (edit->table)
        removed = table_remove(edit->table, member);
    else if (is_words(buf_slice(&edit->packed)))
        removed = remove_word(&edit->packed, member);
    else if (edit->packed.len > 0 && number_parse_i64(member, &number))
        removed = intset_remove(&edit->packed, number);
    edit->changed |= removed;
    return removed;
}

static bool edit_put(struct set_edit *edit, struct store *store, const struct store_guard *guard,
                     struct slice key) {
    int64_t expire_at_ms = edit->entry ? entry_expiry(edit->entry) : STORE_NEVER;
    struct entry *entry;
    if (edit->made_table)
        entry = entry_create_object(ENTRY_SET, key, edit->hash, expire_at_ms, edit->table);
    else
        entry =
            entry_create_packed(ENTRY_SET, key, edit->hash, expire_at_ms, buf_slice(&edit->packed));
    edit->made_table = false; /* the entry's now */
    return store_put(store, guard, &entry);
}

bool set_edit_end(struct set_edit *edit, struct store *store, const struct store_guard *guard,
                  struct slice key) {
    bool kept = true;
    struct set_view view = set_edit_view(edit);
    bool in_place = edit->table && !edit->made_table;
    bool empty = set_count(&view) == 0;
    if (in_place && edit->changed) store_resized(store, guard, edit->entry, edit->old_size);
    if (edit->changed && empty) {
        if (edit->entry) store_remove(store, guard, key, edit->hash, REMOVED_DELETED);
    } else if (edit->changed && !in_place) {
        kept = edit_put(edit, store, guard, key);
    }
    set_edit_abandon(edit);
    return kept;
}

void set_edit_abandon(struct set_edit *edit) {
    if (edit->made_table) set_table_destroy(edit->table);
    buf_deinit(&edit->packed);
}

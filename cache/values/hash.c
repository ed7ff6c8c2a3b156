#include "cache/values/hash.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/index.h"
#include "cache/store/store.h"
#include "cache/values/fields.h"

/* Fields are entries without expiry in an index of their own. No reader goes there without the shard's lock, so
 * what goes is freed at once. */
struct hash_table {
    struct index index;
    uint64_t seed;
    size_t field_bytes;
};

/* --- tables --- */

struct hash_table *hash_table_create(uint64_t seed) {
    struct hash_table *table = mem_zalloc(sizeof *table);
    index_init(&table->index, NULL);
    table->seed = seed;
    return table;
}

static void destroy_field(struct entry *field, void *arg) {
    (void)arg;
    entry_destroy(&field);
}

void hash_table_destroy(void *table) {
    struct hash_table *gone = table;
    index_each(&gone->index, destroy_field, NULL);
    index_deinit(&gone->index);
    mem_free(gone);
}

size_t hash_table_size(const void *table) {
    const struct hash_table *sized = table;
    return sizeof *sized + sized->index.bytes + sized->field_bytes;
}

static uint64_t field_hash(const struct hash_table *table, struct slice field) {
    return XXH3_64bits_withSeed(field.data, field.len, table->seed);
}

static struct entry *table_find(const struct hash_table *table, struct slice field) {
    return index_find(&table->index, field, (uint32_t)field_hash(table, field));
}

static bool table_set(struct hash_table *table, struct slice field, struct slice value) {
    uint64_t hash = field_hash(table, field);
    struct entry *fresh = entry_create_string(field, hash, value, STORE_NEVER);
    struct entry *old = index_find(&table->index, field, (uint32_t)hash);
    table->field_bytes += entry_size(fresh);
    if (!old) {
        index_insert(&table->index, fresh);
        return true;
    }
    table->field_bytes -= entry_size(old);
    index_replace(&table->index, old, fresh);
    entry_destroy(&old);
    return false;
}

static void copy_field(struct entry *field, void *arg) {
    table_set(arg, entry_key(field), entry_string(field));
}

void *hash_table_copy(const void *object) {
    const struct hash_table *table = object;
    struct hash_table *copy = hash_table_create(table->seed);
    index_each(&table->index, copy_field, copy);
    return copy;
}

static bool table_delete(struct hash_table *table, struct slice field) {
    struct entry *gone = table_find(table, field);
    if (!gone) return false;
    index_remove(&table->index, gone);
    table->field_bytes -= entry_size(gone);
    entry_destroy(&gone);
    return true;
}

/* --- reading --- */

struct hash_view hash_view_entry(const struct entry *entry) {
    ASSERT(entry->kind == ENTRY_HASH);
    if (entry->flags & ENTRY_OBJECT) return (struct hash_view){.table = entry_object(entry)};
    return hash_view_packed(entry_packed(entry));
}

size_t hash_count(const struct hash_view *view) {
    return view->table ? view->table->index.count : fields_count(view->packed);
}

bool hash_find(const struct hash_view *view, struct slice field, struct slice *value) {
    if (!view->table) return fields_find(view->packed, field, value);
    const struct entry *found = table_find(view->table, field);
    if (!found) return false;
    *value = entry_string(found);
    return true;
}

struct field_visit {
    hash_visit *visit;
    void *arg;
    uint32_t n;
};

static void visit_field(struct entry *field, void *arg) {
    struct field_visit *to = arg;
    to->n++;
    to->visit(entry_key(field), entry_string(field), to->arg);
}

void hash_each(const struct hash_view *view, hash_visit *visit, void *arg) {
    if (view->table) {
        struct field_visit to = {visit, arg, 0};
        index_each(&view->table->index, visit_field, &to);
        return;
    }
    struct fields_cursor cursor = fields_begin(view->packed);
    struct slice field;
    struct slice value;
    while (fields_next(&cursor, &field, &value))
        visit(field, value, arg);
}

uint64_t hash_scan(const struct hash_view *view, uint64_t cursor, uint32_t count, hash_visit *visit,
                   void *arg) {
    if (!view->table) {
        hash_each(view, visit, arg);
        return 0;
    }
    if (cursor > UINT32_MAX) return 0;
    struct field_visit to = {visit, arg, 0};
    uint32_t next = (uint32_t)cursor;
    do
        next = index_scan(&view->table->index, next, visit_field, &to);
    while (next != 0 && to.n < count);
    return next;
}

void hash_random(const struct hash_view *view, uint64_t random, struct slice *field,
                 struct slice *value) {
    if (view->table) {
        const struct entry *found = index_random(&view->table->index, random);
        *field = entry_key(found);
        *value = entry_string(found);
        return;
    }
    uint64_t at = random % fields_count(view->packed);
    struct fields_cursor cursor = fields_begin(view->packed);
    do
        ASSERT(fields_next(&cursor, field, value));
    while (at-- > 0);
}

/* --- writing --- */

void hash_edit_begin(struct hash_edit *edit, struct entry *entry, uint64_t hash,
                     struct hash_limits limits) {
    *edit = (struct hash_edit){.entry = entry, .hash = hash, .limits = limits};
    if (!entry) return;
    ASSERT(entry->kind == ENTRY_HASH);
    if (entry->flags & ENTRY_OBJECT) {
        edit->table = entry_object(entry);
        edit->old_size = entry_size(entry);
        return;
    }
    buf_append_slice(&edit->packed, entry_packed(entry));
    edit->n_packed = fields_count(entry_packed(entry));
}

struct hash_view hash_edit_view(const struct hash_edit *edit) {
    return (struct hash_view){edit->table, buf_slice(&edit->packed)};
}

static void become_table(struct hash_edit *edit) {
    edit->table = hash_table_create(edit->hash);
    edit->made_table = true;
    struct fields_cursor cursor = fields_begin(buf_slice(&edit->packed));
    struct slice field;
    struct slice value;
    while (fields_next(&cursor, &field, &value))
        table_set(edit->table, field, value);
    buf_deinit(&edit->packed);
}

/* Where the field lies in the packed run: *from to *to. */
static bool packed_locate(struct slice packed, struct slice wanted, size_t *from, size_t *to) {
    struct fields_cursor cursor = fields_begin(packed);
    struct slice field;
    struct slice value;
    *from = 0;
    while (fields_next(&cursor, &field, &value)) {
        *to = (size_t)(cursor.at - packed.data);
        if (slice_equal(field, wanted)) return true;
        *from = *to;
    }
    return false;
}

/* A field keeps its place when its value changes. */
static bool packed_set(struct hash_edit *edit, struct slice field, struct slice value) {
    size_t from;
    size_t to;
    struct slice packed = buf_slice(&edit->packed);
    if (!packed_locate(packed, field, &from, &to)) {
        fields_append(&edit->packed, field, value);
        edit->n_packed++;
        return true;
    }
    struct buf changed = {0};
    buf_append(&changed, packed.data, from);
    fields_append(&changed, field, value);
    buf_append(&changed, packed.data + to, packed.len - to);
    buf_deinit(&edit->packed);
    edit->packed = changed;
    return false;
}

bool hash_edit_set(struct hash_edit *edit, struct slice field, struct slice value) {
    edit->changed = true;
    if (!edit->table) {
        size_t most = edit->limits.len_bytes;
        bool small = field.len <= most && value.len <= most;
        if (!small) become_table(edit);
    }
    if (edit->table) return table_set(edit->table, field, value);
    bool created = packed_set(edit, field, value);
    if (edit->n_packed > edit->limits.fields) become_table(edit);
    return created;
}

bool hash_edit_delete(struct hash_edit *edit, struct slice field) {
    if (edit->table) {
        bool deleted = table_delete(edit->table, field);
        edit->changed |= deleted;
        return deleted;
    }
    size_t from;
    size_t to;
    if (!packed_locate(buf_slice(&edit->packed), field, &from, &to)) return false;
    memmove(edit->packed.data + from, edit->packed.data + to, edit->packed.len - to);
    edit->packed.len -= to - from;
    edit->n_packed--;
    edit->changed = true;
    return true;
}

static bool edit_put(struct hash_edit *edit, struct store *store, const struct store_guard *guard,
                     struct slice key) {
    int64_t expire_at_ms = edit->entry ? entry_expiry(edit->entry) : STORE_NEVER;
    struct entry *entry;
    if (edit->made_table) {
        entry = entry_create_object(ENTRY_HASH, key, edit->hash, expire_at_ms, edit->table);
        edit->made_table = false; /* it is the entry's now */
    } else {
        entry = entry_create_packed(ENTRY_HASH, key, edit->hash, expire_at_ms,
                                    buf_slice(&edit->packed));
    }
    return store_put(store, guard, &entry);
}

bool hash_edit_end(struct hash_edit *edit, struct store *store, const struct store_guard *guard,
                   struct slice key) {
    bool kept = true;
    struct hash_view view = hash_edit_view(edit);
    bool in_place = edit->table && !edit->made_table;
    if (in_place && edit->changed) store_resized(store, guard, edit->entry, edit->old_size);
    if (edit->changed && hash_count(&view) == 0) {
        if (edit->entry) store_remove(store, guard, key, edit->hash, REMOVED_DELETED);
    } else if (edit->changed && !in_place) {
        kept = edit_put(edit, store, guard, key);
    }
    hash_edit_abandon(edit);
    return kept;
}

void hash_edit_abandon(struct hash_edit *edit) {
    if (edit->made_table) hash_table_destroy(edit->table);
    buf_deinit(&edit->packed);
}

#include "cache/values/list.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/store.h"
#include "cache/values/elements.h"

/*   0 ....... start ....................... end ....... cap
 *   | free    | elements                    | free      |           start <= end <= cap */
struct list_chunk {
    uint32_t cap, start, end;
    char bytes[];
};

enum {
    CHUNK_MAX = LIST_CHUNK_BYTES - sizeof(struct list_chunk),
    CHUNK_MIN = 128, /* with the header */
    GROWING_CHUNKS = 4,
};

struct slot {
    struct list_chunk *chunk;
    uint32_t n; /* elements; never 0 */
};

struct list {
    struct slot *ring;
    size_t ring_cap; /* a power of two, or 0 */
    size_t first;    /* the ring's slot of chunk 0 */
    size_t n_chunks;
    size_t count;
    size_t chunk_bytes;
};

/* Where an element begins, or would be put: `offset` from the start of the chunk's elements. */
struct place {
    size_t chunk;
    size_t offset;
};

/* --- chunks -------------------------------------------------------------------------------------------------- */

static size_t used(const struct list_chunk *chunk) { return chunk->end - chunk->start; }

static size_t chunk_size(const struct list_chunk *chunk) { return sizeof *chunk + chunk->cap; }

/* Room for `payload` bytes, and as many more as the allocator would give anyway: it has four sizes between two powers of
 * two. */
static size_t chunk_room(size_t payload) {
    size_t size = payload + sizeof(struct list_chunk);
    if (size <= CHUNK_MIN) return CHUNK_MIN - sizeof(struct list_chunk);
    size_t step = ((size_t)1 << (63 - __builtin_clzll(size - 1))) / 4;
    return (size + step - 1) / step * step - sizeof(struct list_chunk);
}

static struct list_chunk *chunk_create(struct list *list, size_t payload) {
    size_t cap = chunk_room(payload);
    ASSERT(cap < UINT32_MAX);
    struct list_chunk *chunk = mem_alloc(sizeof *chunk + cap);
    chunk->cap = (uint32_t)cap;
    chunk->start = chunk->end = 0;
    list->chunk_bytes += chunk_size(chunk);
    return chunk;
}

static void chunk_destroy(struct list *list, struct list_chunk *chunk) {
    list->chunk_bytes -= chunk_size(chunk);
    mem_free(chunk);
}

/* --- the ring ------------------------------------------------------------------------------------------------- */

static struct slot *slot_at(const struct list *list, size_t i) {
    return &list->ring[(list->first + i) & (list->ring_cap - 1)];
}

static void ring_grow(struct list *list) {
    size_t cap = list->ring_cap ? 2 * list->ring_cap : 1;
    struct slot *ring = mem_alloc(cap * sizeof ring[0]);
    for (size_t i = 0; i < list->n_chunks; i++)
        ring[i] = *slot_at(list, i);
    mem_free(list->ring);
    list->ring = ring;
    list->ring_cap = cap;
    list->first = 0;
}

/* The chunk becomes number `i`; what lies on the shorter side of it moves. */
static void ring_insert(struct list *list, size_t i, struct list_chunk *chunk, uint32_t n) {
    if (list->n_chunks == list->ring_cap) ring_grow(list);
    if (i < list->n_chunks / 2) {
        list->first = (list->first - 1) & (list->ring_cap - 1);
        for (size_t k = 0; k < i; k++)
            *slot_at(list, k) = *slot_at(list, k + 1);
    } else {
        for (size_t k = list->n_chunks; k > i; k--)
            *slot_at(list, k) = *slot_at(list, k - 1);
    }
    list->n_chunks++;
    *slot_at(list, i) = (struct slot){chunk, n};
}

static void ring_remove(struct list *list, size_t i) {
    chunk_destroy(list, slot_at(list, i)->chunk);
    if (i < list->n_chunks / 2) {
        for (size_t k = i; k > 0; k--)
            *slot_at(list, k) = *slot_at(list, k - 1);
        list->first = (list->first + 1) & (list->ring_cap - 1);
    } else {
        for (size_t k = i; k + 1 < list->n_chunks; k++)
            *slot_at(list, k) = *slot_at(list, k + 1);
    }
    list->n_chunks--;
}

/* --- changing a chunk's bytes -------------------------------------------------------------------------------- */

/* A new chunk instead of number `i`, with `fresh` bytes in the place of `old` at `offset`. */
static char *chunk_rebuild(struct list *list, size_t i, size_t offset, size_t old, size_t fresh) {
    struct list_chunk *from = slot_at(list, i)->chunk;
    size_t behind = used(from) - offset - old;
    size_t needed = offset + fresh + behind;
    /* Somewhat more, so that the next ones find room too. */
    size_t wanted = needed + needed / 8;
    struct list_chunk *to =
        chunk_create(list, wanted <= CHUNK_MAX || needed > CHUNK_MAX ? wanted : CHUNK_MAX);
    /* The room is left where elements were put. */
    to->start = offset == 0 ? (uint32_t)(to->cap - needed) : 0;
    to->end = (uint32_t)(to->start + needed);
    memcpy(to->bytes + to->start, from->bytes + from->start, offset);
    memcpy(to->bytes + to->end - behind, from->bytes + from->end - behind, behind);
    slot_at(list, i)->chunk = to;
    chunk_destroy(list, from);
    return to->bytes + to->start + offset;
}

/* Replaces `old` bytes at `offset` by room for `fresh`, and returns where that is; NULL: they do not go into this
 * chunk, and nothing was changed. */
static char *splice(struct list *list, size_t i, size_t offset, size_t old, size_t fresh) {
    struct list_chunk *chunk = slot_at(list, i)->chunk;
    size_t before = offset;
    size_t behind = used(chunk) - offset - old;
    char *at = chunk->bytes + chunk->start + offset;
    size_t needed = before + fresh + behind;
    bool is_large = chunk->cap > CHUNK_MAX;
    if (fresh <= old && !is_large) {
        size_t less = old - fresh;
        if (before < behind) {
            memmove(chunk->bytes + chunk->start + less, chunk->bytes + chunk->start, before);
            chunk->start += (uint32_t)less;
            return at + less;
        }
        memmove(at + fresh, at + old, behind);
        chunk->end -= (uint32_t)less;
        return at;
    }
    if (needed > CHUNK_MAX) return NULL;
    size_t more = fresh - old;
    bool fits_before = !is_large && chunk->start >= more;
    bool fits_behind = !is_large && chunk->cap - chunk->end >= more;
    /* At an end nothing is moved for the sake of one push: the rebuilt chunk has all of its room there, and one that
     * is nearly full is left alone. A queue would else copy a chunk with each push. */
    bool at_end = old == 0 && (before == 0 || behind == 0);
    if (at_end && !(before == 0 ? fits_before : fits_behind)) {
        if (needed > CHUNK_MAX - CHUNK_MAX / 4) return NULL;
        return chunk_rebuild(list, i, offset, old, fresh);
    }
    if (fits_before && (before < behind || !fits_behind)) {
        memmove(chunk->bytes + chunk->start - more, chunk->bytes + chunk->start, before);
        chunk->start -= (uint32_t)more;
        return at - more;
    }
    if (fits_behind) {
        memmove(at + fresh, at + old, behind);
        chunk->end += (uint32_t)more;
        return at;
    }
    return chunk_rebuild(list, i, offset, old, fresh);
}

/* The elements from `offset` on become a chunk of their own, behind number `i`. */
static void split(struct list *list, struct place place) {
    struct list_chunk *chunk = slot_at(list, place.chunk)->chunk;
    const char *at = chunk->bytes + chunk->start + place.offset;
    size_t len = used(chunk) - place.offset;
    struct list_chunk *second = chunk_create(list, len);
    memcpy(second->bytes, at, len);
    second->end = (uint32_t)len;
    uint32_t n = 0;
    for (const char *end = chunk->bytes + chunk->end; at < end; n++)
        elements_forward(&at);
    chunk->end -= (uint32_t)len;
    slot_at(list, place.chunk)->n -= n;
    ring_insert(list, place.chunk + 1, second, n);
}

/* --- where an element is -------------------------------------------------------------------------------------- */

static size_t offset_in_run(const char *run, const char *end, uint32_t n, size_t index) {
    const char *at = run;
    if (index <= n / 2) {
        for (size_t i = 0; i < index; i++)
            elements_forward(&at);
    } else {
        at = end;
        for (size_t i = n; i > index; i--)
            elements_backward(&at);
    }
    return (size_t)(at - run);
}

/* Of the element with this index; below the count. */
static struct place locate(const struct list *list, size_t index) {
    size_t i;
    ASSERT(index < list->count);
    if (index <= list->count / 2) {
        for (i = 0; index >= slot_at(list, i)->n; i++)
            index -= slot_at(list, i)->n;
    } else {
        size_t left = list->count - index; /* counted from the end, at least 1 */
        for (i = list->n_chunks - 1; left > slot_at(list, i)->n; i--)
            left -= slot_at(list, i)->n;
        index = slot_at(list, i)->n - left;
    }
    const struct slot *slot = slot_at(list, i);
    const struct list_chunk *chunk = slot->chunk;
    return (struct place){
        i, offset_in_run(chunk->bytes + chunk->start, chunk->bytes + chunk->end, slot->n, index)};
}

/* --- life ----------------------------------------------------------------------------------------------------- */

struct list *list_create(void) {
    return mem_zalloc(sizeof(struct list));
}

void list_destroy(void *gone) {
    struct list *list = gone;
    for (size_t i = 0; i < list->n_chunks; i++)
        mem_free(slot_at(list, i)->chunk);
    mem_free(list->ring);
    mem_free(list);
}

size_t list_size(const void *object) {
    const struct list *list = object;
    return sizeof *list + list->ring_cap * sizeof list->ring[0] + list->chunk_bytes;
}

size_t list_length(const struct list *list) { return list->count; }

static uint32_t count_elements(struct slice packed) {
    uint32_t n = 0;
    const char *at = packed.data;
    for (const char *end = at + packed.len; at < end; n++)
        elements_forward(&at);
    return n;
}

/* With room for some more. */
static struct list *list_unpack(struct slice packed) {
    struct list *list = list_create();
    struct list_chunk *chunk = chunk_create(list, packed.len + packed.len / 8);
    memcpy(chunk->bytes, packed.data, packed.len);
    chunk->end = (uint32_t)packed.len;
    uint32_t n = count_elements(packed);
    ring_insert(list, 0, chunk, n);
    list->count = n;
    return list;
}

struct list *list_copy(const struct list *list) {
    struct list *copy = list_create();
    for (size_t i = 0; i < list->n_chunks; i++) {
        const struct slot *slot = slot_at(list, i);
        size_t len = used(slot->chunk);
        struct list_chunk *chunk = chunk_create(copy, len);
        memcpy(chunk->bytes, slot->chunk->bytes + slot->chunk->start, len);
        chunk->end = (uint32_t)len;
        ring_insert(copy, i, chunk, slot->n);
    }
    copy->count = list->count;
    return copy;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

struct list_view list_view_entry(const struct entry *entry) {
    ASSERT(entry->kind == ENTRY_LIST);
    if (entry->flags & ENTRY_OBJECT) return (struct list_view){.list = entry_object(entry)};
    return (struct list_view){.packed = entry_packed(entry)};
}

struct list_view list_view_of(const struct list *list) {
    return (struct list_view){.list = list};
}

size_t list_count(const struct list_view *view) {
    return view->list ? view->list->count : count_elements(view->packed);
}

static void enter_chunk(struct list_cursor *cursor, size_t i) {
    const struct list_chunk *chunk = slot_at(cursor->list, i)->chunk;
    cursor->chunk = i;
    cursor->run = chunk->bytes + chunk->start;
    cursor->end = chunk->bytes + chunk->end;
}

struct list_cursor list_seek(const struct list_view *view, size_t index, enum list_end from) {
    struct list_cursor cursor = {.list = view->list, .from = from};
    if (!view->list) {
        cursor.run = cursor.at = view->packed.data;
        cursor.end = cursor.run + view->packed.len;
        for (size_t i = 0; i < index && cursor.at < cursor.end; i++)
            elements_forward(&cursor.at);
    } else if (index < view->list->count) {
        struct place place = locate(view->list, index);
        enter_chunk(&cursor, place.chunk);
        cursor.at = cursor.run + place.offset;
    } else {
        return (struct list_cursor){.list = NULL}; /* there is nothing */
    }
    /* The way to the head begins behind the element. */
    if (from == LIST_TAIL && cursor.at < cursor.end) elements_forward(&cursor.at);
    return cursor;
}

bool list_next(struct list_cursor *cursor, struct slice *element) {
    if (cursor->from == LIST_HEAD) {
        if (cursor->at == cursor->end) {
            if (!cursor->list || cursor->chunk + 1 >= cursor->list->n_chunks) return false;
            enter_chunk(cursor, cursor->chunk + 1);
            cursor->at = cursor->run;
        }
        *element = elements_forward(&cursor->at);
        return true;
    }
    if (cursor->at == cursor->run) {
        if (!cursor->list || cursor->chunk == 0) return false;
        enter_chunk(cursor, cursor->chunk - 1);
        cursor->at = cursor->end;
    }
    *element = elements_backward(&cursor->at);
    return true;
}

bool list_at(const struct list_view *view, size_t index, struct slice *element) {
    struct list_cursor cursor = list_seek(view, index, LIST_HEAD);
    return list_next(&cursor, element);
}

/* --- changing ------------------------------------------------------------------------------------------------- */

/* A chunk of its own, as number `i`. Behind the others it has its room behind; before them, before. */
static char *add_chunk(struct list *list, size_t i, size_t size) {
    /* The first ones grow with their elements, so that a short list is small; a long one is filled chunk by chunk. */
    bool full = list->n_chunks >= GROWING_CHUNKS && size < CHUNK_MAX;
    struct list_chunk *chunk = chunk_create(list, full ? CHUNK_MAX : size);
    chunk->start = i == 0 && list->n_chunks ? (uint32_t)(chunk->cap - size) : 0;
    chunk->end = (uint32_t)(chunk->start + size);
    ring_insert(list, i, chunk, 0);
    return chunk->bytes + chunk->start;
}

/* Between the chunks `i` - 1 and `i`: in one of them, or in one of its own. */
static void put_between(struct list *list, size_t i, struct slice element) {
    size_t size = elements_size(element.len);
    char *room = NULL;
    size_t in = i;
    if (i > 0) {
        in = i - 1;
        room = splice(list, in, used(slot_at(list, in)->chunk), 0, size);
    }
    if (!room && i < list->n_chunks) {
        in = i;
        room = splice(list, in, 0, 0, size);
    }
    if (!room) {
        in = i;
        room = add_chunk(list, in, size);
    }
    elements_write(room, element);
    slot_at(list, in)->n++;
    list->count++;
}

static void put_at(struct list *list, struct place place, struct slice element) {
    size_t size = elements_size(element.len);
    char *room = splice(list, place.chunk, place.offset, 0, size);
    if (!room) {
        bool at_start = place.offset == 0;
        if (!at_start && place.offset < used(slot_at(list, place.chunk)->chunk)) split(list, place);
        put_between(list, place.chunk + (at_start ? 0 : 1), element);
        return;
    }
    elements_write(room, element);
    slot_at(list, place.chunk)->n++;
    list->count++;
}

void list_push(struct list *list, enum list_end end, struct slice element) {
    put_between(list, end == LIST_HEAD ? 0 : list->n_chunks, element);
}

void list_insert(struct list *list, size_t index, struct slice element) {
    if (index == list->count)
        list_push(list, LIST_TAIL, element);
    else
        put_at(list, locate(list, index), element);
}

void list_replace(struct list *list, size_t index, struct slice element) {
    struct place place = locate(list, index);
    const struct list_chunk *chunk = slot_at(list, place.chunk)->chunk;
    const char *at = chunk->bytes + chunk->start + place.offset;
    size_t old = elements_size(elements_forward(&at).len);
    char *room = splice(list, place.chunk, place.offset, old, elements_size(element.len));
    if (room) {
        elements_write(room, element);
        return;
    }
    list->count--;
    if (--slot_at(list, place.chunk)->n == 0) {
        ring_remove(list, place.chunk);
        put_between(list, place.chunk, element);
        return;
    }
    room = splice(list, place.chunk, place.offset, old, 0);
    ASSERT(room);
    put_at(list, place, element);
}

void list_drop(struct list *list, enum list_end end, size_t n) {
    while (n > 0 && list->count > 0) {
        size_t i = end == LIST_HEAD ? 0 : list->n_chunks - 1;
        struct slot *slot = slot_at(list, i);
        if (slot->n <= n) {
            n -= slot->n;
            list->count -= slot->n;
            ring_remove(list, i);
            continue;
        }
        struct list_chunk *chunk = slot->chunk;
        const char *run = chunk->bytes + chunk->start;
        size_t keeps = end == LIST_HEAD ? n : slot->n - n;
        size_t offset = offset_in_run(run, chunk->bytes + chunk->end, slot->n, keeps);
        if (end == LIST_HEAD)
            chunk->start += (uint32_t)offset;
        else
            chunk->end = (uint32_t)(chunk->start + offset);
        slot->n -= (uint32_t)n;
        list->count -= n;
        n = 0;
    }
}

static size_t count_equal(const struct list_chunk *chunk, struct slice element) {
    const char *at = chunk->bytes + chunk->start;
    size_t n = 0;
    while (at < chunk->bytes + chunk->end)
        n += slice_equal(elements_forward(&at), element);
    return n;
}

/* Of those that are equal, leaves out the first `skip`, takes out the next `n`. */
static void take_out(struct list_chunk *chunk, struct slice element, size_t skip, size_t n) {
    const char *at = chunk->bytes + chunk->start;
    const char *end = chunk->bytes + chunk->end;
    char *to = chunk->bytes + chunk->start;
    while (at < end) {
        const char *from = at;
        if (slice_equal(elements_forward(&at), element)) {
            if (skip > 0) {
                skip--;
            } else if (n > 0) {
                n--;
                continue;
            }
        }
        if (to != from) memmove(to, from, (size_t)(at - from));
        to += at - from;
    }
    chunk->end = (uint32_t)(to - chunk->bytes);
}

/* Neighbours that have become small become one. */
static void join_small(struct list *list) {
    for (size_t i = 0; i + 1 < list->n_chunks;) {
        struct slot *next = slot_at(list, i + 1);
        size_t len = used(next->chunk);
        size_t have = used(slot_at(list, i)->chunk);
        char *room = have + len <= CHUNK_MAX / 2 ? splice(list, i, have, 0, len) : NULL;
        if (!room) {
            i++;
            continue;
        }
        memcpy(room, next->chunk->bytes + next->chunk->start, len);
        slot_at(list, i)->n += next->n;
        ring_remove(list, i + 1);
    }
}

size_t list_remove(struct list *list, struct slice element, size_t most, enum list_end end) {
    size_t removed = 0;
    size_t n_chunks = list->n_chunks;
    for (size_t seen = 0, kept = 0; seen < n_chunks && removed < most; seen++) {
        /* `kept` chunks lie on this side of the one to look at */
        size_t i = end == LIST_HEAD ? kept : list->n_chunks - 1 - kept;
        struct slot *slot = slot_at(list, i);
        size_t equal = count_equal(slot->chunk, element);
        size_t n = equal < most - removed ? equal : most - removed;
        if (n > 0) take_out(slot->chunk, element, end == LIST_HEAD ? 0 : equal - n, n);
        removed += n;
        slot->n -= (uint32_t)n;
        if (slot->n == 0)
            ring_remove(list, i);
        else
            kept++;
    }
    list->count -= removed;
    if (removed) join_small(list);
    return removed;
}

/* --- writing a key -------------------------------------------------------------------------------------------- */

struct list *list_edit_begin(struct list_edit *edit, struct entry *entry, uint64_t hash) {
    *edit = (struct list_edit){.entry = entry, .hash = hash};
    if (!entry) {
        edit->list = list_create();
    } else if (entry->flags & ENTRY_OBJECT) {
        edit->list = entry_object(entry);
        edit->in_place = true;
        edit->old_size = entry_size(entry);
    } else {
        edit->list = list_unpack(entry_packed(entry));
    }
    return edit->list;
}

static bool edit_put(struct list_edit *edit, struct store *store, const struct store_guard *guard,
                     struct slice key) {
    const struct list *list = edit->list;
    int64_t expire_at_ms = edit->entry ? entry_expiry(edit->entry) : STORE_NEVER;
    const struct list_chunk *chunk = slot_at(list, 0)->chunk;
    struct entry *entry;
    if (list->n_chunks == 1 && used(chunk) <= LIST_PACKED_MAX_BYTES) {
        struct slice packed = slice_make(chunk->bytes + chunk->start, used(chunk));
        entry = entry_create_packed(ENTRY_LIST, key, edit->hash, expire_at_ms, packed);
    } else {
        entry = entry_create_object(ENTRY_LIST, key, edit->hash, expire_at_ms, edit->list);
        edit->list = NULL;
    }
    return store_put(store, guard, &entry);
}

bool list_edit_end(struct list_edit *edit, struct store *store, const struct store_guard *guard,
                   struct slice key) {
    bool kept = true;
    if (edit->in_place) store_resized(store, guard, edit->entry, edit->old_size);
    if (edit->list->count == 0) {
        if (edit->entry) store_remove(store, guard, key, edit->hash, REMOVED_DELETED);
    } else if (!edit->in_place) {
        kept = edit_put(edit, store, guard, key);
    }
    list_edit_abandon(edit);
    return kept;
}

void list_edit_abandon(struct list_edit *edit) {
    if (!edit->in_place && edit->list) list_destroy(edit->list);
    edit->list = NULL;
}

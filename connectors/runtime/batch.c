#include "connectors/runtime/batch.h"

#include <string.h>
#include <xxhash.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/json.h"
#include "base/mem.h"

enum {
    ARENA_BLOCK_BYTES = 64 * 1024,
    FIRST_WRITES = 64,
    FIRST_SLOTS = 256,
    CAUSE_MAX_BYTES = 2048,
};

/* Open addressing, linear probing, at most half full: place + 1 of each key's last write, 0 for empty. */
struct batch_index {
    size_t n_slots;
    size_t n_used;
    uint32_t *slots;
};

static uint64_t hash_key(struct slice key) {
    return XXH3_64bits_withSeed(key.len ? key.data : "", key.len, 0);
}

struct batch *batch_create(enum batch_kind kind, struct shape *shape, int64_t now_us) {
    struct batch *batch = mem_zalloc(sizeof *batch);
    batch->kind = kind;
    batch->shape = shape ? shape_acquire(shape) : NULL;
    batch->arena = arena_create(ARENA_BLOCK_BYTES);
    batch->opened_us = now_us;
    batch->newest = UINT64_MAX;
    if (kind != BATCH_WRITES) return batch;
    batch->cap_writes = FIRST_WRITES;
    batch->writes = mem_calloc(batch->cap_writes, sizeof *batch->writes);
    batch->index = mem_zalloc(sizeof *batch->index);
    batch->index->n_slots = FIRST_SLOTS;
    batch->index->slots = mem_calloc(FIRST_SLOTS, sizeof *batch->index->slots);
    return batch;
}

void batch_destroy(struct batch **batch) {
    struct batch *old = *batch;
    *batch = NULL;
    if (!old) return;
    batch_destroy(&old->walk.part);
    if (old->index) mem_free(old->index->slots);
    mem_free(old->index);
    mem_free(old->writes);
    mem_free(old->note);
    mem_free(old->walk.after);
    shape_release(&old->shape);
    arena_destroy(&old->arena);
    mem_free(old);
}

/* The slot that holds the key, or the empty one where it belongs. */
static uint32_t *index_slot(const struct batch *batch, struct slice key) {
    const struct batch_index *index = batch->index;
    size_t at = hash_key(key) & (index->n_slots - 1);
    while (index->slots[at] && !slice_equal(batch->writes[index->slots[at] - 1].key, key))
        at = (at + 1) & (index->n_slots - 1);
    return &index->slots[at];
}

static void index_grow(struct batch *batch) {
    struct batch_index *index = batch->index;
    mem_free(index->slots);
    index->n_slots *= 2;
    index->slots = mem_calloc(index->n_slots, sizeof *index->slots);
    for (size_t i = 0; i < batch->n_writes; i++) {
        if (!batch->writes[i].superseded)
            *index_slot(batch, batch->writes[i].key) = (uint32_t)(i + 1);
    }
}

/* Appends a write of the key; *superseded is its former one in this batch, or NULL. */
static struct write *append(struct batch *batch, struct slice key, const struct write_stamp *stamp,
                            struct write **superseded) {
    ASSERT(batch->kind == BATCH_WRITES);
    if (batch->n_writes == batch->cap_writes) {
        batch->cap_writes *= 2;
        batch->writes = mem_realloc(batch->writes, batch->cap_writes * sizeof *batch->writes);
    }
    uint32_t *slot = index_slot(batch, key);
    *superseded = NULL;
    if (*slot) {
        *superseded = &batch->writes[*slot - 1];
        (*superseded)->superseded = true;
        batch->n_superseded++;
        key = (*superseded)->key;
    } else {
        key = arena_dup(batch->arena, key);
        batch->index->n_used++;
    }
    struct write *write = &batch->writes[batch->n_writes++];
    *write = (struct write){.key = key, .stamp = *stamp};
    *slot = (uint32_t)batch->n_writes;
    if (batch->index->n_used * 2 > batch->index->n_slots) index_grow(batch);
    return write;
}

static void count_bytes(struct batch *batch) {
    batch->bytes = arena_used(batch->arena) + batch->n_writes * sizeof *batch->writes;
}

static struct value copy_value(struct batch *batch, const struct value *value) {
    struct value copy = *value;
    if (copy.kind == VALUE_TEXT || copy.kind == VALUE_BINARY)
        copy.data = arena_dup(batch->arena, slice_make(value->data, value->len)).data;
    return copy;
}

void batch_put(struct batch *batch, struct slice key, const struct write_stamp *stamp,
               const struct value *row, const struct value *old_row) {
    struct write *before;
    struct write *write = append(batch, key, stamp, &before);
    write->operation = WRITE_PUT;
    uint16_t n = batch->shape->n_columns;
    struct value *values = arena_alloc(batch->arena, n * sizeof *values);
    for (uint16_t i = 0; i < n; i++) {
        if (row[i].kind != VALUE_UNCHANGED) {
            values[i] = copy_value(batch, &row[i]);
        } else if (old_row && old_row[i].kind == VALUE_TEXT) {
            values[i] = copy_value(batch, &old_row[i]);
        } else if (before && before->operation == WRITE_PUT) {
            values[i] = before->row[i]; /* already in this arena; may be unchanged itself */
        } else {
            values[i] = row[i];
        }
        if (values[i].kind == VALUE_UNCHANGED) write->incomplete = true;
    }
    write->row = values;
    write->n_rows = 1;
    count_bytes(batch);
}

void batch_remove(struct batch *batch, struct slice key, const struct write_stamp *stamp) {
    struct write *before;
    struct write *write = append(batch, key, stamp, &before);
    write->operation = WRITE_REMOVE;
    count_bytes(batch);
}

void batch_set_walk(struct batch *batch, uint32_t which, uint16_t n_values,
                    const struct value *values, const struct write_stamp *stamp) {
    ASSERT(batch->kind == BATCH_WALK);
    struct value *copies = arena_alloc(batch->arena, (n_values + 1u) * sizeof *copies);
    for (uint16_t i = 0; i < n_values; i++)
        copies[i] = copy_value(batch, &values[i]);
    batch->walk.which = which;
    batch->walk.n_values = n_values;
    batch->walk.values = copies;
    batch->walk.stamp = *stamp;
    batch->bytes = arena_used(batch->arena);
}

void batch_set_xids(struct batch *batch, uint32_t n, const uint64_t *xids) {
    ASSERT(batch->kind == BATCH_WALK);
    batch->walk.n_xids = n;
    batch->walk.xids =
        (const uint64_t *)(const void *)arena_dup(batch->arena, slice_make(xids, n * sizeof *xids))
            .data;
}

void batch_copy(struct batch *batch, const struct write *write, const struct write_stamp *stamp) {
    ASSERT(!write->incomplete);
    struct write *before;
    struct write *copy = append(batch, write->key, stamp, &before);
    copy->operation = write->operation;
    copy->n_rows = write->operation == WRITE_PUT ? write->n_rows : 0;
    size_t n = (size_t)copy->n_rows * batch->shape->n_columns;
    struct value *values = n ? arena_alloc(batch->arena, n * sizeof *values) : NULL;
    for (size_t i = 0; i < n; i++)
        values[i] = copy_value(batch, &write->row[i]);
    copy->row = values;
    count_bytes(batch);
}

struct write *batch_next(struct batch *batch, size_t *at, size_t to) {
    ASSERT(to <= batch->n_writes);
    while (*at < to) {
        struct write *write = &batch->writes[(*at)++];
        if (!write->superseded && !write->vanished && write->outcome == WRITE_PENDING) return write;
    }
    return NULL;
}

void batch_lend(struct batch *batch, const struct write *write) {
    if (batch->n_writes == batch->cap_writes) {
        batch->cap_writes *= 2;
        batch->writes = mem_realloc(batch->writes, batch->cap_writes * sizeof *batch->writes);
    }
    batch->writes[batch->n_writes++] = *write;
}

void batch_refuse(struct batch *batch, struct write *write, int status, struct slice cause) {
    write->outcome = WRITE_REFUSED;
    write->status = status;
    write->cause = arena_dup(batch->arena, cause).data;
}

void batch_refuse_text(struct batch *batch, struct write *write, int status, struct slice text) {
    size_t len = text.len < CAUSE_MAX_BYTES ? text.len : CAUSE_MAX_BYTES;
    while (len && len < text.len && (text.data[len] & 0xC0) == 0x80)
        len--; /* not within a character */
    struct buf cause = {0};
    json_append_string(&cause, slice_make(text.data, len));
    batch_refuse(batch, write, status, buf_slice(&cause));
    buf_deinit(&cause);
}

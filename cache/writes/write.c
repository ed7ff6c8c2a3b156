#include "cache/writes/write.h"

#include "base/mem.h"

enum { BLOCK_BYTES = 1024 };

struct write *write_create(struct tablemap *map) {
    struct write *write = mem_zalloc(sizeof *write);
    write->arena = arena_create(BLOCK_BYTES);
    write->map = tablemap_ref(map);
    write->rows.write = write;
    return write;
}

void write_destroy(struct write **write) {
    struct write *old = *write;
    *write = NULL;
    if (!old) return;
    for (uint32_t i = 0; i < old->n_ops; i++)
        PQclear(old->ops[i].result);
    mem_free(old->ops);
    tablemap_release(&old->map);
    arena_destroy(&old->arena);
    buf_deinit(&old->failure);
    mem_free(old);
}

struct write_op *write_add(struct write *write, enum write_kind kind, const struct table *table,
                           struct slice key, uint64_t hash, const struct rowkey *row) {
    if (write->n_ops == write->cap_ops) {
        write->cap_ops = write->cap_ops ? write->cap_ops * 2 : 4;
        write->ops = mem_realloc(write->ops, write->cap_ops * sizeof *write->ops);
    }
    struct write_op *op = &write->ops[write->n_ops++];
    *op = (struct write_op){.kind = kind,
                            .table = table,
                            .key = arena_dup(write->arena, key),
                            .hash = hash,
                            .row = *row,
                            .fits = true};
    for (uint16_t i = 0; i < row->n; i++)
        op->row.values[i] = arena_dup(write->arena, row->values[i]);
    return op;
}

void write_set(struct write *write, struct write_op *op, uint16_t column, struct slice value) {
    struct slice copy = value.data ? arena_dup(write->arena, value) : (struct slice){0};
    if (!op->fields)
        op->fields = arena_alloc(write->arena, op->table->n_columns * sizeof *op->fields);
    for (uint16_t i = 0; i < op->n_fields; i++) {
        if (op->fields[i].column != column) continue;
        op->fields[i].value = copy;
        return;
    }
    op->fields[op->n_fields++] = (struct write_field){column, copy};
}

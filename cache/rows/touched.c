#include "cache/rows/touched.h"

#include "base/mem.h"

enum { KEEP_BYTES = 1 << 20 }; /* of buffers, after a large transaction */

void touched_deinit(struct touched *touched) {
    buf_deinit(&touched->bytes);
    mem_free(touched->keys);
    mem_free(touched->tables);
    *touched = (struct touched){.max_keys = touched->max_keys};
}

void touched_reset(struct touched *touched) {
    if (touched->bytes.cap > KEEP_BYTES || touched->cap_keys * sizeof *touched->keys > KEEP_BYTES)
        touched_deinit(touched);
    touched->bytes.len = 0;
    touched->n_keys = 0;
    touched->n_tables = 0;
    touched->lsn = 0;
}

bool touched_has_table(const struct touched *touched, uint32_t table) {
    for (size_t i = 0; i < touched->n_tables; i++) {
        if (touched->tables[i] == table) return true;
    }
    return false;
}

void touched_table(struct touched *touched, uint32_t table) {
    if (touched_has_table(touched, table)) return;
    if (touched->n_tables == touched->cap_tables) {
        touched->cap_tables = touched->cap_tables ? touched->cap_tables * 2 : 8;
        touched->tables =
            mem_realloc(touched->tables, touched->cap_tables * sizeof *touched->tables);
    }
    touched->tables[touched->n_tables++] = table;
}

void touched_give_up_keys(struct touched *touched) {
    for (size_t i = 0; i < touched->n_keys; i++)
        touched_table(touched, touched->keys[i].table);
    touched->n_keys = 0;
    touched->bytes.len = 0;
}

void touched_key(struct touched *touched, uint32_t table, uint64_t hash, struct slice key) {
    if (touched->n_tables > 0 && touched_has_table(touched, table)) return;
    if (touched->n_keys == touched->max_keys) {
        touched_give_up_keys(touched);
        touched_table(touched, table);
        return;
    }
    if (touched->n_keys == touched->cap_keys) {
        touched->cap_keys = touched->cap_keys ? touched->cap_keys * 2 : 64;
        touched->keys = mem_realloc(touched->keys, touched->cap_keys * sizeof *touched->keys);
    }
    touched->keys[touched->n_keys++] =
        (struct touched_key){hash, touched->bytes.len, (uint32_t)key.len, table};
    buf_append_slice(&touched->bytes, key);
}

void touched_trim(struct touched *touched) {
    if (touched->n_keys > 0) return;
    buf_deinit(&touched->bytes);
    mem_free(touched->keys);
    touched->keys = NULL;
    touched->cap_keys = 0;
}

size_t touched_bytes(const struct touched *touched) {
    return touched->bytes.cap + touched->cap_keys * sizeof *touched->keys +
           touched->cap_tables * sizeof *touched->tables;
}

/* touched.h: what one transaction has touched so far: keys of rows, or whole tables, held compactly until its commit.
 *
 *     touched_key(touched, table, hash, key);  touched_table(touched, table);
 *     touched_reset(touched);                                                  committed, or it never came
 *
 * Past max_keys the tables of its keys are touched as a whole instead. One thread. */
#ifndef FRESHET_CACHE_TOUCHED_H
#define FRESHET_CACHE_TOUCHED_H

#include "base/buf.h"
#include "base/slice.h"
#include "cache/rows/tablemap.h"

struct touched_key {
    uint64_t hash;
    uint64_t at; /* in `bytes` */
    uint32_t len;
    uint32_t table; /* its number */
};

struct touched {
    size_t max_keys;
    uint64_t lsn;       /* where the commit ends; 0: not known yet */
    uint64_t client_id; /* an own write: whose; 0: nobody's */
    struct buf bytes;
    size_t n_keys, cap_keys;
    struct touched_key *keys;
    size_t n_tables, cap_tables;
    uint32_t *tables; /* numbers, each once */
};

void touched_deinit(struct touched *touched);
void touched_reset(struct touched *touched);
void touched_key(struct touched *touched, uint32_t table, uint64_t hash, struct slice key);
void touched_table(struct touched *touched, uint32_t table);
/* The tables of its keys instead of the keys. */
void touched_give_up_keys(struct touched *touched);
/* Gives back the memory of keys where there are none. */
void touched_trim(struct touched *touched);
size_t touched_bytes(const struct touched *touched);
bool touched_has_table(const struct touched *touched, uint32_t table);
static inline struct slice touched_text(const struct touched *touched,
                                        const struct touched_key *key) {
    return slice_make(touched->bytes.data + key->at, key->len);
}

#endif

/* one_key.h: what the tests of values in memory share: a store, and the one key that they edit under its lock. A test file says which:
 * `static const struct slice KEY`. */
#ifndef FRESHET_TESTS_UNIT_CACHE_ONE_KEY_H
#define FRESHET_TESTS_UNIT_CACHE_ONE_KEY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka needs what stands above. */
#include <cmocka.h>

#include "base/mem.h"
#include "cache/store/store.h"

static const struct slice KEY;

struct fixture {
    struct store *store;
    struct store_guard guard;
    uint64_t hash;
};

static inline int setup(void **state) {
    struct fixture *f = mem_zalloc(sizeof *f);
    f->store = store_create(
        &(struct store_config){.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = 5}, NULL);
    f->hash = store_hash(f->store, KEY);
    store_lock(f->store, &f->hash, 1, &f->guard);
    *state = f;
    return 0;
}

static inline int teardown(void **state) {
    struct fixture *f = *state;
    store_unlock(f->store, &f->guard);
    store_destroy(&f->store);
    mem_free(f);
    return 0;
}

static inline struct entry *entry_of(struct fixture *f) {
    return store_find(f->store, &f->guard, KEY, f->hash, 1);
}

#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <xxhash.h>

#include "cache/evict.h"
#include "cache/index.h"

enum { N = 200 };

struct fixture {
    struct index index;
    struct evict evict;
    struct entry *entries[N];
};

static int setup(void **state) {
    static struct fixture fixture;
    struct fixture *f = &fixture;
    index_init(&f->index, NULL);
    evict_init(&f->evict);
    for (uint32_t i = 0; i < N; i++) {
        f->entries[i] = entry_create_string(slice_make(&i, sizeof i), XXH3_64bits(&i, sizeof i),
                                            SLICE(""), STORE_NEVER);
        evict_insert(&f->evict, f->entries[i]);
        index_insert(&f->index, f->entries[i]);
    }
    *state = f;
    return 0;
}

static void destroy(struct entry *entry, void *arg) {
    (void)arg;
    entry_destroy(&entry);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    index_each(&f->index, destroy, NULL);
    index_deinit(&f->index);
    return 0;
}

/* Evicts one and tells which. */
static uint32_t evict_next(struct fixture *f, const struct entry *keep) {
    struct entry *victim = evict_victim(&f->evict, &f->index, keep);
    assert_non_null(victim);
    uint32_t i;
    memcpy(&i, entry_key(victim).data, sizeof i);
    evict_remove(&f->evict, victim);
    index_remove(&f->index, victim);
    entry_destroy(&victim);
    f->entries[i] = NULL;
    return i;
}

static void what_was_used_outlives_what_was_not(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < N; i += 2)
        evict_touch(f->entries[i]);
    for (uint32_t n = 0; n < N / 2; n++)
        assert_int_equal(evict_next(f, NULL) % 2, 1);
}

static void what_is_no_longer_used_goes_in_the_end(void **state) {
    struct fixture *f = *state;
    for (uint32_t use = 0; use < 100; use++)
        evict_touch(f->entries[0]); /* was hot, once */
    for (uint32_t n = 0; n < N - 1; n++)
        evict_next(f, f->entries[1]);
    assert_null(f->entries[0]);
    assert_non_null(f->entries[1]);
}

static void the_kept_one_is_never_the_victim(void **state) {
    struct fixture *f = *state;
    for (uint32_t n = 0; n < N - 1; n++)
        assert_int_not_equal(evict_next(f, f->entries[17]), 17);
    assert_null(evict_victim(&f->evict, &f->index, f->entries[17]));
    assert_int_equal(evict_next(f, NULL), 17);
    assert_null(evict_victim(&f->evict, &f->index, NULL));
}

static void a_replacement_inherits_the_uses(void **state) {
    struct fixture *f = *state;
    evict_touch(f->entries[0]);
    evict_touch(f->entries[0]);
    struct entry *fresh = entry_create_string(entry_key(f->entries[0]), f->entries[0]->hash,
                                              SLICE("new"), STORE_NEVER);
    evict_replace(&f->evict, f->entries[0], fresh);
    assert_int_equal(evict_uses(fresh), 3);
    entry_destroy(&fresh);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_used_outlives_what_was_not),
        TEST(what_is_no_longer_used_goes_in_the_end),
        TEST(the_kept_one_is_never_the_victim),
        TEST(a_replacement_inherits_the_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/index.h"
#include "cache/store/reclaim.h"

enum { N = 30000 };

static uint32_t hash_of(uint32_t i) { return (uint32_t)XXH3_64bits(&i, sizeof i); }

static struct entry *numbered(uint32_t i) {
    return entry_create_string(slice_make(&i, sizeof i), hash_of(i), SLICE(""), STORE_NEVER);
}

static struct entry *find(const struct index *index, uint32_t i) {
    return index_find(index, slice_make(&i, sizeof i), hash_of(i));
}

static void destroy(struct entry *entry, void *arg) {
    (void)arg;
    entry_destroy(&entry);
}

static void every_entry_is_found_while_it_grows_and_shrinks(void **state) {
    (void)state;
    struct index index;
    index_init(&index, NULL);
    assert_null(find(&index, 0));
    struct entry **entries = mem_calloc(N, sizeof *entries);
    for (uint32_t i = 0; i < N; i++) {
        index_insert(&index, entries[i] = numbered(i));
        uint32_t other = (uint32_t)lrand48() % (i + 1);
        assert_ptr_equal(find(&index, other), entries[other]);
        assert_null(find(&index, N + i));
    }
    for (uint32_t i = 0; i < N; i++)
        assert_ptr_equal(find(&index, i), entries[i]);
    assert_int_equal(index.count, N);
    for (uint32_t i = 0; i < N; i++) {
        index_remove(&index, entries[i]);
        assert_null(find(&index, i));
        entry_destroy(&entries[i]);
        uint32_t other = i + 1 + (uint32_t)lrand48() % (N - i);
        if (other < N) assert_ptr_equal(find(&index, other), entries[other]);
    }
    assert_int_equal(index.count, 0);
    assert_int_equal(index_buckets(&index), 1); /* the memory went as the entries did */
    assert_true(index.bytes < 16384);
    index_deinit(&index);
    mem_free(entries);
}

static void it_takes_about_thirteen_bytes_an_entry_at_every_size(void **state) {
    (void)state;
    struct index index;
    index_init(&index, NULL);
    for (uint32_t i = 0; i < N; i++) {
        index_insert(&index, numbered(i));
        if (i > 1000) assert_in_range(index.bytes / (i + 1), 10, 15);
    }
    index_each(&index, destroy, NULL);
    index_deinit(&index);
}

static void a_replaced_entry_is_found_at_once(void **state) {
    (void)state;
    struct index index;
    index_init(&index, NULL);
    struct entry *old = numbered(1);
    struct entry *fresh = numbered(1);
    index_insert(&index, old);
    index_replace(&index, old, fresh);
    assert_ptr_equal(find(&index, 1), fresh);
    assert_int_equal(index.count, 1);
    entry_destroy(&old);
    index_each(&index, destroy, NULL);
    index_deinit(&index);
}

static void keys_of_one_hash_are_told_apart(void **state) {
    (void)state;
    enum { SAME = 100 };
    struct index index;
    index_init(&index, NULL);
    struct entry *entries[SAME];
    for (uint32_t i = 0; i < SAME; i++) {
        entries[i] = entry_create_string(slice_make(&i, sizeof i), 42, SLICE(""), STORE_NEVER);
        index_insert(&index, entries[i]);
    }
    for (uint32_t i = 0; i < SAME; i++)
        assert_ptr_equal(index_find(&index, slice_make(&i, sizeof i), 42), entries[i]);
    for (uint32_t i = 0; i < SAME; i += 2) {
        index_remove(&index, entries[i]);
        entry_destroy(&entries[i]);
    }
    for (uint32_t i = 1; i < SAME; i += 2)
        assert_ptr_equal(index_find(&index, slice_make(&i, sizeof i), 42), entries[i]);
    index_each(&index, destroy, NULL);
    index_deinit(&index);
}

static void note_seen(struct entry *entry, void *arg) {
    uint32_t i;
    memcpy(&i, entry_key(entry).data, sizeof i);
    ((uint8_t *)arg)[i]++;
}

static void a_scan_of_an_index_at_rest_sees_each_entry_once(void **state) {
    (void)state;
    for (uint32_t n = 0; n < 2000; n = n * 2 + 3) {
        struct index index;
        index_init(&index, NULL);
        uint8_t *seen = mem_calloc(n + 1, 1);
        for (uint32_t i = 0; i < n; i++)
            index_insert(&index, numbered(i));
        uint32_t cursor = 0;
        do
            cursor = index_scan(&index, cursor, note_seen, seen);
        while (cursor != 0);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(seen[i], 1);
        mem_free(seen);
        index_each(&index, destroy, NULL);
        index_deinit(&index);
    }
}

/* The first 1,000 stay; others come and go between the steps, so that buckets are split and merged all the while. */
static void a_scan_sees_what_stays_while_buckets_split_and_merge(void **state) {
    (void)state;
    enum { STAY = 1000, MORE = 8000 };
    struct index index;
    struct entry **entries = mem_calloc(STAY + MORE, sizeof *entries);
    uint8_t *seen = mem_calloc(STAY + MORE, 1);
    index_init(&index, NULL);
    for (uint32_t i = 0; i < STAY; i++)
        index_insert(&index, entries[i] = numbered(i));
    for (uint32_t round = 0; round < 20; round++) {
        memset(seen, 0, STAY + MORE);
        uint32_t cursor = 0;
        uint32_t steps = 0;
        do {
            cursor = index_scan(&index, cursor, note_seen, seen);
            bool growing = (steps++ / 40 + round) % 2 == 0;
            for (uint32_t k = 0; k < 150; k++) {
                uint32_t i = STAY + (uint32_t)lrand48() % MORE;
                if (growing && !entries[i]) {
                    index_insert(&index, entries[i] = numbered(i));
                } else if (!growing && entries[i]) {
                    index_remove(&index, entries[i]);
                    entry_destroy(&entries[i]);
                }
            }
        } while (cursor != 0);
        for (uint32_t i = 0; i < STAY; i++)
            assert_true(seen[i] > 0);
    }
    index_each(&index, destroy, NULL);
    index_deinit(&index);
    mem_free(entries);
    mem_free(seen);
}

/* --- readers without a lock --- */

enum { SHARED_STAY = 300, SHARED_MORE = 3000 };

struct shared {
    struct reclaim *reclaim;
    struct limbo limbo;
    struct index index;
    struct entry *entries[SHARED_STAY + SHARED_MORE];
    _Atomic bool done;
    _Atomic uint64_t reads;
};

static void *read_what_stays(void *arg) {
    struct shared *shared = arg;
    uint64_t reads = 0;
    while (!atomic_load(&shared->done)) {
        reclaim_enter(shared->reclaim, 0);
        for (uint32_t i = 0; i < SHARED_STAY; i++)
            ASSERT(find(&shared->index, i) == shared->entries[i]);
        reclaim_leave(shared->reclaim, 0);
        reads++;
    }
    atomic_store(&shared->reads, reads);
    return NULL;
}

static void a_reader_beside_the_writer_never_misses_what_stays(void **state) {
    (void)state;
    static struct shared shared;
    shared.reclaim = reclaim_create(1);
    limbo_init(&shared.limbo, shared.reclaim);
    index_init(&shared.index, &shared.limbo);
    for (uint32_t i = 0; i < SHARED_STAY; i++)
        index_insert(&shared.index, shared.entries[i] = numbered(i));
    pthread_t reader;
    pthread_create(&reader, NULL, read_what_stays, &shared);
    for (uint32_t round = 0; round < 100; round++) {
        for (uint32_t i = SHARED_STAY; i < SHARED_STAY + SHARED_MORE; i++)
            index_insert(&shared.index, shared.entries[i] = numbered(i));
        for (uint32_t i = SHARED_STAY; i < SHARED_STAY + SHARED_MORE; i++) {
            index_remove(&shared.index, shared.entries[i]);
            limbo_add(&shared.limbo, shared.entries[i], RETIRED_ENTRY);
        }
    }
    atomic_store(&shared.done, true);
    pthread_join(reader, NULL);
    assert_true(shared.reads > 0);
    index_each(&shared.index, destroy, NULL);
    index_deinit(&shared.index);
    limbo_deinit(&shared.limbo);
    reclaim_destroy(&shared.reclaim);
}

int main(void) {
    srand48(11);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_entry_is_found_while_it_grows_and_shrinks),
        cmocka_unit_test(it_takes_about_thirteen_bytes_an_entry_at_every_size),
        cmocka_unit_test(a_replaced_entry_is_found_at_once),
        cmocka_unit_test(keys_of_one_hash_are_told_apart),
        cmocka_unit_test(a_scan_of_an_index_at_rest_sees_each_entry_once),
        cmocka_unit_test(a_scan_sees_what_stays_while_buckets_split_and_merge),
        cmocka_unit_test(a_reader_beside_the_writer_never_misses_what_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

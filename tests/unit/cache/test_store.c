/* The store by one thread: what is found, expires, is evicted, scanned and counted. Threads: test_store_threads.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <jemalloc/jemalloc.h>

#include "base/mem.h"
#include "cache/store/store.h"
#include "cache/values/list.h"

#pragma weak mallctl

enum { MIB = 1 << 20 };
#define NOW_MS INT64_C(1795248000000)

static struct store *make(uint64_t max_bytes) {
    return store_create(
        &(struct store_config){.max_memory_bytes = max_bytes, .max_readers = 2, .seed = 99}, NULL);
}

static struct slice numbered(char out[24], uint32_t i) {
    return slice_make(out, (size_t)snprintf(out, 24, "key:%u", i));
}

static bool put(struct store *store, struct slice key, struct slice value, int64_t expire_at_ms) {
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    struct entry *entry = entry_create_string(key, hash, value, expire_at_ms);
    store_lock(store, &hash, 1, &guard);
    bool kept = store_put(store, &guard, &entry);
    store_unlock(store, &guard);
    assert_null(entry);
    return kept;
}

static bool unset(struct store *store, struct slice key) {
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    bool there = store_remove(store, &guard, key, hash, REMOVED_DELETED);
    store_unlock(store, &guard);
    return there;
}

static const struct entry *peek(struct store *store, struct slice key, int64_t now_ms) {
    return store_peek(store, key, store_hash(store, key), now_ms);
}

static struct store_stats stats_of(struct store *store) {
    struct store_stats stats;
    store_stats(store, &stats);
    return stats;
}

static void what_was_put_is_found_until_removed(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    char key[24];
    for (uint32_t i = 0; i < 20000; i++)
        assert_true(put(store, numbered(key, i), slice_make(&i, sizeof i), STORE_NEVER));
    assert_int_equal(stats_of(store).entries, 20000);
    for (uint32_t i = 0; i < 20000; i++) {
        const struct entry *entry = peek(store, numbered(key, i), NOW_MS);
        assert_non_null(entry);
        assert_memory_equal(entry_string(entry).data, &i, sizeof i);
    }
    for (uint32_t i = 0; i < 20000; i++)
        assert_true(unset(store, numbered(key, i)));
    assert_false(unset(store, numbered(key, 1)));
    assert_null(peek(store, numbered(key, 1), NOW_MS));
    struct store_stats stats = stats_of(store);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.removed[REMOVED_DELETED], 20000);
    assert_true(stats.bytes < 512 * 1024);
    store_destroy(&store);
}

static void a_reader_may_use_what_was_replaced_until_its_section_ends(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    store_reader_enter(store, 0);
    put(store, SLICE("k"), SLICE("old"), STORE_NEVER);
    const struct entry *old = peek(store, SLICE("k"), NOW_MS);
    for (uint32_t i = 0; i < 1000; i++) /* enough for several drains */
        put(store, SLICE("k"), SLICE("new"), STORE_NEVER);
    store_expire(store, 0, 1, NOW_MS, 100);
    assert_memory_equal(entry_string(old).data, "old", 3); /* ASan watches */
    store_reader_leave(store, 0);
    store_expire(store, 0, 1, NOW_MS, 100);
    store_destroy(&store);
}

static void a_turn_of_many_big_replacements_keeps_few_of_them(void **state) {
    (void)state;
    struct store *store = make(256 * MIB);
    char *big = mem_zalloc(8 * MIB);
    uint64_t most = 0;
    store_reader_enter(store, 1);
    for (uint32_t i = 0; i < 100; i++) {
        put(store, SLICE("k"), slice_make(big, 8 * MIB), STORE_NEVER);
        store_reader_pause(store, 1);
        uint64_t retired = stats_of(store).retired_bytes;
        most = retired > most ? retired : most;
    }
    assert_in_range(most, 8 * MIB, 64 * MIB);
    store_reader_leave(store, 1);
    store_expire(store, 0, 1, NOW_MS, 100);
    assert_int_equal(stats_of(store).retired_bytes, 0);
    mem_free(big);
    store_destroy(&store);
}

static void an_expired_key_is_absent_at_once_and_removed_in_time(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    char key[24];
    for (uint32_t i = 0; i < 1000; i++)
        put(store, numbered(key, i), SLICE("v"), NOW_MS + 1 + i);
    put(store, SLICE("stays"), SLICE("v"), STORE_NEVER);
    assert_int_equal(stats_of(store).with_expiry, 1000);
    assert_non_null(peek(store, numbered(key, 500), NOW_MS + 500));
    assert_null(peek(store, numbered(key, 500), NOW_MS + 501));

    assert_int_equal(store_expire(store, 0, 1, NOW_MS, 10000), 0);
    uint32_t removed = 0;
    for (uint32_t part = 0; part < 3; part++)
        removed += store_expire(store, part, 3, NOW_MS + 500 + 64, 10000);
    assert_in_range(removed, 500, 564);
    assert_int_equal(store_expire(store, 0, 1, NOW_MS + 2000, 100), 100); /* the budget */
    while (store_expire(store, 0, 1, NOW_MS + 2000, 100) > 0) {
    }
    struct store_stats stats = stats_of(store);
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.with_expiry, 0);
    assert_int_equal(stats.removed[REMOVED_EXPIRED], 1000);
    store_destroy(&store);
}

static struct entry *find(struct store *store, struct store_guard *guard, struct slice key,
                          int64_t now_ms) {
    return store_find(store, guard, key, store_hash(store, key), now_ms);
}

static void an_expiry_is_set_moved_and_lifted(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    struct store_guard guard;
    put(store, SLICE("k"), SLICE("v"), STORE_NEVER);
    store_lock_all(store, &guard);
    struct entry *entry = find(store, &guard, SLICE("k"), NOW_MS);
    entry = store_set_expiry(store, &guard, entry, NOW_MS + 1000);
    assert_ptr_equal(entry, find(store, &guard, SLICE("k"), NOW_MS));
    assert_memory_equal(entry_string(entry).data, "v", 1);
    assert_ptr_equal(store_set_expiry(store, &guard, entry, NOW_MS + 9000), entry);
    store_unlock(store, &guard);
    assert_int_equal(store_expire(store, 0, 1, NOW_MS + 5000, 100), 0);

    store_lock_all(store, &guard);
    store_set_expiry(store, &guard, find(store, &guard, SLICE("k"), NOW_MS + 5000), STORE_NEVER);
    store_unlock(store, &guard);
    assert_int_equal(stats_of(store).with_expiry, 0);
    assert_int_equal(store_expire(store, 0, 1, NOW_MS + 10000000, 100), 0);
    assert_non_null(peek(store, SLICE("k"), NOW_MS + 10000000));
    store_destroy(&store);
}

static void a_find_removes_what_has_expired(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    struct store_guard guard;
    put(store, SLICE("k"), SLICE("v"), NOW_MS);
    store_lock_all(store, &guard);
    assert_null(find(store, &guard, SLICE("k"), NOW_MS));
    store_unlock(store, &guard);
    assert_int_equal(stats_of(store).entries, 0);
    store_destroy(&store);
}

static void memory_stays_within_the_bound_and_what_is_read_stays(void **state) {
    (void)state;
    struct store *store = make(4 * MIB);
    char key[24];
    static char value[200];
    for (uint32_t i = 0; i < 100; i++)
        put(store, numbered(key, i), slice_make(value, sizeof value), STORE_NEVER);
    for (uint32_t i = 100; i < 100000; i++) {
        put(store, numbered(key, i), slice_make(value, sizeof value), STORE_NEVER);
        if (i % 100 == 0)
            for (uint32_t hot = 0; hot < 100; hot++)
                (void)peek(store, numbered(key, hot), NOW_MS);
        assert_true(stats_of(store).bytes <= 4 * MIB);
    }
    struct store_stats stats = stats_of(store);
    assert_true(stats.bytes > 4 * MIB * 98 / 100);
    assert_int_equal(stats.removed[REMOVED_EVICTED_MEMORY] + stats.entries, 100000);
    for (uint32_t hot = 0; hot < 100; hot++)
        assert_non_null(peek(store, numbered(key, hot), NOW_MS));
    store_destroy(&store);
}

static void a_big_value_takes_the_room_of_many_and_one_beyond_the_bound_is_refused(void **state) {
    (void)state;
    struct store *store = make(4 * MIB);
    char key[24];
    for (uint32_t i = 0; i < 40000; i++)
        put(store, numbered(key, i), SLICE("a small value, one of many"), STORE_NEVER);
    char *big = mem_zalloc(8 * MIB);
    assert_true(put(store, SLICE("big"), slice_make(big, 3 * MIB), STORE_NEVER));
    assert_non_null(peek(store, SLICE("big"), NOW_MS));
    assert_true(stats_of(store).bytes <= 4 * MIB);

    uint64_t before = stats_of(store).entries;
    assert_false(put(store, SLICE("big"), slice_make(big, 8 * MIB), STORE_NEVER));
    assert_int_equal(entry_string(peek(store, SLICE("big"), NOW_MS)).len, 3 * MIB);
    assert_int_equal(stats_of(store).entries, before);
    mem_free(big);
    store_destroy(&store);
}

static void memory_comes_back_after_a_flush(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    char key[24];
    for (uint32_t i = 0; i < 50000; i++)
        put(store, numbered(key, i), SLICE("value"), i % 2 ? NOW_MS + 1000 : STORE_NEVER);
    store_flush(store, NULL, REMOVED_FLUSHED);
    struct store_stats stats = stats_of(store);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.with_expiry, 0);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.removed[REMOVED_FLUSHED], 50000);
    assert_true(put(store, SLICE("k"), SLICE("v"), STORE_NEVER));
    assert_non_null(peek(store, SLICE("k"), NOW_MS));
    assert_int_equal(store_expire(store, 0, 1, NOW_MS + 5000, 1000), 0);
    store_destroy(&store);
}

static bool ends_in_seven(const struct entry *entry, void *arg) {
    (void)arg;
    struct slice key = entry_key(entry);
    return key.data[key.len - 1] == '7';
}

/* What is left of many small entries is moved together, and nobody notices. */
static void slabs_with_few_entries_left_are_emptied(void **state) {
    (void)state;
    enum { N = 60000 };
    struct store *store = make(64 * MIB);
    char key[24];
    for (uint32_t i = 0; i < N; i++)
        assert_true(
            put(store, numbered(key, i), numbered(key, i), i % 8 ? STORE_NEVER : NOW_MS + 500));
    for (uint32_t i = 0; i < N; i++)
        if (i % 4) assert_true(unset(store, numbered(key, i)));
    struct store_stats before = stats_of(store);
    for (uint32_t n = 0; n < 100; n++) {
        store_tend(store, 2000);
        assert_int_equal(store_expire(store, 0, 1, NOW_MS, 2000), 0); /* gives back what was left */
    }
    struct store_stats after = stats_of(store);
    assert_true(after.slab_bytes < before.slab_bytes / 2);
    /* in each of two regions three sizes of slots may keep the holes of a slab and a quarter */
    assert_true(after.slab_bytes < after.slot_bytes + 2 * 3 * 80 * 1024);
    assert_int_equal(after.bytes, before.bytes);
    for (uint32_t i = 0; i < N; i++) {
        const struct entry *entry = peek(store, numbered(key, i), NOW_MS);
        if (i % 4)
            assert_null(entry);
        else
            assert_true(slice_equal(entry_string(entry), numbered(key, i)));
    }
    while (store_expire(store, 0, 1, NOW_MS + 2000, 2000) > 0) {
    }
    assert_int_equal(stats_of(store).entries, N / 8); /* those that moved expire as the others */
    store_destroy(&store);
}

static void the_limit_follows_what_else_is_resident(void **state) {
    (void)state;
    struct store *store = make(16 * MIB);
    static const char value[1000];
    char key[24];
    for (uint32_t i = 0; i < 20000; i++)
        assert_true(put(store, numbered(key, i), slice_make(value, sizeof value), STORE_NEVER));
    uint64_t used = stats_of(store).bytes;
    assert_in_range(used, 15 * MIB, 16 * MIB);
    store_follow(store, used + 4 * MIB);
    for (uint32_t i = 0; i < 20; i++)
        store_tend(store, 2000);
    assert_in_range(stats_of(store).bytes, 11 * MIB, 12 * MIB);
    store_follow(
        store, used + 100 * MIB); /* the bare process is larger than the bound: half is the least */
    for (uint32_t i = 0; i < 20; i++)
        store_tend(store, 2000);
    assert_in_range(stats_of(store).bytes, 7 * MIB, 8 * MIB);
    store_destroy(&store);
}

/* A key that is set again and again leaves no trail of notes in the wheel. */
static void keys_that_are_set_again_with_an_expiry_take_no_more_memory(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    char key[24];
    uint64_t first = 0;
    for (uint32_t round = 0; round < 200; round++) {
        for (uint32_t i = 0; i < 1000; i++) {
            assert_true(put(store, numbered(key, i), SLICE("v"), NOW_MS + 100000 + round * 1000));
            if (round % 2) assert_true(unset(store, numbered(key, i)));
            if (round % 2)
                assert_true(
                    put(store, numbered(key, i), SLICE("v"), NOW_MS + 90000 + round * 1000));
        }
        if (round == 1) first = stats_of(store).bytes;
    }
    assert_true(stats_of(store).bytes < first * 2);
    store_expire(store, 0, 1, NOW_MS + 90000 + 198 * 1000, UINT32_MAX);
    assert_int_equal(stats_of(store).entries, 1000);
    while (store_expire(store, 0, 1, NOW_MS + 100000 + 200 * 1000, 2000) > 0) {
    }
    assert_int_equal(stats_of(store).entries, 0);
    store_destroy(&store);
}

static void a_sweep_takes_what_matches_and_nothing_else(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    char key[24];
    for (uint32_t i = 0; i < 50000; i++)
        put(store, numbered(key, i), SLICE("value"), STORE_NEVER);
    assert_int_equal(store_sweep(store, ends_in_seven, NULL, REMOVED_COMMIT), 5000);
    for (uint32_t i = 0; i < 50000; i++)
        assert_int_equal(peek(store, numbered(key, i), NOW_MS) == NULL, i % 10 == 7);
    assert_int_equal(stats_of(store).removed[REMOVED_COMMIT], 5000);
    store_destroy(&store);
}

static void note_key(const struct entry *entry, void *arg) {
    uint32_t i;
    assert_int_equal(sscanf(entry_key(entry).data, "key:%u", &i), 1);
    ((uint8_t *)arg)[i]++;
}

static void a_scan_sees_each_live_entry(void **state) {
    (void)state;
    enum { N = 5000 };
    static uint8_t seen[N];
    struct store *store = make(64 * MIB);
    char key[24];
    for (uint32_t i = 0; i < N; i++)
        put(store, numbered(key, i), SLICE("v"), i % 5 == 0 ? NOW_MS - 1 : STORE_NEVER);
    uint64_t cursor = 0;
    uint32_t calls = 0;
    do {
        cursor = store_scan(store, NULL, cursor, 10, NOW_MS, note_key, seen);
        assert_true(++calls < N);
    } while (cursor != 0);
    for (uint32_t i = 0; i < N; i++)
        assert_int_equal(seen[i], i % 5 != 0);
    assert_true(calls > N / 40);
    assert_int_equal(store_scan(store, NULL, UINT64_MAX, 10, NOW_MS, note_key, seen), 0);
    store_destroy(&store);
}

static void a_random_key_is_live_and_not_a_negative_entry(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    assert_null(store_random(store, NULL, 1, NOW_MS));
    put(store, SLICE("gone"), SLICE("v"), NOW_MS - 1);
    struct row_stamp stamp = {.absent = true};
    uint64_t hash = store_hash(store, SLICE("t:1"));
    struct entry *negative = entry_create_row(SLICE("t:1"), hash, STORE_NEVER, &stamp,
                                              (struct slice){0}, (struct slice){0});
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    assert_true(store_put(store, &guard, &negative));
    store_unlock(store, &guard);
    assert_int_equal(stats_of(store).absent, 1);
    for (uint32_t i = 0; i < 100; i++)
        assert_null(
            store_random(store, NULL, (uint64_t)lrand48() << 32 | (uint64_t)lrand48(), NOW_MS));
    put(store, SLICE("there"), SLICE("v"), STORE_NEVER);
    for (uint32_t i = 0; i < 100; i++) {
        const struct entry *entry =
            store_random(store, NULL, (uint64_t)lrand48() << 32 | (uint64_t)lrand48(), NOW_MS);
        assert_true(slice_equal(entry_key(entry), SLICE("there")));
    }
    store_destroy(&store);
}

static void a_guard_locks_each_shard_once(void **state) {
    (void)state;
    struct store *store = make(64 * MIB);
    uint64_t hashes[600];
    for (uint32_t i = 0; i < 600; i++)
        hashes[i] = (uint64_t)(i * 7) << 24; /* each shard more than once */
    struct store_guard guard;
    store_lock(store, hashes, 600, &guard);
    for (uint32_t i = 0; i < 600; i++)
        assert_true(store_is_locked(&guard, hashes[i]));
    store_unlock(store, &guard);
    assert_false(store_is_locked(&guard, hashes[0]));
    store_lock(store, NULL, 0, &guard);
    store_unlock(store, &guard);
    store_destroy(&store);
}

/* What this thread has given back to the allocator in all. */
static uint64_t freed_here(void) {
    uint64_t bytes = 0;
    size_t size = sizeof bytes;
    assert_int_equal(mallctl("thread.deallocated", &bytes, &size, NULL, 0), 0);
    return bytes;
}

static void put_big_list(struct store *store, struct slice key, int64_t expire_at_ms) {
    uint64_t hash = store_hash(store, key);
    struct list *list = list_create();
    for (uint32_t i = 0; i < 200000; i++)
        list_push(list, LIST_TAIL, SLICE("an element of a list, long enough to take some room"));
    struct entry *entry = entry_create_object(ENTRY_LIST, key, hash, expire_at_ms, list);
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    assert_true(store_put(store, &guard, &entry));
    store_unlock(store, &guard);
}

static void who_removes_a_big_container_does_not_free_it(void **state) {
    (void)state;
    if (!mallctl) skip(); /* sanitizers have an allocator of their own */
    struct store *store = make(256 * MIB);
    uint64_t empty = stats_of(store).bytes;
    put_big_list(store, SLICE("deleted"), STORE_NEVER);
    put_big_list(store, SLICE("expired"), NOW_MS);
    put_big_list(store, SLICE("replaced"), STORE_NEVER);
    put_big_list(store, SLICE("evicted"), STORE_NEVER);
    uint64_t before = freed_here();
    assert_true(unset(store, SLICE("deleted")));
    assert_true(put(store, SLICE("replaced"), SLICE("x"), STORE_NEVER));
    store_set_max(store, 4 * MIB);
    store_tend(store, 100);
    store_expire(store, 0, 1, NOW_MS + 60000, 1000);
    store_expire(store, 0, 1, NOW_MS + 60000, 1000);
    assert_true(stats_of(store).bytes < empty + MIB);
    assert_true(freed_here() - before < MIB);
    store_destroy(&store);
}

int main(void) {
    srand48(1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found_until_removed),
        cmocka_unit_test(a_reader_may_use_what_was_replaced_until_its_section_ends),
        cmocka_unit_test(a_turn_of_many_big_replacements_keeps_few_of_them),
        cmocka_unit_test(an_expired_key_is_absent_at_once_and_removed_in_time),
        cmocka_unit_test(an_expiry_is_set_moved_and_lifted),
        cmocka_unit_test(a_find_removes_what_has_expired),
        cmocka_unit_test(memory_stays_within_the_bound_and_what_is_read_stays),
        cmocka_unit_test(a_big_value_takes_the_room_of_many_and_one_beyond_the_bound_is_refused),
        cmocka_unit_test(memory_comes_back_after_a_flush),
        cmocka_unit_test(slabs_with_few_entries_left_are_emptied),
        cmocka_unit_test(the_limit_follows_what_else_is_resident),
        cmocka_unit_test(keys_that_are_set_again_with_an_expiry_take_no_more_memory),
        cmocka_unit_test(a_sweep_takes_what_matches_and_nothing_else),
        cmocka_unit_test(a_scan_sees_each_live_entry),
        cmocka_unit_test(a_random_key_is_live_and_not_a_negative_entry),
        cmocka_unit_test(a_guard_locks_each_shard_once),
        cmocka_unit_test(who_removes_a_big_container_does_not_free_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

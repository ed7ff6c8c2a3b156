/* The store under threads: readers without a lock beside writers, eviction, expiry, scans and flushes. Worth most
 * under TSan and ASan. Threads check with ASSERT: cmocka's own asserts are for the test's thread alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/assert.h"
#include "base/mem.h"
#include "cache/store/store.h"

enum { READERS = 2, WRITERS = 2, KEYS = 3000, STABLE = 500, ROUNDS = 60000 };

struct stress {
    struct store *store;
    _Atomic uint32_t writers_left;
    _Atomic int64_t now_ms;
    _Atomic uint64_t hits;
};

struct actor {
    struct stress *stress;
    uint32_t number;
    uint64_t random;
};

static uint64_t next_random(struct actor *actor) {
    actor->random ^= actor->random << 13;
    actor->random ^= actor->random >> 7;
    actor->random ^= actor->random << 17;
    return actor->random;
}

static struct slice numbered(char out[24], uint32_t i) {
    return slice_make(out, (size_t)snprintf(out, 24, "key:%u", i));
}

/* A value tells its key's number in all of its words, and is of a length that is not always the same. */
static struct slice value_of(uint32_t out[64], uint32_t i, uint64_t random) {
    uint32_t words = 1 + (uint32_t)(random % 64);
    for (uint32_t w = 0; w < words; w++)
        out[w] = i;
    return slice_make(out, words * sizeof(uint32_t));
}

static void check_value(const struct entry *entry, uint32_t i) {
    struct slice value = entry_string(entry);
    ASSERT(value.len > 0 && value.len % sizeof(uint32_t) == 0);
    for (size_t at = 0; at < value.len; at += sizeof(uint32_t)) {
        uint32_t word;
        memcpy(&word, value.data + at, sizeof word);
        ASSERT(word == i);
    }
}

static void visit_nothing(const struct entry *entry, void *arg) {
    (void)arg;
    ASSERT(entry->key_len > 4);
}

/* The first STABLE keys are put before, replaced all the while, never removed: a reader must always see them. */
static void *read_all_the_while(void *arg) {
    struct actor *actor = arg;
    struct stress *stress = actor->stress;
    char name[24];
    uint64_t hits = 0;
    while (atomic_load(&stress->writers_left) > 0) {
        store_reader_enter(stress->store, actor->number);
        int64_t now_ms = atomic_load(&stress->now_ms);
        for (uint32_t n = 0; n < 64; n++) {
            uint32_t i = (uint32_t)(next_random(actor) % KEYS);
            struct slice key = numbered(name, i);
            const struct entry *entry =
                store_peek(stress->store, key, store_hash(stress->store, key), now_ms);
            if (i < STABLE) ASSERT(entry);
            if (!entry) continue;
            check_value(entry, i);
            hits++;
        }
        if (next_random(actor) % 50 == 0)
            store_scan(stress->store, NULL, next_random(actor) & UINT32_MAX, 50, now_ms,
                       visit_nothing, NULL);
        if (next_random(actor) % 50 == 0) {
            const struct entry *any = store_random(stress->store, NULL, next_random(actor), now_ms);
            ASSERT(any && any->key_len > 4);
        }
        store_reader_leave(stress->store, actor->number);
        if (next_random(actor) % 8 == 0)
            store_expire(stress->store, actor->number, READERS, now_ms, 1000);
    }
    atomic_fetch_add(&stress->hits, hits);
    return NULL;
}

static void change_one(struct actor *actor, uint32_t i) {
    struct store *store = actor->stress->store;
    char name[24];
    uint32_t words[64];
    struct slice key = numbered(name, i);
    uint64_t hash = store_hash(store, key);
    uint64_t dice = next_random(actor) % 16;
    int64_t now_ms = atomic_load(&actor->stress->now_ms);
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    struct entry *found = store_find(store, &guard, key, hash, now_ms);
    if (found) check_value(found, i);
    if (i >= STABLE && dice < 5) {
        store_remove(store, &guard, key, hash, REMOVED_DELETED);
    } else if (i >= STABLE && dice == 5 && found) {
        store_set_expiry(store, &guard, found, now_ms + 1 + (int64_t)(next_random(actor) % 500));
    } else {
        int64_t expire_at_ms = i >= STABLE && dice > 12 ? now_ms + 200 : STORE_NEVER;
        struct entry *entry =
            entry_create_string(key, hash, value_of(words, i, next_random(actor)), expire_at_ms);
        ASSERT(store_put(store, &guard, &entry));
    }
    store_unlock(store, &guard);
}

/* Two keys that always hold the same value, by a guard on both. */
static void change_pair(struct actor *actor) {
    struct store *store = actor->stress->store;
    const struct slice keys[2] = {SLICE("pair:0"), SLICE("pair:1")};
    uint64_t hashes[2] = {store_hash(store, keys[0]), store_hash(store, keys[1])};
    uint32_t words[64];
    struct slice value = value_of(words, 1000000 + actor->number, next_random(actor));
    struct store_guard guard;
    store_lock(store, hashes, 2, &guard);
    const struct entry *one = store_find(store, &guard, keys[0], hashes[0], 1);
    const struct entry *two = store_find(store, &guard, keys[1], hashes[1], 1);
    if (one && two) ASSERT(slice_equal(entry_string(one), entry_string(two)));
    for (uint32_t k = 0; k < 2; k++) {
        struct entry *entry = entry_create_string(keys[k], hashes[k], value, STORE_NEVER);
        ASSERT(store_put(store, &guard, &entry));
    }
    store_unlock(store, &guard);
}

static bool is_third(const struct entry *entry, void *arg) {
    (void)arg;
    char name[24] = {0}; /* keys end where they end: a value follows */
    uint32_t i;
    memcpy(name, entry_key(entry).data, entry->key_len);
    if (sscanf(name, "key:%u", &i) != 1) return false;
    return i >= STABLE && i % 3 == 0;
}

static void *write_all_the_while(void *arg) {
    struct actor *actor = arg;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        change_one(actor, (uint32_t)(next_random(actor) % KEYS));
        if (round % 16 == 0) change_pair(actor);
        if (round % 100 == 0) atomic_fetch_add(&actor->stress->now_ms, 10);
        if (round % 64 == 0) store_tidy(actor->stress->store);
        if (round % 500 == 0) store_tend(actor->stress->store, 500);
        if (round % 5000 == 0 && actor->number == 0)
            store_sweep(actor->stress->store, is_third, NULL, REMOVED_COMMIT);
    }
    atomic_fetch_sub(&actor->stress->writers_left, 1);
    return NULL;
}

static void run(struct stress *stress) {
    struct actor actors[READERS + WRITERS];
    pthread_t threads[READERS + WRITERS];
    for (uint32_t i = 0; i < READERS + WRITERS; i++) {
        bool reads = i < READERS;
        actors[i] = (struct actor){stress, reads ? i : i - READERS, 88172645463325252u + i};
        pthread_create(&threads[i], NULL, reads ? read_all_the_while : write_all_the_while,
                       &actors[i]);
    }
    for (uint32_t i = 0; i < READERS + WRITERS; i++)
        pthread_join(threads[i], NULL);
}

static void readers_see_whole_values_and_never_miss_a_key_that_stays(void **state) {
    (void)state;
    struct stress stress = {.writers_left = WRITERS, .now_ms = 1795248000000};
    stress.store = store_create(
        &(struct store_config){.max_memory_bytes = 64 << 20, .max_readers = READERS, .seed = 3},
        NULL);
    struct actor first = {&stress, 0, 1};
    char name[24];
    uint32_t words[64];
    for (uint32_t i = 0; i < STABLE; i++) {
        struct slice key = numbered(name, i);
        uint64_t hash = store_hash(stress.store, key);
        struct store_guard guard;
        struct entry *entry =
            entry_create_string(key, hash, value_of(words, i, next_random(&first)), STORE_NEVER);
        store_lock(stress.store, &hash, 1, &guard);
        assert_true(store_put(stress.store, &guard, &entry));
        store_unlock(stress.store, &guard);
    }
    run(&stress);
    assert_true(stress.hits > 1000);

    struct store_stats stats;
    store_stats(stress.store, &stats);
    assert_true(stats.removed[REMOVED_EXPIRED] > 0);
    assert_true(stats.removed[REMOVED_COMMIT] > 0);
    store_flush(stress.store, NULL, REMOVED_FLUSHED);
    store_stats(stress.store, &stats);
    assert_int_equal(stats.bytes, 0); /* whatever the interleaving, the sums come out even */
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.with_expiry, 0);
    store_destroy(&stress.store);
}

/* --- under memory pressure: whole values, and the bound holds --- */

static void *churn(void *arg) {
    struct actor *actor = arg;
    struct store *store = actor->stress->store;
    char name[24];
    uint32_t words[64];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t i = (uint32_t)(next_random(actor) % 50000);
        struct slice key = numbered(name, i);
        uint64_t hash = store_hash(store, key);
        store_reader_enter(store, actor->number);
        const struct entry *hit = store_peek(store, key, hash, 1);
        if (hit) check_value(hit, i);
        if (!hit) {
            struct store_guard guard;
            struct entry *entry =
                entry_create_string(key, hash, value_of(words, i, next_random(actor)), STORE_NEVER);
            store_lock(store, &hash, 1, &guard);
            ASSERT(store_put(store, &guard, &entry));
            store_unlock(store, &guard);
        }
        store_reader_leave(store, actor->number);
        if (round % 64 == 0) store_tidy(store);
        if (round % 500 == 0) store_tend(store, 100);
    }
    return NULL;
}

static void eviction_by_several_threads_keeps_to_the_bound(void **state) {
    (void)state;
    const uint64_t bound = 2 << 20;
    struct stress stress = {.store = store_create(&(struct store_config){bound, 4, 3}, NULL)};
    struct actor actors[4];
    pthread_t threads[4];
    for (uint32_t i = 0; i < 4; i++) {
        actors[i] = (struct actor){&stress, i, 88172645463325252u + i};
        pthread_create(&threads[i], NULL, churn, &actors[i]);
    }
    for (uint32_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    struct store_stats stats;
    store_stats(stress.store, &stats);
    assert_true(stats.bytes <= bound + 4096);
    assert_true(stats.removed[REMOVED_EVICTED_MEMORY] > 1000);
    store_destroy(&stress.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_whole_values_and_never_miss_a_key_that_stays),
        cmocka_unit_test(eviction_by_several_threads_keeps_to_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

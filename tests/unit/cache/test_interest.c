/* Who is told of which key: the store's observers, and interests in keys. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/signals/interest.h"

#define NOW_MS INT64_C(1795248000000)

/* What an observer was told. */
struct seen {
    struct interest *interest;
    uint32_t changes, settled, told;
    struct store_change last;
    char key[32];
    void *holders[4];
    uint32_t n_holders;
};

static void note_holders(void *arg, struct slice key, void *const *holders, uint32_t n) {
    struct seen *seen = arg;
    (void)key;
    seen->told++;
    seen->n_holders = n;
    memcpy(seen->holders, holders, (n < 4 ? n : 4) * sizeof holders[0]);
}

static void note_change(void *self, const struct store_change *change) {
    struct seen *seen = self;
    seen->changes++;
    seen->last = *change;
    memset(seen->key, 0, sizeof seen->key);
    memcpy(seen->key, change->key.data, change->key.len);
    if (interest_is_change(change))
        interest_take(seen->interest, change->key, change->hash, note_holders, seen);
}

static void note_settled(void *self, const uint64_t shards[STORE_SHARDS / 64]) {
    struct seen *seen = self;
    (void)shards;
    seen->settled++;
}

static struct store *make(struct seen *seen) {
    struct store *store = store_create(
        &(struct store_config){.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = 99}, NULL);
    *seen = (struct seen){0};
    struct store_observer observer = {note_change, note_settled, seen};
    seen->interest = interest_create(store, &observer);
    return store;
}

static void destroy(struct store **store, struct seen *seen) {
    interest_destroy(&seen->interest);
    store_destroy(store);
}

static void put(struct store *store, struct slice key, struct slice value, uint64_t client_id) {
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    struct entry *entry = entry_create_string(key, hash, value, STORE_NEVER);
    store_lock(store, &hash, 1, &guard);
    guard.client_id = client_id;
    assert_true(store_put(store, &guard, &entry));
    store_unlock(store, &guard);
}

static void put_row(struct store *store, struct slice key, struct slice json, struct slice fields) {
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    struct row_stamp stamp = {.absent = !json.data && !fields.data};
    struct entry *entry = entry_create_row(key, hash, STORE_NEVER, &stamp, json, fields);
    store_lock(store, &hash, 1, &guard);
    assert_true(store_put(store, &guard, &entry));
    store_unlock(store, &guard);
}

static void unset(struct store *store, struct slice key, enum store_removal cause) {
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    store_remove(store, &guard, key, hash, cause);
    store_unlock(store, &guard);
}

static bool add(struct store *store, struct seen *seen, struct slice key, void *holder) {
    return interest_add(seen->interest, key, store_hash(store, key), holder, NULL);
}

static void a_store_that_nobody_observes_tells_nothing(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    put(store, SLICE("k"), SLICE("v"), 1);
    unset(store, SLICE("k"), REMOVED_DELETED);
    assert_int_equal(seen.changes + seen.settled, 0);
    destroy(&store, &seen);
}

static void a_change_tells_what_happened_and_by_whom(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    interest_observe_all(seen.interest, true);
    put(store, SLICE("k"), SLICE("v"), 7);
    assert_int_equal(seen.last.event, STORE_CREATED);
    assert_int_equal(seen.last.client_id, 7);
    assert_string_equal(seen.key, "k");
    put(store, SLICE("k"), SLICE("w"), 8);
    assert_int_equal(seen.last.event, STORE_REPLACED);
    uint64_t hash = store_hash(store, SLICE("k"));
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    store_set_expiry(store, &guard, store_find(store, &guard, SLICE("k"), hash, NOW_MS), NOW_MS);
    store_unlock(store, &guard);
    assert_int_equal(seen.last.event, STORE_CHANGED);
    assert_int_equal(store_expire(store, 0, 1, NOW_MS + 5000, 10), 1);
    assert_int_equal(seen.last.event, STORE_REMOVED);
    assert_int_equal(seen.last.cause, REMOVED_EXPIRED);
    assert_int_equal(seen.last.client_id, 0);
    assert_int_equal(seen.settled, 4);
    put(store, SLICE("k"), SLICE("v"), 7);
    store_flush(store, NULL, REMOVED_FLUSHED);
    assert_int_equal(seen.last.cause, REMOVED_FLUSHED);
    destroy(&store, &seen);
}

static void an_interest_is_told_once(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    int a, b;
    assert_true(add(store, &seen, SLICE("k"), &a));
    assert_false(add(store, &seen, SLICE("k"), &a));
    assert_true(add(store, &seen, SLICE("k"), &b));
    assert_true(add(store, &seen, SLICE("other"), &b));
    assert_int_equal(interest_keys(seen.interest), 2);
    assert_int_equal(interest_items(seen.interest), 3);
    put(store, SLICE("k"), SLICE("v"), 1);
    assert_int_equal(seen.told, 1);
    assert_int_equal(seen.n_holders, 2);
    assert_ptr_equal(seen.holders[0], &a);
    assert_ptr_equal(seen.holders[1], &b);
    put(store, SLICE("k"), SLICE("w"), 1);
    assert_int_equal(seen.told, 1);
    assert_int_equal(interest_items(seen.interest), 1);
    assert_true(
        interest_remove(seen.interest, SLICE("other"), store_hash(store, SLICE("other")), &b));
    assert_false(
        interest_remove(seen.interest, SLICE("other"), store_hash(store, SLICE("other")), &b));
    put(store, SLICE("other"), SLICE("w"), 1);
    assert_int_equal(seen.told, 1);
    destroy(&store, &seen);
}

static void a_shard_without_interests_is_left_alone_again(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    int a;
    add(store, &seen, SLICE("k"), &a);
    put(store, SLICE("k"), SLICE("v"), 1);
    put(store, SLICE("k"), SLICE("v"), 1);
    put(store, SLICE("k"), SLICE("v"), 1);
    assert_int_equal(seen.changes, 1);
    add(store, &seen, SLICE("k"), &a);
    put(store, SLICE("k"), SLICE("v"), 1);
    assert_int_equal(seen.told, 2);
    destroy(&store, &seen);
}

static void a_row_that_is_filled_or_read_again_has_not_changed(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    int a;
    struct slice none = {0};
    add(store, &seen, SLICE("t:1"), &a);
    put_row(store, SLICE("t:1"), SLICE("{1}"), none);
    put_row(store, SLICE("t:1"), SLICE("{1}"), none);
    put_row(store, SLICE("t:1"), SLICE("{1}"), SLICE("f"));
    assert_int_equal(seen.told, 0);
    put_row(store, SLICE("t:1"), SLICE("{2}"), SLICE("f"));
    assert_int_equal(seen.told, 1);
    add(store, &seen, SLICE("t:1"), &a);
    put_row(store, SLICE("t:1"), SLICE("{2}"), SLICE("g"));
    assert_int_equal(seen.told, 2);
    add(store, &seen, SLICE("t:1"), &a);
    put_row(store, SLICE("t:1"), none, none);
    assert_int_equal(seen.told, 3);
    add(store, &seen, SLICE("t:1"), &a);
    unset(store, SLICE("t:1"), REMOVED_COMMIT);
    assert_int_equal(seen.told, 4);
    destroy(&store, &seen);
}

static void a_key_that_is_not_in_the_store_can_be_touched(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    int a;
    add(store, &seen, SLICE("t:1"), &a);
    uint64_t hash = store_hash(store, SLICE("t:1"));
    struct store_guard guard;
    store_lock(store, &hash, 1, &guard);
    store_touch(store, &guard, SLICE("t:1"), hash);
    store_unlock(store, &guard);
    assert_int_equal(seen.told, 1);
    destroy(&store, &seen);
}

static bool begins_with_t(void *arg, struct slice key) {
    (void)arg;
    return key.data[0] == 't';
}

static void keys_are_taken_by_a_match_or_any(void **state) {
    (void)state;
    struct seen seen;
    struct store *store = make(&seen);
    int a;
    add(store, &seen, SLICE("t:1"), &a);
    add(store, &seen, SLICE("t:2"), &a);
    add(store, &seen, SLICE("u:1"), &a);
    interest_take_matching(seen.interest, begins_with_t, note_holders, &seen);
    assert_int_equal(seen.told, 2);
    assert_true(interest_take_any(seen.interest, note_holders, &seen));
    assert_false(interest_take_any(seen.interest, note_holders, &seen));
    assert_int_equal(seen.told, 3);
    assert_int_equal(interest_keys(seen.interest), 0);
    destroy(&store, &seen);
}

/* --- a reader that registers and reads is told, or has read the newest ------------------------------------ */

enum { RACE_WRITES = 40000 };

struct race {
    struct store *store;
    struct interest *interest;
    _Atomic bool told;
    _Atomic bool done;
};

static void mark_told(void *arg, struct slice key, void *const *holders, uint32_t n) {
    struct race *race = arg;
    (void)key;
    (void)holders;
    (void)n;
    atomic_store(&race->told, true);
}

static void race_changed(void *self, const struct store_change *change) {
    struct race *race = self;
    interest_take(race->interest, change->key, change->hash, mark_told, race);
}

static void *write_numbers(void *arg) {
    struct race *race = arg;
    for (uint32_t i = 1; i <= RACE_WRITES; i++)
        put(race->store, SLICE("k"), slice_make(&i, sizeof i), 1);
    atomic_store(&race->done, true);
    return NULL;
}

static uint32_t read_number(struct race *race) {
    uint32_t number = 0;
    const struct entry *entry =
        store_peek(race->store, SLICE("k"), store_hash(race->store, SLICE("k")), NOW_MS);
    if (entry) memcpy(&number, entry_string(entry).data, sizeof number);
    return number;
}

static void no_change_is_missed_between_registering_and_reading(void **state) {
    (void)state;
    struct race race = {0};
    race.store = store_create(
        &(struct store_config){.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = 99}, NULL);
    struct store_observer observer = {.changed = race_changed, .self = &race};
    race.interest = interest_create(race.store, &observer);
    pthread_t writer;
    assert_int_equal(pthread_create(&writer, NULL, write_numbers, &race), 0);
    uint32_t held = 0;
    bool done;
    do {
        done = atomic_load(&race.done);
        store_reader_enter(race.store, 0);
        atomic_store(&race.told, false);
        interest_add(race.interest, SLICE("k"), store_hash(race.store, SLICE("k")), &race, NULL);
        held = read_number(&race);
        store_reader_leave(race.store, 0);
    } while (!done);
    pthread_join(writer, NULL);
    /* The last read was after the last write, or it was told. */
    assert_true(held == RACE_WRITES || atomic_load(&race.told));
    interest_destroy(&race.interest);
    store_destroy(&race.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_that_nobody_observes_tells_nothing),
        cmocka_unit_test(a_change_tells_what_happened_and_by_whom),
        cmocka_unit_test(an_interest_is_told_once),
        cmocka_unit_test(a_shard_without_interests_is_left_alone_again),
        cmocka_unit_test(a_row_that_is_filled_or_read_again_has_not_changed),
        cmocka_unit_test(a_key_that_is_not_in_the_store_can_be_touched),
        cmocka_unit_test(keys_are_taken_by_a_match_or_any),
        cmocka_unit_test(no_change_is_missed_between_registering_and_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A client's transaction: what is queued, and what touches a watched key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/commands/command.h"
#include "cache/commands/transaction.h"

#define NOW_MS INT64_C(1795248000000)

static struct store *make_store(void) {
    return store_create(
        &(struct store_config){.max_memory_bytes = 64 << 20, .max_readers = 1, .seed = 99}, NULL);
}

static void put(struct store *store, struct slice key, int64_t expire_at_ms) {
    uint64_t hash = store_hash(store, key);
    struct store_guard guard;
    struct entry *entry = entry_create_string(key, hash, SLICE("v"), expire_at_ms);
    store_lock(store, &hash, 1, &guard);
    assert_true(store_put(store, &guard, &entry));
    store_unlock(store, &guard);
}

static void arguments_are_copied_and_run_in_order(void **state) {
    (void)state;
    struct store *store = make_store();
    struct watches *watches = watches_create(store);
    _Atomic bool touched_tx = false;
    struct transaction *tx = transaction_create(watches, &touched_tx);
    static const struct command set = {.name = "set"};
    char text[] = "set key value";
    struct slice argv[3] = {slice_make(text, 3), slice_make(text + 4, 3), slice_make(text + 8, 5)};
    assert_false(transaction_is_open(tx));
    transaction_begin(tx);
    for (int i = 0; i < 20; i++) {
        text[8] = (char)('a' + i);
        assert_true(transaction_queue(tx, &set, &set, argv, 3));
    }
    memset(text, 'x', sizeof text - 1);
    assert_int_equal(transaction_length(tx), 20);
    for (uint32_t i = 0; i < 20; i++) {
        struct queued *queued = transaction_at(tx, i);
        assert_ptr_equal(queued->command, &set);
        assert_true(slice_equal(queued->argv[1], SLICE("key")));
        assert_int_equal(queued->argv[2].data[0], 'a' + (int)i);
    }
    transaction_spoil(tx);
    assert_true(transaction_is_spoiled(tx));
    transaction_end(tx);
    assert_false(transaction_is_open(tx) || transaction_is_spoiled(tx));
    assert_int_equal(transaction_length(tx), 0);
    transaction_destroy(&tx);
    watches_destroy(&watches);
    store_destroy(&store);
}

static void a_full_queue_says_so(void **state) {
    (void)state;
    struct store *store = make_store();
    struct watches *watches = watches_create(store);
    _Atomic bool touched_tx = false;
    struct transaction *tx = transaction_create(watches, &touched_tx);
    static const struct command set = {.name = "set"};
    struct slice argv[1] = {slice_make("x", TRANSACTION_MAX_BYTES)};
    assert_false(transaction_queue(tx, &set, &set, argv, 1));
    assert_int_equal(transaction_length(tx), 0);
    transaction_destroy(&tx);
    watches_destroy(&watches);
    store_destroy(&store);
}

static void watch(struct store *store, struct transaction *tx, struct slice key) {
    transaction_watch(tx, key, store_hash(store, key));
}

static void a_change_of_a_watched_key_touches_every_watcher_until_it_is_unwatched(void **state) {
    (void)state;
    struct store *store = make_store();
    struct watches *watches = watches_create(store);
    _Atomic bool touched_a = false;
    struct transaction *a = transaction_create(watches, &touched_a);
    _Atomic bool touched_b = false;
    struct transaction *b = transaction_create(watches, &touched_b);
    watch(store, a, SLICE("k"));
    watch(store, a, SLICE("k"));
    watch(store, b, SLICE("k"));
    watch(store, b, SLICE("l"));
    assert_int_equal(transaction_watched(a), 1);
    put(store, SLICE("other"), STORE_NEVER);
    assert_false(transaction_is_touched(a));
    put(store, SLICE("l"), STORE_NEVER);
    assert_false(transaction_is_touched(a));
    assert_true(transaction_is_touched(b));
    put(store, SLICE("k"), STORE_NEVER);
    assert_true(transaction_is_touched(a));
    transaction_unwatch(a);
    assert_false(transaction_is_touched(a));
    put(store, SLICE("k"), STORE_NEVER);
    assert_false(transaction_is_touched(a));
    transaction_destroy(&b);
    transaction_destroy(&a);
    watches_destroy(&watches);
    store_destroy(&store);
}

static void expiry_and_a_flush_touch_what_is_there(void **state) {
    (void)state;
    struct store *store = make_store();
    struct watches *watches = watches_create(store);
    _Atomic bool touched_tx = false;
    struct transaction *tx = transaction_create(watches, &touched_tx);
    put(store, SLICE("k"), NOW_MS + 10);
    watch(store, tx, SLICE("k"));
    store_expire(store, 0, 1, NOW_MS + 5000, 10);
    assert_true(transaction_is_touched(tx));
    transaction_unwatch(tx);
    watch(store, tx, SLICE("absent"));
    store_flush(store, NULL, REMOVED_FLUSHED);
    assert_false(transaction_is_touched(tx));
    put(store, SLICE("absent"), STORE_NEVER);
    assert_true(transaction_is_touched(tx));
    transaction_destroy(&tx);
    watches_destroy(&watches);
    store_destroy(&store);
}

static bool any(void *arg, struct slice key) {
    (void)arg;
    (void)key;
    return true;
}

static void keys_of_a_table_are_touched_together(void **state) {
    (void)state;
    struct store *store = make_store();
    struct watches *watches = watches_create(store);
    _Atomic bool touched_tx = false;
    struct transaction *tx = transaction_create(watches, &touched_tx);
    watch(store, tx, SLICE("t:1"));
    watches_touch_matching(watches, any, NULL);
    assert_true(transaction_is_touched(tx));
    transaction_destroy(&tx);
    watches_destroy(&watches);
    store_destroy(&store);
}

/* Were each compared with all before it, this would take minutes. */
static void many_keys_are_watched_each_once(void **state) {
    (void)state;
    enum { KEYS = 300000 };
    struct store *store = make_store();
    struct watches *watches = watches_create(store);
    _Atomic bool touched_tx = false;
    struct transaction *tx = transaction_create(watches, &touched_tx);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < KEYS; i++)
            watch(store, tx, slice_make((const char *)&i, sizeof i));
        assert_int_equal(transaction_watched(tx), KEYS);
    }
    uint32_t last = KEYS - 1;
    put(store, slice_make((const char *)&last, sizeof last), STORE_NEVER);
    assert_true(transaction_is_touched(tx));
    watch(store, tx, SLICE("another"));
    assert_int_equal(transaction_watched(tx), KEYS);
    transaction_unwatch(tx);
    assert_int_equal(transaction_watched(tx), 0);
    assert_false(transaction_is_touched(tx));
    transaction_destroy(&tx);
    watches_destroy(&watches);
    store_destroy(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_are_copied_and_run_in_order),
        cmocka_unit_test(a_full_queue_says_so),
        cmocka_unit_test(a_change_of_a_watched_key_touches_every_watcher_until_it_is_unwatched),
        cmocka_unit_test(expiry_and_a_flush_touch_what_is_there),
        cmocka_unit_test(keys_of_a_table_are_touched_together),
        cmocka_unit_test(many_keys_are_watched_each_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

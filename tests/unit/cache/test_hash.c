#include "cache/values/hash.h"
#include "one_key.h"

enum { FIELDS_MAX = 512, LEN_MAX = 64 };
static const struct hash_limits LIMITS = {FIELDS_MAX, LEN_MAX};
static const struct slice KEY = {"h", 1};

static bool set(struct fixture *f, struct slice field, struct slice value) {
    struct hash_edit edit;
    hash_edit_begin(&edit, entry_of(f), f->hash, LIMITS);
    bool created = hash_edit_set(&edit, field, value);
    assert_true(hash_edit_end(&edit, f->store, &f->guard, KEY));
    return created;
}

static bool unset(struct fixture *f, struct slice field) {
    struct hash_edit edit;
    hash_edit_begin(&edit, entry_of(f), f->hash, LIMITS);
    bool deleted = hash_edit_delete(&edit, field);
    assert_true(hash_edit_end(&edit, f->store, &f->guard, KEY));
    return deleted;
}

static struct slice numbered(char out[16], uint32_t i) {
    return slice_make(out, (size_t)snprintf(out, 16, "field-%u", i));
}

static void append_field(struct slice field, struct slice value, void *arg) {
    (void)value;
    buf_append_slice(arg, field);
    buf_append_char(arg, ' ');
}

static void a_small_hash_keeps_the_order_of_insertion(void **state) {
    struct fixture *f = *state;
    assert_true(set(f, SLICE("b"), SLICE("1")));
    assert_true(set(f, SLICE("a"), SLICE("2")));
    assert_true(set(f, SLICE("c"), SLICE("3")));
    assert_false(set(f, SLICE("a"), SLICE("a longer one")));
    struct hash_view view = hash_view_entry(entry_of(f));
    struct buf order = {0};
    hash_each(&view, append_field, &order);
    assert_string_equal(buf_text(&order), "b a c ");
    assert_true(unset(f, SLICE("b")));
    assert_false(unset(f, SLICE("b")));
    order.len = 0;
    view = hash_view_entry(entry_of(f));
    hash_each(&view, append_field, &order);
    assert_string_equal(buf_text(&order), "a c ");
    buf_deinit(&order);
}

static void the_key_goes_with_its_last_field(void **state) {
    struct fixture *f = *state;
    set(f, SLICE("only"), SLICE("1"));
    unset(f, SLICE("only"));
    assert_null(entry_of(f));
}

static void it_becomes_a_table_beyond_512_fields_or_64_bytes(void **state) {
    struct fixture *f = *state;
    char name[16];
    for (uint32_t i = 0; i < FIELDS_MAX; i++)
        assert_true(set(f, numbered(name, i), SLICE("v")));
    assert_false(entry_of(f)->flags & ENTRY_OBJECT);
    set(f, SLICE("one more"), SLICE("v"));
    assert_true(entry_of(f)->flags & ENTRY_OBJECT);
    store_remove(f->store, &f->guard, KEY, f->hash, REMOVED_DELETED);

    char value[LEN_MAX + 1] = {0};
    set(f, SLICE("x"), slice_make(value, LEN_MAX));
    assert_false(entry_of(f)->flags & ENTRY_OBJECT);
    set(f, SLICE("y"), slice_make(value, sizeof value));
    assert_true(entry_of(f)->flags & ENTRY_OBJECT);
    struct hash_view view = hash_view_entry(entry_of(f));
    assert_int_equal(hash_count(&view), 2);
}

static void a_table_answers_as_a_model_does(void **state) {
    struct fixture *f = *state;
    enum { FIELDS = 3000 };
    static bool there[FIELDS];
    size_t count = 0;
    char name[16];
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t i = (uint32_t)lrand48() % FIELDS;
        struct slice field = numbered(name, i);
        if (lrand48() % 3) {
            assert_int_equal(set(f, field, slice_make(&i, sizeof i)), !there[i]);
            count += !there[i];
            there[i] = true;
        } else {
            assert_int_equal(unset(f, field), there[i]);
            count -= there[i];
            there[i] = false;
        }
    }
    struct hash_view view = hash_view_entry(entry_of(f));
    assert_non_null(view.table);
    assert_int_equal(hash_count(&view), count);
    for (uint32_t i = 0; i < FIELDS; i++) {
        struct slice value;
        assert_int_equal(hash_find(&view, numbered(name, i), &value), there[i]);
        if (there[i]) assert_memory_equal(value.data, &i, sizeof i);
    }
}

static void what_a_table_takes_is_accounted_for(void **state) {
    struct fixture *f = *state;
    struct store_stats before;
    struct store_stats after;
    char name[16];
    store_stats(f->store, &before);
    for (uint32_t i = 0; i < 5000; i++)
        set(f, numbered(name, i), SLICE("0123456789012345678901234567890123456789"));
    store_stats(f->store, &after);
    assert_in_range((after.bytes - before.bytes) / 5000, 60, 110);
    for (uint32_t i = 0; i < 5000; i++)
        unset(f, numbered(name, i));
    store_stats(f->store, &after);
    assert_in_range(after.bytes, before.bytes, before.bytes + 8192);
}

static void an_edit_keeps_the_expiry(void **state) {
    struct fixture *f = *state;
    set(f, SLICE("a"), SLICE("1"));
    store_set_expiry(f->store, &f->guard, entry_of(f), 5000);
    set(f, SLICE("b"), SLICE("2"));
    assert_int_equal(entry_expiry(entry_of(f)), 5000);
    char value[100] = {0};
    set(f, SLICE("c"), slice_make(value, sizeof value));
    assert_int_equal(entry_expiry(entry_of(f)), 5000);
}

static void note_scanned(struct slice field, struct slice value, void *arg) {
    (void)value;
    uint32_t i;
    assert_int_equal(sscanf(field.data, "field-%u", &i), 1);
    ((uint8_t *)arg)[i] = 1;
}

static void a_scan_sees_every_field_and_random_only_what_is_there(void **state) {
    struct fixture *f = *state;
    enum { FIELDS = 2000 };
    static uint8_t seen[FIELDS + 1];
    char name[16];
    for (uint32_t i = 0; i < FIELDS; i++)
        set(f, numbered(name, i), SLICE("v"));
    struct hash_view view = hash_view_entry(entry_of(f));
    uint64_t cursor = 0;
    uint32_t calls = 0;
    do {
        cursor = hash_scan(&view, cursor, 10, note_scanned, seen);
        calls++;
    } while (cursor != 0);
    assert_true(calls > 50);
    for (uint32_t i = 0; i < FIELDS; i++)
        assert_int_equal(seen[i], 1);
    for (uint32_t i = 0; i < 100; i++) {
        struct slice field;
        struct slice value;
        struct slice found;
        hash_random(&view, (uint64_t)lrand48() << 31 | (uint64_t)lrand48(), &field, &value);
        assert_true(hash_find(&view, field, &found));
    }
}

int main(void) {
    srand48(3);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_small_hash_keeps_the_order_of_insertion),
        TEST(the_key_goes_with_its_last_field),
        TEST(it_becomes_a_table_beyond_512_fields_or_64_bytes),
        TEST(a_table_answers_as_a_model_does),
        TEST(what_a_table_takes_is_accounted_for),
        TEST(an_edit_keeps_the_expiry),
        TEST(a_scan_sees_every_field_and_random_only_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

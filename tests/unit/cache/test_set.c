#include "cache/values/set.h"
#include "one_key.h"

enum { NUMBERS_MAX = 512 };

static const struct slice KEY = {"s", 1};

static bool add(struct fixture *f, struct slice member) {
    struct set_edit edit;
    set_edit_begin(&edit, entry_of(f), f->hash, NUMBERS_MAX);
    bool added = set_edit_add(&edit, member);
    assert_true(set_edit_end(&edit, f->store, &f->guard, KEY));
    return added;
}

static bool take(struct fixture *f, struct slice member) {
    struct set_edit edit;
    set_edit_begin(&edit, entry_of(f), f->hash, NUMBERS_MAX);
    bool removed = set_edit_remove(&edit, member);
    assert_true(set_edit_end(&edit, f->store, &f->guard, KEY));
    return removed;
}

static struct slice numbered(char out[24], int64_t i) {
    return slice_make(out, number_format_i64(out, i));
}

static void expect_members(struct fixture *f, const char *text) {
    struct set_view view = set_view_entry(entry_of(f));
    struct set_walk walk = set_walk(&view);
    struct slice member;
    struct buf all = {0};
    while (set_next(&walk, &member)) {
        buf_append_slice(&all, member);
        buf_append_char(&all, ' ');
    }
    assert_string_equal(buf_text(&all), text);
    buf_deinit(&all);
}

static bool is_numbers(struct fixture *f) {
    struct set_view view = set_view_entry(entry_of(f));
    return set_is_numbers(&view);
}

static bool is_table(struct fixture *f) { return entry_of(f)->flags & ENTRY_OBJECT; }

static void numbers_are_kept_in_order_and_widen(void **state) {
    struct fixture *f = *state;
    static const char *const numbers[] = {
        "5", "-1", "32767", "-32768", "2147483647", "-2147483649", "9223372036854775807", "0"};
    for (size_t i = 0; i < 8; i++) {
        assert_true(add(f, slice_from(numbers[i])));
        assert_false(add(f, slice_from(numbers[i])));
    }
    expect_members(f, "-2147483649 -32768 -1 0 5 32767 2147483647 9223372036854775807 ");
    assert_false(take(f, SLICE("6")));
    assert_true(take(f, SLICE("-32768")));
    assert_true(take(f, SLICE("9223372036854775807")));
    expect_members(f, "-2147483649 -1 0 5 32767 2147483647 ");
    assert_true(is_numbers(f));
}

static void what_is_spelled_otherwise_is_no_number(void **state) {
    struct fixture *f = *state;
    add(f, SLICE("1"));
    struct set_view view = set_view_entry(entry_of(f));
    assert_true(set_has(&view, SLICE("1")));
    assert_false(set_has(&view, SLICE("01")));
    assert_false(set_has(&view, SLICE("+1")));
    assert_false(set_has(&view, SLICE("")));
    assert_true(add(f, SLICE("01")));
    assert_false(is_numbers(f));
    expect_members(f, "1 01 ");
}

static void words_stay_words_when_only_numbers_are_left(void **state) {
    struct fixture *f = *state;
    add(f, SLICE("2"));
    add(f, SLICE("1"));
    add(f, SLICE("a"));
    assert_true(take(f, SLICE("a")));
    assert_false(is_numbers(f));
    assert_false(is_table(f));
    expect_members(f, "1 2 ");
    assert_true(add(f, SLICE("")));
    assert_true(take(f, SLICE("1")));
    expect_members(f, "2  ");
}

static void the_key_goes_with_its_last_member(void **state) {
    struct fixture *f = *state;
    add(f, SLICE("7"));
    take(f, SLICE("7"));
    assert_null(entry_of(f));
    add(f, SLICE("word"));
    take(f, SLICE("word"));
    assert_null(entry_of(f));
}

static void numbers_become_a_table_beyond_512(void **state) {
    struct fixture *f = *state;
    char digits[24];
    for (int64_t i = 0; i < NUMBERS_MAX; i++)
        assert_true(add(f, numbered(digits, i * i)));
    assert_true(is_numbers(f));
    add(f, SLICE("-1"));
    assert_true(is_table(f));
    struct set_view view = set_view_entry(entry_of(f));
    assert_int_equal(set_count(&view), NUMBERS_MAX + 1);
    assert_true(set_has(&view, SLICE("-1")));
    assert_true(set_has(&view, numbered(digits, 511 * 511)));
}

static void words_become_a_table_beyond_128_or_64_bytes(void **state) {
    struct fixture *f = *state;
    char word[24];
    for (int i = 0; i < SET_WORDS_MAX; i++)
        add(f, slice_make(word, (size_t)snprintf(word, sizeof word, "word-%d", i)));
    assert_false(is_table(f));
    add(f, SLICE("one more"));
    assert_true(is_table(f));
    store_remove(f->store, &f->guard, KEY, f->hash, REMOVED_DELETED);

    char longer[SET_WORD_MAX_LEN + 1] = {0};
    add(f, slice_make(longer, SET_WORD_MAX_LEN));
    assert_false(is_table(f));
    add(f, slice_make(longer, sizeof longer));
    assert_true(is_table(f));
}

enum { MODEL = 1500 };

/* Numbers and words, so that the set passes through all its forms. */
static struct slice modelled(char out[24], uint32_t i, bool words) {
    if (words && i % 7 == 0) return slice_make(out, (size_t)snprintf(out, 24, "w%u", i));
    return numbered(out, (int64_t)i * 1000003 - 700000000);
}

static void check_model(struct fixture *f, const bool *there, size_t count, bool words) {
    char text[24];
    if (count == 0) {
        assert_null(entry_of(f));
        return;
    }
    struct set_view view = set_view_entry(entry_of(f));
    assert_int_equal(set_count(&view), count);
    for (uint32_t i = 0; i < MODEL; i++)
        assert_int_equal(set_has(&view, modelled(text, i, words)), there[i]);
    struct set_walk walk = set_walk(&view);
    struct slice member;
    size_t walked = 0;
    while (set_next(&walk, &member))
        walked++;
    assert_int_equal(walked, count);
}

static void run_model(struct fixture *f, bool words) {
    bool there[MODEL] = {false};
    size_t count = 0;
    char text[24];
    uint64_t dice = 99;
    for (uint32_t step = 0; step < 12000; step++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        bool growing = step % 6000 < 3000;
        uint32_t i = (uint32_t)(dice >> 33) % (step < 3000 ? 400 : MODEL);
        if ((dice >> 20) % 4 == 0 ? !growing : growing) {
            assert_int_equal(add(f, modelled(text, i, words)), !there[i]);
            count += !there[i];
            there[i] = true;
        } else {
            assert_int_equal(take(f, modelled(text, i, words)), there[i]);
            count -= there[i];
            there[i] = false;
        }
        if (step % 500 == 0) check_model(f, there, count, words);
    }
}

static void sets_of_numbers_answer_as_a_model_does(void **state) { run_model(*state, false); }
static void sets_of_words_answer_as_a_model_does(void **state) { run_model(*state, true); }

static void any_member_has_the_same_chance(void **state) {
    struct fixture *f = *state;
    enum { MEMBERS = 600, DRAWS = 60000 };
    static uint32_t drawn[MEMBERS];
    char digits[24];
    for (int64_t i = 0; i < MEMBERS; i++)
        add(f, numbered(digits, i));
    assert_true(is_table(f));
    struct set_view view = set_view_entry(entry_of(f));
    uint64_t dice = 7;
    for (uint32_t i = 0; i < DRAWS; i++) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        int64_t number;
        assert_true(number_parse_i64(set_random(&view, dice ^ dice >> 29, digits), &number));
        drawn[number]++;
    }
    double chi_square = 0;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        double off = (double)drawn[i] - (double)DRAWS / MEMBERS;
        chi_square += off * off * MEMBERS / DRAWS;
    }
    assert_true(chi_square < 599 + 5 * 35); /* mean and five deviations */
}

static void mark_seen(struct slice member, void *arg) {
    bool *seen = arg;
    int64_t number;
    assert_true(number_parse_i64(member, &number));
    seen[number] = true;
}

static void a_scan_sees_each_member_of_a_table(void **state) {
    struct fixture *f = *state;
    enum { MEMBERS = 2000 };
    static bool seen[MEMBERS];
    char digits[24];
    for (int64_t i = 0; i < MEMBERS; i++)
        add(f, numbered(digits, i));
    struct set_view view = set_view_entry(entry_of(f));
    uint64_t cursor = 0;
    uint32_t calls = 0;
    do
        cursor = set_scan(&view, cursor, 20, mark_seen, seen);
    while (++calls < MEMBERS && cursor != 0);
    assert_true(calls > 10 && calls < 200);
    for (uint32_t i = 0; i < MEMBERS; i++)
        assert_true(seen[i]);
}

static void an_empty_view_has_no_members(void **state) {
    (void)state;
    struct set_view none = {0};
    struct set_walk walk = set_walk(&none);
    assert_int_equal(set_count(&none), 0);
    assert_false(set_has(&none, SLICE("")));
    assert_false(set_next(&walk, &(struct slice){0}));
}

static void memory_is_counted_and_given_back(void **state) {
    struct fixture *f = *state;
    struct store_stats before;
    struct store_stats with;
    struct store_stats after;
    char word[24];
    store_stats(f->store, &before);
    for (int i = 0; i < 1000; i++)
        add(f, slice_make(word, (size_t)snprintf(word, sizeof word, "member:%d", i)));
    store_stats(f->store, &with);
    assert_true(with.bytes > before.bytes + 1000 * 30);
    for (int i = 0; i < 1000; i++)
        take(f, slice_make(word, (size_t)snprintf(word, sizeof word, "member:%d", i)));
    store_stats(f->store, &after);
    assert_null(entry_of(f));
    assert_true(after.bytes <= before.bytes + 2048); /* the index keeps its first buckets */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_are_kept_in_order_and_widen, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_spelled_otherwise_is_no_number, setup, teardown),
        cmocka_unit_test_setup_teardown(words_stay_words_when_only_numbers_are_left, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_key_goes_with_its_last_member, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_become_a_table_beyond_512, setup, teardown),
        cmocka_unit_test_setup_teardown(words_become_a_table_beyond_128_or_64_bytes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(sets_of_numbers_answer_as_a_model_does, setup, teardown),
        cmocka_unit_test_setup_teardown(sets_of_words_answer_as_a_model_does, setup, teardown),
        cmocka_unit_test_setup_teardown(any_member_has_the_same_chance, setup, teardown),
        cmocka_unit_test_setup_teardown(a_scan_sees_each_member_of_a_table, setup, teardown),
        cmocka_unit_test(an_empty_view_has_no_members),
        cmocka_unit_test_setup_teardown(memory_is_counted_and_given_back, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

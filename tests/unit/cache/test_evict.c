#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <xxhash.h>

#include "cache/store/evict.h"
#include "cache/store/index.h"

enum { N = 200, FOLLOWER = 0, LEADERS = 2 };

struct fixture {
    struct index index;
    struct evict_duel duel;
    struct evict evict;
    uint32_t hand;
    struct entry *entries[16 * N];
};

static struct entry *make_entry(uint32_t i) {
    return entry_create_string(slice_make(&i, sizeof i), XXH3_64bits(&i, sizeof i), SLICE(""),
                               STORE_NEVER);
}

static void insert(struct fixture *f, uint32_t i) {
    f->entries[i] = make_entry(i);
    evict_insert(&f->evict, f->entries[i]);
    index_insert(&f->index, f->entries[i]);
}

static int setup(void **state) {
    static struct fixture fixture;
    struct fixture *f = &fixture;
    *f = (struct fixture){0};
    index_init(&f->index, NULL);
    evict_init(&f->evict, FOLLOWER, &f->duel);
    for (uint32_t i = 0; i < N; i++)
        insert(f, i);
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
    evict_deinit(&f->evict);
    return 0;
}

static struct entry *choose(struct fixture *f, const struct entry *keep) {
    struct evict_choice choice = {0};
    uint32_t hash;
    evict_begin(&f->evict);
    evict_sample(&f->evict, &f->index, &f->hand, keep, &choice);
    struct entry *victim = choice.victim;
    if (evict_leaving(&f->evict, &hash)) {
        struct index_iter iter = index_bucket_of(&f->index, hash);
        struct entry *leaving = index_next_of(&iter, hash);
        if (leaving && leaving != keep && evict_is_worse(&f->evict, leaving, &choice))
            victim = leaving;
    }
    evict_end(&f->evict, victim);
    return victim;
}

/* Evicts one and tells which. */
static uint32_t evict_next(struct fixture *f, const struct entry *keep) {
    struct entry *victim = choose(f, keep);
    assert_non_null(victim);
    uint32_t i;
    memcpy(&i, entry_key(victim).data, sizeof i);
    evict_forget(&f->evict, 1);
    index_remove(&f->index, victim);
    entry_destroy(&victim);
    f->entries[i] = NULL;
    return i;
}

static void what_was_used_outlives_what_was_not(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < N; i += 2)
        evict_touch(&f->evict, f->entries[i]);
    uint32_t used = 0;
    for (uint32_t n = 0; n < N / 4; n++)
        used += evict_next(f, NULL) % 2 == 0;
    assert_int_equal(used, 0);
}

static void one_hit_wonders_pass_without_harm(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < N; i++)
        evict_touch(&f->evict, f->entries[i]);
    uint32_t lost = 0;
    for (uint32_t n = 0; n < 10 * N; n++) {
        insert(f, N + n);
        lost += evict_next(f, f->entries[N + n]) < N;
    }
    assert_in_range(lost, 0, N / 4); /* of 2000: tags are short, and some take another's past */
}

static void what_comes_back_has_not_lost_its_past(void **state) {
    struct fixture *f = *state;
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t use = 0; use < 8; use++)
            evict_touch(&f->evict, f->entries[i]);
    uint32_t gone = evict_next(f, NULL);
    insert(f, gone);
    assert_true(evict_uses(f->entries[gone]) > 4);
    insert(f, N + 1);
    assert_int_equal(evict_uses(f->entries[N + 1]), 1);
}

static void the_kept_one_is_never_the_victim(void **state) {
    struct fixture *f = *state;
    for (uint32_t n = 0; n < N - 1; n++)
        assert_int_not_equal(evict_next(f, f->entries[17]), 17);
    assert_null(choose(f, f->entries[17]));
    assert_int_equal(evict_next(f, NULL), 17);
    assert_null(choose(f, NULL));
}

static void a_replacement_inherits_the_uses(void **state) {
    struct fixture *f = *state;
    evict_touch(&f->evict, f->entries[0]);
    evict_touch(&f->evict, f->entries[0]);
    struct entry *fresh = make_entry(0);
    evict_replace(&f->evict, f->entries[0], fresh);
    assert_int_equal(evict_uses(fresh), 4);
    entry_destroy(&fresh);
}

static void uses_age_by_halves_or_by_the_time_since_the_last(void **state) {
    (void)state;
    uint8_t byte = 12 | 14 << 4; /* 12 uses, in epoch 14 */
    assert_int_equal(evict_aged_uses(EVICT_STEADY, byte, 14), 12);
    assert_int_equal(evict_aged_uses(EVICT_STEADY, byte, 15), 6);
    assert_int_equal(evict_aged_uses(EVICT_STEADY, byte, 1), 1);
    assert_int_equal(evict_aged_uses(EVICT_FRESH, byte, 15), 8);
    assert_int_equal(evict_aged_uses(EVICT_FRESH, byte, 2), 2);
    assert_int_equal(evict_aged_uses(EVICT_FRESH, byte, 10), 0);
}

static void followers_take_the_fresh_way_where_it_has_fewer_misses(void **state) {
    struct fixture *f = *state;
    static struct evict leaders[LEADERS]; /* the second one is fresh */
    for (uint32_t i = 0; i < LEADERS; i++)
        evict_init(&leaders[i], EVICT_LEADERS + i, &f->duel);
    (void)evict_next(f, NULL); /* memory is full from here on */
    for (uint32_t i = 0; i < LEADERS; i++) {
        struct entry *entry = make_entry(i);
        evict_insert(&leaders[i], entry);
        evict_begin(&leaders[i]);
        evict_end(&leaders[i], entry);
        for (uint32_t n = 0; n < (i == 1 ? 1000 : 2000); n++)
            evict_insert(&leaders[i], entry);
        entry_destroy(&entry);
    }
    insert(f, N + 3);
    assert_int_equal(f->evict.mode, EVICT_FRESH);
    for (uint32_t i = 0; i < LEADERS; i++)
        evict_deinit(&leaders[i]);
}

/* Newcomers that beat what was used `uses` times; how the domain ages then. */
static uint8_t mode_after_newcomers(struct fixture *f, uint32_t uses) {
    (void)evict_next(f, NULL);
    struct entry *old = make_entry(N), *newcomer = make_entry(N + 1);
    insert(f, N + 2);
    atomic_store(&old->policy, (uint8_t)uses);
    atomic_store(&newcomer->policy, 15);
    struct evict_choice choice = {.victim = old, .worth = 0};
    for (uint32_t n = 0; n < 100; n++)
        assert_false(evict_is_worse(&f->evict, newcomer, &choice));
    insert(f, N + 3);
    entry_destroy(&old);
    entry_destroy(&newcomer);
    return f->evict.mode;
}

static void memory_grows_short_where_the_fallen_were_hot(void **state) {
    assert_int_equal(mode_after_newcomers(*state, 14), EVICT_MIDDLE);
}

static void memory_stays_long_where_the_fallen_were_not(void **state) {
    assert_int_equal(mode_after_newcomers(*state, 5), EVICT_STEADY);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_used_outlives_what_was_not),
        TEST(one_hit_wonders_pass_without_harm),
        TEST(what_comes_back_has_not_lost_its_past),
        TEST(the_kept_one_is_never_the_victim),
        TEST(a_replacement_inherits_the_uses),
        TEST(uses_age_by_halves_or_by_the_time_since_the_last),
        TEST(followers_take_the_fresh_way_where_it_has_fewer_misses),
        TEST(memory_grows_short_where_the_fallen_were_hot),
        TEST(memory_stays_long_where_the_fallen_were_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

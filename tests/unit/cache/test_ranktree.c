#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/values/ranktree.h"

/* The model: a sorted array, changed with memmove. */
struct model {
    struct entry **members;
    size_t n;
};

static struct entry *member_of(double score, const char *key) {
    char *value;
    struct entry *member =
        entry_create_string_sized(slice_from(key), 0, sizeof score, STORE_NEVER, &value);
    memcpy(value, &score, sizeof score);
    return member;
}

static int in_order(const struct entry *a, const struct entry *b) {
    if (ranked_score(a) != ranked_score(b)) return ranked_score(a) < ranked_score(b) ? -1 : 1;
    return slice_compare(entry_key(a), entry_key(b));
}

static size_t model_rank(const struct model *model, const struct entry *member) {
    size_t low = 0;
    size_t high = model->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (in_order(model->members[middle], member) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void model_insert(struct model *model, struct entry *member) {
    size_t at = model_rank(model, member);
    memmove(model->members + at + 1, model->members + at, (model->n - at) * sizeof member);
    model->members[at] = member;
    model->n++;
}

static struct entry *model_take(struct model *model, size_t at) {
    struct entry *member = model->members[at];
    model->n--;
    memmove(model->members + at, model->members + at + 1, (model->n - at) * sizeof member);
    return member;
}

static void assert_same(const struct ranktree *tree, const struct model *model) {
    assert_int_equal(ranktree_count(tree), model->n);
    struct rank_cursor cursor = ranktree_at(tree, 0);
    for (size_t i = 0; i < model->n; i++)
        assert_ptr_equal(rank_next(&cursor), model->members[i]);
    assert_null(rank_next(&cursor));
    for (size_t i = model->n; i > 0; i--)
        assert_ptr_equal(rank_previous(&cursor), model->members[i - 1]);
    assert_null(rank_previous(&cursor));
}

static void assert_same_somewhere(const struct ranktree *tree, const struct model *model) {
    if (model->n == 0) return;
    size_t at = (size_t)lrand48() % model->n;
    struct entry *member = model->members[at];
    assert_int_equal(ranktree_rank(tree, ranked_score(member), entry_key(member)), at);
    struct rank_cursor cursor = ranktree_at(tree, at);
    assert_ptr_equal(rank_next(&cursor), member);
    cursor = ranktree_at(tree, at + 1);
    assert_ptr_equal(rank_previous(&cursor), member);
}

static double random_score(uint32_t round) {
    if (round % 3 == 0) return (double)(lrand48() % 5); /* many alike: names decide */
    if (round % 3 == 1) return drand48();
    return (double)lrand48() - (double)(1L << 30);
}

static void it_is_a_sorted_array_that_grows_and_shrinks(void **state) {
    (void)state;
    enum { MOST = 6000, STEPS = 20000 };
    struct model model = {mem_calloc(STEPS, sizeof(struct entry *)), 0};
    struct ranktree tree = {0};
    uint32_t next = 0;
    for (uint32_t step = 0; step < STEPS; step++) {
        bool growing = step / MOST % 2 == 0;
        bool insert = model.n == 0 || lrand48() % 10 < (growing ? 9 : 1);
        if (insert) {
            char key[16];
            snprintf(key, sizeof key, "%lx:%u", lrand48() % 4096, next++);
            struct entry *member = member_of(random_score(step), key);
            ranktree_insert(&tree, member);
            model_insert(&model, member);
        } else {
            struct entry *member = model_take(&model, (size_t)lrand48() % model.n);
            ranktree_remove(&tree, member);
            entry_destroy(&member);
        }
        assert_same_somewhere(&tree, &model);
        if (step % 1000 == 0) assert_same(&tree, &model);
    }
    assert_same(&tree, &model);
    while (model.n > 0) {
        struct entry *member = model_take(&model, (size_t)lrand48() % model.n);
        ranktree_remove(&tree, member);
        entry_destroy(&member);
        if (model.n % 500 == 0) assert_same(&tree, &model);
    }
    assert_int_equal(tree.bytes, 0);
    assert_null(tree.root.node);
    mem_free(model.members);
}

static void it_empties_from_both_ends(void **state) {
    (void)state;
    enum { N = 5000 };
    for (int from_end = 0; from_end < 2; from_end++) {
        struct ranktree tree = {0};
        for (uint32_t i = 0; i < N; i++)
            ranktree_insert(&tree, member_of(i, "m"));
        for (uint32_t i = 0; i < N; i++) {
            struct rank_cursor cursor = ranktree_at(&tree, from_end ? N - i - 1 : 0);
            struct entry *member = rank_next(&cursor);
            assert_int_equal((int)ranked_score(member), from_end ? N - i - 1 : i);
            ranktree_remove(&tree, member);
            entry_destroy(&member);
        }
        assert_int_equal(tree.bytes, 0);
    }
}

static double bytes_a_member(double (*score)(uint32_t i)) {
    enum { N = 50000 };
    struct ranktree tree = {0};
    for (uint32_t i = 0; i < N; i++)
        ranktree_insert(&tree, member_of(score(i), "m"));
    double bytes = (double)tree.bytes / N;
    struct rank_cursor cursor = ranktree_at(&tree, 0);
    struct entry **members = mem_calloc(N, sizeof *members);
    for (uint32_t i = 0; i < N; i++)
        members[i] = rank_next(&cursor);
    ranktree_deinit(&tree);
    for (uint32_t i = 0; i < N; i++)
        entry_destroy(&members[i]);
    mem_free(members);
    return bytes;
}

static double ascending(uint32_t i) { return i; }
static double anywhere(uint32_t i) { return drand48() + i * 1e-12; }

static void ascending_members_fill_the_leaves(void **state) {
    (void)state;
    assert_true(bytes_a_member(ascending) < 9.2);
    assert_true(bytes_a_member(anywhere) < 14);
}

static void members_that_go_give_their_memory_back(void **state) {
    (void)state;
    enum { N = 50000 };
    struct ranktree tree = {0};
    for (uint32_t i = 0; i < N; i++)
        ranktree_insert(&tree, member_of(drand48(), "m"));
    size_t full = tree.bytes;
    while (ranktree_count(&tree) > N / 20) {
        struct rank_cursor cursor = ranktree_at(&tree, (size_t)lrand48() % ranktree_count(&tree));
        struct entry *member = rank_next(&cursor);
        ranktree_remove(&tree, member);
        entry_destroy(&member);
    }
    assert_true(tree.bytes < full / 8);
    while (ranktree_count(&tree) > 0) {
        struct rank_cursor cursor = ranktree_at(&tree, 0);
        struct entry *member = rank_next(&cursor);
        ranktree_remove(&tree, member);
        entry_destroy(&member);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_a_sorted_array_that_grows_and_shrinks),
        cmocka_unit_test(it_empties_from_both_ends),
        cmocka_unit_test(ascending_members_fill_the_leaves),
        cmocka_unit_test(members_that_go_give_their_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

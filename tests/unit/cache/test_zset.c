#include <math.h>

#include "cache/values/ranktree.h"
#include "cache/values/scored.h"
#include "cache/values/zset.h"
#include "one_key.h"

static struct zset_limits limits;
static const struct slice KEY = {"z", 1};

static int begin(void **state) {
    limits = (struct zset_limits){128, 64};
    return setup(state);
}

static bool is_tree(struct fixture *f) { return entry_of(f)->flags & ENTRY_OBJECT; }

static enum zset_change set(struct fixture *f, const char *member, double score) {
    struct zset_edit edit;
    zset_edit_begin(&edit, entry_of(f), f->hash, &limits);
    enum zset_change change = zset_edit_set(&edit, slice_from(member), score);
    assert_true(zset_edit_end(&edit, f->store, &f->guard, KEY));
    return change;
}

static bool unset(struct fixture *f, const char *member) {
    struct zset_edit edit;
    zset_edit_begin(&edit, entry_of(f), f->hash, &limits);
    bool deleted = zset_edit_delete(&edit, slice_from(member));
    assert_true(zset_edit_end(&edit, f->store, &f->guard, KEY));
    return deleted;
}

static struct zset_view view_of(struct fixture *f) {
    struct entry *entry = entry_of(f);
    return entry ? zset_view_entry(entry) : (struct zset_view){0};
}

static void append_member(struct slice member, double score, void *arg) {
    buf_append_slice(arg, member);
    buf_printf(arg, "=%g ", score);
}

static const char *told(struct buf *out, const struct zset_view *view, size_t from, size_t to,
                        bool reverse) {
    out->len = 0;
    zset_each(view, from, to, reverse, append_member, out);
    return buf_text(out);
}

static void members_stand_in_order_of_score_and_name(void **state) {
    struct fixture *f = *state;
    struct buf out = {0};
    for (uint64_t entries = 0; entries <= 128; entries += 128) { /* as a tree, then packed */
        limits.entries = entries;
        assert_int_equal(set(f, "c", 2), ZSET_ADDED);
        assert_int_equal(set(f, "b", 2), ZSET_ADDED);
        assert_int_equal(set(f, "a", 3), ZSET_ADDED);
        assert_int_equal(set(f, "ba", 2), ZSET_ADDED);
        assert_int_equal(set(f, "x", -1.5), ZSET_ADDED);
        struct zset_view view = view_of(f);
        assert_string_equal(told(&out, &view, 0, 5, false), "x=-1.5 b=2 ba=2 c=2 a=3 ");
        assert_string_equal(told(&out, &view, 1, 3, true), "ba=2 b=2 ");
        assert_int_equal(set(f, "c", 2), ZSET_SAME);
        assert_int_equal(set(f, "c", -7), ZSET_UPDATED);
        assert_true(unset(f, "b"));
        assert_false(unset(f, "b"));
        view = view_of(f);
        assert_string_equal(told(&out, &view, 0, 4, false), "c=-7 x=-1.5 ba=2 a=3 ");
        assert_int_equal(is_tree(f), entries == 0);
        unset(f, "c"), unset(f, "x"), unset(f, "ba"), unset(f, "a");
        assert_null(entry_of(f)); /* the key goes with its last member */
    }
    buf_deinit(&out);
}

static void it_becomes_a_tree_beyond_the_limits_and_stays_one(void **state) {
    struct fixture *f = *state;
    char name[66] = {0};
    for (int i = 0; i < 128; i++) {
        snprintf(name, sizeof name, "m%d", i);
        set(f, name, i % 7);
    }
    assert_false(is_tree(f));
    set(f, "m5", 100); /* not one more */
    assert_false(is_tree(f));
    set(f, "one more", 1);
    assert_true(is_tree(f));
    for (int i = 0; i < 128; i++) {
        snprintf(name, sizeof name, "m%d", i);
        unset(f, name);
    }
    assert_true(is_tree(f));
    unset(f, "one more");
    memset(name, 'x', 65);
    name[64] = '\0';
    set(f, name, 1);
    assert_false(is_tree(f));
    name[64] = 'x';
    set(f, name, 1);
    assert_true(is_tree(f));
}

/* --- against a model: scores by number, NAN where it is not there --- */

enum { NAMES = 400 };

struct model {
    double scores[NAMES];
};

static struct slice name_of(char out[16], int i) {
    return slice_make(out, (size_t)snprintf(out, 16, "%x", i * 7919));
}

struct listed {
    double score;
    char name[16];
};

static int by_rank(const void *a, const void *b) {
    const struct listed *one = a;
    const struct listed *other = b;
    if (one->score != other->score) return one->score < other->score ? -1 : 1;
    return strcmp(one->name, other->name);
}

static size_t list(const struct model *model, struct listed *listed) {
    size_t n = 0;
    for (int i = 0; i < NAMES; i++) {
        if (model->scores[i] != model->scores[i]) continue;
        listed[n].score = model->scores[i];
        name_of(listed[n++].name, i);
    }
    qsort(listed, n, sizeof *listed, by_rank);
    return n;
}

static void check_member(const struct zset_view *view, const struct listed *listed, size_t rank) {
    double score;
    size_t found;
    struct slice name = slice_from(listed[rank].name);
    assert_true(zset_score(view, name, &score));
    assert_true(score == listed[rank].score);
    assert_true(zset_rank(view, name, &found));
    assert_int_equal(found, rank);
}

static void check_score_range(const struct zset_view *view, const struct listed *listed, size_t n) {
    struct score_range range = {(double)(lrand48() % 24) - 2, (double)(lrand48() % 24) - 2,
                                lrand48() % 2, lrand48() % 2};
    size_t from;
    size_t to;
    size_t first = SIZE_MAX;
    size_t inside = 0;
    for (size_t i = 0; i < n; i++) {
        double s = listed[i].score;
        bool above = range.min_excluded ? s > range.min : s >= range.min;
        bool below = range.max_excluded ? s < range.max : s <= range.max;
        if (!above || !below) continue;
        if (inside++ == 0) first = i;
    }
    zset_range_scores(view, &range, &from, &to);
    assert_int_equal(to - from, inside);
    if (inside) assert_int_equal(from, first);
}

struct check {
    const struct listed *listed;
    size_t at;
    int step;
};

static void check_next(struct slice member, double score, void *arg) {
    struct check *check = arg;
    assert_true(slice_equal(member, slice_from(check->listed[check->at].name)));
    assert_true(score == check->listed[check->at].score);
    check->at += (size_t)check->step;
}

static void count_member(struct slice member, double score, void *arg) {
    (void)member;
    (void)score;
    ++*(size_t *)arg;
}

static void check_all(const struct zset_view *view, const struct model *model) {
    struct listed listed[NAMES];
    size_t n = list(model, listed);
    assert_int_equal(zset_count(view), n);
    if (n == 0) return;
    for (int i = 0; i < 4; i++) {
        check_member(view, listed, (size_t)lrand48() % n);
        check_score_range(view, listed, n);
    }
    size_t from = (size_t)lrand48() % n;
    size_t to = from + (size_t)lrand48() % (n - from + 1);
    zset_each(view, from, to, false, check_next, &(struct check){listed, from, 1});
    if (to > from) zset_each(view, from, to, true, check_next, &(struct check){listed, to - 1, -1});
    size_t seen = 0;
    uint64_t cursor = 0;
    do
        cursor = zset_scan(view, cursor, 10, count_member, &seen);
    while (cursor != 0);
    assert_int_equal(seen, n);
}

static void change_one(struct zset_edit *edit, struct model *model) {
    char name[16];
    int i = (int)(lrand48() % NAMES);
    struct slice member = name_of(name, i);
    bool there = model->scores[i] == model->scores[i];
    if (lrand48() % 3 > 0) {
        double score = (double)(lrand48() % 20);
        enum zset_change change = zset_edit_set(edit, member, score);
        assert_int_equal(change, !there                      ? ZSET_ADDED
                                 : model->scores[i] == score ? ZSET_SAME
                                                             : ZSET_UPDATED);
        model->scores[i] = score;
    } else {
        assert_int_equal(zset_edit_delete(edit, member), there);
        model->scores[i] = (double)NAN;
    }
}

static void delete_some_ranks(struct zset_edit *edit, struct model *model) {
    struct listed listed[NAMES];
    size_t n = list(model, listed);
    size_t from = (size_t)lrand48() % (n + 1);
    size_t to = from + (size_t)lrand48() % (n - from + 1);
    if (to - from > 20) to = from + 20;
    zset_edit_delete_ranks(edit, from, to);
    for (int i = 0; i < NAMES; i++) {
        char name[16];
        name_of(name, i);
        for (size_t rank = from; rank < to; rank++)
            if (strcmp(listed[rank].name, name) == 0) model->scores[i] = (double)NAN;
    }
}

static void random_changes_give_what_a_model_gives(void **state) {
    struct fixture *f = *state;
    for (uint64_t entries = 0; entries <= 1000; entries += 500) { /* trees, and packed */
        limits.entries = entries;
        struct model model;
        for (int i = 0; i < NAMES; i++)
            model.scores[i] = (double)NAN;
        store_remove(f->store, &f->guard, KEY, f->hash, REMOVED_DELETED);
        for (int step = 0; step < 1500; step++) {
            struct zset_edit edit;
            zset_edit_begin(&edit, entry_of(f), f->hash, &limits);
            for (int n = (int)(lrand48() % 5) + 1; n > 0; n--)
                change_one(&edit, &model);
            if (lrand48() % 20 == 0) delete_some_ranks(&edit, &model);
            assert_true(zset_edit_end(&edit, f->store, &f->guard, KEY));
            struct zset_view view = view_of(f);
            check_all(&view, &model);
        }
    }
}

static void ranges_by_name_are_those_of_redis(void **state) {
    struct fixture *f = *state;
    static const struct {
        struct name_bound min, max;
        size_t from, to;
    } cases[] = {
        {{NAME_LEAST, {0}, true}, {NAME_GREATEST, {0}, true}, 0, 4},
        {{NAME_GREATEST, {0}, true}, {NAME_LEAST, {0}, true}, 0, 0},
        {{NAME_LEAST, {0}, true}, {NAME_LEAST, {0}, true}, 0, 0},
        {{NAME_SPELLED, {"b", 1}, false}, {NAME_SPELLED, {"c", 1}, false}, 1, 3},
        {{NAME_SPELLED, {"b", 1}, true}, {NAME_SPELLED, {"c", 1}, false}, 2, 3},
        {{NAME_SPELLED, {"b", 1}, false}, {NAME_SPELLED, {"c", 1}, true}, 1, 2},
        {{NAME_SPELLED, {"b", 1}, true}, {NAME_SPELLED, {"b", 1}, false}, 0, 0},
        {{NAME_SPELLED, {"bb", 2}, false}, {NAME_GREATEST, {0}, true}, 2, 4},
        {{NAME_LEAST, {0}, true}, {NAME_SPELLED, {"", 0}, false}, 0, 0},
        {{NAME_SPELLED, {"z", 1}, false}, {NAME_GREATEST, {0}, true}, 0, 0},
    };
    for (uint64_t entries = 0; entries <= 128; entries += 128) {
        limits.entries = entries;
        store_remove(f->store, &f->guard, KEY, f->hash, REMOVED_DELETED);
        set(f, "a", 0), set(f, "b", 0), set(f, "c", 0), set(f, "d", 0);
        struct zset_view view = view_of(f);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            struct name_range range = {cases[i].min, cases[i].max};
            for (int reverse = 0; reverse < 2; reverse++) {
                size_t from;
                size_t to;
                zset_range_names(&view, &range, reverse, &from, &to);
                assert_int_equal(to - from, cases[i].to - cases[i].from);
                if (to > from) assert_int_equal(from, cases[i].from);
            }
        }
    }
}

static void ranks_count_from_either_end(void **state) {
    (void)state;
    static const struct {
        int64_t start, stop;
        bool reverse;
        size_t from, to;
    } cases[] = {
        {0, -1, false, 0, 5},
        {0, -1, true, 0, 5},
        {1, 2, false, 1, 3},
        {1, 2, true, 2, 4},
        {-2, -1, false, 3, 5},
        {-2, -1, true, 0, 2},
        {3, 1, false, 0, 0},
        {5, 9, false, 0, 0},
        {-100, 0, false, 0, 1},
        {0, 100, true, 0, 5},
        {0, -6, false, 0, 0},
        {4, 4, true, 0, 1},
        {INT64_MIN, INT64_MAX, false, 0, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t from;
        size_t to;
        zset_range_ranks(5, cases[i].start, cases[i].stop, cases[i].reverse, &from, &to);
        assert_int_equal(from, cases[i].from);
        assert_int_equal(to, cases[i].to);
    }
}

static uint64_t used(struct fixture *f) {
    struct store_stats stats;
    store_stats(f->store, &stats);
    return stats.bytes;
}

static void a_tree_is_accounted_for(void **state) {
    struct fixture *f = *state;
    uint64_t before = used(f);
    struct zset_edit edit;
    zset_edit_begin(&edit, NULL, f->hash, &limits);
    enum { N = 20000 };
    char name[24];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "member:%09d", i);
        zset_edit_set(&edit, slice_from(name), drand48());
    }
    assert_true(zset_edit_end(&edit, f->store, &f->guard, KEY));
    uint64_t full = used(f) - before;
    assert_in_range(full, N * 50, N * 90); /* bytes a member of 16 bytes: Redis takes 125 */
    zset_edit_begin(&edit, entry_of(f), f->hash, &limits);
    zset_edit_delete_ranks(&edit, 10, N);
    assert_true(zset_edit_end(&edit, f->store, &f->guard, KEY));
    assert_true(used(f) - before < full / 20);
    assert_true(store_remove(f->store, &f->guard, KEY, f->hash, REMOVED_DELETED));
    assert_true(used(f) <= before + 4096); /* the shard keeps an empty bucket */
}

static void packed_scores_read_as_they_were_written(void **state) {
    (void)state;
    static const double scores[] = {0,
                                    1,
                                    -1,
                                    127,
                                    -127,
                                    128,
                                    -128,
                                    32767,
                                    -32767,
                                    32768,
                                    -32768,
                                    2147483647,
                                    -2147483648.0,
                                    2147483648.0,
                                    0.1,
                                    -1e300,
                                    5e-324,
                                    (double)INFINITY,
                                    -(double)INFINITY,
                                    1732190000123.0};
    struct buf packed = {0};
    scored_init(&packed);
    enum { N = sizeof scores / sizeof scores[0] };
    for (size_t i = 0; i < N; i++)
        scored_append(&packed, slice_make("0123456789012345678901234567890123", i), scores[i]);
    struct scored_cursor cursor = scored_begin(buf_slice(&packed));
    struct scored item;
    for (size_t i = 0; i < N; i++) {
        assert_true(scored_next(&cursor, &item));
        assert_int_equal(item.member.len, i);
        assert_true(item.score == scores[i]);
    }
    assert_false(scored_next(&cursor, &item));
    assert_int_equal(scored_count(buf_slice(&packed)), 0);
    scored_set_count(&packed, N);
    assert_int_equal(scored_count(buf_slice(&packed)), N);
    packed.len = 0;
    scored_append(&packed, SLICE("member:01"), 42);
    assert_int_equal(packed.len, 1 + 9 + 1);
    buf_deinit(&packed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_stand_in_order_of_score_and_name, begin, teardown),
        cmocka_unit_test_setup_teardown(it_becomes_a_tree_beyond_the_limits_and_stays_one, begin,
                                        teardown),
        cmocka_unit_test_setup_teardown(random_changes_give_what_a_model_gives, begin, teardown),
        cmocka_unit_test_setup_teardown(ranges_by_name_are_those_of_redis, begin, teardown),
        cmocka_unit_test(ranks_count_from_either_end),
        cmocka_unit_test_setup_teardown(a_tree_is_accounted_for, begin, teardown),
        cmocka_unit_test(packed_scores_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

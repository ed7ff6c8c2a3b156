#include "base/arena.h"
#include "cache/values/elements.h"
#include "cache/values/list.h"
#include "one_key.h"

static const struct slice KEY = {"l", 1};

static struct list *begin(struct fixture *f, struct list_edit *edit) {
    return list_edit_begin(edit, entry_of(f), f->hash);
}

static void end(struct fixture *f, struct list_edit *edit) {
    assert_true(list_edit_end(edit, f->store, &f->guard, KEY));
}

static void push(struct fixture *f, enum list_end where, struct slice element) {
    struct list_edit edit;
    list_push(begin(f, &edit), where, element);
    end(f, &edit);
}

static void drop(struct fixture *f, enum list_end where, size_t n) {
    struct list_edit edit;
    list_drop(begin(f, &edit), where, n);
    end(f, &edit);
}

/* --- the model: an array of slices of its own --- */

enum { MODEL_MAX = 4000 };

struct model {
    struct slice at[MODEL_MAX];
    size_t n;
    struct arena *arena; /* of the elements */
};

static struct slice made(struct arena *arena, size_t len, uint32_t number) {
    char *bytes = arena_alloc(arena, len + 16);
    memset(bytes, 'a' + (int)(number % 26), len + 16);
    snprintf(bytes, 12, "%u", number % 50);
    return slice_make(bytes, len);
}

static void model_insert(struct model *model, size_t i, struct slice element) {
    memmove(&model->at[i + 1], &model->at[i], (model->n - i) * sizeof model->at[0]);
    model->at[i] = element;
    model->n++;
}

static void model_remove(struct model *model, size_t i, size_t n) {
    memmove(&model->at[i], &model->at[i + n], (model->n - i - n) * sizeof model->at[0]);
    model->n -= n;
}

static void assert_same(const struct list_view *view, const struct model *model) {
    struct slice element;
    assert_int_equal(list_count(view), model->n);
    struct list_cursor cursor = list_seek(view, 0, LIST_HEAD);
    for (size_t i = 0; i < model->n; i++) {
        assert_true(list_next(&cursor, &element));
        assert_true(slice_equal(element, model->at[i]));
    }
    assert_false(list_next(&cursor, &element));
    if (model->n == 0) return;
    cursor = list_seek(view, model->n - 1, LIST_TAIL);
    for (size_t i = model->n; i-- > 0;) {
        assert_true(list_next(&cursor, &element));
        assert_true(slice_equal(element, model->at[i]));
    }
    assert_false(list_next(&cursor, &element));
    size_t index = (size_t)lrand48() % model->n;
    assert_true(list_at(view, index, &element) && slice_equal(element, model->at[index]));
    assert_false(list_at(view, model->n, &element));
}

static size_t some_length(uint32_t large) {
    if (lrand48() % 1000 < large) return 3000 + (size_t)lrand48() % 9000;
    return lrand48() % 20 == 0 ? (size_t)lrand48() % 400 : (size_t)lrand48() % 12;
}

static void model_remove_equal(struct model *model, struct slice element, size_t most,
                               bool from_tail, size_t *removed) {
    *removed = 0;
    for (size_t seen = 0, n = model->n, i = from_tail ? n - 1 : 0; seen < n && *removed < most;
         seen++) {
        bool equal = slice_equal(model->at[i], element);
        if (equal) {
            model_remove(model, i, 1);
            ++*removed;
        }
        if (from_tail)
            i--;
        else if (!equal)
            i++;
    }
}

/* One change to both. `growing`: more comes than goes. */
static void change(struct list *list, struct model *model, bool growing, uint32_t large) {
    uint32_t number = (uint32_t)lrand48();
    enum list_end where = lrand48() % 2 ? LIST_HEAD : LIST_TAIL;
    size_t i = model->n ? (size_t)lrand48() % model->n : 0;
    struct slice element = made(model->arena, some_length(large), number);
    long kind = lrand48() % 100;
    if (kind < (growing ? 70 : 30) && model->n < MODEL_MAX - 1) {
        list_push(list, where, element);
        model_insert(model, where == LIST_HEAD ? 0 : model->n, element);
    } else if (kind < 78 && model->n < MODEL_MAX - 1) {
        list_insert(list, i, element);
        model_insert(model, i, element);
    } else if (kind < 86 && model->n) {
        list_replace(list, i, element);
        model->at[i] = element;
    } else if (kind < 90 && model->n) {
        size_t most = (size_t)(lrand48() % 4);
        size_t removed;
        struct slice equal = model->at[i];
        model_remove_equal(model, equal, most, where == LIST_TAIL, &removed);
        assert_int_equal(list_remove(list, equal, most, where), removed);
    } else {
        size_t n = (size_t)lrand48() % (growing ? 3 : 20);
        if (n > model->n) n = model->n;
        list_drop(list, where, n);
        model_remove(model, where == LIST_HEAD ? 0 : model->n - n, n);
    }
}

static void run_model(uint32_t large) {
    static struct model model;
    model.n = 0;
    model.arena = arena_create(64 * 1024);
    struct list *list = list_create();
    for (int i = 0; i < 30000; i++) {
        change(list, &model, i / 3000 % 3 != 2, large);
        struct list_view view = list_view_of(list);
        if (i % 97 == 0) assert_same(&view, &model);
    }
    struct list *copy = list_copy(list);
    list_drop(list, LIST_HEAD, SIZE_MAX);
    struct list_view view = list_view_of(copy);
    assert_same(&view, &model);
    assert_int_equal(list_length(list), 0);
    list_destroy(list);
    list_destroy(copy);
    arena_destroy(&model.arena);
}

static void a_list_answers_as_a_model_does(void **state) {
    (void)state;
    run_model(0);
    run_model(20);
}

/* --- --- */

static void a_small_list_is_packed_and_the_key_goes_with_its_last_element(void **state) {
    struct fixture *f = *state;
    push(f, LIST_TAIL, SLICE("b"));
    push(f, LIST_HEAD, SLICE("a"));
    push(f, LIST_TAIL, SLICE(""));
    const struct entry *entry = entry_of(f);
    assert_int_equal(entry->kind, ENTRY_LIST);
    assert_false(entry->flags & ENTRY_OBJECT);
    assert_int_equal(entry->value_len, 2 + 2 + 2 + 2);
    struct list_view view = list_view_entry(entry);
    struct model model = {.at = {SLICE("a"), SLICE("b"), SLICE("")}, .n = 3};
    assert_same(&view, &model);
    drop(f, LIST_HEAD, 2);
    drop(f, LIST_TAIL, 1);
    assert_null(entry_of(f));
}

static void it_becomes_an_object_beyond_a_kilobyte(void **state) {
    struct fixture *f = *state;
    char bytes[1000] = {0};
    push(f, LIST_TAIL, slice_make(bytes, 1000));
    assert_false(entry_of(f)->flags & ENTRY_OBJECT);
    push(f, LIST_TAIL, slice_make(bytes, 100));
    assert_true(entry_of(f)->flags & ENTRY_OBJECT);
    drop(f, LIST_HEAD, 2);
    assert_null(entry_of(f));
}

static void a_packed_list_and_an_object_read_the_same(void **state) {
    struct fixture *f = *state;
    static struct model model;
    model.n = 0;
    model.arena = arena_create(64 * 1024);
    for (uint32_t i = 0; i < 2000; i++) {
        struct slice element = made(model.arena, i % 7, i);
        enum list_end where = i % 3 ? LIST_TAIL : LIST_HEAD;
        push(f, where, element);
        model_insert(&model, where == LIST_HEAD ? 0 : model.n, element);
        struct list_view view = list_view_entry(entry_of(f));
        if (i % 13 == 0) assert_same(&view, &model);
    }
    arena_destroy(&model.arena);
    assert_true(entry_of(f)->flags & ENTRY_OBJECT);
}

static void what_a_list_takes_is_accounted_for(void **state) {
    struct fixture *f = *state;
    struct store_stats before;
    struct store_stats stats;
    push(f, LIST_TAIL, SLICE("the index has its first bucket from here on"));
    drop(f, LIST_TAIL, 1);
    store_stats(f->store, &before);
    for (uint32_t i = 0; i < 20000; i++)
        push(f, LIST_TAIL, SLICE("0123456789"));
    store_stats(f->store, &stats);
    size_t took = stats.bytes - before.bytes;
    assert_true(took >= 20000 * 12 && took < 20000 * 13);
    drop(f, LIST_TAIL, 20000);
    store_stats(f->store, &stats);
    assert_int_equal(stats.bytes, before.bytes);
}

/* A queue of a steady length must not copy a chunk with each push, nor grow. */
static void a_queue_stays_as_small_as_it_is(void **state) {
    (void)state;
    for (int reversed = 0; reversed < 2; reversed++) {
        struct list *list = list_create();
        for (uint32_t i = 0; i < 400; i++)
            list_push(list, LIST_TAIL, SLICE("0123456789"));
        for (uint32_t i = 0; i < 100000; i++) {
            list_push(list, reversed ? LIST_HEAD : LIST_TAIL, SLICE("0123456789"));
            list_drop(list, reversed ? LIST_TAIL : LIST_HEAD, 1);
        }
        assert_int_equal(list_length(list), 400);
        assert_true(list_size(list) <= 4 * LIST_CHUNK_BYTES);
        list_destroy(list);
    }
}

static void an_edit_keeps_the_expiry(void **state) {
    struct fixture *f = *state;
    push(f, LIST_TAIL, SLICE("a"));
    store_set_expiry(f->store, &f->guard, entry_of(f), 5000);
    push(f, LIST_TAIL, SLICE("b"));
    assert_int_equal(entry_expiry(entry_of(f)), 5000);
    char bytes[2000] = {0};
    push(f, LIST_TAIL, slice_make(bytes, sizeof bytes));
    assert_int_equal(entry_expiry(entry_of(f)), 5000);
}

static void an_element_of_any_length_reads_the_same_from_both_ends(void **state) {
    (void)state;
    static char bytes[20000];
    struct arena *arena = arena_create(1024);
    for (size_t len = 0; len < 17000; len = len * 2 + 1) {
        size_t size = elements_size(len);
        elements_write(bytes, made(arena, len, 1));
        const char *at = bytes;
        assert_int_equal(elements_forward(&at).len, len);
        assert_ptr_equal(at, bytes + size);
        assert_int_equal(elements_backward(&at).len, len);
        assert_ptr_equal(at, bytes);
    }
    arena_destroy(&arena);
}

int main(void) {
    srand48(4);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_list_answers_as_a_model_does),
        TEST(a_small_list_is_packed_and_the_key_goes_with_its_last_element),
        TEST(it_becomes_an_object_beyond_a_kilobyte),
        TEST(a_packed_list_and_an_object_read_the_same),
        TEST(what_a_list_takes_is_accounted_for),
        TEST(a_queue_stays_as_small_as_it_is),
        TEST(an_edit_keeps_the_expiry),
        TEST(an_element_of_any_length_reads_the_same_from_both_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

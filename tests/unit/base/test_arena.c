/* Memory of one batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"

enum { BLOCK = 1024 };

static void allocations_are_aligned_and_apart(void **state) {
    (void)state;
    struct arena *arena = arena_create(BLOCK);
    char *all[200];
    for (int i = 0; i < 200; i++) {
        size_t size = (size_t)i * 7 % 97 + 1;
        all[i] = arena_alloc(arena, size);
        assert_int_equal((uintptr_t)all[i] % 16, 0);
        memset(all[i], i, size);
    }
    for (int i = 0; i < 200; i++) {
        for (size_t k = 0; k < (size_t)i * 7 % 97 + 1; k++)
            assert_int_equal((unsigned char)all[i][k], i);
    }
    arena_destroy(&arena);
    assert_null(arena);
}

static void something_larger_than_a_block_fits(void **state) {
    (void)state;
    struct arena *arena = arena_create(BLOCK);
    char *small = arena_alloc(arena, 16);
    char *large = arena_zalloc(arena, 100 * BLOCK);
    char *next = arena_alloc(arena, 16);
    assert_int_equal(large[100 * BLOCK - 1], 0);
    assert_ptr_equal(next, small + 16); /* the block in use goes on being filled */
    arena_destroy(&arena);
}

static void a_reset_gives_all_back_and_keeps_a_block(void **state) {
    (void)state;
    struct arena *arena = arena_create(BLOCK);
    arena_alloc(arena, 100);
    for (int i = 0; i < 50; i++)
        arena_alloc(arena, 200);
    arena_alloc(arena, 10 * BLOCK);
    assert_true(arena_used(arena) >= 100 + 50 * 200 + 10 * BLOCK);
    arena_reset(arena);
    assert_int_equal(arena_used(arena), 0);
    char *first = arena_alloc(arena, 100);
    arena_reset(arena);
    assert_ptr_equal(arena_alloc(arena, 100), first);
    arena_destroy(&arena);
}

static void copies_end_in_nul(void **state) {
    (void)state;
    struct arena *arena = arena_create(BLOCK);
    assert_string_equal(arena_strdup(arena, "text"), "text");
    struct slice copy = arena_dup(arena, (struct slice){.data = "text and more", .len = 4});
    assert_int_equal(copy.len, 4);
    assert_string_equal(copy.data, "text");
    assert_string_equal(arena_dup(arena, (struct slice){0}).data, "");
    arena_destroy(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_apart),
        cmocka_unit_test(something_larger_than_a_block_fits),
        cmocka_unit_test(a_reset_gives_all_back_and_keeps_a_block),
        cmocka_unit_test(copies_end_in_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cache/store/heap.h"

static void slots_waste_little_and_are_apart(void **state) {
    (void)state;
    struct heap *heap = heap_create(2);
    static void *blocks[HEAP_MOST];
    for (size_t size = 1; size <= HEAP_MOST; size++) {
        void *block = blocks[size - 1] = heap_alloc(heap, size % 2, size);
        assert_int_equal((uintptr_t)block % 8, 0);
        size_t slot = heap_block_size(block);
        assert_true(slot >= size);
        assert_true(slot <= 16 || slot < size + (size <= 512 ? 8 : size / 16 + 1));
        memset(block, (int)(size % 251), size);
    }
    for (size_t size = 1; size <= HEAP_MOST; size++) {
        unsigned char *block = blocks[size - 1];
        for (size_t i = 0; i < size; i++)
            assert_int_equal(block[i], size % 251);
        heap_free(block);
    }
    assert_int_equal(heap_stats(heap, UINT32_MAX).mapped, 0);
    assert_int_equal(heap_stats(heap, UINT32_MAX).live, 0);
    heap_destroy(&heap);
}

/* Three of four blocks are gone, and all that is left is moved together. */
static void sparse_slabs_are_emptied_into_the_holes_of_others(void **state) {
    (void)state;
    enum { N = 20000, SIZE = 100 };
    static uint32_t *blocks[N];
    struct heap *heap = heap_create(1);
    for (uint32_t i = 0; i < N; i++) {
        blocks[i] = heap_alloc(heap, 0, SIZE);
        *blocks[i] = i;
    }
    assert_null(heap_sparse(heap, 0)); /* nothing to win */
    for (uint32_t i = 0; i < N; i++)
        if (i % 4) heap_free(blocks[i]);
    size_t before = heap_stats(heap, 0).mapped;
    struct slab *slab;
    while ((slab = heap_sparse(heap, 0))) {
        uint32_t cursor = 0;
        uint32_t *old;
        while ((old = heap_next(slab, &cursor))) {
            uint32_t *moved = heap_alloc(heap, 0, SIZE);
            *moved = *old;
            blocks[*old] = moved;
            heap_free(old); /* with the last one the slab goes, and the walk ends */
            if (cursor >= N || heap_stats(heap, 0).mapped < before) {
                before = heap_stats(heap, 0).mapped;
                break;
            }
        }
    }
    struct heap_stats stats = heap_stats(heap, 0);
    assert_int_equal(stats.live, N / 4 * heap_block_size(blocks[0]));
    assert_true(stats.mapped < stats.live + 3 * HEAP_SLAB_BYTES);
    for (uint32_t i = 0; i < N; i += 4) {
        assert_int_equal(*blocks[i], i);
        heap_free(blocks[i]);
    }
    assert_int_equal(heap_stats(heap, 0).mapped, 0);
    heap_destroy(&heap);
}

static void memory_of_a_size_that_is_no_longer_used_serves_another(void **state) {
    (void)state;
    enum { N = 5000 };
    static void *blocks[N];
    struct heap *heap = heap_create(1);
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < N; i++)
            blocks[i] = heap_alloc(heap, 0, 64 << round);
        struct heap_stats stats = heap_stats(heap, 0);
        assert_int_equal(stats.live, (size_t)N * (64u << round));
        assert_true(stats.mapped < stats.live + stats.live / 20 + 2 * HEAP_SLAB_BYTES);
        for (uint32_t i = 0; i < N; i++)
            heap_free(blocks[i]);
        assert_int_equal(heap_stats(heap, 0).mapped, 0);
    }
    heap_destroy(&heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_waste_little_and_are_apart),
        cmocka_unit_test(sparse_slabs_are_emptied_into_the_holes_of_others),
        cmocka_unit_test(memory_of_a_size_that_is_no_longer_used_serves_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

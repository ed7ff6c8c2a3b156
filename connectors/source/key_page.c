#include "connectors/source/key_page.h"

#include "base/mem.h"

enum { ARENA_BLOCK_BYTES = 16 * 1024, FIRST_KEYS = 256 };

void key_page_clear(struct key_page *page) {
    if (page->arena) arena_reset(page->arena);
    page->n = 0;
}

void key_page_add(struct key_page *page, struct slice key) {
    if (!page->arena) page->arena = arena_create(ARENA_BLOCK_BYTES);
    if (page->n == page->cap) {
        page->cap = page->cap ? 2 * page->cap : FIRST_KEYS;
        page->keys = mem_realloc(page->keys, page->cap * sizeof *page->keys);
    }
    page->keys[page->n++] = arena_dup(page->arena, key);
}

void key_page_deinit(struct key_page *page) {
    arena_destroy(&page->arena);
    mem_free(page->keys);
    *page = (struct key_page){0};
}

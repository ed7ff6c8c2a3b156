/* key_page.h: some of a sink's keys, as its `scan` gives them.
 *
 *     struct key_page page = {0};
 *     key_page_clear(&page);  key_page_add(&page, key);  ...  key_page_deinit(&page);
 */
#ifndef FRESHET_CONNECTORS_KEY_PAGE_H
#define FRESHET_CONNECTORS_KEY_PAGE_H

#include <stddef.h>

#include "base/arena.h"
#include "base/slice.h"

struct key_page {
    struct arena *arena;
    struct slice *keys; /* n of them; some may be there twice */
    size_t n;
    size_t cap;
};

void key_page_clear(struct key_page *page);
void key_page_add(struct key_page *page, struct slice key);
void key_page_deinit(struct key_page *page);

#endif

/* rows.h: what the connectors' tests share: shapes and rows in a line. */
#ifndef FRESHET_TESTS_UNIT_CONNECTORS_ROWS_H
#define FRESHET_TESTS_UNIT_CONNECTORS_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* cmocka needs what stands above. */
#include <cmocka.h>

#include "base/slice.h"
#include "connectors/document/shape.h"

#define UNCHANGED ((const char *)-1)

/* NULL: null; UNCHANGED: not in the stream. */
static inline struct value value_of(const char *text) {
    if (text == UNCHANGED) return (struct value){.kind = VALUE_UNCHANGED};
    if (!text) return (struct value){.kind = VALUE_NULL};
    return (struct value){.kind = VALUE_TEXT, .len = (uint32_t)strlen(text), .data = text};
}

#define ROW(...)                                                                                   \
    (const struct value[]) { __VA_ARGS__ }
#define V(text) value_of(text)

/* public.users(id bigint, name text, note text), key id. */
static inline struct shape *users_shape(void) {
    static const struct shape_column columns[] = {{"id", CLASS_LONG, false, NULL, NULL},
                                                  {"name", CLASS_TEXT, false, NULL, NULL},
                                                  {"note", CLASS_TEXT, false, NULL, NULL}};
    static const uint16_t keys[] = {0};
    return shape_create("public", "users", 3, columns, 1, keys);
}

static inline void assert_slice(struct slice slice, const char *text) {
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.data, text, slice.len);
}

#endif

/* slice.h: a borrowed run of bytes. Never owns, never NUL-terminated unless said. Passed by value. */
#ifndef FRESHET_BASE_SLICE_H
#define FRESHET_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *data;
    size_t len;
};

/* A string literal as a slice, at compile time. */
#define SLICE(literal) ((struct slice){.data = "" literal, .len = sizeof(literal) - 1})

static inline struct slice slice_make(const void *data, size_t len) {
    return (struct slice){.data = data, .len = len};
}

static inline struct slice slice_from(const char *text) {
    return (struct slice){.data = text, .len = strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* The order of their bytes; of one that the other begins with, the shorter first. Below 0, 0, above 0. */
static inline int slice_compare(struct slice a, struct slice b) {
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* ASCII case is folded: for protocol words, never for data. */
static inline bool slice_equal_nocase(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

#endif

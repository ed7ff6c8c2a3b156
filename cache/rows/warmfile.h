/* warmfile.h: the file of a warm start: the names of the rows that were asked for most, and in which form.
 *
 *     freshet warm 1
 *     s users:42
 *     h order_items:42:7
 *     end 2 4f1c9a2be07d3355
 *
 * Text, the hottest first. A line is a form (s: JSON or another string, h: hash, l: list, z: sorted set) and a key, in which control
 * characters and '%' are percent-encoded. The last line counts the keys and has XXH3-64 of all before it, so a torn or altered file
 * is known; what it holds is checked whole before any of it is used. It holds no values.
 *
 *     warmfile_begin(&text);  warmfile_add(&text, 's', key);  warmfile_end(&text);
 *     if (!warmfile_open(bytes, &file, &why)) ...             why: a constant
 *     while (warmfile_next(&file, &key, &form, &scratch)) ...
 *
 * Pure. */
#ifndef FRESHET_CACHE_WARMFILE_H
#define FRESHET_CACHE_WARMFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum {
    WARMFILE_MAX_KEYS = 10 * 1000 * 1000,
    WARMFILE_MAX_KEY_BYTES = 64 * 1024, /* as it stands in the file */
    WARMFILE_MAX_BYTES = 1 << 30,
};

void warmfile_begin(struct buf *text);
/* A key that is too long for the file is left out. */
void warmfile_add(struct buf *text, char form, struct slice key);
/* Counts and signs what the buffer holds from its start. */
void warmfile_end(struct buf *text);

struct warmfile {
    struct slice rest; /* of the lines */
    uint64_t n_keys;   /* of all lines */
};

/* The bytes are borrowed while the file is read. False: they are no such file, or a damaged one. */
bool warmfile_open(struct slice bytes, struct warmfile *file, const char **why);
/* `scratch` holds the key where it had to be decoded. False at the end. */
bool warmfile_next(struct warmfile *file, struct slice *key, char *form, struct buf *scratch);

#endif

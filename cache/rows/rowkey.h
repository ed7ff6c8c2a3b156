/* rowkey.h: from a key's text to the values of the table's key columns, and back. Pure.
 *
 *     struct rowkey key = {0};
 *     if (!rowkey_parse(table, rest, &scratch, &key, &failure)) ...      "ERR users: ..." for the client
 *     rowkey_compose(table, identities, &text);                          "users:42"
 *     rowkey_compose_unique(table, unique, identities, &text);           "users:email=a@b.c"
 *
 * One key column: all behind the prefix's ':' is the value, taken as it is. Several: split at ':', where %3A, %3D and %25
 * stand for ':', '=' and '%'. What stands before the first '=' may name the key column, or a column of a UNIQUE index
 * (`users:id=42`, `users:email=a@b.c`): the rest is its value, taken as it is. Several columns are named each, in any
 * order (`t:a=1,b=2`), where %2C and %25 stand for ',' and '%'. */
#ifndef FRESHET_CACHE_ROWKEY_H
#define FRESHET_CACHE_ROWKEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/rows/tablemap.h"

enum { ROWKEY_MAX_COLUMNS = 32, /* INDEX_MAX_KEYS */ ROWKEY_MAX_BYTES = 16 * 1024 };

struct rowkey {
    const struct unique_key *unique; /* of the table: by its columns; NULL: by the primary key */
    uint16_t n;
    struct slice values[ROWKEY_MAX_COLUMNS]; /* into the key's text, or into the scratch buffer */
    bool unsure;  /* PostgreSQL may find a value malformed: its errors are this key's own */
    bool plain;   /* one value of the primary key, in the very text that PostgreSQL prints of it */
    bool lasting; /* every value means the same at any time: it may be kept */
};

/* False: the text is no key of the table, and *failure gets the whole error text. `scratch` holds decoded values. */
bool rowkey_parse(const struct table *table, struct slice rest, struct buf *scratch,
                  struct rowkey *key, struct buf *failure);

/* Appends the canonical key of the row with these identities (table->n_keys of them). */
void rowkey_compose(const struct table *table, const struct slice *identities, struct buf *text);

/* Appends the canonical key of such a row by the unique index. */
void rowkey_compose_unique(const struct table *table, const struct unique_key *unique,
                           const struct slice *identities, struct buf *text);

/* The columns that a key gives values of, key->n of them. */
static inline const struct key_column *rowkey_columns(const struct table *table,
                                                      const struct unique_key *unique) {
    return unique ? unique->columns : table->keys;
}

/* Appends "ERR users: "abc" is not an integer (column id)". */
void rowkey_bad_value(const struct table *table, const struct key_column *column,
                      struct slice value, struct buf *failure);

#endif

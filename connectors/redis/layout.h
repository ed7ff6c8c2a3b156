/* layout.h: where a row stands in a Redis, by the configuration: its key, and in a set its member and score.
 *
 *     struct layout *layout = layout_create(&config, err);            as: sorted-set, key: users:by_country:{country}
 *     if (!layout_bind(layout, shape, err)) ...                       which columns those are
 *     if (layout_place(layout, key, row, &place)) ...                 users:by_country:DE, member 42, score 7.5
 *
 * A pattern is text with columns' names in braces. A value stands in a key as PostgreSQL prints it; where the pattern has
 * several columns, ':' and '%' in a value are %3A and %25, as in the keys of the cache. A row with a NULL in a column of
 * a pattern, or as its score, has no place: it is left out, as a partial index leaves rows out.
 * Key and member together must hold every column of the table's key, or rows would overwrite one another.
 * One thread; nothing here does I/O. */
#ifndef FRESHET_CONNECTORS_REDIS_LAYOUT_H
#define FRESHET_CONNECTORS_REDIS_LAYOUT_H

#include "base/buf.h"
#include "base/error.h"
#include "connectors/document/shape.h"

enum layout_kind { LAYOUT_JSON, LAYOUT_HASH, LAYOUT_SET, LAYOUT_SORTED_SET };

struct layout_config {
    const char *as;     /* "json", "hash", "set", "sorted-set"; NULL: json */
    const char *key;    /* a pattern */
    const char *member; /* a pattern; NULL: the row's key as the cache writes it */
    const char *score;  /* a column; sorted sets need one, the others have none */
};

struct layout;

/* NULL: a pattern is malformed, or the parts do not go together. */
struct layout *layout_create(const struct layout_config *config, struct error *err);
void layout_destroy(struct layout **layout);
enum layout_kind layout_kind(const struct layout *layout);
/* Finds the columns. False: one is not there, or is none that can be a score, or the key is not covered. */
bool layout_bind(struct layout *layout, const struct shape *shape, struct error *err) MUST_CHECK;
/* A key as a row might have it. Appended. */
void layout_example(const struct layout *layout, struct buf *out);
/* The same; *option is the one to blame. */
bool layout_fits(struct layout *layout, const struct shape *shape, const char **option,
                 struct error *err) MUST_CHECK;

struct place {
    struct buf key;
    struct buf member; /* of sets; else empty */
    struct buf score;  /* of sorted sets, as Redis reads it; else empty */
};

enum layout_result {
    LAYOUT_PLACED,
    LAYOUT_NOWHERE,  /* a NULL */
    LAYOUT_NO_SCORE, /* the score's value is no number: place->score is its text */
};

/* `row_key`: as in a batch. Overwrites what *place holds; its buffers are the caller's to free. */
enum layout_result layout_place(const struct layout *layout, struct slice row_key,
                                const struct value *row, struct place *place);
/* The same, without the score, of a row of which the key alone is known; false: its place depends on other columns. */
bool layout_place_key(const struct layout *layout, const struct shape *shape, struct slice row_key,
                      struct place *place);
void place_deinit(struct place *place);
/* Of a key's pattern with one column: that, and what stands before and behind it. False: it has none or several. */
bool layout_only_column(const struct layout *layout, struct slice *before, uint16_t *column,
                        struct slice *behind);

/* Appends a date's or timestamp's seconds since 1970, "1763711227.5"; false: it is infinite, or none. Pure. */
bool layout_epoch(struct slice text, struct buf *out);

#endif

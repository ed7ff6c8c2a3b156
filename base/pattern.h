/* pattern.h: which tables a user means: "public.*", "sales.orders", "audit_*.log", "\"Odd.Name\".t".
 *
 *     pattern_match("public.*", "public", "users")      true
 *
 * Schema, a dot, table. `*` stands for any run of characters; a part in double quotes is taken as it is ("" for
 * a quote). Without a dot the schema is public. Case counts, as in the catalog. Pure; any thread. */
#ifndef FRESHET_BASE_PATTERN_H
#define FRESHET_BASE_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* False: an empty part, an open quote, or more than two parts. */
bool pattern_valid(const char *pattern);
/* An invalid pattern matches nothing. */
bool pattern_match(const char *pattern, const char *schema, const char *table);
/* One part alone, in which dots are like any other character: a column's name, a topic's. */
bool pattern_match_name(const char *pattern, const char *name);

enum { PATTERN_MAX_STARS = 9 };
/* What the stars stand for, in their order: of `orders_*` and orders_2024 the 2024. */
struct pattern_stars {
    uint32_t n; /* of more than PATTERN_MAX_STARS the first ones */
    struct slice texts[PATTERN_MAX_STARS];
};
/* pattern_match, and what was found; slices of `schema` and `table`. */
bool pattern_capture(const char *pattern, const char *schema, const char *table,
                     struct pattern_stars *stars);
/* How many stars outside quotes. */
uint32_t pattern_count_stars(const char *pattern);
/* True if any of the n matches; n == 0 matches every table. */
bool pattern_match_any(uint32_t n, const char *const *patterns, const char *schema,
                       const char *table);

#endif

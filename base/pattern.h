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

/* False: an empty part, an open quote, or more than two parts. */
bool pattern_valid(const char *pattern);
/* An invalid pattern matches nothing. */
bool pattern_match(const char *pattern, const char *schema, const char *table);
/* True if any of the n matches; n == 0 matches every table. */
bool pattern_match_any(uint32_t n, const char *const *patterns, const char *schema,
                       const char *table);

#endif

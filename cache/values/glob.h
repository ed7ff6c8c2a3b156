/* glob.h: patterns of KEYS, SCAN MATCH and CONFIG GET, with Redis's rules: * ? [a-c] [^a-c] and \ before a literal.
 * A class that is not closed ends with the pattern. Pure; time is bounded by pattern times text. */
#ifndef FRESHET_CACHE_GLOB_H
#define FRESHET_CACHE_GLOB_H

#include <stdbool.h>

#include "base/slice.h"

bool glob_match(struct slice pattern, struct slice text);

/* True for patterns that match everything: "*". */
static inline bool glob_is_all(struct slice pattern) {
    return pattern.len == 1 && pattern.data[0] == '*';
}

#endif

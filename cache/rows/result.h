/* result.h: what a named query's answer becomes in memory: from the text that its statement gives (named.h) to the value of its
 * shape.
 *
 *     if (!result_pack(query, text, &packed, &why)) ...      why: "a score is not a number"
 *
 * The text of a hash, a list or a sorted set is "3:abc", or "-" for NULL, one column behind the other. A list's run of elements
 * (elements.h), a hash's fields (fields.h), a sorted set's members in order (scored.h) come of it; NULLs are left out, of a field
 * or member that comes twice the last counts. The other shapes are text already. Pure. */
#ifndef FRESHET_CACHE_RESULT_H
#define FRESHET_CACHE_RESULT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/rows/named.h"

/* False: it is no value of that shape; *why is static. Nothing is appended where nothing is left: the key is absent then. */
bool result_pack(const struct named_query *query, struct slice text, struct buf *packed,
                 const char **why);

#endif

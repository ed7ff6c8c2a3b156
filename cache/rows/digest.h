/* digest.h: a number for a key's answer, by which two reads of it are compared. The rows of a named query come in an order of
 * PostgreSQL's choice where its SQL names none, so of its lists the order does not count. Pure. */
#ifndef FRESHET_CACHE_DIGEST_H
#define FRESHET_CACHE_DIGEST_H

#include <stdint.h>

#include "base/slice.h"
#include "cache/rows/tablemap.h"

/* `bytes` as it is stored: JSON, or packed as the table's kind of value is. */
uint64_t digest_of(const struct table *table, struct slice bytes);

#endif

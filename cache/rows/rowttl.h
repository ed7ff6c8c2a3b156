/* rowttl.h: until when a row may be kept: its table's TTL, the jitter, and the time that the row itself tells in a column
 * (cache.tables.NAME.ttl_column), after which it reads as absent. Pure. */
#ifndef FRESHET_CACHE_ROWTTL_H
#define FRESHET_CACHE_ROWTTL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

/* Does a column of this type (pg_type.typname of the base type) tell a time? Dates and times do, and numbers: seconds since 1970. */
bool rowttl_is_time(const char *base_type_name);

/* Appends the SQL of the milliseconds that the row `r` has left by the database's clock; NULL: it does not end. */
void rowttl_compose(struct buf *sql, const char *column, const char *base_type_name);

/* Appends the condition that the row `r` has ended, in a form that an index on the column serves. */
void rowttl_compose_ended(struct buf *sql, const char *column, const char *base_type_name);

struct rowttl {
    int64_t ttl_ms;   /* 0: none */
    int64_t stale_ms; /* what it may stay beyond that, while it is read again */
    uint32_t jitter_percent;
    uint64_t seed;   /* any number; another for each entry */
    bool ends;       /* the row tells a time */
    int64_t left_ms; /* until then: more than 0 */
};

/* Wall clock; STORE_NEVER: it does not expire. */
int64_t rowttl_expiry(const struct rowttl *ttl, int64_t now_ms);

#endif

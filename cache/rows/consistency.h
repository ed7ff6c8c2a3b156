/* consistency.h: how fresh the rows have to be that a request reads: what its connection has asked for (FRESHET.CONSISTENCY,
 * FRESHET.MINLSN), or the request itself (FRESHET.READ).
 *
 *     if (consistency_admits(consistency_of(ctx), core, now_us)) ...     memory may answer for a row
 *
 * An LSN that a connection names binds all of its reads, at any level. Plain keys know no levels. */
#ifndef FRESHET_CACHE_CONSISTENCY_H
#define FRESHET_CACHE_CONSISTENCY_H

#include <stdbool.h>
#include <stdint.h>

struct command_context;
struct row_stamp;
struct core;

enum consistency_level {
    CONSISTENCY_DEFAULT, /* as configured: max_staleness, on_stale */
    CONSISTENCY_STRICT,  /* only from a fill that has begun after the request */
    CONSISTENCY_BOUNDED, /* from memory only while it is at most bound_ms behind the primary's commits */
    CONSISTENCY_CACHED, /* from memory however far behind that may be */
};

/* All zero: nothing is asked. */
struct consistency {
    enum consistency_level level;
    int64_t bound_ms; /* CONSISTENCY_BOUNDED */
    uint64_t min_lsn; /* memory answers once all up to here is applied; 0: none */
};

/* What this run asks: the request's level, else the connection's. */
struct consistency consistency_of(const struct command_context *ctx);

/* May memory answer for a row, as it is now? Where memory cannot prove it (no stream), it may not. */
bool consistency_admits(const struct consistency *asked, const struct core *core, int64_t now_us);
/* ... for this one? What no stream tells of is of no known age. */
bool consistency_admits_row(const struct consistency *asked, const struct core *core,
                            const struct row_stamp *stamp, int64_t now_us);
/* May it be answered by a fill that was sent before it came, if that was kept? */
bool consistency_shares(const struct consistency *asked, const struct core *core);

#endif

/* compare.h: what a Redis has of rows, for a comparison with their table (connectors/verify.h).
 *
 *     compare_rows(&view, batch, entries, err);
 *     compare_scan_page(&view, &scan, shape, first, &page, err);
 *
 * A row is equal where it stands in its place, is remembered there, and has its content. Keys of the connector are those that it
 * remembers, and those of the pattern's form that a row might have: of one column, an integer. One thread. */
#ifndef FRESHET_CONNECTORS_REDIS_COMPARE_H
#define FRESHET_CONNECTORS_REDIS_COMPARE_H

#include "connectors/key_page.h"
#include "connectors/redis/layout.h"
#include "connectors/redis/target.h"
#include "connectors/sink.h"

struct compare_view {
    struct link *link;
    struct target *target;
    const struct layout *layout; /* bound */
    bool expires;                /* what has a life may be gone by itself */
};

bool compare_rows(const struct compare_view *view, struct batch *batch, struct sink_entry *entries,
                  struct error *err) MUST_CHECK;

struct compare_scan {
    enum { SCAN_ROWS, SCAN_KEYS, SCAN_DONE } phase;
    char cursor[32];
};

bool compare_scan_page(const struct compare_view *view, struct compare_scan *scan,
                       const struct shape *shape, bool first, struct key_page *page,
                       struct error *err) MUST_CHECK;

#endif

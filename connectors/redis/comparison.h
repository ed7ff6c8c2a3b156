/* comparison.h: what a Redis has of rows, for a comparison with their table (connectors/verify/verify.h).
 *
 *     comparison_rows(&view, batch, entries, err);
 *     comparison_scan_page(&view, &scan, shape, first, &page, err);
 *
 * A row is equal where it stands in its place, is remembered there, and has its content. Keys of the connector are those that it
 * remembers, and those of the pattern's form that a row might have: of one column, an integer. One thread. */
#ifndef FRESHET_CONNECTORS_REDIS_COMPARISON_H
#define FRESHET_CONNECTORS_REDIS_COMPARISON_H

#include "connectors/redis/layout.h"
#include "connectors/redis/ledger.h"
#include "connectors/sink.h"
#include "connectors/source/key_page.h"

struct comparison_view {
    struct link *link;
    struct ledger *ledger;
    const struct layout *layout; /* bound */
    bool expires;                /* what has a life may be gone by itself */
};

bool comparison_rows(const struct comparison_view *view, struct batch *batch,
                     struct sink_entry *entries, struct error *err) MUST_CHECK;

struct comparison_scan {
    enum { SCAN_ROWS, SCAN_KEYS, SCAN_DONE } phase;
    char cursor[32];
};

bool comparison_scan_page(const struct comparison_view *view, struct comparison_scan *scan,
                          const struct shape *shape, bool first, struct key_page *page,
                          struct error *err) MUST_CHECK;

#endif

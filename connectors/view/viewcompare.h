/* viewcompare.h: what a view table has of keys, for a comparison with its source (connectors/verify/verify.h).
 *
 *     viewcompare_rows(target, batch, entries, err);
 *     viewcompare_scan(target, shape, first, &page, err);  ...  until the page is empty
 *     viewcompare_hold(target, err);  ...rewrite...  viewcompare_release(target, keep, err);
 *
 * The target was never opened: each of these attaches it. An entry's digest is another one after whatever was written to its rows,
 * and be it the same again. One thread. */
#ifndef FRESHET_CONNECTORS_VIEW_VIEWCOMPARE_H
#define FRESHET_CONNECTORS_VIEW_VIEWCOMPARE_H

#include <stdbool.h>

#include "base/error.h"
#include "connectors/runtime/batch.h"
#include "connectors/sink.h"
#include "connectors/source/key_page.h"
#include "connectors/source/key_range.h"
#include "connectors/view/viewtable.h"

bool viewcompare_rows(struct viewtable *target, struct batch *batch, struct sink_entry *entries,
                      struct error *err) MUST_CHECK;
bool viewcompare_scan(struct viewtable *target, const struct shape *shape, bool first,
                      struct key_page *page, struct error *err) MUST_CHECK;
bool viewcompare_digest(struct viewtable *target, const struct shape *shape,
                        const struct key_range *range, struct range_digest *digest,
                        struct error *err) MUST_CHECK;
bool viewcompare_range_keys(struct viewtable *target, const struct shape *shape,
                            const struct key_range *range, struct key_page *page,
                            struct error *err) MUST_CHECK;

/* Nobody else writes into the table from then on, and nobody has begun to. */
bool viewcompare_hold(struct viewtable *target, struct error *err) MUST_CHECK;
bool viewcompare_release(struct viewtable *target, bool keep, struct error *err) MUST_CHECK;

#endif

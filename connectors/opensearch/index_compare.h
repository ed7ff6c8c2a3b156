/* index_compare.h: what an index has, for a comparison with its table (connectors/verify/verify.h).
 *
 *     index_compare(index, content, batch, entries, err);
 *     struct index_scan scan = {0};
 *     index_scan_page(index, &scan, shape, first, &page, err);  ...  index_scan_end(index, &scan);
 */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_INDEX_COMPARE_H
#define FRESHET_CONNECTORS_OPENSEARCH_INDEX_COMPARE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"
#include "connectors/opensearch/search_index.h"
#include "connectors/runtime/batch.h"
#include "connectors/sink.h"
#include "connectors/source/key_page.h"

/* Documents are read by _mget, which sees what is not refreshed yet. `content`: they are what was sent; false: a pipeline changes
 * them on their way, and that one is there is all that can be told. */
bool index_compare(struct search_index *index, bool content, struct batch *batch,
                   struct sink_entry *entries, struct error *err) MUST_CHECK;

/* The answer to an _mget: entries[0, n) in its order. Pure. False: it is none, or says that one could not be read. */
bool index_compare_read(struct slice answer, struct sink_entry *entries, size_t n,
                        struct error *err);

/* Ids of all documents, by a scroll. Zero: none is open. */
struct index_scan {
    char *scroll_id;
};
bool index_scan_page(struct search_index *index, struct index_scan *scan, const struct shape *shape,
                     bool first, struct key_page *page, struct error *err) MUST_CHECK;
void index_scan_end(struct search_index *index, struct index_scan *scan);

#endif

/* bulk.h: the _bulk request and its answer. Pure.
 *
 *     size_t at = 0;
 *     bulk_compose(&body, batch, &at, to, max_bytes);             NDJSON of the writes from `at` on
 *     enum bulk_result result = bulk_read(batch, from, at, answer, &err);
 *
 * Each item says its id, its version and version_type=external: the index keeps what has the higher version,
 * so replays are harmless, and so would be reordering. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_BULK_H
#define FRESHET_CONNECTORS_OPENSEARCH_BULK_H

#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"
#include "connectors/runtime/batch.h"

/* OpenSearch refuses a whole request for one longer id (Engine's limit on _id). */
enum { BULK_ID_MAX_BYTES = 512 };

/* Appends writes of the batch from *at up to `to` until max_bytes are reached (one at the least) and moves *at
 * behind the last. Writes that no request may hold (an id that is empty or too long) are marked as refused. Returns the
 * number of items. */
size_t bulk_compose(struct buf *body, struct batch *batch, size_t *at, size_t to, size_t max_bytes);

enum bulk_result {
    BULK_DONE,
    BULK_RETRY,   /* some writes stay WRITE_PENDING; *err says why */
    BULK_GONE,    /* the index does not exist */
    BULK_INVALID, /* not an answer to this request */
};

/* Sets the outcome of the writes that bulk_compose took between `from` and `to`, from a 200's body. */
enum bulk_result bulk_read(struct batch *batch, size_t from, size_t to, struct slice answer,
                           struct error *err);

#endif

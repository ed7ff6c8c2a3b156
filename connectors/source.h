/* source.h: where a connector's rows come from, beside the feed that streams their changes.
 *
 * One kind today: a table of PostgreSQL (table_source.h). A view would be another: its reread runs the view's SQL for
 * the keys that changed. */
#ifndef FRESHET_CONNECTORS_SOURCE_H
#define FRESHET_CONNECTORS_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"
#include "connectors/batch.h"
#include "connectors/row_reader.h"
#include "connectors/shape.h"

struct source_ops {
    /* Feed's thread, before a session: the rows' shape as it is now (a new reference), and the database system's
     * identifier. Makes what the feed needs: the publication. May block. */
    bool (*prepare)(void *self, struct shape **shape, uint64_t *system_identifier,
                    struct error *err);
    /* Feed's thread: no change that the new slot will stream has a lower row_lsn. */
    bool (*load_floor)(void *self, const char *slot, uint64_t *floor_lsn, struct error *err);
    /* Feed's thread: does the connector follow this relation? */
    bool (*follows)(void *self, const struct relation *relation);
    /* Feed's thread: the shape that this version of the relation's rows have (a new reference). */
    bool (*shape_of)(void *self, const struct relation *relation, struct shape **shape,
                     struct error *err);
    /* Sender's thread: completes each incomplete write of the batch from the row as it is now, or marks it as vanished.
     * False: some are still incomplete. */
    bool (*reread)(void *self, struct batch *batch, uint64_t *rows, struct error *err);
    /* Any thread: reads rows for a comparison (verify.h). Must be closed before the source is destroyed. NULL: this source cannot
     * be compared with. */
    bool (*open_reader)(void *self, struct row_reader *reader, struct error *err);
};

struct source {
    const struct source_ops *ops;
    void *self;
};

#endif

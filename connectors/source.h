/* source.h: where a connector's rows come from, beside the feed that streams their changes.
 *
 * Two kinds. A table (table_source.h): its changes bring the rows. What is made of tables' rows (a query's results,
 * query_source.h): a change of those touches keys, by `touch`; the rows of a touched key are what `reread` finds for it. Where
 * a change touches so many keys that only SQL can tell them, they are walked in chunks, on the sender's thread; so is
 * the load, of all keys. */
#ifndef FRESHET_CONNECTORS_SOURCE_H
#define FRESHET_CONNECTORS_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"
#include "connectors/document/shape.h"
#include "connectors/runtime/batch.h"
#include "connectors/source/row_reader.h"

/* What a change touches. */
struct touched {
    void *arg;
    /* The rows of this key: shape->n_keys texts, in the key's order. */
    void (*key)(void *arg, const struct value *keys);
    /* A row of the source's own making, under a name of its own. */
    void (*row)(void *arg, struct slice key, const struct value *row);
    /* All that was before. */
    void (*clear)(void *arg);
    /* Those that a walk finds: `which` and `values` are the source's own, and come back to it in the batch. */
    void (*walk)(void *arg, uint32_t which, uint16_t n_values, const struct value *values);
};
enum { WALK_ALL = UINT32_MAX /* `which`, of all keys there are */ };

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
    /* Feed's thread: a change of a relation that it follows, with old and new row as far as the stream has them. NULL: the
     * source is a table, and its changes are the rows'; else there is no `shape_of`. */
    bool (*touch)(void *self, const struct change *change, const struct touched *touched,
                  struct error *err);
    /* Sender's thread: puts the next keys of a BATCH_WALK into `part`, as incomplete writes; none: that were all. It begins where
     * the one before has ended; after `forget` anew, or of a load behind walk->walk.after. NULL, both: it needs none, a load's rows are touched as changes. */
    bool (*walk)(void *self, const struct batch *walk, struct batch *part, struct error *err);
    void (*forget)(void *self);
    /* Sender's thread: completes each incomplete write of the batch from the row as it is now, or marks it as vanished.
     * False: some are still incomplete. */
    bool (*reread)(void *self, struct batch *batch, uint64_t *rows, struct error *err);
    /* Sender's thread, now and then: which tables are there now, as the shape that `prepare` gave has it (shape.h, `tables`). *tables
     * 0: one of them is not there. NULL: changes of these tables do not come from the database. */
    bool (*tables_now)(void *self, uint64_t *tables, struct error *err);
    /* Any thread: reads rows for a comparison (verify.h). Must be closed before the source is destroyed. NULL: this source cannot
     * be compared with. */
    bool (*open_reader)(void *self, struct row_reader *reader, struct error *err);
};

struct source {
    const struct source_ops *ops;
    void *self;
};

#endif

/* row_reader.h: rows as the source has them now, as the writes that a connector would make of them; for comparing.
 *
 *     source.ops->open_reader(source.self, &reader, err);
 *     reader.ops->moment(reader.self, &before, err);
 *     reader.ops->page(reader.self, 500, &batch, err);          in the key's order, from the first on
 *     reader.ops->find(reader.self, keys, n, &batch, rows, err);
 *     reader.ops->close(reader.self);
 *
 * A connection of its own; one thread at a time, any. Nothing is written and no lock outlives a call. */
#ifndef FRESHET_CONNECTORS_ROW_READER_H
#define FRESHET_CONNECTORS_ROW_READER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "connectors/runtime/batch.h"
#include "connectors/source/key_range.h"

/* What holds at the server. Each of these never decreases. */
struct reader_moment {
    uint64_t lsn;             /* every commit that was visible before stands below it in the WAL */
    uint64_t flush_lsn;       /* so much of the WAL can be streamed */
    int64_t flushed_after_us; /* so long a commit may be visible before it is flushed */
    uint64_t xmin; /* transactions below it have ended, and are seen by what is read from now on */
    uint64_t xmax; /* transactions from it on had not written */
    /* A commit may be streamed long before it is visible: a standby is waited for. */
    bool waits_for_standbys;
    /* The last checkpoint: transactions from `checkpoint_xid` on wrote behind `checkpoint_lsn`. */
    uint64_t checkpoint_lsn;
    uint32_t checkpoint_xid;
};

/* Of a row that was read. */
struct reader_row {
    uint64_t identity; /* another one after any change of the row; 0: there is no such row */
    uint32_t xmin;     /* who wrote it */
    bool in_flux;      /* an open transaction locks, changes or deletes it */
};

struct row_reader_ops {
    void (*close)(void *self);
    bool (*moment)(void *self, struct reader_moment *moment, struct error *err);
    /* At most `limit` rows behind those of the page before, as WRITE_PUT of a new batch; with none, the end. */
    bool (*page)(void *self, uint32_t limit, struct batch **batch, struct error *err);
    /* The rows of these keys, which differ, as the writes of a new batch in the keys' order: WRITE_PUT, or WRITE_REMOVE
     * where there is no such row, and be it because the key is none that the source could have. */
    bool (*find)(void *self, const struct slice *keys, size_t n, struct batch **batch,
                 struct reader_row *rows, struct error *err);
    /* Ranges of the key as key_range.h has them; all or none. The shape is borrowed. */
    struct shape *(*shape)(void *self);
    bool (*collations)(void *self, struct buf *out, struct error *err);
    bool (*bound)(void *self, const struct key_range *range, uint32_t n, struct buf *key,
                  bool *found, struct error *err);
    bool (*digest)(void *self, const struct key_range *range, struct range_digest *digest,
                   struct error *err);
    /* As `page`, of the first rows of this range. */
    bool (*rows)(void *self, const struct key_range *range, uint32_t limit, struct batch **batch,
                 struct error *err);
};

/* `moment`, for those that read PostgreSQL. */
bool row_reader_moment(PGconn *conn, struct reader_moment *moment, struct error *err) MUST_CHECK;

struct row_reader {
    const struct row_reader_ops *ops;
    void *self;
};

#endif

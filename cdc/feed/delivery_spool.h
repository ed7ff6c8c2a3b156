/* delivery_spool.h: the part of delivery that keeps open and prepared transactions for a sink that takes only whole ones.
 *
 * What the server sends of them goes into a spool as it comes. At its commit, which stands in the stream where any other's
 * does, a transaction is replayed: each call of delivery_replay gives the sink one change more, so that the session keeps its
 * turns between them (the sink's room, the server's status, a stop) as it does between messages of the stream.
 *
 * Prepared transactions (pgoutput's PREPARE kinds) come once the slot has two_phase on, for good: whoever turned it on. The server
 * takes what we confirm behind a PREPARE as a promise to keep its transaction, and does not send it again. We keep
 * nothing over a restart, so we confirm nothing behind the oldest one that is not in the sink for good (the WAL since its begin is
 * retained by the slot anyway, as of any open transaction). A session starts at what was confirmed, and
 * leaves out the transactions that the sink has by its position: delivery_skip. */
#ifndef FRESHET_CDC_DELIVERY_SPOOL_H
#define FRESHET_CDC_DELIVERY_SPOOL_H

#include "cdc/feed/delivery.h"

/* A prepared transaction that the sink does not have for good yet. */
struct prepared {
    uint64_t xid;
    uint64_t prepare_lsn;
    uint64_t end_lsn; /* of its COMMIT PREPARED; 0: there was none yet */
};

/* The message is one of an open or prepared transaction's piece: keeps it. */
bool delivery_keep(struct delivery *d, const struct frame *frame, const struct pgoutput_message *m,
                   struct error *err) MUST_CHECK;
/* d->tx is what has committed, and its end, of what is kept of it. */
bool delivery_begin_replay(struct delivery *d, struct error *err) MUST_CHECK;

bool delivery_on_begin_prepare(struct delivery *d, const struct frame *frame,
                               const struct pgoutput_message *m, struct error *err);
bool delivery_on_prepare(struct delivery *d, const struct frame *frame,
                         const struct pgoutput_message *m, struct error *err);
bool delivery_on_stream_prepare(struct delivery *d, const struct frame *frame,
                                const struct pgoutput_message *m, struct error *err);
bool delivery_on_commit_prepared(struct delivery *d, const struct frame *frame,
                                 const struct pgoutput_message *m, struct error *err);
bool delivery_on_rollback_prepared(struct delivery *d, const struct frame *frame,
                                   const struct pgoutput_message *m, struct error *err);

#endif

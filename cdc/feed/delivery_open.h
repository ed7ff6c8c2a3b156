/* delivery_open.h: the part of delivery that deals with transactions which are still open (pgoutput's STREAM messages).
 *
 * Between STREAM START and STREAM STOP stands a piece of one such transaction. Its descriptions of relations are its own
 * until it commits: they may be of an ALTER TABLE that is never committed. So they are kept apart, and given on at the
 * commit, as the server expects of a subscriber (it then does not send them again). For a sink that takes whole
 * transactions the pieces go to the spool (delivery_spool.h), descriptions among them. */
#ifndef FRESHET_CDC_DELIVERY_OPEN_H
#define FRESHET_CDC_DELIVERY_OPEN_H

#include "cdc/feed/delivery.h"

struct open_pieces;

struct open_pieces *open_pieces_create(void);
void open_pieces_destroy(struct open_pieces **pieces);
/* A new session: nothing is open. */
void open_pieces_reset(struct open_pieces *pieces);

/* Is what comes now a piece of an open transaction? Of NULL never. */
bool open_pieces_inside(const struct open_pieces *pieces);
uint64_t open_pieces_xid(const struct open_pieces *pieces); /* whose; 0: none's */
void open_pieces_enter(struct open_pieces *pieces, uint64_t xid);
/* The transaction has described a relation so. xid 0: it counts for all, from its first use on (delivery_describe_early). */
void open_pieces_note(struct open_pieces *pieces, uint64_t xid, const struct relation_draft *draft);
/* It is described for all: what was noted for xid 0 counts no more. */
void open_pieces_forget(struct open_pieces *pieces, uint32_t oid);
const struct relation *open_pieces_find(struct open_pieces *pieces, uint32_t oid);
/* Gives the sink what was noted for xid 0 of the relation, if anything was. */
bool delivery_describe_early(struct delivery *d, uint32_t oid, struct error *err) MUST_CHECK;

bool delivery_give_open(struct delivery *d, const struct pgoutput_message *m,
                        const struct change *change, struct error *err) MUST_CHECK;
bool delivery_on_stream_start(struct delivery *d, const struct frame *frame,
                              const struct pgoutput_message *m, struct error *err);
bool delivery_on_stream_stop(struct delivery *d, const struct frame *frame,
                             const struct pgoutput_message *m, struct error *err);
bool delivery_on_stream_commit(struct delivery *d, const struct frame *frame,
                               const struct pgoutput_message *m, struct error *err);
bool delivery_on_stream_abort(struct delivery *d, const struct frame *frame,
                              const struct pgoutput_message *m, struct error *err);

/* delivery.c's, for these. */
bool delivery_invalid(struct delivery *d, const struct frame *frame, struct error *err,
                      const char *what);
bool delivery_describe(struct delivery *d, const struct relation_draft *draft,
                       struct error *err) MUST_CHECK;
void delivery_count_commit(struct delivery *d);
/* The transaction in hand has committed, and d->tx tells how. */
bool delivery_end_transaction(struct delivery *d, struct error *err) MUST_CHECK;
struct relation_draft delivery_draft(const struct pgoutput_message *m);
/* What a message means, wherever it came from. */
bool delivery_message(struct delivery *d, const struct frame *frame,
                      const struct pgoutput_message *m, struct error *err) MUST_CHECK;

#endif

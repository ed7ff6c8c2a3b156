/* delivery.h: what the stream's messages mean to a sink: pgoutput in, the calls of base/change.h out.
 *
 *     delivery_frame(&delivery, &frame, err)        each FRAME_DATA of the stream, in order
 *
 * Zero-copy: the values of a change point into the frame. One thread, the feed's. */
#ifndef FRESHET_CDC_DELIVERY_H
#define FRESHET_CDC_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/change.h"
#include "cdc/decode/pgoutput.h"
#include "cdc/decode/relations.h"
#include "cdc/feed/spool.h"
#include "cdc/feed/stream.h"

struct increment;
struct prepared;

struct delivery {
    struct change_sink sink;
    struct pgoutput_decoder *decoder;
    struct relations *relations;
    uint64_t xid_reference; /* see cdc/decode/xid.h */

    bool open;              /* between begin and commit */
    bool after_description; /* the last message was a relation's description (delivery_describe) */
    const struct relation *again; /* it told nothing new, and the sink is still to hear of it */
    struct open_pieces
        *pieces; /* of open transactions; NULL: none are asked for (delivery_open.c) */
    struct transaction tx;
    uint64_t next_index;

    /* For a sink that wants whole transactions; see delivery_spool.h. */
    struct spool *spool; /* NULL: it takes pieces, or is given none */
    bool replaying;      /* the transaction in hand comes out of the spool */
    uint64_t replay_end_lsn;
    uint64_t skip_lsn; /* what committed before it the sink has; 0: nothing */
    bool skipping;     /* the transaction in hand is one of these */
    size_t n_prepared, cap_prepared;
    struct prepared *prepared;

    struct increment *increment; /* is told what comes; NULL: nobody. The caller's */

    uint64_t last_end_lsn;       /* of the last transaction given; 0: none in this session */
    int64_t last_commit_time_us; /* Unix epoch; 0: none */
    uint64_t transactions;
    uint64_t changes;
    uint64_t invalid; /* messages that did not decode or made no sense */
};

void delivery_init(struct delivery *delivery, struct change_sink sink);
void delivery_deinit(struct delivery *delivery);
/* Open transactions are kept there for a sink that does not take them itself. The caller's, and outlives the delivery. */
void delivery_use_spool(struct delivery *delivery, struct spool *spool);
/* A new session: nothing is open; counts and relations stay. */
void delivery_new_session(struct delivery *delivery, uint64_t xid_reference);

/* Of this session: transactions that committed before it are not given to the sink again. */
static inline void delivery_skip(struct delivery *delivery, uint64_t lsn) {
    delivery->skip_lsn = lsn;
}

/* What may be confirmed to the server, of `lsn` that the sink confirms. */
uint64_t delivery_may_confirm(struct delivery *delivery, uint64_t lsn);

/* True: a transaction has committed that lies in the spool. Nothing else is to be given until all of it is replayed. */
static inline bool delivery_is_replaying(const struct delivery *delivery) {
    return delivery->replaying;
}
/* One change of it, or its end. */
bool delivery_replay(struct delivery *delivery, struct error *err) MUST_CHECK;

/* Logical messages whose prefix begins so are Freshet's own, and no sink is given them. */
#define DELIVERY_OWN_MESSAGES "freshet."

/* False: the sink refused, or the message is invalid (ERROR_PROTOCOL). */
bool delivery_frame(struct delivery *delivery, const struct frame *frame,
                    struct error *err) MUST_CHECK;

/* Can it be given open transactions? */
static inline bool delivery_wants_open(const struct delivery *delivery) {
    return delivery->pieces != NULL;
}

#endif

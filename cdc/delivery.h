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
#include "cdc/pgoutput.h"
#include "cdc/relations.h"
#include "cdc/stream.h"

struct delivery {
    struct change_sink sink;
    struct pgoutput_decoder *decoder;
    struct relations *relations;
    uint64_t xid_reference; /* see cdc/xid.h */

    bool open; /* between begin and commit */
    struct open_pieces
        *pieces; /* of open transactions; NULL: the sink wants none (delivery_open.c) */
    struct transaction tx;
    uint64_t next_index;

    uint64_t last_end_lsn;       /* of the last transaction given; 0: none in this session */
    int64_t last_commit_time_us; /* Unix epoch; 0: none */
    uint64_t transactions;
    uint64_t changes;
    uint64_t invalid; /* messages that did not decode or made no sense */
};

void delivery_init(struct delivery *delivery, struct change_sink sink);
void delivery_deinit(struct delivery *delivery);
/* A new session: nothing is open; counts and relations stay. */
void delivery_new_session(struct delivery *delivery, uint64_t xid_reference);

/* False: the sink refused, or the message is invalid (ERROR_PROTOCOL). */
bool delivery_frame(struct delivery *delivery, const struct frame *frame,
                    struct error *err) MUST_CHECK;

/* Does the sink take open transactions? */
static inline bool delivery_wants_open(const struct delivery *delivery) {
    return delivery->pieces != NULL;
}

#endif

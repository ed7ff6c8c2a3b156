/* batch.h: what a sink applies in one go: the last change of each key since the batch before, in order.
 *
 *     struct batch *batch = batch_create(shape, now_us);
 *     batch_put(batch, key, &stamp, row);  batch_remove(batch, key, &stamp);      the feed's thread
 *     sink->ops->apply(sink, batch, err);                                       the sender's thread
 *     batch_destroy(&batch);
 *
 * One thread has it at a time: the feed's while it fills, the sender's from then on. A later write of a key
 * supersedes an earlier one in its batch (last wins, and stands where the last stood), so that a sink gets each
 * key at most once a batch. A barrier is a batch of its own, with no writes. */
#ifndef FRESHET_CONNECTORS_BATCH_H
#define FRESHET_CONNECTORS_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/change.h"
#include "base/slice.h"
#include "connectors/document/shape.h"

enum write_operation { WRITE_PUT, WRITE_REMOVE };

enum write_outcome {
    WRITE_PENDING, /* not in the sink yet: to be (re)tried */
    WRITE_DONE,
    WRITE_STALE,   /* the sink has this version or a newer one: a replay */
    WRITE_REFUSED, /* this document can never be taken; `cause` says why */
};

/* What orders writes and tells where they come from. Of two writes of one key the later has the higher
 * version, and a replay has the version that it had before. */
struct write_stamp {
    uint64_t version;
    uint64_t xid;
};

struct write {
    enum write_operation operation;
    enum write_outcome outcome;
    bool superseded;
    /* Some column is VALUE_UNCHANGED: the row must be read again before it is applied. */
    bool incomplete;
    bool vanished; /* it was read again and is gone: its removal comes later in the stream */
    struct slice key;
    struct write_stamp stamp;
    /* n_rows times shape->n_columns values; NULL for a removal. More rows than one where shape->many. */
    const struct value *row;
    uint32_t n_rows;
    int status;        /* of a refusal, in the sink's own terms */
    const char *cause; /* JSON; in the batch's arena */
};

enum batch_kind {
    BATCH_WRITES,
    BATCH_WALK,    /* keys that the source finds (source.h), rewritten in chunks */
    BATCH_LOADING, /* an initial load of `version` begins: the position is void until it is complete */
    BATCH_LOADED, /* it is complete: what is older than `version` was not in the table, and goes */
    BATCH_CLEAR,  /* TRUNCATE: everything older than `version` goes */
    BATCH_RETRY,  /* what was refused is read again */
    BATCH_NOTE,   /* nothing but its note */
};

struct batch {
    struct batch *next; /* in the runtime's queue */
    enum batch_kind kind;
    struct shape *shape; /* a reference of its own */
    struct arena *arena;
    size_t n_writes;
    struct write *writes;
    size_t cap_writes;
    size_t n_superseded;
    size_t bytes; /* memory held, for the queue's bound and for sizing */
    uint64_t version;
    uint64_t newest; /* of what clears: as struct clearing has it */
    /* Of a load that can go on where it is interrupted: what of it is in this batch and those before. NULL: as before. */
    char *note;
    /* All up to here is in this batch and those before it; 0: says nothing. */
    uint64_t position_lsn;
    uint64_t last_end_lsn; /* end of the last transaction that is all in these; 0: says nothing */
    /* Of a batch in hand: where the sink is once it has this one; for sinks that move their position with the rows. With
     * snapshot_done false: it does not move. */
    struct change_position after;
    /* More of its last transaction comes in later batches; of a load, until it is complete. */
    bool mid_transaction;
    int64_t opened_us;      /* monotonic */
    int64_t commit_time_us; /* of the oldest transaction in it; Unix epoch; 0: unknown */
    uint64_t session;       /* the runtime's: a batch of an earlier session is dropped */
    struct batch_walk {
        uint32_t which; /* WALK_ALL, or the source's own; and its values */
        uint16_t n_values;
        const struct value *values; /* in the arena */
        struct write_stamp stamp;
        uint32_t n_xids; /* that it must see, where they are more than the stamp's */
        const uint64_t *xids;
        bool clears;        /* what it does not find goes */
        bool load;          /* of all keys, in their order */
        char *after;        /* of a load: the last key that is written; NULL: none */
        struct batch *part; /* the chunk in hand; NULL: none */
        uint64_t keys;      /* written so far */
    } walk;
    struct batch_index *index;
};

struct batch *batch_create(enum batch_kind kind, struct shape *shape, int64_t now_us);
void batch_destroy(struct batch **batch);

/* Copies key and row. Values that are unchanged are taken from `old_row` or from the write of the same key
 * that this one supersedes; where neither has them the write is incomplete. `old_row` may be NULL. */
void batch_put(struct batch *batch, struct slice key, const struct write_stamp *stamp,
               const struct value *row, const struct value *old_row);
void batch_remove(struct batch *batch, struct slice key, const struct write_stamp *stamp);

/* Copies a write of another batch of the same shape, all its rows; it is complete. */
void batch_copy(struct batch *batch, const struct write *write, const struct write_stamp *stamp);

/* Of a BATCH_WALK: what to look for. */
void batch_set_walk(struct batch *batch, uint32_t which, uint16_t n_values,
                    const struct value *values, const struct write_stamp *stamp);
void batch_set_xids(struct batch *batch, uint32_t n, const uint64_t *xids);

/* The next write at or after *at and before `to` that is still to be applied, *at moved behind it; NULL: none, *at
 * moved to `to`. */
struct write *batch_next(struct batch *batch, size_t *at, size_t to);
/* Puts a write of another batch, which must outlive this one, into it as it is: key and row stay that one's. Such a batch takes no
 * other writes. */
void batch_lend(struct batch *batch, const struct write *write);
/* Marks the write as refused for good. `cause` is JSON and is copied. */
void batch_refuse(struct batch *batch, struct write *write, int status, struct slice cause);
/* The same with a cause that is any text; of a long one the beginning is kept. */
void batch_refuse_text(struct batch *batch, struct write *write, int status, struct slice text);

#endif

#include "cdc/feed/delivery_spool.h"

#include "base/assert.h"
#include "base/mem.h"
#include "cdc/decode/xid.h"
#include "cdc/feed/delivery_open.h"

/* ---- keeping ---- */

bool delivery_keep(struct delivery *d, const struct frame *frame, const struct pgoutput_message *m,
                   struct error *err) {
    uint64_t xid = open_pieces_xid(d->pieces);
    /* Described in a prepared transaction (not streamed: its messages tell no xid), a relation counts as described to all. */
    if (m->kind == PGOUTPUT_RELATION && !m->xid) {
        struct relation_draft draft = delivery_draft(m);
        open_pieces_note(d->pieces, 0, &draft);
    }
    return spool_append(d->spool, xid, m->xid, frame->start_lsn, frame->payload, err);
}

/* ---- replay ---- */

bool delivery_begin_replay(struct delivery *d, struct error *err) {
    ASSERT(!d->open);
    d->skipping = d->tx.commit_lsn < d->skip_lsn;
    d->replay_end_lsn = d->tx.end_lsn;
    d->tx.end_lsn = 0; /* as of any transaction at its begin */
    d->next_index = 0;
    d->open = d->replaying = true;
    spool_read(d->spool, d->tx.xid);
    return d->skipping || d->sink.ops->begin(d->sink.self, &d->tx, err);
}

static bool end_replay(struct delivery *d, struct error *err) {
    d->replaying = false;
    d->tx.end_lsn = d->replay_end_lsn;
    return delivery_end_transaction(d, err);
}

bool delivery_replay(struct delivery *d, struct error *err) {
    ASSERT(d->replaying);
    struct spool_entry entry;
    switch (spool_next(d->spool, &entry, err)) {
    case SPOOL_ERROR: return false;
    case SPOOL_END: return end_replay(d, err);
    case SPOOL_ENTRY: break;
    }
    struct frame frame = {.kind = FRAME_DATA, .start_lsn = entry.lsn, .payload = entry.payload};
    struct pgoutput_message message;
    if (!pgoutput_decode_kept(d->decoder, entry.payload, entry.subxid != 0, &message))
        return delivery_invalid(d, &frame, err, "cannot be decoded");
    return delivery_message(d, &frame, &message, err);
}

/* ---- prepared transactions ---- */

static struct prepared *find_prepared(struct delivery *d, uint64_t xid) {
    for (size_t i = 0; i < d->n_prepared; i++) {
        if (d->prepared[i].xid == xid) return &d->prepared[i];
    }
    return NULL;
}

static void note_prepared(struct delivery *d, uint64_t xid, uint64_t prepare_lsn) {
    struct prepared *prepared = find_prepared(d, xid);
    if (!prepared) {
        if (d->n_prepared == d->cap_prepared) {
            d->cap_prepared = d->cap_prepared ? d->cap_prepared * 2 : 16;
            d->prepared = mem_realloc(d->prepared, d->cap_prepared * sizeof *d->prepared);
        }
        prepared = &d->prepared[d->n_prepared++];
    }
    *prepared = (struct prepared){.xid = xid, .prepare_lsn = prepare_lsn};
}

static void forget_prepared(struct delivery *d, uint64_t xid) {
    struct prepared *prepared = find_prepared(d, xid);
    if (prepared) *prepared = d->prepared[--d->n_prepared];
}

uint64_t delivery_may_confirm(struct delivery *d, uint64_t lsn) {
    uint64_t may = lsn;
    for (size_t i = 0; i < d->n_prepared;) {
        const struct prepared *prepared = &d->prepared[i];
        bool is_in_sink = prepared->end_lsn && prepared->end_lsn <= lsn;
        if (is_in_sink) {
            d->prepared[i] = d->prepared[--d->n_prepared];
            continue;
        }
        if (prepared->prepare_lsn < may) may = prepared->prepare_lsn;
        i++;
    }
    return may;
}

/* A prepared transaction is an open one that comes in one piece. */
bool delivery_on_begin_prepare(struct delivery *d, const struct frame *frame,
                               const struct pgoutput_message *m, struct error *err) {
    if (d->open || open_pieces_inside(d->pieces) || m->xid == 0)
        return delivery_invalid(d, frame, err, "a prepared transaction within another");
    uint64_t xid = xid_extend(d->xid_reference, m->xid);
    spool_drop(d->spool, xid);
    spool_begin(d->spool, xid);
    note_prepared(d, xid, m->prepare.prepare_lsn);
    open_pieces_enter(d->pieces, xid);
    return true;
}

bool delivery_on_prepare(struct delivery *d, const struct frame *frame,
                         const struct pgoutput_message *m, struct error *err) {
    if (open_pieces_xid(d->pieces) != xid_extend(d->xid_reference, m->xid))
        return delivery_invalid(d, frame, err, "a prepare of a transaction that is not at hand");
    open_pieces_enter(d->pieces, 0);
    return true;
}

bool delivery_on_stream_prepare(struct delivery *d, const struct frame *frame,
                                const struct pgoutput_message *m, struct error *err) {
    if (d->open || open_pieces_inside(d->pieces))
        return delivery_invalid(d, frame, err, "a prepare within a piece of an open transaction");
    uint64_t xid = xid_extend(d->xid_reference, m->xid);
    spool_begin(d->spool, xid);
    note_prepared(d, xid, m->prepare.prepare_lsn);
    return true;
}

bool delivery_on_commit_prepared(struct delivery *d, const struct frame *frame,
                                 const struct pgoutput_message *m, struct error *err) {
    if (d->open || open_pieces_inside(d->pieces))
        return delivery_invalid(d, frame, err, "a commit within a piece of an open transaction");
    uint64_t xid = xid_extend(d->xid_reference, m->xid);
    struct prepared *prepared = find_prepared(d, xid);
    if (!prepared && m->commit.commit_lsn < d->skip_lsn) return true;
    if (!prepared)
        return error_set(err, ERROR_CONFLICT, false,
                         "transaction %llu was prepared before what this slot still sends, and is "
                         "committed now: its changes are lost to %s, since somebody else has read "
                         "from the slot or moved it",
                         (unsigned long long)xid, d->sink.name);
    prepared->end_lsn = m->commit.end_lsn;
    d->tx = (struct transaction){.xid = xid,
                                 .commit_lsn = m->commit.commit_lsn,
                                 .end_lsn = m->commit.end_lsn,
                                 .commit_time_us = m->commit.commit_time_us};
    return delivery_begin_replay(d, err);
}

bool delivery_on_rollback_prepared(struct delivery *d, const struct frame *frame,
                                   const struct pgoutput_message *m, struct error *err) {
    if (d->open || open_pieces_inside(d->pieces))
        return delivery_invalid(d, frame, err, "a rollback within a piece of an open transaction");
    uint64_t xid = xid_extend(d->xid_reference, m->xid);
    spool_drop(d->spool, xid);
    forget_prepared(d, xid);
    return true;
}

#include "cdc/feed/delivery_open.h"

#include "base/mem.h"
#include "cdc/decode/xid.h"
#include "cdc/feed/delivery_spool.h"

/* An open transaction has described a relation. */
struct described {
    uint64_t xid; /* 0: for all, but nobody has used it yet */
    uint32_t oid;
};

struct open_pieces {
    uint64_t xid; /* whose piece this is; 0: none's */
    /* By OID, for all open transactions together: while one of them alters a table, no other has rows of it. */
    struct relations *relations;
    size_t n_described, cap_described;
    struct described *described;
};

struct open_pieces *open_pieces_create(void) {
    struct open_pieces *pieces = mem_zalloc(sizeof *pieces);
    pieces->relations = relations_create();
    return pieces;
}

void open_pieces_destroy(struct open_pieces **pieces) {
    struct open_pieces *old = *pieces;
    *pieces = NULL;
    if (!old) return;
    relations_destroy(&old->relations);
    mem_free(old->described);
    mem_free(old);
}

void open_pieces_reset(struct open_pieces *pieces) {
    pieces->xid = 0;
    pieces->n_described = 0;
    relations_destroy(&pieces->relations);
    pieces->relations = relations_create();
}

bool open_pieces_inside(const struct open_pieces *pieces) { return pieces && pieces->xid; }

uint64_t open_pieces_xid(const struct open_pieces *pieces) { return pieces->xid; }

void open_pieces_enter(struct open_pieces *pieces, uint64_t xid) { pieces->xid = xid; }

void open_pieces_note(struct open_pieces *pieces, uint64_t xid,
                      const struct relation_draft *draft) {
    bool announce;
    relations_put(pieces->relations, draft, &announce); /* what it replaces lives on to the reset */
    for (size_t i = 0; i < pieces->n_described; i++) {
        if (pieces->described[i].xid == xid && pieces->described[i].oid == draft->oid) return;
    }
    if (pieces->n_described == pieces->cap_described) {
        pieces->cap_described = pieces->cap_described ? pieces->cap_described * 2 : 16;
        pieces->described =
            mem_realloc(pieces->described, pieces->cap_described * sizeof *pieces->described);
    }
    pieces->described[pieces->n_described++] = (struct described){xid, draft->oid};
}

static bool take_early(struct open_pieces *pieces, uint32_t oid) {
    for (size_t i = 0; i < pieces->n_described; i++) {
        struct described *described = &pieces->described[i];
        if (described->xid || described->oid != oid) continue;
        *described = pieces->described[--pieces->n_described];
        return true;
    }
    return false;
}

void open_pieces_forget(struct open_pieces *pieces, uint32_t oid) { take_early(pieces, oid); }

const struct relation *open_pieces_find(struct open_pieces *pieces, uint32_t oid) {
    return relations_find(pieces->relations, oid);
}

bool delivery_give_open(struct delivery *d, const struct pgoutput_message *m,
                        const struct change *change, struct error *err) {
    uint64_t subxid = xid_extend(d->xid_reference, m->xid);
    return d->sink.ops->open_change(d->sink.self, d->pieces->xid, subxid, change, err);
}

bool delivery_on_stream_start(struct delivery *d, const struct frame *frame,
                              const struct pgoutput_message *m, struct error *err) {
    if (d->open || d->pieces->xid || m->xid == 0)
        return delivery_invalid(d, frame, err, "a piece of an open transaction within another");
    d->pieces->xid = xid_extend(d->xid_reference, m->xid);
    return true;
}

bool delivery_on_stream_stop(struct delivery *d, const struct frame *frame,
                             const struct pgoutput_message *m, struct error *err) {
    (void)frame;
    (void)m;
    (void)err;
    d->pieces->xid = 0;
    return true;
}

/* A relation as the open transaction has described it is everybody's from its commit on. */
static bool describe_again(struct delivery *d, const struct relation *relation, struct error *err) {
    struct pgoutput_column columns[PGOUTPUT_MAX_COLUMNS];
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        const struct relation_column *column = &relation->columns[i];
        columns[i] = (struct pgoutput_column){.identity = column->identity,
                                              .name = slice_from(column->name),
                                              .type_oid = column->type_oid,
                                              .typmod = column->typmod};
    }
    struct relation_draft draft = {.oid = relation->oid,
                                   .schema = slice_from(relation->schema),
                                   .name = slice_from(relation->name),
                                   .replica_identity = relation->replica_identity,
                                   .n_columns = relation->n_columns,
                                   .columns = columns};
    d->after_description = false; /* each counts for itself */
    return delivery_describe(d, &draft, err);
}

bool delivery_describe_early(struct delivery *d, uint32_t oid, struct error *err) {
    if (!d->pieces->n_described || !take_early(d->pieces, oid)) return true;
    return describe_again(d, relations_find(d->pieces->relations, oid), err);
}

/* Forgets what the transaction has described; `keep`: it has committed. */
static bool end_described(struct delivery *d, uint64_t xid, bool keep, struct error *err) {
    struct open_pieces *pieces = d->pieces;
    bool ok = true;
    size_t left = 0;
    for (size_t i = 0; i < pieces->n_described; i++) {
        struct described *described = &pieces->described[i];
        if (described->xid != xid)
            pieces->described[left++] = *described;
        else if (keep && ok)
            ok = describe_again(d, relations_find(pieces->relations, described->oid), err);
    }
    pieces->n_described = left;
    return ok;
}

bool delivery_on_stream_commit(struct delivery *d, const struct frame *frame,
                               const struct pgoutput_message *m, struct error *err) {
    if (d->open || d->pieces->xid)
        return delivery_invalid(d, frame, err, "a commit within a piece of an open transaction");
    uint64_t xid = xid_extend(d->xid_reference, m->xid);
    d->tx = (struct transaction){.xid = xid,
                                 .commit_lsn = m->commit.commit_lsn,
                                 .end_lsn = m->commit.end_lsn,
                                 .commit_time_us = m->commit.commit_time_us};
    if (d->spool) return delivery_begin_replay(d, err);
    if (!end_described(d, xid, true, err)) return false;
    if (!d->sink.ops->open_commit(d->sink.self, &d->tx, err)) return false;
    delivery_count_commit(d);
    return true;
}

bool delivery_on_stream_abort(struct delivery *d, const struct frame *frame,
                              const struct pgoutput_message *m, struct error *err) {
    if (d->open || d->pieces->xid)
        return delivery_invalid(d, frame, err, "an abort within a piece of an open transaction");
    uint64_t xid = xid_extend(d->xid_reference, m->xid);
    uint64_t subxid = xid_extend(d->xid_reference, m->stream_abort.subxid);
    if (d->spool) {
        if (xid == subxid)
            spool_drop(d->spool, xid);
        else
            spool_abort_part(d->spool, xid, m->stream_abort.subxid);
        return true;
    }
    if (xid == subxid && !end_described(d, xid, false, err)) return false;
    return d->sink.ops->open_abort(d->sink.self, xid, subxid, err);
}

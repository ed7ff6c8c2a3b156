#include "cdc/feed/delivery.h"

#include "base/assert.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/decode/xid.h"
#include "cdc/feed/delivery_open.h"
#include "cdc/feed/delivery_spool.h"
#include "cdc/snapshot/increment.h"

void delivery_init(struct delivery *delivery, struct change_sink sink) {
    *delivery = (struct delivery){
        .sink = sink, .decoder = pgoutput_create(), .relations = relations_create()};
    if (sink.ops->open_change) delivery->pieces = open_pieces_create();
}

void delivery_deinit(struct delivery *delivery) {
    open_pieces_destroy(&delivery->pieces);
    mem_free(delivery->prepared);
    pgoutput_destroy(&delivery->decoder);
    relations_destroy(&delivery->relations);
}

void delivery_use_spool(struct delivery *delivery, struct spool *spool) {
    ASSERT(!delivery->sink.ops->open_change);
    delivery->spool = spool;
    delivery->pieces = open_pieces_create();
}

void delivery_new_session(struct delivery *delivery, uint64_t xid_reference) {
    pgoutput_reset(delivery->decoder);
    relations_new_session(delivery->relations);
    if (delivery->pieces) open_pieces_reset(delivery->pieces);
    delivery->xid_reference = xid_reference;
    delivery->open = delivery->replaying = delivery->skipping = false;
    delivery->after_description = false;
    delivery->again = NULL;
    delivery->skip_lsn = 0;
    delivery->n_prepared = 0;
    delivery->last_end_lsn = 0;
}

bool delivery_invalid(struct delivery *delivery, const struct frame *frame, struct error *err,
                      const char *what) {
    delivery->invalid++;
    return error_set(err, ERROR_PROTOCOL, true,
                     "pgoutput message at " LSN_FMT " (type byte 0x%02x, %zu bytes): %s",
                     LSN_ARG(frame->start_lsn),
                     frame->payload.len ? (unsigned char)frame->payload.data[0] : 0,
                     frame->payload.len, what);
}

static bool on_begin(struct delivery *d, const struct frame *frame,
                     const struct pgoutput_message *m, struct error *err) {
    if (d->open || open_pieces_inside(d->pieces))
        return delivery_invalid(d, frame, err, "a transaction is open already");
    d->xid_reference = xid_extend(d->xid_reference, m->xid);
    d->tx = (struct transaction){.xid = d->xid_reference,
                                 .commit_lsn = m->begin.final_lsn,
                                 .commit_time_us = m->begin.commit_time_us};
    d->next_index = 0;
    d->open = true;
    d->skipping = d->tx.commit_lsn < d->skip_lsn;
    return d->skipping || d->sink.ops->begin(d->sink.self, &d->tx, err);
}

void delivery_count_commit(struct delivery *d) {
    if (!d->skipping) d->transactions++;
    d->last_end_lsn = d->tx.end_lsn;
    d->last_commit_time_us = d->tx.commit_time_us;
}

bool delivery_end_transaction(struct delivery *d, struct error *err) {
    if (!d->skipping && !d->sink.ops->commit(d->sink.self, &d->tx, err)) return false;
    if (d->increment) increment_saw_commit(d->increment, &d->tx);
    delivery_count_commit(d);
    d->open = d->skipping = false;
    return true;
}

static bool on_commit(struct delivery *d, const struct frame *frame,
                      const struct pgoutput_message *m, struct error *err) {
    if (!d->open) return delivery_invalid(d, frame, err, "no transaction is open");
    d->tx.commit_lsn = m->commit.commit_lsn;
    d->tx.end_lsn = m->commit.end_lsn;
    d->tx.commit_time_us = m->commit.commit_time_us;
    return delivery_end_transaction(d, err);
}

/* Before anything else is given. */
static bool tell_again(struct delivery *d, struct error *err) {
    const struct relation *relation = d->again;
    d->again = NULL;
    if (!relation || !d->sink.ops->described_again) return true;
    return d->sink.ops->described_again(d->sink.self, relation, err);
}

static bool tell(struct delivery *d, const struct relation *relation, struct error *err) {
    return !d->sink.ops->relation || d->sink.ops->relation(d->sink.self, relation, err);
}

/* Where a publication publishes partitions as their root, a partition's first row has two descriptions before it: the root's,
 * once more, and the partition's own, which no row is of. A sink that looked into either, for each of thousands of partitions,
 * would stand still for minutes. So what comes right behind another description the sink hears of with its first row (as
 * of the others of one TRUNCATE), and that the other was repeated for its sake is no news. */
bool delivery_describe(struct delivery *d, const struct relation_draft *draft, struct error *err) {
    bool announce;
    const struct relation *relation = relations_put(d->relations, draft, &announce);
    bool follows = d->after_description;
    bool ok = true;
    d->after_description = true;
    if (announce && follows) {
        d->again = NULL;
        relations_keep_quiet(relation);
    } else {
        ok = tell_again(d, err) && (!announce || tell(d, relation, err));
        if (!announce && !relations_is_quiet(relation)) d->again = relation;
    }
    relations_sweep(d->relations);
    return ok;
}

struct relation_draft delivery_draft(const struct pgoutput_message *m) {
    return (struct relation_draft){.oid = m->relation.oid,
                                   .schema = m->relation.schema,
                                   .name = m->relation.name,
                                   .replica_identity = m->relation.replica_identity,
                                   .n_columns = m->relation.n_columns,
                                   .columns = m->relation.columns};
}

static bool on_relation(struct delivery *d, const struct frame *frame,
                        const struct pgoutput_message *m, struct error *err) {
    (void)frame;
    struct relation_draft draft = delivery_draft(m);
    if (open_pieces_inside(d->pieces)) {
        open_pieces_note(d->pieces, open_pieces_xid(d->pieces), &draft);
        return true;
    }
    if (d->spool) open_pieces_forget(d->pieces, draft.oid);
    return delivery_describe(d, &draft, err);
}

/* Of the transaction in hand, or of the open one that a piece has come of. */
static bool find_relation(struct delivery *d, const struct frame *frame, uint32_t oid,
                          const struct relation **relation, struct error *err) {
    bool inside = open_pieces_inside(d->pieces);
    if (!inside && d->spool && !delivery_describe_early(d, oid, err)) return false;
    *relation = inside ? open_pieces_find(d->pieces, oid) : relations_find(d->relations, oid);
    if (!*relation) return delivery_invalid(d, frame, err, "a relation that was never described");
    return inside || !relations_take_quiet(*relation) || tell(d, *relation, err);
}

static bool is_inside(const struct delivery *d) { return d->open || open_pieces_inside(d->pieces); }

static bool give_change(struct delivery *d, const struct pgoutput_message *m, struct change *change,
                        struct error *err) {
    if (d->skipping) return true;
    d->changes++;
    if (open_pieces_inside(d->pieces)) return delivery_give_open(d, m, change, err);
    change->index = d->next_index++;
    if (d->increment) increment_saw_change(d->increment, &d->tx, change);
    return d->sink.ops->change(d->sink.self, &d->tx, change, err);
}

/* INSERT, UPDATE and DELETE differ only in which rows they carry, which the decoder saw to. */
static bool on_row(struct delivery *d, const struct frame *frame, const struct pgoutput_message *m,
                   struct error *err) {
    static const enum change_operation operations[] = {
        [PGOUTPUT_INSERT] = CHANGE_INSERT,
        [PGOUTPUT_UPDATE] = CHANGE_UPDATE,
        [PGOUTPUT_DELETE] = CHANGE_DELETE,
    };
    if (!is_inside(d)) return delivery_invalid(d, frame, err, "a row outside a transaction");
    const struct relation *relation;
    if (!find_relation(d, frame, m->row.relation_oid, &relation, err)) return false;
    const struct pgoutput_row *old_row = &m->row.old_row;
    const struct pgoutput_row *new_row = &m->row.new_row;
    if ((old_row->values && old_row->n_values != relation->n_columns) ||
        (new_row->values && new_row->n_values != relation->n_columns))
        return delivery_invalid(d, frame, err,
                                "a row with another number of columns than its relation");
    struct change change = {.operation = operations[m->kind],
                            .relation = relation,
                            .row_lsn = frame->start_lsn,
                            .old_row = old_row->values,
                            .new_row = new_row->values,
                            .old_is_key = m->row.old_is_key};
    return give_change(d, m, &change, err);
}

static bool on_truncate(struct delivery *d, const struct frame *frame,
                        const struct pgoutput_message *m, struct error *err) {
    if (!is_inside(d)) return delivery_invalid(d, frame, err, "a truncate outside a transaction");
    for (uint32_t i = 0; i < m->truncate.n_relations; i++) {
        const struct relation *relation;
        if (!find_relation(d, frame, pgoutput_truncated(m, i), &relation, err)) return false;
        struct change change = {.operation = CHANGE_TRUNCATE,
                                .relation = relation,
                                .row_lsn = frame->start_lsn,
                                .cascade = m->truncate.cascade,
                                .restart_identity = m->truncate.restart_identity};
        if (!give_change(d, m, &change, err)) return false;
    }
    return true;
}

/* A message outside a transaction is one of its own: no xid, its record's end as position, and the time of the
 * commit before it, since it has none. */
static bool give_lone_message(struct delivery *d, const struct pgoutput_message *m,
                              struct change *change, struct error *err) {
    if (change->row_lsn <= d->skip_lsn) return true;
    d->tx = (struct transaction){.commit_lsn = change->row_lsn,
                                 .end_lsn = change->row_lsn,
                                 .commit_time_us = d->last_commit_time_us};
    d->next_index = 0;
    if (!d->sink.ops->begin(d->sink.self, &d->tx, err) || !give_change(d, m, change, err) ||
        !d->sink.ops->commit(d->sink.self, &d->tx, err))
        return false;
    if (d->increment) increment_saw_commit(d->increment, &d->tx);
    delivery_count_commit(d);
    return true;
}

static bool is_own(struct slice prefix) {
    static const char own[] = DELIVERY_OWN_MESSAGES;
    return prefix.len >= sizeof own - 1 && memcmp(prefix.data, own, sizeof own - 1) == 0;
}

static bool on_message(struct delivery *d, const struct frame *frame,
                       const struct pgoutput_message *m, struct error *err) {
    struct change change = {.operation = CHANGE_MESSAGE,
                            .row_lsn = m->message.lsn,
                            .transactional = m->message.transactional,
                            .message_prefix = m->message.prefix,
                            .message_content = m->message.content};
    if (m->message.transactional != is_inside(d))
        return delivery_invalid(d, frame, err,
                                "a logical message on the wrong side of a transaction");
    if (is_own(m->message.prefix)) {
        if (d->increment)
            increment_saw_message(d->increment, m->message.prefix, m->message.content);
        return true;
    }
    return is_inside(d) ? give_change(d, m, &change, err) : give_lone_message(d, m, &change, err);
}

/* Types are read from the catalog by those who need more than an OID; origins concern nobody yet. */
static bool on_ignored(struct delivery *d, const struct frame *frame,
                       const struct pgoutput_message *m, struct error *err) {
    (void)d;
    (void)frame;
    (void)m;
    (void)err;
    return true;
}

typedef bool message_handler(struct delivery *d, const struct frame *frame,
                             const struct pgoutput_message *m, struct error *err);

/* The STREAM kinds come only when START_REPLICATION asks for them; the PREPARE kinds of a slot with two_phase. */
static message_handler *const handlers[] = {
    [PGOUTPUT_BEGIN] = on_begin,
    [PGOUTPUT_COMMIT] = on_commit,
    [PGOUTPUT_ORIGIN] = on_ignored,
    [PGOUTPUT_RELATION] = on_relation,
    [PGOUTPUT_TYPE] = on_ignored,
    [PGOUTPUT_INSERT] = on_row,
    [PGOUTPUT_UPDATE] = on_row,
    [PGOUTPUT_DELETE] = on_row,
    [PGOUTPUT_TRUNCATE] = on_truncate,
    [PGOUTPUT_MESSAGE] = on_message,
    [PGOUTPUT_STREAM_START] = delivery_on_stream_start,
    [PGOUTPUT_STREAM_STOP] = delivery_on_stream_stop,
    [PGOUTPUT_STREAM_COMMIT] = delivery_on_stream_commit,
    [PGOUTPUT_STREAM_ABORT] = delivery_on_stream_abort,
    [PGOUTPUT_BEGIN_PREPARE] = delivery_on_begin_prepare,
    [PGOUTPUT_PREPARE] = delivery_on_prepare,
    [PGOUTPUT_COMMIT_PREPARED] = delivery_on_commit_prepared,
    [PGOUTPUT_ROLLBACK_PREPARED] = delivery_on_rollback_prepared,
    [PGOUTPUT_STREAM_PREPARE] = delivery_on_stream_prepare,
};

static bool is_content(enum pgoutput_kind kind) {
    switch (kind) {
    case PGOUTPUT_RELATION:
    case PGOUTPUT_INSERT:
    case PGOUTPUT_UPDATE:
    case PGOUTPUT_DELETE:
    case PGOUTPUT_TRUNCATE:
    case PGOUTPUT_MESSAGE: return true;
    default: return false;
    }
}

bool delivery_message(struct delivery *d, const struct frame *frame,
                      const struct pgoutput_message *m, struct error *err) {
    if (m->kind != PGOUTPUT_RELATION && m->kind != PGOUTPUT_TYPE && d->after_description) {
        d->after_description = false;
        if (!tell_again(d, err)) return false;
    }
    return handlers[m->kind](d, frame, m, err);
}

bool delivery_frame(struct delivery *delivery, const struct frame *frame, struct error *err) {
    ASSERT(frame->kind == FRAME_DATA);
    struct pgoutput_message message;
    if (!pgoutput_decode(delivery->decoder, frame->payload, &message))
        return delivery_invalid(delivery, frame, err, "cannot be decoded");
    if (message.kind >= PGOUTPUT_STREAM_START && !delivery->pieces)
        return delivery_invalid(delivery, frame, err, "streaming of open transactions is off");
    if (message.kind >= PGOUTPUT_BEGIN_PREPARE && !delivery->spool)
        return delivery_invalid(delivery, frame, err, "two-phase commit is off");
    if (delivery->spool && open_pieces_inside(delivery->pieces) && is_content(message.kind))
        return delivery_keep(delivery, frame, &message, err);
    return delivery_message(delivery, frame, &message, err);
}

/* Changes of tables that the configuration shapes: which of them come, and as what. See publisher_parts.h. */
#include "cdc/publish/publisher_parts.h"

/* ---- row filters ---- */

/* What is left of a row that leaves the filter where its old self is not in the stream: its identity. */
static const struct value *identity_of(struct publisher *p, const struct change *change) {
    const struct relation *relation = change->relation;
    struct value *row = arena_zalloc(p->scratch, (relation->n_columns + 1u) * sizeof *row);
    for (uint16_t i = 0; i < relation->n_columns; i++) {
        if (relation->columns[i].identity) row[i] = change->new_row[i];
    }
    return row;
}

/* An update moves a row into the filter, out of it, or neither; as in a publication's. What was there before, the stream
 * does not always tell: then a row that is out now is deleted, which does no harm where it has never been. */
static bool judge_update(struct publisher *p, enum row_verdict before, enum row_verdict after,
                         struct change *change) {
    if (after == ROW_OUT && before == ROW_OUT) return false;
    if (after == ROW_OUT) {
        change->operation = CHANGE_DELETE;
        if (!change->old_row) {
            change->old_row = identity_of(p, change);
            change->old_is_key = true;
        }
        change->new_row = NULL;
    } else if (before == ROW_OUT) {
        change->operation = CHANGE_INSERT;
        change->old_row = NULL;
        change->old_is_key = false;
    }
    return true;
}

struct judgement {
    bool published;
    bool undecidable; /* with its cause in the error */
    bool failed;      /* the same */
};

static enum row_verdict judge_row(struct publisher *p, const struct event_table *table,
                                  const struct value *row, const struct value *whole, bool is_key,
                                  struct judgement *judgement, struct error *err) {
    if (!row) return ROW_UNKNOWN;
    enum row_verdict verdict = tables_judge(p->tables, table, row, whole, is_key, err);
    judgement->undecidable |= verdict == ROW_UNDECIDABLE;
    judgement->failed |= verdict == ROW_BROKEN;
    return verdict;
}

/* A value that the filter needs and the update has not sent is what the table holds by now: whether the row is out must not
 * depend on how it is stored. One that is gone by now stays unknown, and its delete is to come. */
static enum row_verdict judge_again(struct publisher *p, const struct event_table *table,
                                    const struct change *change, struct judgement *judgement,
                                    struct error *err) {
    struct change whole = *change;
    if (!reread_change(p->reread, &whole, err)) {
        judgement->failed = true;
        return ROW_BROKEN;
    }
    return judge_row(p, table, whole.new_row, NULL, false, judgement, err);
}

static struct judgement judge(struct publisher *p, const struct event_table *table,
                              struct change *change, struct error *err) {
    struct judgement judgement = {.published = true};
    bool of_row = change->new_row || change->old_row;
    /* A snapshot reads no other rows: see sink_snapshot_where. */
    if (!table->filter || !of_row || change->operation == CHANGE_READ) return judgement;
    arena_reset(p->scratch);
    const struct value *whole = change->old_is_key ? NULL : change->old_row;
    enum row_verdict before =
        judge_row(p, table, change->old_row, NULL, change->old_is_key, &judgement, err);
    if (judgement.undecidable || judgement.failed) return judgement;
    enum row_verdict after = judge_row(p, table, change->new_row, whole, false, &judgement, err);
    if (after == ROW_UNKNOWN && change->new_row && change->operation == CHANGE_UPDATE)
        after = judge_again(p, table, change, &judgement, err);
    if (judgement.undecidable || judgement.failed) return judgement;
    switch (change->operation) {
    case CHANGE_UPDATE: judgement.published = judge_update(p, before, after, change); break;
    case CHANGE_DELETE: judgement.published = before != ROW_OUT; break;
    default: judgement.published = after != ROW_OUT;
    }
    return judgement;
}

/* ---- changes ---- */

/* A row that cannot be judged is a dead letter, which shows no more of it than an event would. */
static bool bury_undecided(struct publisher *p, const struct event_table *table,
                           const struct change *change, const char *cause, struct error *err) {
    struct event event = {.op = publish_op_letter(change->operation),
                          .table = table,
                          .before = change->old_row,
                          .after = change->new_row,
                          .lsn = change->row_lsn};
    p->key.len = 0;
    return publish_bury(p, &event, cause, err);
}

bool publish_shaped(struct publisher *p, struct event_table *table, const struct change *change,
                    struct error *err) {
    const struct table_shape *shape = table->shape;
    struct change shown = *change;
    if (shape && shape->excluded) return true;
    struct judgement judgement = judge(p, table, &shown, err);
    if (judgement.failed) return false;
    if (!judgement.published) {
        metric_bump(p->metrics.filtered, 1);
        return true;
    }
    if (shape) shaper_change(p->shaper, shape, &shown);
    p->hand.change = &shown; /* what a dead letter tells of it */
    if (judgement.undecidable) {
        struct error cause = *err;
        return bury_undecided(p, table, &shown, cause.message, err);
    }
    return table->outbox ? publish_outbox_row(p, table, &shown, err)
                         : publish_table_change(p, table, &shown, err);
}

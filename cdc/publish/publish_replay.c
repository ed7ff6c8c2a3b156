/* A publisher whose changes are dead letters: see replay.h. */
#include <poll.h>

#include "base/clock.h"
#include "cdc/publish/publish_replay.h"

enum { TURN_MS = 10 };

bool publish_replay_begin(struct publisher *p, struct error *err) {
    struct change_position unused;
    struct feed_identity nowhere = {0};
    return tables_refresh(p->tables, err) &&
           p->output_ops->prepare(p->output, true, &unused, err) &&
           p->output_ops->started(p->output, &nowhere, err);
}

void publish_replay_end(struct publisher *p) { p->output_ops->ended(p->output); }

static bool wait_ready(struct publisher *p, struct error *err) {
    while (!p->output_ops->ready(p->output)) {
        poll(NULL, 0, TURN_MS);
        if (!p->output_ops->tick(p->output, clock_mono_us(), err)) return false;
    }
    return true;
}

bool publish_replay_letter(struct publisher *p, const struct dead_letter_parsed *letter,
                           bool *buried, struct error *err) {
    if (!wait_ready(p, err)) return false;
    p->source.snapshot = letter->tx.snapshot;
    p->source.xid = letter->tx.xid;
    p->source.last_lsn = letter->last_lsn;
    p->source.commit_time_us = letter->tx.commit_time_us;
    event_source_begin(&p->source);
    p->order = letter->order;
    p->hand = (struct publish_hand){
        .commit_lsn = letter->tx.commit_lsn, .only = letter->op, .attempts = letter->attempts};
    bool ok = publish_change(p, &letter->change, err);
    *buried = p->hand.buried;
    return ok;
}

bool publish_replay_commit(struct publisher *p, struct error *err) {
    struct change_position none = {0};
    return p->output_ops->commit(p->output, &none, clock_mono_us(), err);
}

bool publish_replay_settle(struct publisher *p, struct error *err) {
    while (!p->output_ops->settled(p->output)) {
        if (!p->output_ops->tick(p->output, clock_mono_us(), err)) return false;
        poll(NULL, 0, TURN_MS);
    }
    return true;
}

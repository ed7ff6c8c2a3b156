#include "cache/rows/keep.h"

#include "base/assert.h"

/* Rules 3 and 5 as far as they concern the whole table. By TTL alone there is nothing to wait for. */
static enum keep_outcome judge_table(struct core *core, const struct keep_row *row,
                                     const struct pgsnapshot *snapshot) {
    struct tablestate *state = row->table->state;
    if (!core_follows(core, row->table)) {
        bool current = atomic_load(&state->version) == row->table->version;
        return current ? KEEP_STORED : KEEP_REFUSED;
    }
    switch (tablestate_admits(state, row->table->version, snapshot)) {
    case TABLESTATE_ADMITTED: return KEEP_STORED;
    case TABLESTATE_FENCED:
        return core_rule_holds(core, RULE_SEES_APPLIED) ? KEEP_BLOCKED : KEEP_STORED;
    case TABLESTATE_BELOW_HORIZON:
        return core_rule_holds(core, RULE_START) ? KEEP_REFUSED : KEEP_STORED;
    case TABLESTATE_OTHER_VERSION:
    case TABLESTATE_JOINING: return KEEP_REFUSED;
    }
    ASSERT_UNREACHABLE();
}

/* The other form of a row stays: it too is true to every applied transaction, or it would have been evicted. */
static struct entry *make_entry(const struct keep_row *row, const struct entry *old,
                                struct row_stamp *stamp) {
    struct slice json = {0};
    struct slice fields = {0};
    int64_t expire_at_ms = row->expire_at_ms;
    bool same = old && old->kind == ENTRY_ROW && !stamp->absent &&
                entry_row_stamp(old)->table == stamp->table &&
                entry_row_stamp(old)->generation == stamp->generation && !entry_is_absent(old) &&
                !row->renews;
    if (same) {
        const struct row_stamp *before = entry_row_stamp(old);
        bool kept =
            row->form == FORM_STRING ? entry_row_fields(old, &fields) : entry_row_json(old, &json);
        if (kept) {
            /* Fills may end in another order than they began: the stamp must be true to both forms. */
            if (before->snapshot_xmin < stamp->snapshot_xmin) {
                stamp->snapshot_xmin = before->snapshot_xmin;
                stamp->snapshot_xmax = before->snapshot_xmax;
                stamp->written = before->written;
                stamp->standby = before->standby;
            }
            if (before->filled_at_us < stamp->filled_at_us)
                stamp->filled_at_us = before->filled_at_us;
            int64_t until_ms = entry_expiry(old);
            if (until_ms != STORE_NEVER && (expire_at_ms == STORE_NEVER || until_ms < expire_at_ms))
                expire_at_ms = until_ms;
        }
    }
    if (!stamp->absent) *(row->form == FORM_STRING ? &json : &fields) = row->bytes;
    return entry_create_row(row->key, row->hash, expire_at_ms, stamp, json, fields);
}

static enum keep_outcome put(struct core *core, const struct store_guard *guard,
                             const struct keep_row *row, struct row_stamp *stamp) {
    const struct entry *old =
        store_find(core->store, guard, row->key, row->hash, row->filled_at_us / 1000);
    struct entry *entry = make_entry(row, old, stamp);
    /* Where no stream tells of changes, who keeps the old row elsewhere is told that its life is over. */
    if (row->renews && old && !core_follows(core, row->table))
        store_remove(core->store, guard, row->key, row->hash, REMOVED_EXPIRED);
    return store_put(core->store, guard, &entry) ? KEEP_STORED : KEEP_REFUSED;
}

enum keep_outcome keep_row(struct core *core, const struct keep_row *row,
                           const struct pgsnapshot *snapshot) {
    bool absent = row->bytes.data == NULL;
    /* Test builds: rule 1, taken out, is a snapshot that another statement took. */
    const struct pgsnapshot others = {.xmin = core->seen_xmin, .xmax = core->seen_xmin};
    if (!core_rule_holds(core, RULE_OWN_SNAPSHOT)) snapshot = &others;
    if (!row->lasting || (absent && !row->exact)) return KEEP_REFUSED;
    /* The generation is read before the fences: see tablestate.h. */
    struct row_stamp stamp = {
        .table = row->table->number,
        .absent = absent,
        .fill_ms = row->fill_ms,
        .kind = (uint8_t)row->kind,
        .generation = tablestate_generation(row->table->state),
        .standby = snapshot->standby,
        .snapshot_xmin = snapshot->standby ? 0 : snapshot->xmin,
        .snapshot_xmax = row->written_by     ? row->written_by + 1
                         : snapshot->standby ? snapshot->lsn
                                             : snapshot->xmax,
        .written = row->written_by != 0,
        .applied_lsn = lease_applied_lsn(core->lease),
        .filled_at_us = row->filled_at_us,
    };
    /* The server too after the generation: where another one is followed, it is the first to change. */
    if (core_streams(core) && core_rule_holds(core, RULE_SERVER) && !pgsnapshot_is_ours(snapshot))
        return KEEP_REFUSED;
    enum keep_outcome outcome = judge_table(core, row, snapshot);
    if (outcome != KEEP_STORED) return outcome;
    bool linked = row->canonical.data && !slice_equal(row->canonical, row->key);
    uint64_t hashes[2] = {row->hash, row->hash};
    if (linked) hashes[1] = store_hash(core->store, row->canonical);
    bool full = false;
    struct store_guard guard;
    store_lock(core->store, hashes, 2, &guard);
    if (row->canonical.data && core_streams(core) && core_rule_holds(core, RULE_SEES_APPLIED) &&
        recent_blocks(core->recent, hashes[1], snapshot, NULL))
        outcome = KEEP_BLOCKED;
    else
        full = linked && !links_add(core->links, hashes[1], row->key);
    if (outcome == KEEP_STORED) outcome = full ? KEEP_REFUSED : put(core, &guard, row, &stamp);
    store_unlock(core->store, &guard);
    if (full) metric_add(core->count.links_refused, 1);
    return outcome;
}

#include "connectors/runtime/runtime.h"

#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "connectors/runtime/give_up.h"
#include "connectors/runtime/load_note.h"

enum { WALK_XIDS_MAX = 64 };

/* A walk of all keys that is due with the open batch's end: one for all that made it so. */
struct due_walk {
    bool due;
    int64_t since_us; /* monotonic */
    int64_t commit_time_us;
    struct write_stamp stamp; /* of the last */
    uint32_t n_xids;
    uint64_t xids[WALK_XIDS_MAX];
};

struct runtime {
    char *name;
    char *database_url;
    char *slot;
    size_t batch_bytes;
    size_t batch_writes; /* 0: any */
    int64_t batch_interval_us;
    struct sender *sender;
    struct source source;
    struct figures *figures;
    struct log *log;

    /* The feed's thread alone. */
    struct shape *shape;             /* of the relation's version below */
    struct value *new_row, *old_row; /* of its columns, where they are chosen of the relation's */
    uint32_t relation_oid;
    uint32_t relation_version;
    struct batch *open; /* NULL: none */
    bool load_due;      /* the position is zero: the snapshot's rows are loaded */
    uint64_t load_version;
    struct load_note note;
    char *walk_after; /* the load of what walks keys goes on behind this one; NULL: it begins */
    struct due_walk due_walk;
    uint64_t touched_version; /* of the last transaction that touched keys */
    uint64_t committed_lsn;   /* end of the last transaction whose changes were all given to us */
    uint64_t last_end_lsn;    /* end of the last one that had any */
    bool
        in_transaction; /* some of its changes were given, or of a load's rows, and more may come */
    uint64_t fed_by;
    struct buf key;
    struct buf old_key;

    /* Any thread. */
    _Atomic bool loading;
    _Atomic uint64_t seen_lsn;
    _Atomic int64_t open_commit_us;
    _Atomic uint64_t gave_up_at; /* WAL that the slot retained; 0: it is not given up */
};

struct runtime *runtime_create(const struct runtime_config *config,
                               const struct runtime_deps *deps) {
    struct runtime *runtime = mem_zalloc(sizeof *runtime);
    runtime->name = mem_strdup(config->name);
    runtime->database_url = mem_strdup(config->database_url);
    runtime->slot = mem_strdup(config->slot);
    runtime->batch_bytes = config->batch_bytes;
    runtime->batch_writes = config->batch_writes;
    runtime->batch_interval_us = config->batch_interval_us;
    runtime->sender = deps->sender;
    runtime->source = deps->source;
    runtime->figures = deps->figures;
    runtime->log = deps->log;
    return runtime;
}

void runtime_destroy(struct runtime **runtime) {
    struct runtime *old = *runtime;
    *runtime = NULL;
    if (!old) return;
    batch_destroy(&old->open);
    shape_release(&old->shape);
    buf_deinit(&old->key);
    buf_deinit(&old->old_key);
    mem_free(old->new_row);
    mem_free(old->old_row);
    load_note_deinit(&old->note);
    mem_free(old->walk_after);
    mem_free(old->database_url);
    mem_free(old->slot);
    mem_free(old->name);
    mem_free(old);
}

static void see(struct runtime *runtime, uint64_t lsn) {
    if (lsn > atomic_load_explicit(&runtime->seen_lsn, memory_order_relaxed))
        atomic_store_explicit(&runtime->seen_lsn, lsn, memory_order_relaxed);
}

/* ---- batches ---- */

static struct batch *make_walk(struct runtime *runtime, uint32_t which, uint16_t n_values,
                               const struct value *values, const struct write_stamp *stamp) {
    struct batch *walk = batch_create(BATCH_WALK, runtime->shape, clock_mono_us());
    batch_set_walk(walk, which, n_values, values, stamp);
    walk->version = stamp->version;
    return walk;
}

static void enqueue_walk(struct runtime *runtime, struct batch *walk, int64_t commit_time_us) {
    walk->position_lsn = runtime->committed_lsn;
    walk->last_end_lsn = runtime->last_end_lsn;
    walk->mid_transaction = runtime->in_transaction;
    walk->commit_time_us = commit_time_us;
    sender_enqueue(runtime->sender, &walk);
}

/* What belongs to the batch before it is seen with it. */
static void enqueue_due_walk(struct runtime *runtime) {
    struct due_walk *due = &runtime->due_walk;
    if (!due->due || runtime->in_transaction) return;
    /* Above all that was touched beside it, by later transactions, too. No commit record is shorter than this. */
    due->stamp.version = runtime->touched_version + 1;
    struct batch *walk = make_walk(runtime, WALK_ALL, 0, NULL, &due->stamp);
    batch_set_xids(walk, due->n_xids, due->xids);
    walk->walk.clears = true;
    enqueue_walk(runtime, walk, due->commit_time_us);
    *due = (struct due_walk){0};
}

/* The position of a batch that closes in mid-transaction is that of the transaction before: the rest of the
 * open one is in later batches. */
static void close_batch(struct runtime *runtime) {
    if (!runtime->open) {
        enqueue_due_walk(runtime);
        return;
    }
    bool walks = runtime->due_walk.due; /* no position lies before that */
    runtime->open->position_lsn = walks ? 0 : runtime->committed_lsn;
    runtime->open->last_end_lsn = runtime->last_end_lsn;
    runtime->open->mid_transaction = runtime->in_transaction || walks;
    runtime->open->note = load_note_take(&runtime->note);
    sender_enqueue(runtime->sender, &runtime->open);
    atomic_store_explicit(&runtime->open_commit_us, 0, memory_order_relaxed);
    enqueue_due_walk(runtime);
}

static struct batch *open_batch(struct runtime *runtime, const struct transaction *tx) {
    if (runtime->open) return runtime->open;
    runtime->open = batch_create(BATCH_WRITES, runtime->shape, clock_mono_us());
    if (!tx->snapshot) {
        runtime->open->commit_time_us = tx->commit_time_us;
        atomic_store_explicit(&runtime->open_commit_us, tx->commit_time_us, memory_order_relaxed);
    }
    return runtime->open;
}

static void enqueue_barrier(struct runtime *runtime, enum batch_kind kind, uint64_t version,
                            uint64_t newest, int64_t commit_time_us) {
    close_batch(runtime);
    struct batch *barrier = batch_create(kind, NULL, clock_mono_us());
    barrier->version = version;
    barrier->newest = newest;
    if (kind == BATCH_NOTE) barrier->note = load_note_take(&runtime->note);
    barrier->position_lsn = runtime->committed_lsn;
    barrier->last_end_lsn = runtime->last_end_lsn;
    barrier->mid_transaction = runtime->in_transaction;
    barrier->commit_time_us = commit_time_us;
    sender_enqueue(runtime->sender, &barrier);
}

/* ---- a session's start and end ---- */

/* A walk loads what is made of rows: the rows themselves are not wanted. Nor are those of tables that join the publication, whether
 * ours or another's: no version says how old they are. */
static void on_snapshot_where(void *self, const char *schema, const char *table, struct buf *out) {
    (void)schema, (void)table;
    struct runtime *runtime = self;
    if (runtime->source.ops->walk || !atomic_load(&runtime->loading)) buf_append_text(out, "false");
}

/* Without a slot the server keeps nothing for us. A new one is made when there is somebody to write to. */
static bool leave_slot(struct runtime *runtime, struct error *err) {
    uint64_t retained = atomic_load(&runtime->gave_up_at);
    if (!retained) return true;
    bool dropped = false;
    if (!give_up_slot(runtime->database_url, runtime->slot, &dropped, err)) return false;
    if (dropped) {
        metric_add(runtime->figures->give_ups, 1);
        log_warn(runtime->log, "slot_given_up",
                 "connector=%s slot=%s retained_bytes=%llu consequence=\"the table is loaded anew "
                 "when the target takes writes\"",
                 runtime->name, runtime->slot, (unsigned long long)retained);
    }
    struct sender_status status;
    sender_status(runtime->sender, &status);
    return !status.paused ||
           error_set(err, ERROR_UNAVAILABLE, true,
                     "slot \"%s\" was given up for the WAL that it retained; the table is loaded "
                     "anew once the connector is resumed",
                     runtime->slot);
}

/* The load of what walks is none of the feed's: to that, one that goes on is a stream from its slot's beginning. */
static void prepare_walk(struct runtime *runtime, struct change_position *position) {
    uint64_t slot_lsn = 0;
    mem_free(runtime->walk_after);
    runtime->walk_after = NULL;
    position->keeps_notes = false;
    position->snapshot_done = runtime->note.resumes &&
                              load_note_read_walk(position->note, &slot_lsn, &runtime->walk_after);
    position->end_lsn = position->last_end_lsn = slot_lsn;
    position->note = NULL;
}

static bool on_prepare(void *self, struct change_position *position, struct error *err) {
    struct runtime *runtime = self;
    if (!leave_slot(runtime, err)) return false;
    batch_destroy(&runtime->open);
    runtime->due_walk.due = false;
    atomic_store(&runtime->open_commit_us, 0);
    struct shape *shape = NULL;
    uint64_t system_identifier = 0;
    const struct source *source = &runtime->source;
    if (!source->ops->prepare(source->self, &shape, &system_identifier, err)) return false;
    /* Positions in a topic stand beside it, and not with what tells another choice of columns. */
    if (runtime->fed_by) system_identifier ^= runtime->fed_by ^ shape->chosen;
    bool opened = sender_open(runtime->sender, shape, system_identifier, position, err);
    shape_release(&runtime->shape);
    runtime->relation_oid = 0; /* the next relation is looked at anew */
    if (source->ops->touch) runtime->shape = shape_acquire(shape);
    shape_release(&shape);
    if (!opened) return false;
    load_note_prepare(&runtime->note, position, &runtime->load_version);
    runtime->load_due = !position->snapshot_done;
    if (source->ops->walk && runtime->load_due) prepare_walk(runtime, position);
    runtime->committed_lsn = position->end_lsn;
    runtime->last_end_lsn = position->last_end_lsn;
    return true;
}

static bool begin_load(struct runtime *runtime, const struct feed_identity *identity,
                       struct error *err) {
    uint64_t floor_lsn;
    const struct source *source = &runtime->source;
    if (!source->ops->load_floor(source->self, identity->slot, &floor_lsn, err)) return false;
    if (floor_lsn > identity->slot_lsn || floor_lsn < 2)
        return error_set(err, ERROR_PROTOCOL, true,
                         "slot \"%s\": restart_lsn " LSN_FMT " does not go with its consistent "
                         "point " LSN_FMT,
                         identity->slot, LSN_ARG(floor_lsn), LSN_ARG(identity->slot_lsn));
    runtime->load_version = floor_lsn - 1;
    runtime->committed_lsn = 0;
    atomic_store(&runtime->loading, true);
    metric_add(runtime->figures->loads, 1);
    runtime->in_transaction = !runtime->note.kept;
    enqueue_barrier(runtime, BATCH_LOADING, runtime->load_version, UINT64_MAX, 0);
    log_info(runtime->log, "connector_loading", "connector=%s slot=%s version=%llu", runtime->name,
             identity->slot, (unsigned long long)runtime->load_version);
    return true;
}

/* Takes `after`. */
static void enqueue_load_walk(struct runtime *runtime, char **after) {
    struct batch *walk = make_walk(runtime, WALK_ALL, 0, NULL,
                                   &(struct write_stamp){.version = runtime->load_version});
    walk->walk.load = true;
    walk->walk.after = *after;
    *after = NULL;
    enqueue_walk(runtime, walk, 0);
}

/* The stream goes on where it was, and beside it what is left of the table is read; of what walks keys, those that are left come
 * first, as they would have. */
static bool resume_load(struct runtime *runtime, const struct feed_identity *identity) {
    if (!runtime->committed_lsn)
        runtime->committed_lsn = runtime->last_end_lsn = identity->start_lsn;
    log_info(runtime->log, "connector_load_resumed", "connector=%s slot=%s version=%llu",
             runtime->name, identity->slot, (unsigned long long)runtime->load_version);
    if (!runtime->walk_after) {
        atomic_store(&runtime->loading, true);
        return true;
    }
    enqueue_load_walk(runtime, &runtime->walk_after);
    enqueue_barrier(runtime, BATCH_LOADED, runtime->load_version, runtime->load_version, 0);
    return true;
}

static bool on_started(void *self, const struct feed_identity *identity, struct error *err) {
    struct runtime *runtime = self;
    atomic_store(&runtime->loading, false);
    see(runtime, identity->slot_lsn);
    runtime->in_transaction = false;
    atomic_store(&runtime->gave_up_at, 0);
    sender_attached(runtime->sender, identity);
    /* A promoted server may not have all of the position's history. */
    bool before = !identity->slot_created && identity->start_lsn &&
                  identity->start_lsn < runtime->committed_lsn;
    if (before) runtime->committed_lsn = identity->start_lsn;
    /* A new slot streams nothing of what was before it. */
    runtime->load_due |= identity->slot_created;
    if (!runtime->load_due) return true;
    bool noted =
        runtime->source.ops->walk ? runtime->walk_after != NULL : runtime->note.resumes != NULL;
    bool goes_on = noted && !identity->slot_created;
    return goes_on ? resume_load(runtime, identity) : begin_load(runtime, identity, err);
}

/* What is open is of committed transactions, so it may go; a session that follows has its own queue. */
static void on_ended(void *self, const struct error *cause) {
    (void)cause;
    struct runtime *runtime = self;
    close_batch(runtime);
    runtime->relation_oid = 0;
}

/* ---- changes ---- */

static bool take_relation(struct runtime *runtime, const struct relation *relation,
                          struct error *err) {
    struct shape *shape;
    const struct source *source = &runtime->source;
    if (!source->ops->shape_of(source->self, relation, &shape, err)) return false;
    close_batch(runtime);
    shape_release(&runtime->shape);
    runtime->shape = shape;
    size_t row_bytes = (shape->n_columns + 1u) * sizeof(struct value);
    runtime->new_row = mem_realloc(runtime->new_row, row_bytes);
    runtime->old_row = mem_realloc(runtime->old_row, row_bytes);
    runtime->relation_oid = relation->oid;
    runtime->relation_version = relation->version;
    return true;
}

static bool read_key(const struct runtime *runtime, const struct value *row, struct buf *key) {
    key->len = 0;
    return row && shape_append_key(runtime->shape, row, key);
}

static bool no_key(const struct change *change, struct error *err) {
    return error_set(err, ERROR_PROTOCOL, false,
                     "a change of %s.%s at " LSN_FMT " does not hold the row's key",
                     change->relation->schema, change->relation->name, LSN_ARG(change->row_lsn));
}

/* A key column that the update did not touch may itself be a TOASTed value, and is then in the old key alone. */
static const struct value *with_key_from(const struct runtime *runtime, struct value *merged,
                                         const struct value *row, const struct value *old_row) {
    memcpy(merged, row, runtime->shape->n_columns * sizeof *merged);
    for (uint16_t i = 0; i < runtime->shape->n_keys; i++) {
        uint16_t at = runtime->shape->keys[i];
        if (merged[at].kind == VALUE_UNCHANGED) merged[at] = old_row[at];
    }
    int routing = runtime->shape->routing;
    if (routing != SHAPE_NONE && merged[routing].kind == VALUE_UNCHANGED)
        merged[routing] = old_row[routing];
    return merged;
}

/* A changed key moves the row: the old document goes. Its removal has a version below the row's: where the key was changed by
 * its routing alone, both may be one document, and then the row's is the newer. (No other record has that LSN: they are 24 bytes
 * long at the least.) */
static bool put_row(struct runtime *runtime, const struct transaction *tx,
                    const struct change *change, const struct write_stamp *stamp,
                    struct error *err) {
    struct batch *batch = open_batch(runtime, tx);
    const struct value *row = change->new_row;
    const struct value *old_row = change->old_row;
    struct value *merged = NULL;
    if (!read_key(runtime, row, &runtime->key) && old_row) {
        merged = mem_calloc(runtime->shape->n_columns, sizeof *merged);
        row = with_key_from(runtime, merged, row, old_row);
    }
    bool known = read_key(runtime, row, &runtime->key);
    if (known) {
        struct slice key = buf_slice(&runtime->key);
        if (read_key(runtime, old_row, &runtime->old_key) &&
            !slice_equal(key, buf_slice(&runtime->old_key)))
            batch_remove(batch, buf_slice(&runtime->old_key),
                         &(struct write_stamp){stamp->version - 1, stamp->xid});
        batch_put(batch, key, stamp, row, change->old_is_key ? NULL : old_row);
    }
    mem_free(merged);
    return known || no_key(change, err);
}

static bool remove_row(struct runtime *runtime, const struct transaction *tx,
                       const struct change *change, const struct write_stamp *stamp,
                       struct error *err) {
    if (!read_key(runtime, change->old_row, &runtime->key)) return no_key(change, err);
    batch_remove(open_batch(runtime, tx), buf_slice(&runtime->key), stamp);
    return true;
}

static bool take_change(struct runtime *runtime, const struct transaction *tx,
                        const struct change *change, struct error *err) {
    struct write_stamp stamp = {.version = change->row_lsn, .xid = tx->xid};
    switch (change->operation) {
    case CHANGE_READ:
        if (!atomic_load_explicit(&runtime->loading, memory_order_relaxed)) return true;
        stamp.version = runtime->load_version;
        return put_row(runtime, tx, change, &stamp, err);
    case CHANGE_INSERT:
    case CHANGE_UPDATE: return put_row(runtime, tx, change, &stamp, err);
    case CHANGE_DELETE: return remove_row(runtime, tx, change, &stamp, err);
    case CHANGE_TRUNCATE:
        enqueue_barrier(runtime, BATCH_CLEAR, change->row_lsn, UINT64_MAX, tx->commit_time_us);
        return true;
    case CHANGE_MESSAGE: return true;
    }
    ASSERT_UNREACHABLE();
}

/* A row of the relation as the sink is given it. */
static const struct value *chosen(const struct runtime *runtime, const struct value *row,
                                  struct value *space) {
    if (!row || !runtime->shape->places) return row;
    shape_take(runtime->shape, row, space);
    return space;
}

static bool on_begin(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct runtime *runtime = self;
    see(runtime, tx->commit_lsn);
    if (!tx->snapshot || !runtime->note.kept) runtime->in_transaction = true;
    return true;
}

static bool is_full(const struct runtime *runtime, const struct batch *batch) {
    return batch->bytes >= runtime->batch_bytes ||
           (runtime->batch_writes && batch->n_writes >= runtime->batch_writes);
}

/* ---- changes of what rows are made of ---- */

struct touching {
    struct runtime *runtime;
    const struct transaction *tx;
    struct write_stamp stamp;
};

/* The row is its key alone; the rest is read again. */
static void touch_key(void *arg, const struct value *keys) {
    struct touching *touching = arg;
    struct runtime *runtime = touching->runtime;
    const struct shape *shape = runtime->shape;
    struct value *row = mem_calloc(shape->n_columns, sizeof *row);
    for (uint16_t i = 0; i < shape->n_columns; i++)
        row[i].kind = VALUE_UNCHANGED;
    for (uint16_t i = 0; i < shape->n_keys; i++)
        row[shape->keys[i]] = keys[i];
    if (read_key(runtime, row, &runtime->key)) {
        struct batch *batch = open_batch(runtime, touching->tx);
        batch_put(batch, buf_slice(&runtime->key), &touching->stamp, row, NULL);
        /* Where the key is all of the row, that it is there still has to be found out. */
        batch->writes[batch->n_writes - 1].incomplete = true;
    }
    mem_free(row);
}

static void touch_row(void *arg, struct slice key, const struct value *row) {
    struct touching *touching = arg;
    batch_put(open_batch(touching->runtime, touching->tx), key, &touching->stamp, row, NULL);
}

static void touch_clear(void *arg) {
    struct touching *touching = arg;
    enqueue_barrier(touching->runtime, BATCH_CLEAR, touching->stamp.version, UINT64_MAX,
                    touching->tx->commit_time_us);
}

static void touch_walk(void *arg, uint32_t which, uint16_t n_values, const struct value *values) {
    struct touching *touching = arg;
    struct runtime *runtime = touching->runtime;
    struct due_walk *due = &runtime->due_walk;
    if (which != WALK_ALL) {
        close_batch(runtime);
        enqueue_walk(runtime, make_walk(runtime, which, n_values, values, &touching->stamp),
                     touching->tx->commit_time_us);
        return;
    }
    if (!due->due)
        *due = (struct due_walk){.due = true,
                                 .since_us = clock_mono_us(),
                                 .commit_time_us = touching->tx->commit_time_us};
    if (due->n_xids == 0 || due->xids[due->n_xids - 1] != touching->stamp.xid)
        due->xids[due->n_xids++] = touching->stamp.xid;
    due->stamp = touching->stamp;
}

/* A key is touched by many rows, and by transactions beside one another: not their WAL records, their commits are in the
 * stream's order. What is read for a key sees all that its transaction did, so one version will do for that. */
static bool take_touch(struct runtime *runtime, const struct transaction *tx,
                       const struct change *change, struct error *err) {
    struct touching touching = {
        .runtime = runtime, .tx = tx, .stamp = {.version = tx->commit_lsn, .xid = tx->xid}};
    runtime->touched_version = tx->commit_lsn;
    struct touched touched = {.arg = &touching,
                              .key = touch_key,
                              .row = touch_row,
                              .clear = touch_clear,
                              .walk = touch_walk};
    if (!runtime->source.ops->touch(runtime->source.self, change, &touched, err)) return false;
    if (runtime->open && is_full(runtime, runtime->open)) close_batch(runtime);
    return true;
}

static bool on_change(void *self, const struct transaction *tx, const struct change *change,
                      struct error *err) {
    struct runtime *runtime = self;
    const struct relation *relation = change->relation;
    if (!relation || !runtime->source.ops->follows(runtime->source.self, relation)) return true;
    if (runtime->source.ops->touch) return take_touch(runtime, tx, change, err);
    if (relation->oid != runtime->relation_oid || relation->version != runtime->relation_version) {
        if (!take_relation(runtime, relation, err)) return false;
    }
    struct change given = *change;
    given.new_row = chosen(runtime, change->new_row, runtime->new_row);
    given.old_row = chosen(runtime, change->old_row, runtime->old_row);
    if (!take_change(runtime, tx, &given, err)) return false;
    if (runtime->open && is_full(runtime, runtime->open)) close_batch(runtime);
    return true;
}

/* Everything up to here was given to us: it is in the open batch, in the queue, or in the sink. */
static void reach(struct runtime *runtime, uint64_t end_lsn) {
    see(runtime, end_lsn);
    if (end_lsn <= runtime->committed_lsn) return;
    runtime->committed_lsn = end_lsn;
    if (!runtime->open && !runtime->in_transaction)
        sender_reached(runtime->sender, end_lsn, runtime->last_end_lsn);
}

static bool on_commit(void *self, const struct transaction *tx, struct error *err) {
    (void)err;
    struct runtime *runtime = self;
    if (tx->snapshot) {
        load_note_commit(&runtime->note);
        return true;
    }
    runtime->in_transaction = false;
    runtime->last_end_lsn = tx->end_lsn;
    reach(runtime, tx->end_lsn);
    if (runtime->due_walk.n_xids == WALK_XIDS_MAX) close_batch(runtime);
    return true;
}

/* Once all is loaded there is nothing to note. */
static bool on_note(void *self, struct slice text, struct error *err) {
    (void)err;
    struct runtime *runtime = self;
    if (atomic_load(&runtime->loading)) load_note_hear(&runtime->note, runtime->load_version, text);
    return true;
}

static bool on_snapshot_done(void *self, uint64_t slot_lsn, struct error *err) {
    (void)err;
    struct runtime *runtime = self;
    close_batch(runtime);
    /* With the stream beside it, newer rows than the load's are there. */
    bool streamed = runtime->committed_lsn != 0;
    if (slot_lsn > runtime->committed_lsn) runtime->committed_lsn = slot_lsn;
    if (!streamed) runtime->last_end_lsn = slot_lsn;
    if (runtime->source.ops->walk) enqueue_load_walk(runtime, &(char *){NULL});
    runtime->in_transaction = false;
    enqueue_barrier(runtime, BATCH_LOADED, runtime->load_version,
                    streamed ? runtime->committed_lsn : runtime->load_version, 0);
    atomic_store(&runtime->loading, false);
    log_info(runtime->log, "connector_load_read", "connector=%s lsn=" LSN_FMT, runtime->name,
             LSN_ARG(slot_lsn));
    return true;
}

static bool on_progress(void *self, uint64_t wal_end_lsn, struct error *err) {
    (void)err;
    reach(self, wal_end_lsn);
    return true;
}

static bool on_tick(void *self, int64_t now_us, struct error *err) {
    struct runtime *runtime = self;
    if (sender_must_restart(runtime->sender, err)) return false;
    if (atomic_load_explicit(&runtime->gave_up_at, memory_order_relaxed))
        return error_set(err, ERROR_LIMIT, true, "slot \"%s\" retains too much WAL", runtime->slot);
    if (runtime->note.due && !runtime->open) enqueue_barrier(runtime, BATCH_NOTE, 0, 0, 0);
    const struct due_walk *due = &runtime->due_walk;
    int64_t since_us = runtime->open ? runtime->open->opened_us : due->due ? due->since_us : now_us;
    /* One that ends within a transaction is seen with the next one's end: a tick later there is mostly none in hand. */
    int64_t due_us = runtime->batch_interval_us * (runtime->in_transaction ? 2 : 1);
    if (now_us - since_us >= due_us) close_batch(runtime);
    return true;
}

static bool is_ready(void *self) {
    struct runtime *runtime = self;
    return sender_has_room(runtime->sender);
}

static uint64_t confirmed_lsn(void *self) {
    struct runtime *runtime = self;
    return sender_confirmed_lsn(runtime->sender);
}

struct change_sink runtime_sink(struct runtime *runtime) {
    static const struct change_sink_ops ops = {
        .snapshot_where = on_snapshot_where,
        .prepare = on_prepare,
        .started = on_started,
        .ended = on_ended,
        .begin = on_begin,
        .change = on_change,
        .commit = on_commit,
        .snapshot_done = on_snapshot_done,
        .note = on_note,
        .progress = on_progress,
        .tick = on_tick,
        .ready = is_ready,
        .confirmed_lsn = confirmed_lsn,
    };
    return (struct change_sink){.ops = &ops, .self = runtime, .name = runtime->name};
}

void runtime_fed_by(struct runtime *runtime, uint64_t hash) { runtime->fed_by = hash; }

void runtime_give_up(struct runtime *runtime, uint64_t wal_bytes) {
    struct sender_status status;
    sender_status(runtime->sender, &status);
    /* A load that gets on would only be begun again. */
    bool stuck = status.paused || status.state == SENDER_RETRYING;
    if (atomic_load(&runtime->loading) && !stuck) return;
    atomic_store(&runtime->gave_up_at, wal_bytes);
}

void runtime_status(struct runtime *runtime, struct runtime_status *status) {
    *status = (struct runtime_status){
        .loading = atomic_load(&runtime->loading),
        .seen_lsn = atomic_load(&runtime->seen_lsn),
        .open_commit_us = atomic_load(&runtime->open_commit_us),
    };
}

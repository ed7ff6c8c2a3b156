/* What a chunk comes to: see increment_parts.h. */
#include <string.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/decode/copytext.h"
#include "cdc/snapshot/increment_parts.h"

enum {
    SLICE_ROWS = 1000,
    SLICE_BYTES = 1024 * 1024,
    HALTS = 20, /* at one row: one that is changed all the time must not hold up the others */
};

/* ---- the window ---- */

/* Where the key's columns are in the relation. False: one is not there. */
static bool map_key(struct target *target, const struct relation *relation) {
    if (target->key_version == relation->version) return true;
    for (uint32_t i = 0; i < target->n_keys; i++) {
        uint16_t at = 0;
        while (at < relation->n_columns && strcmp(relation->columns[at].name, target->keys[i]) != 0)
            at++;
        if (at == relation->n_columns) return false;
        target->key_places[i] = at;
    }
    target->key_version = relation->version;
    return true;
}

/* Into inc->key: a table without a key is told by whole rows. False: a value of it is not there. */
static bool compose_key(struct increment *inc, uint16_t n_columns, const struct value *row,
                        const struct value *old_row) {
    const struct target *target = &inc->target;
    uint32_t n = target->n_keys ? target->n_keys : n_columns;
    inc->key.len = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = target->n_keys ? target->key_places[i] : i;
        const struct value *value = &row[at];
        if (value->kind == VALUE_UNCHANGED && old_row) value = &old_row[at];
        bool null = value->kind == VALUE_NULL;
        if (value->kind != VALUE_TEXT && !(null && !target->n_keys)) return false;
        uint32_t len = null ? UINT32_MAX : value->len;
        buf_append(&inc->key, &len, sizeof len);
        if (!null) buf_append(&inc->key, value->data, value->len);
    }
    return true;
}

/* What a consumer has of the row then is not all of it. */
static bool lacks_values(uint16_t n_columns, const struct value *row) {
    for (uint16_t i = 0; i < n_columns; i++) {
        if (row[i].kind == VALUE_UNCHANGED) return true;
    }
    return false;
}

static bool touch(struct increment *inc, const struct transaction *tx, const struct change *change,
                  const struct value *row, const struct value *old_row) {
    if (!row) return true;
    uint16_t n = change->relation->n_columns;
    if (!compose_key(inc, n, row, old_row)) return false;
    window_touch(inc->window, tx->xid, buf_slice(&inc->key), lacks_values(n, row));
    return true;
}

void increment_saw_change(struct increment *inc, const struct transaction *tx,
                          const struct change *change) {
    const struct relation *relation = change->relation;
    if (!window_is_open(inc->window) || !relation || relation->oid != inc->target.oid) return;
    if (change->operation == CHANGE_TRUNCATE) {
        window_touch_all(inc->window, tx->xid);
        return;
    }
    bool known = map_key(&inc->target, relation) && touch(inc, tx, change, change->old_row, NULL) &&
                 touch(inc, tx, change, change->new_row, change->old_row);
    if (!known) window_give_up(inc->window);
}

void increment_saw_message(struct increment *inc, struct slice prefix, struct slice content) {
    if (slice_equal(prefix, SLICE(CHUNK_MESSAGE_PREFIX)) && inc->phase == PHASE_READING &&
        slice_equal(content, slice_from(inc->token)))
        inc->marked = true;
}

void increment_saw_commit(struct increment *inc, const struct transaction *tx) {
    window_passed(inc->window, tx->xid);
    inc->last_end_lsn = tx->end_lsn;
    if (tx->xid) inc->last_xid = tx->xid;
}

/* ---- notes and transactions ---- */

bool increment_is_ready(const struct increment *inc) {
    return !inc->sink.ops->ready || inc->sink.ops->ready(inc->sink.self);
}

static struct transaction begin_slice(const struct increment *inc) {
    return (struct transaction){.xid = inc->last_xid,
                                .commit_lsn = inc->last_end_lsn,
                                .end_lsn = inc->last_end_lsn,
                                .commit_time_us = clock_wall_us(),
                                .snapshot = true,
                                .incremental = true};
}

static bool note(struct increment *inc, struct error *err) {
    struct buf text = {0};
    snapshot_state_compose(inc->state, &text);
    bool ok = inc->sink.ops->note(inc->sink.self, buf_slice(&text), err);
    buf_deinit(&text);
    inc->note_due = !ok;
    return ok;
}

/* The list has changed, and no row comes along. */
bool increment_give_note(struct increment *inc, struct error *err) {
    struct transaction tx = begin_slice(inc);
    const struct change_sink *sink = &inc->sink;
    return sink->ops->begin(sink->self, &tx, err) && note(inc, err) &&
           sink->ops->commit(sink->self, &tx, err);
}

/* ---- giving ---- */

/* The relation to give the chunk's rows as: the stream's, or a newer one that it has not heard of since no row has come. NULL:
 * the stream has gone past it, or on error. */
static const struct relation *find_relation(struct increment *inc, struct error *err) {
    const struct relation_draft *draft = &inc->chunk->tables->tables[0].draft;
    bool due;
    if (increment_version_of(inc, draft->oid) != inc->order_version) return NULL;
    const struct relation *relation = relations_put(inc->plan.relations, draft, &due);
    inc->order_version = relation->version;
    bool ok =
        !due || !inc->sink.ops->relation || inc->sink.ops->relation(inc->sink.self, relation, err);
    relations_sweep(inc->plan.relations);
    return ok ? relation : NULL;
}

/* *halt: the stream had a newer version of it that lacks values, which nobody would ever get: the row is to be read again,
 * rather than dropped. */
static bool give_row(struct increment *inc, const struct transaction *tx,
                     const struct relation *relation, uint64_t *index, bool *halt,
                     struct error *err) {
    if (!map_key(&inc->target, relation) ||
        !compose_key(inc, relation->n_columns, inc->values, NULL))
        return error_set(err, ERROR_PROTOCOL, true, "a row of %s.%s came without its key",
                         relation->schema, relation->name);
    bool lacks;
    if (window_overtook(inc->window, buf_slice(&inc->key), &inc->chunk->snapshot, &lacks)) {
        *halt = lacks && inc->halts++ < HALTS;
        if (!*halt) metric_bump(inc->rows_overtaken, 1);
        return true;
    }
    struct change change = {.operation = CHANGE_READ,
                            .relation = relation,
                            .row_lsn = inc->last_end_lsn,
                            .index = (*index)++,
                            .new_row = inc->values,
                            .marker = SNAPSHOT_INCREMENTAL};
    metric_bump(inc->rows_given, 1);
    ++*inc->plan.changes;
    return inc->sink.ops->change(inc->sink.self, tx, &change, err);
}

/* The task is read up to the row whose key is in given_key. */
static void reach_given(struct increment *inc, struct snapshot_task *task) {
    uint32_t n = inc->target.n_keys;
    char **after = mem_calloc(n, sizeof *after);
    const char *at = inc->given_key.data;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t len;
        memcpy(&len, at, sizeof len);
        after[i] = mem_slicedup(slice_make(at + sizeof len, len));
        at += sizeof len + len;
    }
    snapshot_task_reach(task, n, (const char *const *)after);
    for (uint32_t i = 0; i < n; i++)
        mem_free(after[i]);
    mem_free(after);
}

/* Rows of the chunk from chunk_at on: of a table with a key a slice of them, else all. */
static bool give_rows(struct increment *inc, struct snapshot_task *task,
                      const struct transaction *tx, const struct relation *relation, bool *halt,
                      struct error *err) {
    struct buf *rows = &inc->chunk->rows;
    bool sliced = inc->target.n_keys;
    size_t began = inc->chunk_at;
    uint64_t index = 0;
    uint64_t n = 0;
    while (inc->chunk_at < rows->len &&
           (!sliced || (n < SLICE_ROWS && inc->chunk_at - began < SLICE_BYTES))) {
        size_t len = copytext_take(rows->data + inc->chunk_at, rows->len - inc->chunk_at,
                                   relation->n_columns, inc->values);
        if (!len)
            return error_set(err, ERROR_PROTOCOL, true, "table %s.%s: malformed COPY row",
                             relation->schema, relation->name);
        if (!give_row(inc, tx, relation, &index, halt, err)) return false;
        if (*halt) break;
        inc->chunk_at += len;
        n++;
        inc->given_key.len = 0;
        buf_append_slice(&inc->given_key, buf_slice(&inc->key));
    }
    if (n) inc->halts = *halt;
    task->rows += n;
    if (sliced && n) reach_given(inc, task);
    return true;
}

static void end_chunk(struct increment *inc, struct snapshot_task *task) {
    const struct chunk *chunk = inc->chunk;
    if (!inc->target.n_keys)
        snapshot_task_pages_done(task, chunk->from_page, chunk->to_page);
    else if (chunk->bound)
        snapshot_task_reach(task, inc->target.n_keys, (const char *const *)chunk->bound);
    metric_bump(inc->chunks, 1);
    if (chunk->last) increment_strike(inc, task, "");
}

/* The sink is told once no table of the initial snapshot is left. The note still has its consistent point then: killed in
 * between, the next start finds nothing left to read, and tells it. */
bool increment_complete(struct increment *inc, struct error *err) {
    if (!inc->state->consistent_lsn || snapshot_state_has_initial(inc->state)) return true;
    if (!inc->sink.ops->snapshot_done(inc->sink.self, inc->last_end_lsn, err)) return false;
    log_info(inc->log, "snapshot_resumed_done", "feed=%s lsn=" LSN_FMT, inc->sink.name,
             LSN_ARG(inc->last_end_lsn));
    snapshot_state_complete(inc->state);
    inc->completed = true;
    inc->note_due = true;
    return true;
}

bool increment_give_slice(struct increment *inc, struct error *err) {
    struct snapshot_task *task = increment_current(inc);
    err->code = ERROR_NONE;
    const struct relation *relation = find_relation(inc, err);
    if (!relation) {
        if (err->code != ERROR_NONE) return false;
        increment_read_again(inc, "the table was altered");
        return true;
    }
    if (window_is_full(inc->window)) {
        increment_read_again(inc, "the stream changed more of the table than can be noted");
        return true;
    }
    if (!increment_is_ready(inc)) return true; /* its topic is being made */
    bool halt = false;
    struct transaction tx = begin_slice(inc);
    const struct change_sink *sink = &inc->sink;
    if (!sink->ops->begin(sink->self, &tx, err) || !give_rows(inc, task, &tx, relation, &halt, err))
        return false;
    bool whole = inc->chunk_at == inc->chunk->rows.len;
    if (whole) end_chunk(inc, task);
    if (!note(inc, err) || !sink->ops->commit(sink->self, &tx, err)) return false;
    if (whole) increment_go_idle(inc, 0);
    if (halt) increment_read_again(inc, "the stream's version of a row lacks values");
    return true;
}

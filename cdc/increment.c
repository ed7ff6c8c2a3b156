#include "cdc/increment.h"

#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/lsn.h"
#include "base/mem.h"
#include "cdc/chunk_reader.h"
#include "cdc/copytext.h"
#include "cdc/window.h"

enum {
    WINDOW_BYTES = 64 * 1024 * 1024,
    SLICE_ROWS = 1000,
    SLICE_BYTES = 1024 * 1024,
    MAX_CHUNK_ROWS = 100000,
    ASSUMED_ROW_BYTES = 256,
    PAGE_BYTES = 8192,
    RETRY_US = 1000000,
    STATUS_EVERY_US = 200000,
    PROGRESS_EVERY_US = 10000000,
    REQUEST_TIMEOUT_S = 10,
    DONE_KEPT = 32,
};

enum phase {
    PHASE_IDLE,
    PHASE_DESCRIBING, /* the table's key is asked for */
    PHASE_READING,    /* a chunk is read, or its message on its way */
    PHASE_GIVING,
};

/* Of another thread, which waits for it to be taken. */
struct request {
    struct request *next;
    char *schema;
    char *name;
    char *where;
    uint64_t id; /* 0: not taken yet */
};

/* A table that is off the list, and how it ended. */
struct done {
    uint64_t id;
    char table[160];
    uint64_t rows;
    char error[256]; /* "": all of it was given */
};

/* The table in hand, as it was described. */
struct target {
    uint64_t task_id; /* 0: none */
    uint32_t oid;
    uint32_t n_keys;
    char **keys;
    uint16_t *key_places; /* in the relation's columns, of key_version */
    uint32_t key_version;
    double estimated_rows;
    double row_bytes;
    uint64_t min_xmin;
    int64_t began_us;
    uint64_t began_rows;
};

struct increment {
    struct change_sink sink;
    struct log *log;
    struct metric *rows_given, *rows_overtaken, *chunks, *chunks_again;

    /* The feed's thread. */
    struct increment_plan plan;
    struct snapshot_state *state;
    struct window *window;
    struct chunk_reader *reader; /* NULL: no session that can */
    bool completed, note_due, marked;
    enum phase phase;
    struct target target;
    struct chunk *chunk;
    size_t chunk_at;        /* rows before it are given, or dropped */
    uint32_t order_version; /* the relation's, when the chunk was ordered; 0: not known */
    char token[64];
    uint64_t n_orders;
    uint64_t session; /* random */
    uint64_t last_end_lsn, last_xid;
    int64_t retry_us, status_us, progress_us;
    struct value *values;
    struct buf key;
    struct done done[DONE_KEPT]; /* a ring */
    uint64_t n_done;

    pthread_mutex_t lock;
    pthread_cond_t taken;
    bool running;
    struct request *requests;
    json_t *status;
    uint64_t published_id; /* tasks up to this one are in it */
};

/* ---- life ---- */

struct increment *increment_create(struct change_sink sink, struct log *log,
                                   struct metrics *metrics) {
    struct increment *inc = mem_zalloc(sizeof *inc);
    inc->sink = sink;
    inc->log = log;
    inc->state = snapshot_state_create();
    inc->window = window_create(WINDOW_BYTES);
    inc->values = mem_calloc(PGOUTPUT_MAX_COLUMNS, sizeof *inc->values);
    inc->status = json_object();
    pthread_mutex_init(&inc->lock, NULL);
    pthread_cond_init(&inc->taken, NULL);
    inc->rows_given = metrics_counter(metrics, "freshet_cdc_increment_rows_total",
                                      "Rows of tables that were read beside the stream.", NULL);
    inc->rows_overtaken =
        metrics_counter(metrics, "freshet_cdc_increment_rows_overtaken_total",
                        "Rows read beside the stream and left out, since the stream had newer "
                        "ones.",
                        NULL);
    inc->chunks = metrics_counter(metrics, "freshet_cdc_increment_chunks_total",
                                  "Chunks of tables that were read beside the stream.", NULL);
    inc->chunks_again = metrics_counter(metrics, "freshet_cdc_increment_chunks_again_total",
                                        "Chunks that had to be read again.", NULL);
    return inc;
}

static void forget_target(struct increment *inc) {
    struct target *target = &inc->target;
    for (uint32_t i = 0; i < target->n_keys; i++)
        mem_free(target->keys[i]);
    mem_free(target->keys);
    mem_free(target->key_places);
    *target = (struct target){0};
}

void increment_destroy(struct increment **increment) {
    struct increment *inc = *increment;
    if (!inc) return;
    increment_stop(inc);
    snapshot_state_destroy(&inc->state);
    window_destroy(&inc->window);
    mem_free(inc->values);
    buf_deinit(&inc->key);
    json_decref(inc->status);
    pthread_mutex_destroy(&inc->lock);
    pthread_cond_destroy(&inc->taken);
    mem_free(inc);
    *increment = NULL;
}

/* ---- notes and transactions ---- */

static bool is_ready(const struct increment *inc) {
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
static bool give_note(struct increment *inc, struct error *err) {
    struct transaction tx = begin_slice(inc);
    const struct change_sink *sink = &inc->sink;
    return sink->ops->begin(sink->self, &tx, err) && note(inc, err) &&
           sink->ops->commit(sink->self, &tx, err);
}

/* ---- the list ---- */

static struct snapshot_task *current(const struct increment *inc) {
    return inc->target.task_id ? snapshot_state_find(inc->state, inc->target.task_id) : NULL;
}

/* What somebody waits for comes first. */
static struct snapshot_task *choose(const struct increment *inc) {
    struct snapshot_task *task = inc->state->tasks;
    while (task && task->origin != TASK_REQUESTED)
        task = task->next;
    return task ? task : inc->state->tasks;
}

static void go_idle(struct increment *inc, int64_t retry_us) {
    chunk_destroy(&inc->chunk);
    window_close(inc->window);
    inc->phase = PHASE_IDLE;
    inc->marked = false;
    inc->retry_us = retry_us;
}

static void strike(struct increment *inc, struct snapshot_task *task, const char *error) {
    struct done *done = &inc->done[inc->n_done++ % DONE_KEPT];
    *done = (struct done){.id = task->id, .rows = task->rows};
    snprintf(done->table, sizeof done->table, "%s.%s", task->schema, task->name);
    snprintf(done->error, sizeof done->error, "%s", error);
    double seconds = (double)(clock_mono_us() - inc->target.began_us) / 1e6;
    if (*error)
        log_error(inc->log, "increment_failed", "feed=%s table=%s.%s rows=%llu cause=\"%s\"",
                  inc->sink.name, task->schema, task->name, (unsigned long long)task->rows, error);
    else
        log_info(inc->log, "increment_done", "feed=%s table=%s.%s rows=%llu seconds=%.3f",
                 inc->sink.name, task->schema, task->name, (unsigned long long)task->rows, seconds);
    snapshot_state_remove(inc->state, task);
    forget_target(inc);
    inc->status_us = 0;
    inc->note_due = true;
}

static void take_requests(struct increment *inc) {
    pthread_mutex_lock(&inc->lock);
    for (struct request *request = inc->requests; request; request = request->next) {
        struct snapshot_task *task =
            snapshot_state_add(inc->state, request->schema, request->name, TASK_REQUESTED);
        if (request->where) task->where = mem_strdup(request->where);
        request->id = task->id;
        inc->note_due = true;
        log_info(inc->log, "increment_requested", "feed=%s table=%s.%s id=%llu where=\"%s\"",
                 inc->sink.name, task->schema, task->name, (unsigned long long)task->id,
                 task->where ? task->where : "");
    }
    if (inc->requests) inc->status_us = 0;
    inc->requests = NULL;
    pthread_mutex_unlock(&inc->lock);
}

/* The first look only learns them, where nothing is known yet: an older Freshet kept no list. */
static void take_members(struct increment *inc) {
    struct snapshot_members *members = inc->plan.joins ? chunk_reader_members(inc->reader) : NULL;
    if (!members) return;
    for (uint32_t i = 0; i < members->n; i++) {
        const struct snapshot_member *member = &members->members[i];
        if (snapshot_state_knows(inc->state, member->oid)) continue;
        snapshot_state_know(inc->state, member->oid);
        inc->note_due = true;
        if (!inc->state->knows_tables) continue;
        snapshot_state_add(inc->state, member->schema, member->name, TASK_JOINED);
        log_info(inc->log, "increment_joined", "feed=%s table=%s.%s", inc->sink.name,
                 member->schema, member->name);
    }
    if (!inc->state->knows_tables) inc->note_due = true;
    inc->state->knows_tables = true;
    snapshot_members_destroy(&members);
}

/* ---- orders ---- */

static uint32_t version_of(const struct increment *inc, uint32_t oid) {
    const struct relation *relation = relations_find(inc->plan.relations, oid);
    return relation ? relation->version : 0;
}

static void order(struct increment *inc, const struct snapshot_task *task, uint32_t n_rows) {
    struct chunk_order *made = chunk_order_create(task);
    if (task->origin == TASK_INITIAL && inc->state->exported)
        made->exported = mem_strdup(inc->state->exported);
    made->n_rows = n_rows;
    made->min_xmin = n_rows ? inc->target.min_xmin : 0;
    snprintf(inc->token, sizeof inc->token, "%016llx:%llu", (unsigned long long)inc->session,
             (unsigned long long)++inc->n_orders);
    memcpy(made->token, inc->token, sizeof made->token);
    inc->marked = false;
    chunk_reader_order(inc->reader, &made);
}

static void order_description(struct increment *inc, const struct snapshot_task *task,
                              int64_t now_us) {
    forget_target(inc);
    inc->target.task_id = task->id;
    inc->target.began_us = now_us;
    inc->target.began_rows = task->rows;
    order(inc, task, 0);
    inc->phase = PHASE_DESCRIBING;
}

static void order_chunk(struct increment *inc, const struct snapshot_task *task) {
    double n = (double)inc->plan.chunk_bytes / inc->target.row_bytes;
    window_open(inc->window);
    inc->order_version = version_of(inc, inc->target.oid);
    inc->target.key_version = 0;
    order(inc, task, n < 1 ? 1 : n > MAX_CHUNK_ROWS ? MAX_CHUNK_ROWS : (uint32_t)n);
    inc->phase = PHASE_READING;
}

static bool same_key(const struct target *target, const struct chunk *chunk) {
    bool same = target->n_keys == chunk->n_keys;
    for (uint32_t i = 0; same && i < chunk->n_keys; i++)
        same = strcmp(target->keys[i], chunk->keys[i]) == 0;
    return same && target->oid == chunk->tables->tables[0].draft.oid;
}

/* Without a key rows cannot be told apart in the stream; the rest of an initial snapshot is known by its pages. */
static bool may_read(const struct increment *inc, const struct snapshot_task *task,
                     const struct chunk *chunk) {
    if (chunk->n_keys) return true;
    return task->origin == TASK_INITIAL && inc->state->exported &&
           strcmp(task->filenode, chunk->tables->tables[0].filenode) == 0;
}

static void take_description(struct increment *inc, struct snapshot_task *task) {
    struct target *target = &inc->target;
    struct chunk *chunk = inc->chunk;
    const struct snapshot_table *table = &chunk->tables->tables[0];
    if (!may_read(inc, task, chunk)) {
        strike(inc, task,
               "it has no primary key (or unique index over NOT NULL columns that is its replica "
               "identity), and so cannot be read in chunks beside the stream");
        go_idle(inc, 0);
        return;
    }
    target->oid = table->draft.oid;
    target->n_keys = chunk->n_keys;
    target->keys = chunk->keys;
    chunk->keys = NULL;
    chunk->n_keys = 0;
    target->key_places = mem_calloc(target->n_keys + 1, sizeof *target->key_places);
    target->estimated_rows = table->estimated_rows;
    target->row_bytes = table->estimated_rows >= 1
                            ? (double)table->n_pages * PAGE_BYTES / table->estimated_rows
                            : ASSUMED_ROW_BYTES;
    if (target->row_bytes < 1) target->row_bytes = ASSUMED_ROW_BYTES;
    /* What ran when the table came to the publication may have changed rows of it that are in no stream. */
    if (task->origin == TASK_JOINED) target->min_xmin = chunk->snapshot.xmax;
    log_info(inc->log, "increment_reading", "feed=%s table=%s.%s key=%s rows_estimated=%.0f",
             inc->sink.name, task->schema, task->name, target->n_keys ? target->keys[0] : "",
             target->estimated_rows);
    chunk_destroy(&inc->chunk);
    order_chunk(inc, task);
}

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

static bool touch(struct increment *inc, const struct transaction *tx, const struct change *change,
                  const struct value *row, const struct value *old_row) {
    if (!row) return true;
    if (!compose_key(inc, change->relation->n_columns, row, old_row)) return false;
    window_touch(inc->window, tx->xid, buf_slice(&inc->key));
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
    bool known = map_key(&inc->target, relation) &&
                 touch(inc, tx, change, change->new_row, change->old_row) &&
                 touch(inc, tx, change, change->old_row, NULL);
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

/* ---- giving ---- */

static void read_again(struct increment *inc, const char *cause) {
    metric_bump(inc->chunks_again, 1);
    log_info(inc->log, "increment_again", "feed=%s cause=\"%s\"", inc->sink.name, cause);
    uint64_t task_id = inc->target.task_id;
    go_idle(inc, 0);
    forget_target(inc); /* it is described anew */
    inc->target.task_id = task_id;
}

/* The relation to give the chunk's rows as: the stream's, or a newer one that it has not heard of since no row has come. NULL:
 * the stream has gone past it, or on error. */
static const struct relation *find_relation(struct increment *inc, struct error *err) {
    const struct relation_draft *draft = &inc->chunk->tables->tables[0].draft;
    bool due;
    if (version_of(inc, draft->oid) != inc->order_version) return NULL;
    const struct relation *relation = relations_put(inc->plan.relations, draft, &due);
    inc->order_version = relation->version;
    bool ok =
        !due || !inc->sink.ops->relation || inc->sink.ops->relation(inc->sink.self, relation, err);
    relations_sweep(inc->plan.relations);
    return ok ? relation : NULL;
}

static bool give_row(struct increment *inc, const struct transaction *tx,
                     const struct relation *relation, uint64_t *index, struct error *err) {
    if (!map_key(&inc->target, relation) ||
        !compose_key(inc, relation->n_columns, inc->values, NULL))
        return error_set(err, ERROR_PROTOCOL, true, "a row of %s.%s came without its key",
                         relation->schema, relation->name);
    if (window_overtook(inc->window, buf_slice(&inc->key), &inc->chunk->snapshot)) {
        metric_bump(inc->rows_overtaken, 1);
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

/* So that its last key can be told in the note. */
static void reach_last_row(struct increment *inc, struct snapshot_task *task) {
    const struct target *target = &inc->target;
    char **after = mem_calloc(target->n_keys, sizeof *after);
    for (uint32_t i = 0; i < target->n_keys; i++) {
        const struct value *value = &inc->values[target->key_places[i]];
        after[i] = mem_slicedup(slice_make(value->data, value->len));
    }
    snapshot_task_reach(task, target->n_keys, (const char *const *)after);
    for (uint32_t i = 0; i < target->n_keys; i++)
        mem_free(after[i]);
    mem_free(after);
}

/* Rows of the chunk from chunk_at on: of a table with a key a slice of them, else all. */
static bool give_rows(struct increment *inc, struct snapshot_task *task,
                      const struct transaction *tx, const struct relation *relation,
                      struct error *err) {
    struct buf *rows = &inc->chunk->rows;
    bool sliced = inc->target.n_keys;
    size_t began = inc->chunk_at;
    uint64_t index = 0;
    uint64_t n = 0;
    while (inc->chunk_at < rows->len &&
           (!sliced || (n < SLICE_ROWS && inc->chunk_at - began < SLICE_BYTES))) {
        char *row = rows->data + inc->chunk_at;
        char *newline = memchr(row, '\n', rows->len - inc->chunk_at);
        size_t len = newline ? (size_t)(newline - row) + 1 : rows->len - inc->chunk_at;
        if (!copytext_parse(row, len, relation->n_columns, inc->values))
            return error_set(err, ERROR_PROTOCOL, true, "table %s.%s: malformed COPY row",
                             relation->schema, relation->name);
        if (!give_row(inc, tx, relation, &index, err)) return false;
        inc->chunk_at += len;
        n++;
    }
    task->rows += n;
    if (sliced && n) reach_last_row(inc, task);
    return true;
}

static void end_chunk(struct increment *inc, struct snapshot_task *task) {
    const struct chunk *chunk = inc->chunk;
    if (!inc->target.n_keys)
        snapshot_task_pages_done(task, chunk->from_page, chunk->to_page);
    else if (chunk->bound)
        snapshot_task_reach(task, inc->target.n_keys, (const char *const *)chunk->bound);
    metric_bump(inc->chunks, 1);
    if (chunk->last) strike(inc, task, "");
}

/* The sink is told once no table of the initial snapshot is left. The note still has its consistent point then: killed in
 * between, the next start finds nothing left to read, and tells it. */
static bool complete(struct increment *inc, struct error *err) {
    if (!inc->state->consistent_lsn || snapshot_state_has_initial(inc->state)) return true;
    if (!inc->sink.ops->snapshot_done(inc->sink.self, inc->last_end_lsn, err)) return false;
    log_info(inc->log, "snapshot_resumed_done", "feed=%s lsn=" LSN_FMT, inc->sink.name,
             LSN_ARG(inc->last_end_lsn));
    snapshot_state_complete(inc->state);
    inc->completed = true;
    inc->note_due = true;
    return true;
}

static bool give_slice(struct increment *inc, struct error *err) {
    struct snapshot_task *task = current(inc);
    err->code = ERROR_NONE;
    const struct relation *relation = find_relation(inc, err);
    if (!relation) {
        if (err->code != ERROR_NONE) return false;
        read_again(inc, "the table was altered");
        return true;
    }
    if (window_is_full(inc->window)) {
        read_again(inc, "the stream changed more of the table than can be noted");
        return true;
    }
    if (!is_ready(inc)) return true; /* its topic is being made */
    struct transaction tx = begin_slice(inc);
    const struct change_sink *sink = &inc->sink;
    if (!sink->ops->begin(sink->self, &tx, err) || !give_rows(inc, task, &tx, relation, err))
        return false;
    bool whole = inc->chunk_at == inc->chunk->rows.len;
    if (whole) end_chunk(inc, task);
    if (!note(inc, err) || !sink->ops->commit(sink->self, &tx, err)) return false;
    if (whole) go_idle(inc, 0);
    return true;
}

/* ---- turns ---- */

/* A chunk came that is no rows: what to do about it. */
static void settle(struct increment *inc, struct snapshot_task *task, int64_t now_us) {
    struct chunk *chunk = inc->chunk;
    if (chunk->outcome == CHUNK_IMPOSSIBLE) {
        strike(inc, task, chunk->error.message);
        go_idle(inc, 0);
        return;
    }
    bool quiet = chunk->outcome == CHUNK_NOT_YET && now_us - inc->progress_us < PROGRESS_EVERY_US;
    if (!quiet) {
        inc->progress_us = now_us;
        log_warn(inc->log, "increment_waiting", "feed=%s table=%s.%s cause=\"%s\"", inc->sink.name,
                 task->schema, task->name, chunk->error.message);
    }
    bool described = chunk->outcome == CHUNK_NOT_YET;
    go_idle(inc, now_us + RETRY_US);
    if (!described) inc->target.oid = 0;
}

static void learn_row_bytes(struct increment *inc) {
    const struct buf *rows = &inc->chunk->rows;
    uint64_t n = 0;
    for (size_t at = 0; at < rows->len; n++) {
        const char *newline = memchr(rows->data + at, '\n', rows->len - at);
        at = newline ? (size_t)(newline - rows->data) + 1 : rows->len;
    }
    if (n) inc->target.row_bytes = (double)rows->len / (double)n;
}

static void take_chunk(struct increment *inc, struct snapshot_task *task, int64_t now_us) {
    struct chunk *chunk = inc->chunk;
    if (chunk->outcome == CHUNK_DESCRIBED) {
        take_description(inc, task);
    } else if (chunk->outcome != CHUNK_READ) {
        settle(inc, task, now_us);
    } else if (inc->marked && !same_key(&inc->target, chunk)) {
        read_again(inc, "the table's key was altered");
    } else if (inc->marked && window_hides(inc->window, &chunk->snapshot)) {
        read_again(inc, "a transaction that was streamed before is not visible yet");
        inc->retry_us = now_us + RETRY_US / 10;
    } else if (inc->marked) {
        learn_row_bytes(inc);
        inc->chunk_at = 0;
        inc->phase = PHASE_GIVING;
    }
}

static void start_next(struct increment *inc, int64_t now_us) {
    struct snapshot_task *task = choose(inc);
    if (!task || now_us < inc->retry_us) return;
    if (inc->target.task_id == task->id && inc->target.oid)
        order_chunk(inc, task);
    else
        order_description(inc, task, now_us);
}

static json_t *task_json(const struct increment *inc, const struct snapshot_task *task,
                         int64_t now_us) {
    static const char *const origins[] = {
        [TASK_INITIAL] = "initial", [TASK_JOINED] = "joined", [TASK_REQUESTED] = "requested"};
    const struct target *target = &inc->target;
    json_t *json = json_pack("{s:I, s:o, s:s, s:I}", "id", (json_int_t)task->id, "table",
                             json_sprintf("%s.%s", task->schema, task->name), "origin",
                             origins[task->origin], "rows", (json_int_t)task->rows);
    if (task->where) json_object_set_new(json, "where", json_string(task->where));
    if (task->id != target->task_id) return json;
    double seconds = (double)(now_us - target->began_us) / 1e6;
    double rate = seconds > 0 ? (double)(task->rows - target->began_rows) / seconds : 0;
    json_object_set_new(json, "rows_per_second", json_integer((json_int_t)rate));
    if (target->estimated_rows < 1 || task->where) return json;
    double share = (double)task->rows / target->estimated_rows;
    if (share > 0.99) share = 0.99;
    json_object_set_new(json, "percent", json_real(share * 100));
    if (rate > 0)
        json_object_set_new(json, "seconds_left",
                            json_real((1 - share) * target->estimated_rows / rate));
    return json;
}

static void publish(struct increment *inc, int64_t now_us) {
    json_t *tables = json_array();
    json_t *all_done = json_array();
    for (const struct snapshot_task *task = inc->state->tasks; task; task = task->next)
        json_array_append_new(tables, task_json(inc, task, now_us));
    uint64_t first = inc->n_done > DONE_KEPT ? inc->n_done - DONE_KEPT : 0;
    for (uint64_t i = first; i < inc->n_done; i++) {
        const struct done *done = &inc->done[i % DONE_KEPT];
        json_t *json = json_pack("{s:I, s:s, s:I}", "id", (json_int_t)done->id, "table",
                                 done->table, "rows", (json_int_t)done->rows);
        if (*done->error) json_object_set_new(json, "error", json_string(done->error));
        json_array_append_new(all_done, json);
    }
    json_t *status = json_pack("{s:o, s:o}", "tables", tables, "done", all_done);
    pthread_mutex_lock(&inc->lock);
    json_t *old = inc->status;
    inc->status = status;
    inc->published_id = inc->state->last_id;
    pthread_cond_broadcast(&inc->taken);
    pthread_mutex_unlock(&inc->lock);
    json_decref(old);
    inc->status_us = now_us;
}

static void tell_progress(struct increment *inc, int64_t now_us) {
    const struct snapshot_task *task = current(inc);
    if (!task || now_us - inc->progress_us < PROGRESS_EVERY_US) return;
    inc->progress_us = now_us;
    json_t *json = task_json(inc, task, now_us);
    log_info(inc->log, "increment_progress",
             "feed=%s table=%s.%s rows=%llu rows_per_second=%lld percent=%.1f seconds_left=%.0f "
             "tables_left=%u",
             inc->sink.name, task->schema, task->name, (unsigned long long)task->rows,
             (long long)json_integer_value(json_object_get(json, "rows_per_second")),
             json_real_value(json_object_get(json, "percent")),
             json_real_value(json_object_get(json, "seconds_left")),
             (unsigned)snapshot_state_count(inc->state));
    json_decref(json);
}

bool increment_is_due(const struct increment *inc) {
    return inc->phase == PHASE_GIVING || inc->marked;
}

bool increment_completed(const struct increment *inc) { return inc->completed; }

bool increment_turn(struct increment *inc, int64_t now_us, struct error *err) {
    if (!inc->reader) return true;
    take_requests(inc);
    take_members(inc);
    struct snapshot_task *task = current(inc);
    bool asked = inc->phase == PHASE_DESCRIBING || inc->phase == PHASE_READING;
    if (asked && !inc->chunk) inc->chunk = chunk_reader_take(inc->reader);
    if (asked && inc->chunk) take_chunk(inc, task, now_us);
    if (inc->phase == PHASE_GIVING && is_ready(inc) && !give_slice(inc, err)) return false;
    if (is_ready(inc) && !complete(inc, err)) return false;
    if (inc->note_due && is_ready(inc) && !give_note(inc, err)) return false;
    if (inc->phase == PHASE_IDLE) start_next(inc, now_us);
    if (now_us - inc->status_us >= STATUS_EVERY_US) publish(inc, now_us);
    tell_progress(inc, now_us);
    return true;
}

/* ---- sessions ---- */

bool increment_load(struct increment *inc, const struct change_position *position,
                    struct error *err) {
    struct snapshot_state *state = snapshot_state_create();
    if (position->note) {
        snapshot_state_destroy(&state);
        state = snapshot_state_parse(slice_from(position->note), err);
        if (!state) return false;
    }
    if (position->snapshot_done) snapshot_state_complete(state);
    snapshot_state_destroy(&inc->state);
    inc->state = state;
    return true;
}

uint64_t increment_resumes(const struct increment *inc) { return inc->state->consistent_lsn; }

struct snapshot_state *increment_state(struct increment *inc) {
    snapshot_state_destroy(&inc->state);
    inc->state = snapshot_state_create();
    return inc->state;
}

bool increment_plan_all(struct increment *inc, const struct pgwait *wait, PGconn *conn,
                        const struct snapshot_choice *choice, uint64_t start_lsn,
                        struct error *err) {
    struct snapshot_state *state = increment_state(inc);
    struct snapshot_tables *tables = snapshot_tables_load(wait, conn, choice, err);
    struct snapshot_members *members =
        tables ? snapshot_members_load(wait, conn, choice->publication, err) : NULL;
    for (uint32_t i = 0; members && i < tables->n; i++)
        snapshot_state_add(state, tables->tables[i].schema, tables->tables[i].name, TASK_INITIAL);
    for (uint32_t i = 0; members && i < members->n; i++)
        snapshot_state_know(state, members->members[i].oid);
    state->knows_tables = true;
    state->consistent_lsn = start_lsn;
    bool ok = members != NULL;
    snapshot_tables_destroy(&tables);
    snapshot_members_destroy(&members);
    return ok;
}

static void set_running(struct increment *inc, bool running) {
    pthread_mutex_lock(&inc->lock);
    inc->running = running;
    pthread_cond_broadcast(&inc->taken);
    pthread_mutex_unlock(&inc->lock);
}

bool increment_start(struct increment *inc, const struct increment_plan *plan, struct error *err) {
    inc->plan = *plan;
    inc->last_end_lsn = plan->start_lsn;
    inc->last_xid = 0;
    inc->completed = false;
    inc->progress_us = clock_mono_us();
    inc->note_due = inc->state->tasks && !inc->state->exported; /* a list that is not noted yet */
    inc->session = (uint64_t)clock_mono_us();
    ssize_t n = getrandom(&inc->session, sizeof inc->session, GRND_NONBLOCK);
    (void)n;
    struct chunk_reader_config config = {.database_url = plan->database_url,
                                         .server_options = plan->server_options,
                                         .publication = plan->publication,
                                         .sink = &inc->sink,
                                         .log = inc->log};
    inc->reader = chunk_reader_start(&config, err);
    if (!inc->reader) return false;
    if (inc->state->tasks)
        log_info(inc->log, "increment_resumed", "feed=%s tables=%u", inc->sink.name,
                 (unsigned)snapshot_state_count(inc->state));
    set_running(inc, true);
    return true;
}

void increment_stop(struct increment *inc) {
    set_running(inc, false);
    chunk_reader_stop(&inc->reader);
    go_idle(inc, 0);
    forget_target(inc);
}

/* ---- other threads ---- */

/* Taken, and in the status. */
static bool is_told(const struct increment *inc, const struct request *request) {
    return request->id && request->id <= inc->published_id;
}

static bool wait_until_taken(struct increment *inc, struct request *request, struct error *err) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += REQUEST_TIMEOUT_S;
    int timed_out = 0;
    while (!is_told(inc, request) && inc->running && !timed_out)
        timed_out = pthread_cond_timedwait(&inc->taken, &inc->lock, &until);
    if (request->id) return true;
    struct request **link = &inc->requests;
    while (*link != request)
        link = &(*link)->next;
    *link = request->next;
    return error_set(err, ERROR_UNAVAILABLE, true, "the stream did not take it");
}

bool increment_request(struct increment *inc, const char *schema, const char *name,
                       const char *where, uint64_t *id, struct error *err) {
    struct request request = {.schema = mem_strdup(schema),
                              .name = mem_strdup(name),
                              .where = where && *where ? mem_strdup(where) : NULL};
    pthread_mutex_lock(&inc->lock);
    bool ok = inc->running;
    if (!ok) {
        error_set(err, ERROR_UNAVAILABLE, true, "the stream does not run");
    } else {
        struct request **end = &inc->requests;
        while (*end)
            end = &(*end)->next;
        *end = &request;
        ok = wait_until_taken(inc, &request, err);
    }
    pthread_mutex_unlock(&inc->lock);
    *id = request.id;
    mem_free(request.schema);
    mem_free(request.name);
    mem_free(request.where);
    return ok;
}

json_t *increment_status(struct increment *inc) {
    pthread_mutex_lock(&inc->lock);
    json_t *copy = json_deep_copy(inc->status);
    pthread_mutex_unlock(&inc->lock);
    return copy;
}

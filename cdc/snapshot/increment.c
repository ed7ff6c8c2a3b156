#include "cdc/snapshot/increment.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cdc/snapshot/increment_parts.h"

enum {
    WINDOW_BYTES = 64 * 1024 * 1024,
    MAX_CHUNK_ROWS = 100000,
    ASSUMED_ROW_BYTES = 256,
    PAGE_BYTES = 8192,
    RETRY_US = 1000000,
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

void increment_forget_target(struct increment *inc) {
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
    buf_deinit(&inc->given_key);
    json_decref(inc->status);
    pthread_mutex_destroy(&inc->lock);
    pthread_cond_destroy(&inc->taken);
    mem_free(inc);
    *increment = NULL;
}

/* ---- the list ---- */

struct snapshot_task *increment_current(const struct increment *inc) {
    return inc->target.task_id ? snapshot_state_find(inc->state, inc->target.task_id) : NULL;
}

/* What somebody waits for comes first. */
static struct snapshot_task *choose(const struct increment *inc) {
    struct snapshot_task *task = inc->state->tasks;
    while (task && task->origin != TASK_REQUESTED)
        task = task->next;
    return task ? task : inc->state->tasks;
}

void increment_go_idle(struct increment *inc, int64_t retry_us) {
    chunk_destroy(&inc->chunk);
    window_close(inc->window);
    inc->phase = PHASE_IDLE;
    inc->marked = false;
    inc->retry_us = retry_us;
}

void increment_strike(struct increment *inc, struct snapshot_task *task, const char *error) {
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
    if (*error && inc->plan.whole && task->origin == TASK_INITIAL)
        snprintf(inc->broken, sizeof inc->broken, "%.255s", error);
    snapshot_state_remove(inc->state, task);
    increment_forget_target(inc);
    inc->status_us = 0;
    inc->note_due = true;
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

uint32_t increment_version_of(const struct increment *inc, uint32_t oid) {
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
    increment_forget_target(inc);
    inc->target.task_id = task->id;
    inc->target.began_us = now_us;
    inc->target.began_rows = task->rows;
    order(inc, task, 0);
    inc->phase = PHASE_DESCRIBING;
}

static void order_chunk(struct increment *inc, const struct snapshot_task *task) {
    double n = (double)inc->plan.chunk_bytes / inc->target.row_bytes;
    window_open(inc->window);
    inc->order_version = increment_version_of(inc, inc->target.oid);
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

/* Of what is left of the table, for the progress: without statistics by its pages. */
static double estimate_rows(const struct snapshot_task *task, const struct snapshot_table *table) {
    double rows = table->estimated_rows >= 1
                      ? table->estimated_rows
                      : (double)table->n_pages * PAGE_BYTES / ASSUMED_ROW_BYTES;
    uint64_t done = 0;
    bool same = strcmp(task->filenode, table->filenode) == 0;
    for (uint32_t i = 0; same && i < task->n_pages_done; i++) {
        const struct page_range *pages = &task->pages_done[i];
        uint32_t to = pages->to < table->n_pages ? pages->to : table->n_pages;
        if (to > pages->from) done += to - pages->from;
    }
    return table->n_pages ? rows * (1 - (double)done / table->n_pages) : rows;
}

static void take_description(struct increment *inc, struct snapshot_task *task) {
    struct target *target = &inc->target;
    struct chunk *chunk = inc->chunk;
    const struct snapshot_table *table = &chunk->tables->tables[0];
    if (!may_read(inc, task, chunk)) {
        increment_strike(
            inc, task,
            "it has no primary key (or unique index over NOT NULL columns that is its replica "
            "identity), and so cannot be read in chunks beside the stream");
        increment_go_idle(inc, 0);
        return;
    }
    target->oid = table->draft.oid;
    target->n_keys = chunk->n_keys;
    target->keys = chunk->keys;
    chunk->keys = NULL;
    chunk->n_keys = 0;
    target->key_places = mem_calloc(target->n_keys + 1, sizeof *target->key_places);
    target->estimated_rows = estimate_rows(task, table);
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

/* ---- turns ---- */

void increment_read_again(struct increment *inc, const char *cause) {
    metric_bump(inc->chunks_again, 1);
    log_info(inc->log, "increment_again", "feed=%s cause=\"%s\"", inc->sink.name, cause);
    uint64_t task_id = inc->target.task_id;
    increment_go_idle(inc, 0);
    increment_forget_target(inc); /* it is described anew */
    inc->target.task_id = task_id;
}

/* A chunk came that is no rows: what to do about it. */
static void settle(struct increment *inc, struct snapshot_task *task, int64_t now_us) {
    struct chunk *chunk = inc->chunk;
    if (chunk->outcome == CHUNK_IMPOSSIBLE) {
        increment_strike(inc, task, chunk->error.message);
        increment_go_idle(inc, 0);
        return;
    }
    bool quiet =
        chunk->outcome == CHUNK_NOT_YET && now_us - inc->progress_us < INCREMENT_TELL_EVERY_US;
    if (!quiet) {
        inc->progress_us = now_us;
        log_warn(inc->log, "increment_waiting", "feed=%s table=%s.%s cause=\"%s\"", inc->sink.name,
                 task->schema, task->name, chunk->error.message);
    }
    bool described = chunk->outcome == CHUNK_NOT_YET;
    increment_go_idle(inc, now_us + RETRY_US);
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
        increment_read_again(inc, "the table's key was altered");
    } else if (inc->marked && window_hides(inc->window, &chunk->snapshot)) {
        increment_read_again(inc, "a transaction that was streamed before is not visible yet");
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

bool increment_is_due(const struct increment *inc) {
    return inc->phase == PHASE_GIVING || inc->marked;
}

bool increment_completed(const struct increment *inc) { return inc->completed; }

/* The next session finds nothing to go on from. */
static bool begin_anew(struct increment *inc, struct error *err) {
    return inc->sink.ops->note(inc->sink.self, slice_make("", 0), err) &&
           error_set(err, ERROR_CONFLICT, true,
                     "the snapshot cannot go on where it was interrupted, and begins anew: %s",
                     inc->broken);
}

bool increment_turn(struct increment *inc, int64_t now_us, struct error *err) {
    if (!inc->reader) return true;
    increment_take_requests(inc);
    take_members(inc);
    struct snapshot_task *task = increment_current(inc);
    bool asked = inc->phase == PHASE_DESCRIBING || inc->phase == PHASE_READING;
    if (asked && !inc->chunk) inc->chunk = chunk_reader_take(inc->reader);
    if (asked && inc->chunk) take_chunk(inc, task, now_us);
    if (*inc->broken) return begin_anew(inc, err);
    if (inc->phase == PHASE_GIVING && increment_is_ready(inc) && !increment_give_slice(inc, err))
        return false;
    if (increment_is_ready(inc) && !increment_complete(inc, err)) return false;
    if (inc->note_due && increment_is_ready(inc) && !increment_give_note(inc, err)) return false;
    if (inc->phase == PHASE_IDLE) start_next(inc, now_us);
    if (now_us - inc->status_us >= INCREMENT_STATUS_EVERY_US) increment_publish(inc, now_us);
    increment_tell_progress(inc, now_us);
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

bool increment_start(struct increment *inc, const struct increment_plan *plan, struct error *err) {
    inc->plan = *plan;
    inc->last_end_lsn = plan->start_lsn;
    inc->last_xid = 0;
    inc->completed = false;
    *inc->broken = '\0';
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
    increment_set_running(inc, true);
    return true;
}

void increment_stop(struct increment *inc) {
    increment_set_running(inc, false);
    chunk_reader_stop(&inc->reader);
    increment_go_idle(inc, 0);
    increment_forget_target(inc);
}

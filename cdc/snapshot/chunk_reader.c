#include "cdc/snapshot/chunk_reader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "cdc/snapshot/chunk_sql.h"

enum { LOOK_EVERY_US = 1000000 };

/* The message's commit must not wait for a standby, and must reach the disk to be streamed at once. */
static const char own_settings[] = " -c synchronous_commit=local";

struct chunk_reader {
    struct chunk_reader_config config;
    char *server_options;
    pthread_t thread;
    bool started;
    int stop_fd;
    int order_fd; /* readable: there is an order */

    pthread_mutex_t lock;
    struct chunk_order *order;
    struct chunk *chunk;
    struct snapshot_members *members; /* new ones, not taken yet */

    /* The thread's own. */
    PGconn *conn;
    int64_t looked_us;
    char fingerprint[64]; /* of the members that were told last */
};

/* ---- orders and chunks ---- */

static void free_texts(char **texts, uint32_t n) {
    for (uint32_t i = 0; texts && i < n; i++)
        mem_free(texts[i]);
    mem_free(texts);
}

static char *copy_text(const char *text) { return text ? mem_strdup(text) : NULL; }

struct chunk_order *chunk_order_create(const struct snapshot_task *task) {
    struct chunk_order *order = mem_zalloc(sizeof *order);
    struct snapshot_task *copy = &order->task;
    copy->origin = task->origin;
    copy->schema = mem_strdup(task->schema);
    copy->name = mem_strdup(task->name);
    copy->where = copy_text(task->where);
    copy->filenode = mem_strdup(task->filenode);
    for (uint32_t i = 0; i < task->n_pages_done; i++)
        snapshot_task_pages_done(copy, task->pages_done[i].from, task->pages_done[i].to);
    if (task->n_after) snapshot_task_reach(copy, task->n_after, (const char *const *)task->after);
    return order;
}

static void destroy_order(struct chunk_order **order) {
    if (!*order) return;
    snapshot_task_deinit(&(*order)->task);
    mem_free((*order)->exported);
    mem_free(*order);
    *order = NULL;
}

void chunk_destroy(struct chunk **chunk) {
    struct chunk *self = *chunk;
    if (!self) return;
    free_texts(self->keys, self->n_keys);
    free_texts(self->bound, self->n_keys);
    snapshot_tables_destroy(&self->tables);
    pgsnapshot_deinit(&self->snapshot);
    buf_deinit(&self->rows);
    mem_free(self);
    *chunk = NULL;
}

/* ---- one chunk ---- */

/* What a chunk is made with; the names of its key are the chunk's. */
struct job {
    struct chunk_reader *reader;
    const struct pgwait *wait;
    const struct chunk_order *order;
    struct chunk *chunk;
    struct chunk_key key;
    const struct snapshot_table *table;
};

static PGresult *query(const struct job *job, const char *sql, struct error *err) {
    return pgwait_query(job->wait, job->reader->conn, sql, err);
}

static bool run_sql(const struct job *job, const char *sql, struct error *err) {
    PGresult *result = query(job, sql, err);
    PQclear(result);
    return result != NULL;
}

static bool begin(const struct job *job, struct error *err) {
    const struct snapshot_task *task = &job->order->task;
    struct buf sql = {0};
    buf_append_text(&sql, "LOCK TABLE ");
    pg_quote_table(&sql, task->schema, task->name);
    buf_append_text(&sql, " IN ACCESS SHARE MODE");
    bool ok = run_sql(job, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) &&
              run_sql(job, buf_text(&sql), err);
    buf_deinit(&sql);
    return ok;
}

static bool take_snapshot(const struct job *job, struct error *err) {
    PGresult *rows = query(job, "SELECT pg_current_snapshot()", err);
    if (!rows) return false;
    bool ok = pgsnapshot_parse(slice_from(PQgetvalue(rows, 0, 0)), &job->chunk->snapshot);
    PQclear(rows);
    return ok || error_set(err, ERROR_PROTOCOL, true, "pg_current_snapshot() is malformed");
}

static bool describe_table(struct job *job, struct error *err) {
    const struct snapshot_task *task = &job->order->task;
    struct snapshot_choice choice = {.publication = job->reader->config.publication,
                                     .schema = task->schema,
                                     .name = task->name,
                                     .sink = job->reader->config.sink};
    job->chunk->tables = snapshot_tables_load(job->wait, job->reader->conn, &choice, err);
    if (!job->chunk->tables) return false;
    if (job->chunk->tables->n != 1)
        return error_set(err, ERROR_NOT_FOUND, false, "publication \"%s\" does not publish it",
                         choice.publication);
    job->table = &job->chunk->tables->tables[0];
    return true;
}

static bool is_published(const struct snapshot_table *table, const char *column) {
    for (uint16_t i = 0; i < table->draft.n_columns; i++) {
        if (slice_equal(table->draft.columns[i].name, slice_from(column))) return true;
    }
    return false;
}

static bool describe_key(struct job *job, struct error *err) {
    ASSERT(job->table);
    struct buf sql = {0};
    chunk_sql_keys(job->table->draft.oid, &sql);
    PGresult *rows = query(job, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return false;
    uint32_t n = (uint32_t)PQntuples(rows);
    bool published = true;
    for (uint32_t i = 0; i < n; i++)
        published = published && is_published(job->table, PQgetvalue(rows, (int)i, 0));
    if (!published) n = 0;
    job->chunk->keys = mem_calloc(n + 1, sizeof(char *));
    job->key.types = mem_calloc(n + 1, sizeof(char *));
    for (uint32_t i = 0; i < n; i++) {
        job->chunk->keys[i] = mem_strdup(PQgetvalue(rows, (int)i, 0));
        job->key.types[i] = mem_strdup(PQgetvalue(rows, (int)i, 1));
    }
    job->chunk->n_keys = job->key.n = n;
    job->key.names = job->chunk->keys;
    PQclear(rows);
    return true;
}

/* A condition that does not stand by itself must not reach a statement that is sent as text: the extended protocol takes one
 * statement alone. */
static bool check_condition(const struct job *job, struct error *err) {
    if (!job->order->task.where) return true;
    struct buf condition = {0};
    struct buf sql = {0};
    buf_printf(&condition, "(%s\n)", job->order->task.where);
    buf_append_text(&sql, "SELECT");
    snapshot_tables_from_sql(job->table, buf_text(&condition), &sql);
    PGresult *result = PQprepare(job->reader->conn, "", buf_text(&sql), 0, NULL);
    bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!ok)
        error_set(err, ERROR_CONFIG, false, "the condition: %s",
                  PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
                      ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)
                      : PQerrorMessage(job->reader->conn));
    PQclear(result);
    buf_deinit(&condition);
    buf_deinit(&sql);
    return ok;
}

static bool find_bound(const struct job *job, const struct chunk_choice *choice,
                       struct error *err) {
    struct buf sql = {0};
    chunk_sql_bound(choice, job->order->n_rows, &sql);
    PGresult *rows = query(job, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return false;
    job->chunk->last = PQntuples(rows) == 0;
    if (!job->chunk->last) {
        job->chunk->bound = mem_calloc(job->key.n, sizeof(char *));
        for (uint32_t i = 0; i < job->key.n; i++)
            job->chunk->bound[i] = mem_strdup(PQgetvalue(rows, 0, (int)i));
    }
    PQclear(rows);
    return true;
}

/* The first pages that are not done, as many as should hold the rows. */
static void choose_pages(const struct job *job, struct chunk_choice *choice) {
    const struct snapshot_task *task = &job->order->task;
    uint32_t from = 0;
    uint32_t limit = PAGES_TO_END;
    for (uint32_t i = 0; i < task->n_pages_done; i++) {
        if (task->pages_done[i].from > from) {
            limit = task->pages_done[i].from;
            break;
        }
        from = task->pages_done[i].to;
    }
    double a_page = job->table->n_pages ? job->table->estimated_rows / job->table->n_pages : 0;
    uint64_t n = (uint64_t)((double)job->order->n_rows / (a_page >= 1 ? a_page : 20));
    uint64_t to = from + (n ? n : 1);
    if (to > limit) to = limit;
    job->chunk->last = limit == PAGES_TO_END && to >= job->table->n_pages;
    choice->from_page = job->chunk->from_page = from;
    choice->to_page = job->chunk->to_page = job->chunk->last ? PAGES_TO_END : (uint32_t)to;
}

static bool copy_rows(const struct job *job, struct error *err) {
    PGconn *conn = job->reader->conn;
    while (pg_copy_rows(conn, SIZE_MAX, &job->chunk->rows) != PG_COPIED_END) {
        if (!pgwait_poll(job->wait, PQsocket(conn), POLLIN, -1, err)) return false;
        if (!PQconsumeInput(conn)) return pg_error(err, conn, NULL, "COPY");
    }
    return pg_finish_copy(conn, err);
}

static bool read_rows(struct job *job, struct error *err) {
    const struct chunk_order *order = job->order;
    struct chunk_choice choice = {
        .table = job->table, .task = &order->task, .key = &job->key, .exported = order->exported};
    if (!job->key.n)
        choose_pages(job, &choice);
    else if (!find_bound(job, &choice, err))
        return false;
    choice.bound = job->chunk->bound;
    struct buf sql = {0};
    chunk_sql_copy(&choice, &sql);
    PGresult *result = query(job, buf_text(&sql), err);
    buf_deinit(&sql);
    PQclear(result);
    return result && copy_rows(job, err);
}

static bool mark(const struct job *job, struct error *err) {
    struct buf sql = {0};
    buf_append_text(&sql, "SELECT pg_logical_emit_message(true, '" CHUNK_MESSAGE_PREFIX "', ");
    pg_quote_literal(&sql, job->order->token);
    buf_append_char(&sql, ')');
    bool ok = run_sql(job, "COMMIT", err) && run_sql(job, buf_text(&sql), err);
    buf_deinit(&sql);
    return ok;
}

static bool is_waiting(const struct job *job) {
    return job->chunk->snapshot.xmin < job->order->min_xmin;
}

static bool make_chunk(struct job *job, struct error *err) {
    struct chunk *chunk = job->chunk;
    if (!begin(job, err) || !take_snapshot(job, err) || !describe_table(job, err) ||
        !describe_key(job, err) || !check_condition(job, err))
        return false;
    chunk->outcome = CHUNK_DESCRIBED;
    if (is_waiting(job)) {
        chunk->outcome = CHUNK_NOT_YET;
        error_set(&chunk->error, ERROR_UNAVAILABLE, true,
                  "waits for the transactions that were running when the table joined");
    }
    if (chunk->outcome == CHUNK_NOT_YET || !job->order->n_rows) return run_sql(job, "COMMIT", err);
    chunk->outcome = CHUNK_READ;
    return read_rows(job, err) && mark(job, err);
}

/* ---- the thread ---- */

static bool connect_reader(struct chunk_reader *r, const struct pgwait *wait, struct error *err) {
    if (r->conn && PQstatus(r->conn) == CONNECTION_OK &&
        PQtransactionStatus(r->conn) == PQTRANS_IDLE)
        return true;
    if (r->conn) PQfinish(r->conn);
    struct pg_options options = {.application_name = "freshet_cdc_snapshot",
                                 .server_options = r->server_options};
    r->conn = pgwait_connect(wait, r->config.database_url, &options, err);
    return r->conn != NULL;
}

/* What nobody mends by waiting: the table is gone, or not to be read, or what was asked makes no sense. */
static bool is_final(const struct error *err) {
    return !err->retriable && (err->code == ERROR_NOT_FOUND || err->code == ERROR_REFUSED ||
                               err->code == ERROR_CONFIG);
}

static struct chunk *serve(struct chunk_reader *r, const struct pgwait *wait,
                           const struct chunk_order *order) {
    struct chunk *chunk = mem_zalloc(sizeof *chunk);
    struct job job = {.reader = r, .wait = wait, .order = order, .chunk = chunk};
    struct error err = {0};
    if (!connect_reader(r, wait, &err) || !make_chunk(&job, &err)) {
        chunk->outcome = is_final(&err) ? CHUNK_IMPOSSIBLE : CHUNK_FAILED;
        chunk->error = err;
        /* Whatever state it is in, the next order begins with a new one. */
        if (r->conn) PQfinish(r->conn);
        r->conn = NULL;
    }
    free_texts(job.key.types, job.key.n);
    return chunk;
}

static void look_at_members(struct chunk_reader *r, const struct pgwait *wait) {
    struct error err;
    struct buf sql = {0};
    if (clock_mono_us() - r->looked_us < LOOK_EVERY_US || !connect_reader(r, wait, &err)) return;
    r->looked_us = clock_mono_us();
    buf_append_text(&sql, "SELECT md5(coalesce(string_agg(r.prrelid::text, ','"
                          " ORDER BY r.prrelid), '')) FROM pg_publication_rel r"
                          " JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = ");
    pg_quote_literal(&sql, r->config.publication);
    PGresult *rows = pgwait_query(wait, r->conn, buf_text(&sql), &err);
    buf_deinit(&sql);
    if (rows && strcmp(PQgetvalue(rows, 0, 0), r->fingerprint) != 0) {
        struct snapshot_members *members =
            snapshot_members_load(wait, r->conn, r->config.publication, &err);
        pthread_mutex_lock(&r->lock);
        snapshot_members_destroy(&r->members);
        r->members = members;
        pthread_mutex_unlock(&r->lock);
        if (members) snprintf(r->fingerprint, sizeof r->fingerprint, "%s", PQgetvalue(rows, 0, 0));
    }
    PQclear(rows);
}

static struct chunk_order *take_order(struct chunk_reader *r) {
    uint64_t n;
    ssize_t got = read(r->order_fd, &n, sizeof n);
    (void)got;
    pthread_mutex_lock(&r->lock);
    struct chunk_order *order = r->order;
    r->order = NULL;
    pthread_mutex_unlock(&r->lock);
    return order;
}

static void *reader_main(void *arg) {
    struct chunk_reader *r = arg;
    struct pgwait wait = {.stop_fd = r->stop_fd};
    struct error err;
    while (pgwait_poll(&wait, r->order_fd, POLLIN, LOOK_EVERY_US / 1000, &err)) {
        struct chunk_order *order = take_order(r);
        if (order) {
            struct chunk *chunk = serve(r, &wait, order);
            destroy_order(&order);
            pthread_mutex_lock(&r->lock);
            chunk_destroy(&r->chunk);
            r->chunk = chunk;
            pthread_mutex_unlock(&r->lock);
        }
        look_at_members(r, &wait);
    }
    if (r->conn) PQfinish(r->conn);
    return NULL;
}

/* ---- life ---- */

static bool start_thread(struct chunk_reader *r, struct error *err) {
    int failed = thread_start(&r->thread, "chunks", reader_main, r);
    r->started = !failed;
    return !failed || error_set(err, ERROR_SYSTEM, true, "no thread: %s", strerror(failed));
}

struct chunk_reader *chunk_reader_start(const struct chunk_reader_config *config,
                                        struct error *err) {
    struct chunk_reader *r = mem_zalloc(sizeof *r);
    r->config = *config;
    r->server_options = mem_printf("%s%s", config->server_options, own_settings);
    pthread_mutex_init(&r->lock, NULL);
    r->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->order_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = r->stop_fd >= 0 && r->order_fd >= 0;
    if (!ok) error_set(err, ERROR_SYSTEM, true, "eventfd: %s", strerror(errno));
    if (!ok || !start_thread(r, err)) chunk_reader_stop(&r);
    return r;
}

static void tell(int fd) {
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* full: it is readable all the same */
}

void chunk_reader_stop(struct chunk_reader **reader) {
    struct chunk_reader *r = *reader;
    if (!r) return;
    if (r->stop_fd >= 0) tell(r->stop_fd);
    if (r->started) pthread_join(r->thread, NULL);
    if (r->stop_fd >= 0) close(r->stop_fd);
    if (r->order_fd >= 0) close(r->order_fd);
    destroy_order(&r->order);
    chunk_destroy(&r->chunk);
    snapshot_members_destroy(&r->members);
    pthread_mutex_destroy(&r->lock);
    mem_free(r->server_options);
    mem_free(r);
    *reader = NULL;
}

void chunk_reader_order(struct chunk_reader *r, struct chunk_order **order) {
    pthread_mutex_lock(&r->lock);
    destroy_order(&r->order);
    chunk_destroy(&r->chunk); /* of an order that is wanted no more */
    r->order = *order;
    *order = NULL;
    pthread_mutex_unlock(&r->lock);
    tell(r->order_fd);
}

struct chunk *chunk_reader_take(struct chunk_reader *r) {
    pthread_mutex_lock(&r->lock);
    struct chunk *chunk = r->chunk;
    r->chunk = NULL;
    pthread_mutex_unlock(&r->lock);
    return chunk;
}

struct snapshot_members *chunk_reader_members(struct chunk_reader *r) {
    pthread_mutex_lock(&r->lock);
    struct snapshot_members *members = r->members;
    r->members = NULL;
    pthread_mutex_unlock(&r->lock);
    return members;
}

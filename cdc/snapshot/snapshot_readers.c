#include "cdc/snapshot/snapshot_readers.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "cdc/snapshot/snapshot_state.h"

enum {
    PIECES_AHEAD = 12, /* what the server makes while a Kafka transaction is being committed */
    MAX_READERS = 64,
    MAX_PART_PAGES = 1 << 20,
    PAGE_BYTES = 8192,
    /* What is read lies in the processor's cache still when it is encoded. */
    PIECE_BYTES = 256 * 1024,
    PIECE_FULL_BYTES = PIECE_BYTES / 8 * 7, /* the last row seldom makes it grow */
};

/* Of each table, under the lock. */
struct parts {
    uint32_t part_pages; /* by what the last part's pages held */
    uint32_t n_out;      /* parts taken and not given in full */
};

struct queued {
    struct queued *next;
    struct snapshot_piece *piece;
};

struct reader {
    struct snapshot_readers *all;
    pthread_t thread;
    bool started;
    PGconn *conn; /* the thread's */
    /* Under the lock. */
    struct queued *first, **end;
    uint32_t n_queued;
};

struct snapshot_readers {
    struct readers_plan plan;
    int stop_fd; /* readable: the threads are to end */
    int news_fd;
    uint32_t n;
    struct reader *readers;
    struct reader
        *open; /* the feed is within a part of this one; NULL: between parts. The feed's */

    pthread_mutex_t lock;
    pthread_cond_t room;
    bool stopping;
    bool failed;
    struct error error;
    uint32_t next_table; /* the next part to be taken */
    uint32_t next_page;
    uint32_t given_table; /* the table whose parts are being given */
    struct parts *parts;
};

void snapshot_piece_destroy(struct snapshot_piece **piece) {
    if (!*piece) return;
    buf_deinit(&(*piece)->rows);
    mem_free(*piece);
    *piece = NULL;
}

static void tell(int fd) {
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* full: it is readable all the same */
}

/* ---- a reader's thread ---- */

/* False: there is nothing left, or it is to end. */
static bool take_part(struct snapshot_readers *all, struct snapshot_piece *part) {
    pthread_mutex_lock(&all->lock);
    const struct snapshot_tables *tables = all->plan.tables;
    while (all->next_table < tables->n && all->next_page == 0 &&
           tables->tables[all->next_table].n_pages == 0)
        all->next_table++;
    bool any = !all->stopping && !all->failed && all->next_table < tables->n;
    if (any) {
        const struct snapshot_table *table = &tables->tables[all->next_table];
        struct parts *parts = &all->parts[all->next_table];
        uint64_t to = (uint64_t)all->next_page + parts->part_pages;
        bool last = !all->plan.by_pages || to >= table->n_pages;
        *part = (struct snapshot_piece){.table = all->next_table,
                                        .from = all->next_page,
                                        .to = last ? PAGES_TO_END : (uint32_t)to};
        parts->n_out++;
        all->next_page = last ? 0 : (uint32_t)to;
        if (last) all->next_table++;
    }
    pthread_mutex_unlock(&all->lock);
    return any;
}

/* Waits for room. False: it is to end. */
static bool push(struct reader *r, const struct snapshot_piece *part, struct buf *rows,
                 bool ends_part) {
    struct snapshot_readers *all = r->all;
    pthread_mutex_lock(&all->lock);
    while (r->n_queued >= PIECES_AHEAD && !all->stopping)
        pthread_cond_wait(&all->room, &all->lock);
    bool ok = !all->stopping;
    if (ok) {
        struct queued *queued = mem_zalloc(sizeof *queued);
        queued->piece = mem_alloc(sizeof *queued->piece);
        *queued->piece = *part;
        queued->piece->rows = *rows;
        queued->piece->ends_part = ends_part;
        *rows = (struct buf){0};
        *r->end = queued;
        r->end = &queued->next;
        r->n_queued++;
    }
    pthread_mutex_unlock(&all->lock);
    tell(all->news_fd);
    return ok;
}

/* The next parts are as large as this one's rows suggest. */
static void learn(struct snapshot_readers *all, const struct snapshot_piece *part, uint64_t bytes) {
    if (part->to == PAGES_TO_END || bytes == 0) return;
    uint64_t pages = all->plan.part_bytes * (part->to - part->from) / bytes;
    pthread_mutex_lock(&all->lock);
    all->parts[part->table].part_pages = pages < 1                ? 1
                                         : pages > MAX_PART_PAGES ? MAX_PART_PAGES
                                                                  : (uint32_t)pages;
    pthread_mutex_unlock(&all->lock);
}

static bool read_rows(struct reader *r, const struct pgwait *wait,
                      const struct snapshot_piece *part, struct error *err) {
    uint64_t bytes = 0;
    struct buf rows = {0};
    enum pg_copied copied = PG_COPIED_ALL_HERE;
    bool ok = true;
    while (ok && copied != PG_COPIED_END) {
        if (!rows.cap) buf_reserve(&rows, PIECE_BYTES);
        size_t before = rows.len;
        copied = pg_copy_rows(r->conn, PIECE_FULL_BYTES, &rows);
        bytes += rows.len - before;
        if (copied == PG_COPIED_ALL_HERE) {
            ok = pgwait_poll(wait, PQsocket(r->conn), POLLIN, -1, err);
            if (ok && !PQconsumeInput(r->conn)) ok = pg_error(err, r->conn, NULL, "COPY");
        } else if (copied == PG_COPIED_FULL && !push(r, part, &rows, false)) {
            ok = error_set(err, ERROR_STOPPED, false, "stopped");
        }
    }
    ok = ok && pg_finish_copy(r->conn, err);
    learn(r->all, part, bytes);
    if (ok && !push(r, part, &rows, true)) ok = error_set(err, ERROR_STOPPED, false, "stopped");
    buf_deinit(&rows);
    return ok;
}

static bool read_part(struct reader *r, const struct pgwait *wait,
                      const struct snapshot_piece *part, struct error *err) {
    const struct snapshot_table *table = &r->all->plan.tables->tables[part->table];
    char condition[96] = "";
    if (part->to != PAGES_TO_END)
        snprintf(condition, sizeof condition, "(ctid >= '(%u,0)' AND ctid < '(%u,0)')", part->from,
                 part->to);
    else if (part->from)
        snprintf(condition, sizeof condition, "(ctid >= '(%u,0)')", part->from);
    struct buf sql = {0};
    snapshot_tables_copy_sql(table, condition, "", &sql);
    PGresult *result = pgwait_query(wait, r->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    bool ok = result && read_rows(r, wait, part, err);
    PQclear(result);
    return ok || error_prefix(err, "table %s.%s", table->schema, table->name);
}

static bool run_sql(const struct pgwait *wait, PGconn *conn, const char *sql, struct error *err) {
    PGresult *result = pgwait_query(wait, conn, sql, err);
    PQclear(result);
    return result != NULL;
}

static bool open_reader(struct reader *r, const struct pgwait *wait, struct error *err) {
    const struct readers_plan *plan = &r->all->plan;
    r->conn = pgwait_connect(wait, plan->database_url, plan->options, err);
    if (!r->conn) return false;
    struct buf sql = {0};
    buf_append_text(&sql, "SET TRANSACTION SNAPSHOT ");
    pg_quote_literal(&sql, plan->exported);
    bool ok = run_sql(wait, r->conn, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) &&
              run_sql(wait, r->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    return ok;
}

static void *reader_main(void *arg) {
    struct reader *r = arg;
    struct snapshot_readers *all = r->all;
    struct pgwait wait = {.stop_fd = all->stop_fd};
    struct error err = {0};
    struct snapshot_piece part;
    bool ok = open_reader(r, &wait, &err);
    while (ok && take_part(all, &part))
        ok = read_part(r, &wait, &part, &err);
    if (r->conn) PQfinish(r->conn);
    if (!ok && err.code != ERROR_STOPPED) {
        pthread_mutex_lock(&all->lock);
        if (!all->failed) all->error = err;
        all->failed = true;
        pthread_mutex_unlock(&all->lock);
    }
    tell(all->news_fd);
    return NULL;
}

/* ---- the feed's side ---- */

static bool start_threads(struct snapshot_readers *all, struct error *err) {
    int failed = 0;
    for (uint32_t i = 0; i < all->n && !failed; i++) {
        struct reader *r = &all->readers[i];
        r->all = all;
        r->end = &r->first;
        failed = thread_start(&r->thread, "snapshot", reader_main, r);
        r->started = !failed;
    }
    return !failed || error_set(err, ERROR_SYSTEM, true, "no thread: %s", strerror(failed));
}

struct snapshot_readers *snapshot_readers_start(const struct readers_plan *plan,
                                                struct error *err) {
    struct snapshot_readers *all = mem_zalloc(sizeof *all);
    all->plan = *plan;
    all->n = plan->n_readers > MAX_READERS ? MAX_READERS : plan->n_readers ? plan->n_readers : 1;
    all->readers = mem_calloc(all->n, sizeof *all->readers);
    all->parts = mem_calloc(plan->tables->n + 1, sizeof *all->parts);
    for (uint32_t i = 0; i < plan->tables->n; i++)
        all->parts[i].part_pages =
            plan->part_bytes < PAGE_BYTES ? 1 : (uint32_t)(plan->part_bytes / PAGE_BYTES);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->room, NULL);
    all->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    all->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = all->stop_fd >= 0 && all->news_fd >= 0;
    if (!ok) error_set(err, ERROR_SYSTEM, true, "eventfd: %s", strerror(errno));
    if (!ok || !start_threads(all, err)) snapshot_readers_stop(&all);
    return all;
}

static struct snapshot_piece *pop(struct reader *r) {
    struct queued *queued = r->first;
    struct snapshot_piece *piece = queued->piece;
    r->first = queued->next;
    if (!r->first) r->end = &r->first;
    r->n_queued--;
    mem_free(queued);
    return piece;
}

void snapshot_readers_stop(struct snapshot_readers **readers) {
    struct snapshot_readers *all = *readers;
    if (!all) return;
    pthread_mutex_lock(&all->lock);
    all->stopping = true;
    pthread_cond_broadcast(&all->room);
    pthread_mutex_unlock(&all->lock);
    if (all->stop_fd >= 0) tell(all->stop_fd);
    for (uint32_t i = 0; i < all->n; i++) {
        struct reader *r = &all->readers[i];
        if (r->started) pthread_join(r->thread, NULL);
        while (r->first) {
            struct snapshot_piece *piece = pop(r);
            snapshot_piece_destroy(&piece);
        }
    }
    if (all->stop_fd >= 0) close(all->stop_fd);
    if (all->news_fd >= 0) close(all->news_fd);
    pthread_mutex_destroy(&all->lock);
    pthread_cond_destroy(&all->room);
    mem_free(all->parts);
    mem_free(all->readers);
    mem_free(all);
    *readers = NULL;
}

int snapshot_readers_fd(const struct snapshot_readers *readers) { return readers->news_fd; }

/* A reader whose next piece belongs to the table in hand. */
static struct reader *find_reader(struct snapshot_readers *all) {
    if (all->open) return all->open->first ? all->open : NULL;
    for (uint32_t i = 0; i < all->n; i++) {
        struct reader *r = &all->readers[i];
        if (r->first && r->first->piece->table == all->given_table) return r;
    }
    return NULL;
}

/* Past the tables of which every part has been given. */
static bool is_all_given(struct snapshot_readers *all) {
    while (all->given_table < all->next_table && all->parts[all->given_table].n_out == 0)
        all->given_table++;
    return all->given_table >= all->plan.tables->n;
}

enum snapshot_got snapshot_readers_next(struct snapshot_readers *all, struct snapshot_piece **piece,
                                        struct error *err) {
    uint64_t news;
    ssize_t n = read(all->news_fd, &news, sizeof news);
    (void)n; /* nothing new: what is queued is looked at all the same */
    enum snapshot_got got = GOT_NOTHING_YET;
    pthread_mutex_lock(&all->lock);
    struct reader *r = NULL;
    if (all->failed) {
        error_set(err, all->error.code, all->error.retriable, "%s", all->error.message);
        got = GOT_ERROR;
    } else if (is_all_given(all)) {
        got = GOT_ALL;
    } else {
        r = find_reader(all);
    }
    if (r) {
        got = GOT_PIECE;
        *piece = pop(r);
        all->open = (*piece)->ends_part ? NULL : r;
        if ((*piece)->ends_part) all->parts[(*piece)->table].n_out--;
        pthread_cond_broadcast(&all->room);
    }
    pthread_mutex_unlock(&all->lock);
    return got;
}

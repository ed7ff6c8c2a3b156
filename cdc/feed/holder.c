#include "cdc/feed/holder.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/thread.h"

enum {
    LOCK_CLASS = 0x66727368,    /* of advisory locks: "frsh" */
    DEFAULT_SILENCE_MS = 60000, /* where wal_sender_timeout is off */
    LEAST_SILENCE_MS = 3000,    /* a busy machine is not frozen */
    WORDS_IN_SILENCE = 4,
    FIRST_WITH_IDLE_TIMEOUT = 140000,
};

struct holder {
    PGconn *conn; /* the feed's thread's; once the lock is ours, the thread's */
    const char *slot;
    int64_t silence_ms;
    bool locked;
    bool started;
    pthread_t thread;
    int stop_fd;
    atomic_bool lost;
    struct error cause; /* of `lost`: written before it */
};

/* FNV-1a. Slots whose hashes are equal, in one database, would wait for each other: to be told by the names. */
static int32_t lock_key(const char *slot) {
    uint32_t hash = 2166136261u;
    for (const char *c = slot; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return (int32_t)hash;
}

static bool limit_silence(struct holder *h, const struct pgwait *wait, struct error *err) {
    PGresult *rows = pgwait_query(
        wait, h->conn, "SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'", err);
    if (!rows) return false;
    h->silence_ms = strtoll(PQgetvalue(rows, 0, 0), NULL, 10);
    PQclear(rows);
    if (h->silence_ms <= 0) h->silence_ms = DEFAULT_SILENCE_MS;
    if (h->silence_ms < LEAST_SILENCE_MS) h->silence_ms = LEAST_SILENCE_MS;
    if (PQserverVersion(h->conn) < FIRST_WITH_IDLE_TIMEOUT) return true;
    char sql[64];
    snprintf(sql, sizeof sql, "SET idle_session_timeout = %lld", (long long)h->silence_ms);
    rows = pgwait_query(wait, h->conn, sql, err);
    bool ok = rows != NULL;
    PQclear(rows);
    return ok;
}

struct holder *holder_open(const struct pgwait *wait, const char *url,
                           const struct pg_options *options, const char *slot, struct error *err) {
    struct holder *h = mem_zalloc(sizeof *h);
    h->slot = slot;
    h->stop_fd = -1;
    h->conn = pgwait_connect(wait, url, options, err);
    if (!h->conn || !limit_silence(h, wait, err)) holder_close(&h);
    return h;
}

void holder_close(struct holder **holder) {
    struct holder *h = *holder;
    *holder = NULL;
    if (!h) return;
    if (h->started) {
        uint64_t one = 1;
        ssize_t written = write(h->stop_fd, &one, sizeof one);
        ASSERT(written == sizeof one);
        pthread_join(h->thread, NULL);
    }
    if (h->stop_fd >= 0) close(h->stop_fd);
    if (h->conn) PQfinish(h->conn);
    mem_free(h);
}

/* ---- speaking ---- */

static void *speak(void *arg) {
    struct holder *h = arg;
    struct pgwait wait = {.stop_fd = h->stop_fd};
    struct error err = {0};
    while (pgwait_pause(&wait, (int)(h->silence_ms / WORDS_IN_SILENCE), &err)) {
        PGresult *rows = pgwait_query(&wait, h->conn, "SELECT", &err);
        PQclear(rows);
        if (!rows) break;
    }
    if (err.code != ERROR_STOPPED) {
        h->cause = err;
        atomic_store(&h->lost, true);
    }
    return NULL;
}

static bool start_speaking(struct holder *h, struct error *err) {
    h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->stop_fd < 0) return error_set(err, ERROR_SYSTEM, true, "eventfd: %s", strerror(errno));
    int failed = thread_start(&h->thread, "holder", speak, h);
    h->started = !failed;
    return !failed || error_set(err, ERROR_SYSTEM, true, "no thread: %s", strerror(failed));
}

/* ---- asking ---- */

static void compose(const struct holder *h, struct buf *sql) {
    int32_t key = lock_key(h->slot);
    if (h->locked)
        buf_append_text(sql, "SELECT true,");
    else
        buf_printf(sql, "SELECT pg_try_advisory_lock(%d, %d),", LOCK_CLASS, (int)key);
    buf_append_text(sql,
                    " coalesce((SELECT active_pid FROM pg_replication_slots WHERE slot_name = ");
    pg_quote_literal(sql, h->slot);
    buf_printf(sql,
               "), 0), coalesce((SELECT min(pid) FROM pg_locks WHERE locktype = 'advisory' AND "
               "classid = %u AND objid = %u AND objsubid = 2 AND granted AND database = (SELECT "
               "oid FROM pg_database WHERE datname = current_database())), 0)",
               (unsigned)LOCK_CLASS, (unsigned)(uint32_t)key);
}

bool holder_try(struct holder *h, const struct pgwait *wait, int *pid, struct error *err) {
    ASSERT(!h->started);
    struct buf sql = {0};
    compose(h, &sql);
    PGresult *rows = pgwait_query(wait, h->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return error_prefix(err, "asking for slot \"%s\"", h->slot);
    h->locked = PQgetvalue(rows, 0, 0)[0] == 't';
    int active_pid = atoi(PQgetvalue(rows, 0, 1));
    *pid = active_pid || h->locked ? active_pid : atoi(PQgetvalue(rows, 0, 2));
    PQclear(rows);
    /* A lock that was let go between the two questions has no holder any more, and is not ours yet either. */
    if (!h->locked && !*pid) *pid = -1;
    return *pid != 0 || start_speaking(h, err);
}

bool holder_check(struct holder *h, struct error *err) {
    if (!h || !atomic_load(&h->lost)) return true;
    return error_set(err, ERROR_UNAVAILABLE, true,
                     "the connection that held slot \"%s\" is lost, and another process may have "
                     "the slot: %s",
                     h->slot, h->cause.message);
}

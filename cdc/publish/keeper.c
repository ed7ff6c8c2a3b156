#include "cdc/publish/keeper.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cdc/feed/delivery.h"
#include "cdc/publish/tables.h"

enum { POLL_MS = 1000, FINGERPRINT_BYTES = 64 };

struct keeper {
    const struct publisher_config *config;
    struct log *log;
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool stop; /* under the mutex */
    _Atomic uint64_t generation;
    /* The thread's own. */
    PGconn *conn;
    int64_t beaten_us;
    char fingerprint[FINGERPRINT_BYTES]; /* of the catalog that the publication was brought to */
};

struct keeper *keeper_create(const struct publisher_config *config, struct log *log) {
    struct keeper *keeper = mem_zalloc(sizeof *keeper);
    keeper->config = config;
    keeper->log = log;
    pthread_mutex_init(&keeper->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return keeper;
}

void keeper_destroy(struct keeper **keeper) {
    if (!*keeper) return;
    keeper_stop(*keeper);
    pthread_cond_destroy(&(*keeper)->wake);
    pthread_mutex_destroy(&(*keeper)->mutex);
    mem_free(*keeper);
    *keeper = NULL;
}

/* Whatever decides which tables are published: their names, identities and keys; and which columns are unique. Where columns
 * are listed, which there are: a dropped one takes its table out of the publication. */
static bool read_fingerprint(struct keeper *keeper, char out[FINGERPRINT_BYTES],
                             struct error *err) {
    static const char columns[] = ", (SELECT string_agg(a.attname, ',' ORDER BY a.attnum) FROM"
                                  " pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0"
                                  " AND NOT a.attisdropped)";
    struct buf sql = {0};
    buf_printf(&sql,
               "SELECT md5(coalesce(string_agg(concat_ws(' ', c.oid, n.nspname, c.relname,"
               " c.relkind, c.relreplident, c.relpersistence, (SELECT"
               " string_agg(i.indexrelid::text, ',' ORDER BY i.indexrelid) FROM pg_index i"
               " WHERE i.indrelid = c.oid AND (i.indisunique OR i.indisreplident))%s), ','"
               " ORDER BY c.oid), ''))"
               " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
               " WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND"
               " n.nspname <> 'information_schema'",
               keeper->config->shape.n_entries ? columns : "");
    PGresult *rows = pg_query(keeper->conn, buf_text(&sql), err);
    buf_deinit(&sql);
    if (!rows) return false;
    snprintf(out, FINGERPRINT_BYTES, "%s", PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return true;
}

/* So that the slot moves on in a database in which nothing else changes. */
static bool beat(struct keeper *keeper, struct error *err) {
    int64_t now_us = clock_mono_us();
    int64_t every_us = keeper->config->wal_heartbeat_ms * 1000;
    if (!every_us || now_us - keeper->beaten_us < every_us) return true;
    keeper->beaten_us = now_us;
    PGresult *rows = pg_query(
        keeper->conn,
        "SELECT pg_logical_emit_message(false, '" DELIVERY_OWN_MESSAGES "heartbeat', '')", err);
    PQclear(rows);
    return rows != NULL;
}

static bool look(struct keeper *keeper, struct error *err) {
    if (!keeper->conn) {
        struct pg_options options = {.application_name = "freshet_cdc_keeper"};
        keeper->conn = pg_connect(keeper->config->database_url, &options, err);
        if (!keeper->conn) return false;
    }
    if (!beat(keeper, err)) return false;
    char now[FINGERPRINT_BYTES];
    if (!read_fingerprint(keeper, now, err)) return false;
    if (strcmp(now, keeper->fingerprint) == 0) return true;
    atomic_fetch_add(&keeper->generation, 1);
    struct catalog *catalog = catalog_load(keeper->conn, err);
    if (!catalog) return false;
    bool as_planned;
    bool ok = tables_publish(keeper->conn, keeper->config, keeper->log, catalog, &as_planned, err);
    catalog_destroy(&catalog);
    /* A catalog that moved on meanwhile has another fingerprint at the next look. */
    if (ok) memcpy(keeper->fingerprint, now, sizeof now);
    return ok;
}

/* True: asked to stop. */
static bool wait_a_while(struct keeper *keeper) {
    int64_t heartbeat_ms = keeper->config->wal_heartbeat_ms;
    int64_t wait_ms = heartbeat_ms && heartbeat_ms < POLL_MS ? heartbeat_ms : POLL_MS;
    int64_t until_us = clock_mono_us() + wait_ms * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    pthread_mutex_lock(&keeper->mutex);
    while (!keeper->stop && pthread_cond_timedwait(&keeper->wake, &keeper->mutex, &until) == 0) {
    }
    bool stop = keeper->stop;
    pthread_mutex_unlock(&keeper->mutex);
    return stop;
}

static void *run(void *arg) {
    struct keeper *keeper = arg;
    bool failing = false;
    do {
        struct error err;
        bool ok = look(keeper, &err);
        if (!ok && !failing)
            log_warn(keeper->log, "publication_upkeep_failed", "publication=%s cause=\"%s\"",
                     keeper->config->publication, err.message);
        failing = !ok;
        if (!ok && keeper->conn && PQstatus(keeper->conn) != CONNECTION_OK) {
            PQfinish(keeper->conn);
            keeper->conn = NULL;
        }
    } while (!wait_a_while(keeper));
    if (keeper->conn) PQfinish(keeper->conn);
    keeper->conn = NULL;
    return NULL;
}

uint64_t keeper_generation(struct keeper *keeper) { return atomic_load(&keeper->generation); }

void keeper_start(struct keeper *keeper) {
    if (keeper->running) return;
    keeper->stop = false;
    keeper->running = pthread_create(&keeper->thread, NULL, run, keeper) == 0;
    if (!keeper->running)
        log_warn(keeper->log, "publication_upkeep_failed", "cause=\"no thread can be started\"");
}

void keeper_stop(struct keeper *keeper) {
    if (!keeper->running) return;
    pthread_mutex_lock(&keeper->mutex);
    keeper->stop = true;
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->mutex);
    pthread_join(keeper->thread, NULL);
    keeper->running = false;
}

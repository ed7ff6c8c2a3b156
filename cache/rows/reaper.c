#include "cache/rows/reaper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"
#include "cache/rows/control.h"

enum {
    FIRST_REST_US = 500 * 1000,
    LAST_REST_US =
        30 * 1000 * 1000, /* between looks that find nothing: each may read a whole table */
};

struct reaper {
    struct core *core;
    struct control *control;
    int64_t rest_us;
    struct metric *deleted, *failed;
    char logged[512]; /* a table that refuses is told of once */
};

/* The keys of a batch are locked first: the condition is then true of the rows as they are, not as the snapshot has them. */
static void compose(struct buf *sql, const struct table *table, uint32_t batch) {
    struct buf keys = {0};
    const char *only = table->partitioned ? "" : "ONLY ";
    for (uint16_t i = 0; i < table->n_keys; i++) {
        if (i) buf_append_text(&keys, ", ");
        buf_append_text(&keys, "r.");
        pg_quote_ident(&keys, table->keys[i].name);
    }
    buf_printf(sql, "DELETE FROM %s", only);
    pg_quote_table(sql, table->schema, table->name);
    buf_printf(sql, " r WHERE %s AND (%s) IN (SELECT %s FROM %s", table->ended_sql, buf_text(&keys),
               buf_text(&keys), only);
    pg_quote_table(sql, table->schema, table->name);
    buf_printf(sql, " r WHERE %s LIMIT %u FOR UPDATE SKIP LOCKED)", table->ended_sql, batch);
    buf_text(sql);
    buf_deinit(&keys);
}

/* How many rows; a refusal is logged, and no reason to leave the other tables alone. */
static uint32_t reap(struct reaper *reaper, PGconn *conn, const struct table *table) {
    struct buf sql = {0};
    struct error err = {0};
    compose(&sql, table, reaper->core->config->delete_batch);
    PGresult *result = pg_query(conn, buf_text(&sql), &err);
    buf_deinit(&sql);
    if (!result) {
        metric_add(reaper->failed, 1);
        if (strncmp(reaper->logged, err.message, sizeof reaper->logged - 1) != 0)
            log_warn(reaper->core->log, "cache_delete_expired_failed", "table=%s.%s cause=\"%s\"",
                     table->schema, table->name, err.message);
        snprintf(reaper->logged, sizeof reaper->logged, "%s", err.message);
        return 0;
    }
    uint32_t n = (uint32_t)strtoul(PQcmdTuples(result), NULL, 10);
    PQclear(result);
    metric_add(reaper->deleted, n);
    return n;
}

static bool connected(void *self, PGconn *conn, struct error *err) {
    struct reaper *reaper = self;
    (void)conn;
    (void)err;
    reaper->rest_us = FIRST_REST_US;
    return true;
}

/* A batch of each table, then a rest that keeps the rate. */
static bool tick(void *self, PGconn *conn, int64_t now_us, int64_t *due_us, struct error *err) {
    struct reaper *reaper = self;
    const struct cache_config *config = reaper->core->config;
    uint32_t n = 0;
    struct tablemap *map = tablemaps_acquire(reaper->core->maps);
    for (uint32_t i = 0; map && i < tablemap_count(map); i++) {
        const struct table *table = tablemap_at(map, i);
        if (table->ended_sql && !table->refusal && PQstatus(conn) == CONNECTION_OK)
            n += reap(reaper, conn, table);
    }
    bool looked = map != NULL;
    tablemap_release(&map);
    if (n > 0) {
        reaper->rest_us = FIRST_REST_US;
        *due_us = now_us + (int64_t)n * 1000000 / config->delete_rate;
    } else {
        if (looked)
            reaper->rest_us =
                reaper->rest_us * 2 < LAST_REST_US ? reaper->rest_us * 2 : LAST_REST_US;
        *due_us = now_us + reaper->rest_us;
    }
    if (PQstatus(conn) == CONNECTION_OK) return true;
    return error_set(err, ERROR_UNAVAILABLE, true, "the connection is lost");
}

static bool is_wanted(const struct cache_config *config) {
    for (uint32_t i = 0; i < config->n_tables; i++) {
        if (config->tables[i].delete_expired) return config->database_url != NULL;
    }
    return false;
}

struct reaper *reaper_create(struct core *core) {
    if (!is_wanted(core->config)) return NULL;
    struct reaper *reaper = mem_zalloc(sizeof *reaper);
    reaper->core = core;
    reaper->deleted =
        metrics_counter(core->metrics, "freshet_cache_rows_deleted_total",
                        "Rows deleted because they had ended by their ttl_column.", NULL);
    reaper->failed = metrics_counter(core->metrics, "freshet_cache_rows_deleted_failures_total",
                                     "Batches of ended rows that could not be deleted.", NULL);
    struct control_config config = {
        .name = "freshet-reaper",
        .database_url = core->config->database_url,
        /* What is lost of it is done again, so its commits wait for no standby: not for this cache, above all. */
        .server_options = "-c synchronous_commit=local -c default_transaction_read_only=off -c "
                          "statement_timeout=10s "
                          "-c lock_timeout=1s",
        .log = core->log,
        .connected = connected,
        .tick = tick,
        .self = reaper,
    };
    reaper->control = control_create(&config);
    return reaper;
}

void reaper_destroy(struct reaper **reaper) {
    if (!*reaper) return;
    control_destroy(&(*reaper)->control);
    mem_free(*reaper);
    *reaper = NULL;
}

bool reaper_start(struct reaper *reaper, struct error *err) {
    return !reaper || control_start(reaper->control, err);
}

void reaper_stop(struct reaper *reaper) {
    if (reaper) control_stop(reaper->control);
}

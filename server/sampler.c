#include "server/sampler.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"

enum { STATEMENT_TIMEOUT_S = 5, ALARM_EVERY_US = 60 * 1000 * 1000 };

struct watched {
    const char *slot;
    struct metric *retained;
    struct metric *active;
    struct metric *limit;
    struct metric *alarm;
    int64_t alarmed_us; /* when the alarm was last told; 0: there is none */
};

struct sampler {
    char *url;
    struct log *log;
    struct metrics *metrics;
    int64_t interval_ms;
    uint64_t alarm_bytes;
    const char *source;
    struct sampler_listener listener;
    uint32_t n_watched;
    struct watched *watched; /* the sampler's thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stops;    /* lock */
    json_t *slots; /* lock */
};

/* Temporary slots of caches hold WAL back as well, while they live. */
static const char slots_sql[] =
    "SELECT slot_name, active, temporary, coalesce(wal_status, 'lost'), "
    "coalesce(greatest(0, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() "
    "THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, restart_lsn)), 0)::bigint, "
    "(SELECT greatest(setting::bigint, 0) * 1048576 FROM pg_catalog.pg_settings "
    "WHERE name = 'max_slot_wal_keep_size') "
    "FROM pg_catalog.pg_replication_slots "
    "WHERE slot_type = 'logical' AND database = current_database() "
    "AND (slot_name = ANY ($1::text[]) OR (temporary AND slot_name LIKE 'freshet\\_cache%')) "
    "ORDER BY slot_name";

/* Waits out the interval; false: the sampler is to end. */
static bool wait_interval(struct sampler *sampler) {
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);
    due.tv_sec += sampler->interval_ms / 1000;
    due.tv_nsec += sampler->interval_ms % 1000 * 1000000;
    if (due.tv_nsec >= 1000000000) {
        due.tv_sec++;
        due.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&sampler->lock);
    while (!sampler->stops && pthread_cond_timedwait(&sampler->changed, &sampler->lock, &due) == 0)
        ;
    bool goes_on = !sampler->stops;
    pthread_mutex_unlock(&sampler->lock);
    return goes_on;
}

static void publish(struct sampler *sampler, json_t *slots) {
    pthread_mutex_lock(&sampler->lock);
    json_t *old = sampler->slots;
    sampler->slots = slots;
    pthread_mutex_unlock(&sampler->lock);
    json_decref(old);
}

/* What a row of slots_sql tells. */
struct seen {
    const char *slot;
    bool active;
    bool temporary;
    const char *wal_status;
    int64_t retained_bytes;
    int64_t limit_bytes; /* of the server; 0: none */
};

static struct seen read_row(const PGresult *rows, int row) {
    return (struct seen){.slot = PQgetvalue(rows, row, 0),
                         .active = *PQgetvalue(rows, row, 1) == 't',
                         .temporary = *PQgetvalue(rows, row, 2) == 't',
                         .wal_status = PQgetvalue(rows, row, 3),
                         .retained_bytes = strtoll(PQgetvalue(rows, row, 4), NULL, 10),
                         .limit_bytes = strtoll(PQgetvalue(rows, row, 5), NULL, 10)};
}

/* Why the slot is cause for alarm, to `why`; "": it is none. */
static void judge(const struct sampler *sampler, const struct seen *seen, char *why, size_t size) {
    int64_t alarm_bytes =
        sampler->alarm_bytes ? (int64_t)sampler->alarm_bytes : seen->limit_bytes / 2;
    why[0] = '\0';
    if (strcmp(seen->wal_status, "lost") == 0) {
        snprintf(why, size, "the server has given the slot up: WAL that it needed is gone");
    } else if (alarm_bytes && seen->retained_bytes > alarm_bytes) {
        int used = snprintf(why, size, "the slot retains %lld MiB of WAL, more than %lld MiB",
                            (long long)seen->retained_bytes >> 20, (long long)alarm_bytes >> 20);
        if (seen->limit_bytes)
            snprintf(why + used, size - (size_t)used,
                     "; at %lld MiB (max_slot_wal_keep_size) the server gives it up",
                     (long long)seen->limit_bytes >> 20);
    }
}

static void tell(struct sampler *sampler, struct watched *watched, const struct seen *seen,
                 const char *alarm) {
    int64_t now_us = clock_mono_us();
    metric_set(watched->retained, seen->retained_bytes);
    metric_set(watched->active, seen->active);
    metric_set(watched->limit, seen->limit_bytes);
    metric_set(watched->alarm, *alarm != '\0');
    if (sampler->listener.retains)
        sampler->listener.retains(sampler->listener.arg, seen->slot,
                                  (uint64_t)seen->retained_bytes);
    if (!*alarm) {
        if (watched->alarmed_us)
            log_info(sampler->log, "slot_retains_less", "slot=%s retained_bytes=%lld", seen->slot,
                     (long long)seen->retained_bytes);
        watched->alarmed_us = 0;
    } else if (!watched->alarmed_us || now_us - watched->alarmed_us >= ALARM_EVERY_US) {
        watched->alarmed_us = now_us;
        log_warn(sampler->log, "slot_alarm", "slot=%s active=%s retained_bytes=%lld cause=\"%s\"",
                 seen->slot, seen->active ? "yes" : "no", (long long)seen->retained_bytes, alarm);
    }
}

static json_t *take_row(struct sampler *sampler, const struct seen *seen) {
    char alarm[200];
    judge(sampler, seen, alarm, sizeof alarm);
    for (uint32_t i = 0; i < sampler->n_watched; i++) {
        if (strcmp(sampler->watched[i].slot, seen->slot) == 0)
            tell(sampler, &sampler->watched[i], seen, alarm);
    }
    json_t *json = json_pack("{s:s, s:b, s:b, s:s, s:I}", "slot", seen->slot, "active",
                             seen->active, "temporary", seen->temporary, "wal_status",
                             seen->wal_status, "retained_bytes", (json_int_t)seen->retained_bytes);
    json_object_set_new(json, "limit_bytes",
                        seen->limit_bytes ? json_integer(seen->limit_bytes) : json_null());
    if (sampler->source) json_object_set_new(json, "source", json_string(sampler->source));
    json_object_set_new(json, "alarm", *alarm ? json_string(alarm) : json_null());
    return json;
}

static bool sample(struct sampler *sampler, PGconn *conn, struct error *err) {
    struct buf names = {0};
    buf_append_text(&names, "{"); /* slot names need no quotes */
    for (uint32_t i = 0; i < sampler->n_watched; i++)
        buf_printf(&names, "%s%s", i ? "," : "", sampler->watched[i].slot);
    buf_append_text(&names, "}");
    const char *parameter = buf_text(&names);
    PGresult *rows = pg_query_params(conn, slots_sql, 1, &parameter, err);
    buf_deinit(&names);
    if (!rows) return false;
    json_t *slots = json_array();
    for (int row = 0; row < PQntuples(rows); row++) {
        struct seen seen = read_row(rows, row);
        json_array_append_new(slots, take_row(sampler, &seen));
    }
    PQclear(rows);
    publish(sampler, slots);
    return true;
}

static void *sample_on(void *arg) {
    struct sampler *sampler = arg;
    PGconn *conn = NULL;
    struct pg_options options = {.application_name = "freshet_admin",
                                 .server_options = "-c statement_timeout=5s",
                                 .connect_timeout_s = STATEMENT_TIMEOUT_S};
    do {
        struct error err;
        if (!conn) conn = pg_connect(sampler->url, &options, &err);
        if (!conn || !sample(sampler, conn, &err)) {
            log_debug(sampler->log, "slots_unknown", "cause=\"%s\"", err.message);
            publish(sampler, NULL);
            PQfinish(conn);
            conn = NULL;
        }
    } while (wait_interval(sampler));
    PQfinish(conn);
    return NULL;
}

static void watch(struct sampler *sampler, uint32_t i, const char *slot) {
    char *labels = mem_printf("slot=\"%s\"", slot);
    sampler->watched[i] = (struct watched){
        .slot = slot,
        .retained = metrics_gauge(sampler->metrics, "freshet_slot_retained_wal_bytes",
                                  "WAL that the server keeps for the slot.", labels),
        .active = metrics_gauge(sampler->metrics, "freshet_slot_active",
                                "1 while the slot is being read.", labels),
        .limit = metrics_gauge(sampler->metrics, "freshet_slot_wal_limit_bytes",
                               "WAL at which the server gives the slot up "
                               "(max_slot_wal_keep_size); 0: none.",
                               labels),
        .alarm = metrics_gauge(sampler->metrics, "freshet_slot_alarm",
                               "1 while the slot retains more WAL than cdc.retained_wal_alarm, or "
                               "is lost.",
                               labels),
    };
    mem_free(labels);
}

struct sampler *sampler_create(const char *database_url, const struct sampler_deps *deps) {
    struct sampler *sampler = mem_zalloc(sizeof *sampler);
    sampler->url = mem_strdup(database_url);
    sampler->log = deps->log;
    sampler->metrics = deps->metrics;
    sampler->interval_ms = deps->interval_ms;
    sampler->alarm_bytes = deps->alarm_bytes;
    sampler->source = deps->source;
    sampler->listener = deps->listener;
    sampler->n_watched = deps->n_slots;
    sampler->watched = mem_calloc(deps->n_slots + 1, sizeof *sampler->watched);
    for (uint32_t i = 0; i < deps->n_slots; i++)
        watch(sampler, i, deps->slots[i]);
    pthread_mutex_init(&sampler->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&sampler->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int failed = pthread_create(&sampler->thread, NULL, sample_on, sampler);
    ASSERT(!failed);
    return sampler;
}

void sampler_destroy(struct sampler **sampler) {
    struct sampler *s = *sampler;
    if (!s) return;
    *sampler = NULL;
    pthread_mutex_lock(&s->lock);
    s->stops = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    json_decref(s->slots);
    mem_free(s->watched);
    mem_free(s->url);
    mem_free(s);
}

json_t *sampler_slots(struct sampler *sampler) {
    pthread_mutex_lock(&sampler->lock);
    json_t *slots = sampler->slots ? json_deep_copy(sampler->slots) : json_null();
    pthread_mutex_unlock(&sampler->lock);
    return slots;
}

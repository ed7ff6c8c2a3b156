/* What others ask, and are told: see increment_parts.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "cdc/snapshot/increment_parts.h"

enum { REQUEST_TIMEOUT_S = 10 };

/* ---- the feed's thread ---- */

void increment_take_requests(struct increment *inc) {
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

void increment_set_running(struct increment *inc, bool running) {
    pthread_mutex_lock(&inc->lock);
    inc->running = running;
    pthread_cond_broadcast(&inc->taken);
    pthread_mutex_unlock(&inc->lock);
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

void increment_publish(struct increment *inc, int64_t now_us) {
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
    const struct snapshot_task *current = increment_current(inc);
    json_t *now = current ? task_json(inc, current, now_us) : json_null();
    if (current)
        json_object_set_new(now, "tables_left", json_integer((json_int_t)json_array_size(tables)));
    json_t *status = json_pack("{s:o, s:o, s:o}", "now", now, "tables", tables, "done", all_done);
    pthread_mutex_lock(&inc->lock);
    json_t *old = inc->status;
    inc->status = status;
    inc->published_id = inc->state->last_id;
    pthread_cond_broadcast(&inc->taken);
    pthread_mutex_unlock(&inc->lock);
    json_decref(old);
    inc->status_us = now_us;
}

void increment_tell_progress(struct increment *inc, int64_t now_us) {
    const struct snapshot_task *task = increment_current(inc);
    if (!task || now_us - inc->progress_us < INCREMENT_TELL_EVERY_US) return;
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

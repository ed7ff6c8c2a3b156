#include "cache/rows/control.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pg.h"

enum {
    FIRST_BACKOFF_US = 100 * 1000,
    LAST_BACKOFF_US = 2 * 1000 * 1000,
    CONNECT_TIMEOUT_S = 3,
    LONGEST_TICK_US =
        15 * 1000 * 1000, /* the server's own statement_timeout should have ended it before */
};

struct control {
    struct control_config config;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* over all below */
    pthread_cond_t changed;
    bool stopping;
    bool woken;
    bool connected;
    bool was_connected;
    int fd;                /* of the connection, -1: none; to be shut down at the stop */
    int64_t busy_since_us; /* 0: not in a tick */
    char cause[768];
    unsigned seed;    /* the thread's own, as the next two */
    bool plain;       /* replication was refused */
    char logged[768]; /* the thread's own: a server that stays away is told of once */
};

struct control *control_create(const struct control_config *config) {
    struct control *control = mem_zalloc(sizeof *control);
    control->config = *config;
    control->fd = -1;
    snprintf(control->cause, sizeof control->cause, "not connected to the database yet");
    pthread_mutex_init(&control->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&control->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    return control;
}

void control_destroy(struct control **control) {
    if (!*control) return;
    control_stop(*control);
    pthread_cond_destroy(&(*control)->changed);
    pthread_mutex_destroy(&(*control)->mutex);
    mem_free(*control);
    *control = NULL;
}

/* Until due, woken or stopped. False: stop. */
static bool rest(struct control *control, int64_t due_us) {
    struct timespec due = {.tv_sec = due_us / 1000000, .tv_nsec = due_us % 1000000 * 1000};
    pthread_mutex_lock(&control->mutex);
    while (!control->stopping && !control->woken && clock_mono_us() < due_us)
        pthread_cond_timedwait(&control->changed, &control->mutex, &due);
    control->woken = false;
    bool go_on = !control->stopping;
    pthread_mutex_unlock(&control->mutex);
    return go_on;
}

static void set_connection(struct control *control, const PGconn *conn, const char *cause) {
    pthread_mutex_lock(&control->mutex);
    control->fd = conn ? PQsocket(conn) : -1;
    control->connected = conn != NULL;
    control->was_connected |= conn != NULL;
    snprintf(control->cause, sizeof control->cause, "%s", cause);
    for (char *c = control->cause; *c; c++) {
        if (*c == '\n') *c = c[1] ? ' ' : '\0';
    }
    pthread_mutex_unlock(&control->mutex);
}

static void set_busy(struct control *control, int64_t since_us) {
    pthread_mutex_lock(&control->mutex);
    control->busy_since_us = since_us;
    pthread_mutex_unlock(&control->mutex);
}

void control_watch(struct control *control, int64_t now_us) {
    int64_t limit_us =
        control->config.longest_tick_us ? control->config.longest_tick_us : LONGEST_TICK_US;
    pthread_mutex_lock(&control->mutex);
    if (control->fd >= 0 && control->busy_since_us && now_us - control->busy_since_us > limit_us)
        shutdown(control->fd, SHUT_RDWR);
    pthread_mutex_unlock(&control->mutex);
}

/* One connection, from its making to its end. */
static void session(struct control *control, int64_t *backoff_us) {
    struct pg_options options = {.application_name = control->config.application_name,
                                 .replication = control->config.replication && !control->plain,
                                 .wanted_server = control->config.wanted_server,
                                 .server_options = control->config.server_options,
                                 .connect_timeout_s = CONNECT_TIMEOUT_S};
    struct error err = {0};
    PGconn *conn = pg_connect(control->config.database_url, &options, &err);
    if (!conn && control->config.replication && err.code == ERROR_REFUSED)
        control->plain = !control->plain;
    bool go_on = conn && control->config.connected(control->config.self, conn, &err);
    if (go_on) set_connection(control, conn, "");
    while (go_on) {
        int64_t now_us = clock_mono_us();
        int64_t due_us = now_us;
        set_busy(control, now_us);
        go_on = control->config.tick(control->config.self, conn, now_us, &due_us, &err);
        set_busy(control, 0);
        if (!go_on) break;
        control->logged[0] = '\0';
        *backoff_us = FIRST_BACKOFF_US;
        go_on = rest(control, due_us);
    }
    set_connection(control, NULL, err.message);
    if (control->config.ended) control->config.ended(control->config.self, err.message);
    PQfinish(conn);
    if (err.code != ERROR_NONE && strcmp(err.message, control->logged) != 0)
        log_warn(control->config.log, "cache_database_lost", "by=%s cause=\"%s\"",
                 control->config.name, err.message);
    snprintf(control->logged, sizeof control->logged, "%s", err.message);
}

static void *run(void *arg) {
    struct control *control = arg;
    pthread_setname_np(pthread_self(), control->config.name);
    int64_t backoff_us = FIRST_BACKOFF_US;
    control->seed = (unsigned)clock_mono_us() ^ (unsigned)(uintptr_t)control;
    do {
        session(control, &backoff_us);
        backoff_us = backoff_us * 2 < LAST_BACKOFF_US ? backoff_us * 2 : LAST_BACKOFF_US;
    } while (rest(control,
                  clock_mono_us() + backoff_us / 2 + (int64_t)rand_r(&control->seed) % backoff_us));
    return NULL;
}

bool control_start(struct control *control, struct error *err) {
    if (pthread_create(&control->thread, NULL, run, control) != 0)
        return error_set(err, ERROR_SYSTEM, true, "cannot start the thread \"%s\"",
                         control->config.name);
    control->started = true;
    return true;
}

void control_stop(struct control *control) {
    if (!control->started) return;
    pthread_mutex_lock(&control->mutex);
    control->stopping = true;
    if (control->fd >= 0) shutdown(control->fd, SHUT_RDWR);
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->mutex);
    pthread_join(control->thread, NULL);
    control->started = false;
}

void control_wake(struct control *control) {
    pthread_mutex_lock(&control->mutex);
    control->woken = true;
    pthread_cond_broadcast(&control->changed);
    pthread_mutex_unlock(&control->mutex);
}

bool control_was_connected(struct control *control) {
    pthread_mutex_lock(&control->mutex);
    bool was_connected = control->was_connected;
    pthread_mutex_unlock(&control->mutex);
    return was_connected;
}

bool control_is_connected(struct control *control, struct buf *cause) {
    pthread_mutex_lock(&control->mutex);
    bool connected = control->connected;
    if (!connected && cause) buf_append_text(cause, control->cause);
    pthread_mutex_unlock(&control->mutex);
    return connected;
}

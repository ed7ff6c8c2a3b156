/* control.h: a thread with one blocking connection of its own that does something at intervals: the frame of pulse and warden.
 *
 *     control = control_create(&config);  control_start(control, err);
 *     control_wake(control);                        any thread: tick soon
 *     control_stop(control);                        also out of a call that hangs in the server
 *
 *     control_watch(control, now_us);               any thread, now and then: breaks a call that hangs in a server which is frozen
 *
 * A connection that fails, or whose tick says so, is made again with a backoff, of which half is drawn by lot. */
#ifndef FRESHET_CACHE_CONTROL_H
#define FRESHET_CACHE_CONTROL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"

struct control;

struct control_config {
    const char *name; /* of thread and log events */
    const char *database_url;
    const char *server_options;
    const char *application_name;
    const char *wanted_server; /* of a URL with several hosts; NULL: the primary */
    int64_t longest_tick_us;   /* longer than the server lets a statement run; 0: 15 s */
    bool replication;          /* a walsender; where that is refused, an ordinary session */
    struct log *log;
    /* A new connection; and each time that it is due: both false end the connection, *err says why. */
    bool (*connected)(void *self, PGconn *conn, struct error *err);
    /* Sets *due_us (monotonic) to when it wants to be called again. */
    bool (*tick)(void *self, PGconn *conn, int64_t now_us, int64_t *due_us, struct error *err);
    /* No connection, or none any more. May be NULL. */
    void (*ended)(void *self, const char *cause);
    void *self;
};

struct control *control_create(const struct control_config *config);
void control_destroy(struct control **control);
bool control_start(struct control *control, struct error *err) MUST_CHECK;
void control_stop(struct control *control);
void control_wake(struct control *control);
void control_watch(struct control *control, int64_t now_us);

/* Any thread. Was there ever a connection; and is there one? Appends why not. */
bool control_was_connected(struct control *control);
bool control_is_connected(struct control *control, struct buf *cause);

#endif

/* ask.h: how a command talks to the admin port of a running Freshet.
 *
 *     struct ask *ask = ask_open(config->admin_listen, &err);
 *     struct buf path = {0};
 *     buf_append_text(&path, "/snapshot");
 *     ask_argument(&path, "table", "public.users");
 *     json_t *answer = ask_for(ask, "POST", &path, &err);
 *
 * One thread. */
#ifndef FRESHET_SERVER_ASK_H
#define FRESHET_SERVER_ASK_H

#include <jansson.h>

#include "base/buf.h"
#include "base/error.h"

struct ask;

/* NULL: that is no address. Nothing is sent yet. */
struct ask *ask_open(const char *admin_listen, struct error *err);
void ask_close(struct ask **ask);

/* Appends ?name=value or &name=value, encoded; nothing where `value` is NULL. */
void ask_argument(struct buf *path, const char *name, const char *value);
/* The answer's object, a new reference. NULL: *err tells what it says (ERROR_REFUSED: the request is refused), or that there is
 * none (retriable). A POST has an empty object. */
json_t *ask_for(struct ask *ask, const char *method, struct buf *path, struct error *err);

/* "COMMAND: why" on standard error, and what to look at where nobody answered. The exit code. */
int ask_failed(const char *command, const struct error *err);
/* Between two looks at how far it is. */
void ask_rest(void);

/* What goes on in the running Freshet, looked at until it is done. */
struct ask_work {
    const char *command;
    /* The exit code, or -1: it goes on. Tells the outcome. */
    int (*judge)(const json_t *answer, const char *name);
    void (*tell)(const json_t *answer, const char *name); /* how far it is, now and then */
};
/* The exit code. A Freshet that is away for less than a minute goes on where it was, and is waited for. */
int ask_follow(struct ask *ask, struct buf *path, const struct ask_work *work, const char *name);

#endif

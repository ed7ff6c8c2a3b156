/* error.h: an operating error, told at an I/O boundary: what, on which object, why, what to do.
 *
 *     if (!slot_create(conn, name, &lsn, err)) return false;          pass it up as it is
 *     return error_set(err, ERROR_REFUSED, false, "slot \"%s\": ...", name);
 *
 * The callee fills it and returns false; the caller must look. Programmers' mistakes are ASSERTs;
 * a peer's bad input is an error reply or a dead letter and a metric, and never passes through here. */
#ifndef FRESHET_BASE_ERROR_H
#define FRESHET_BASE_ERROR_H

#include <stdbool.h>

#define MUST_CHECK __attribute__((warn_unused_result))

enum error_code {
    ERROR_NONE,
    ERROR_CONFIG,      /* what the user wrote cannot work */
    ERROR_UNAVAILABLE, /* the peer cannot be reached, or went away */
    ERROR_REFUSED,     /* the peer says no: rights, limits, settings */
    ERROR_PROTOCOL,    /* the peer said what its protocol does not allow */
    ERROR_NOT_FOUND,   /* the named object does not exist */
    ERROR_CONFLICT, /* the object is not in the state that we left it in: slot ahead, fenced, ... */
    ERROR_LIMIT,    /* a named limit was reached */
    ERROR_TIMEOUT,
    ERROR_SYSTEM,  /* a system call failed: disk, file, socket */
    ERROR_STOPPED, /* we were asked to stop */
};

struct error {
    enum error_code code;
    bool retriable; /* the same call may succeed later with nothing changed by a human */
    char message[768];
};

/* Fills *err (which may be NULL) and returns false. */
bool error_set(struct error *err, enum error_code code, bool retriable, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "context: " before the message; returns false. */
bool error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *error_code_name(enum error_code code);

#endif

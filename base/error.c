#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

/* Server messages end in a newline and may span lines; ours are one line. */
static void flatten(char *text) {
    size_t len = strlen(text);
    while (len && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    for (char *c = text; *c; c++) {
        if (*c == '\n' || *c == '\t') *c = ' ';
    }
}

bool error_set(struct error *err, enum error_code code, bool retriable, const char *format, ...) {
    ASSERT(code != ERROR_NONE);
    if (!err) return false;
    err->code = code;
    err->retriable = retriable;
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    flatten(err->message);
    return false;
}

bool error_prefix(struct error *err, const char *format, ...) {
    if (!err) return false;
    char text[sizeof err->message];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof text) return false;
    snprintf(text + len, sizeof text - (size_t)len, ": %s", err->message);
    memcpy(err->message, text, sizeof text);
    err->message[sizeof text - 1] = '\0';
    return false;
}

const char *error_code_name(enum error_code code) {
    static const char *const names[] = {
        [ERROR_NONE] = "none",
        [ERROR_CONFIG] = "config",
        [ERROR_UNAVAILABLE] = "unavailable",
        [ERROR_REFUSED] = "refused",
        [ERROR_PROTOCOL] = "protocol",
        [ERROR_NOT_FOUND] = "not_found",
        [ERROR_CONFLICT] = "conflict",
        [ERROR_LIMIT] = "limit",
        [ERROR_TIMEOUT] = "timeout",
        [ERROR_SYSTEM] = "system",
        [ERROR_STOPPED] = "stopped",
    };
    return names[code];
}

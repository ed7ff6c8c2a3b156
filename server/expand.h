/* expand.h: ${NAME} reads the environment, ${file:PATH} a secret file, $${ stands for ${ itself.
 *
 *     char *text = expand("postgres://app:${file:/run/secrets/db}@db/shop", &scope, &why);    the caller's to free
 *
 * What was read is not expanded again. One newline at a file's end is left out. */
#ifndef FRESHET_SERVER_EXPAND_H
#define FRESHET_SERVER_EXPAND_H

#include <stddef.h>

#include "server/units.h"

enum { EXPAND_FILE_MAX = 64 * 1024 };

struct expand_scope {
    char *const *environment; /* "NAME=value", NULL-terminated */
    const char *folder;       /* what a relative PATH starts from; NULL: the working directory */
};

/* NULL: *why says which part cannot be read, and why. */
char *expand(const char *text, const struct expand_scope *scope, struct why *why);

/* The value of NAME, or NULL. */
const char *environment_get(char *const *environment, const char *name, size_t name_len);

#endif

/* generation.h: the indexes that one name has had: "users", then "users-1", "users-2", each filled by a rebuild while the one
 * before was served. From the first rebuild on the name is an alias.
 *
 *     generation_next(http, "users", has_file, &name, err);           "users-1"
 *     ... filled, through an alias of its own ...
 *     generation_take_over(http, "users", "users-1", aliases, n, err);  one request: all aliases move
 *     generation_tidy(http, log, "users", err);                       later: what is served no more goes
 *
 * One thread; each call is a few HTTP requests. */
#ifndef FRESHET_CONNECTORS_OPENSEARCH_GENERATION_H
#define FRESHET_CONNECTORS_OPENSEARCH_GENERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/http.h"
#include "base/log.h"

/* The name of the index to fill beside the one that `name` means now; the caller frees it. An index that a user made has a
 * mapping of theirs, which we would not make again: then `has_file` is wanted. */
bool generation_next(struct http *http, const char *name, bool has_file, char **next,
                     struct error *err);

/* `next` answers from now on for `name`, for all aliases of the index that did so far, and for `aliases`; and is written as
 * that was. An index whose own name is `name` is deleted by the same request: it could not be an alias otherwise. Done before:
 * true. */
bool generation_take_over(struct http *http, const char *name, const char *next,
                          const char *const *aliases, uint32_t n_aliases, struct error *err);

/* Deletes the indexes that rebuilds of `name` made and that do not answer for it. */
bool generation_tidy(struct http *http, struct log *log, const char *name, struct error *err);

#endif

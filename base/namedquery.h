/* namedquery.h: the texts of a named query of the configuration, which the cache reads through and connectors keep elsewhere.
 *
 *     named_key_parse(pattern, &key)                    "orders_by_user:{user_id}"
 *     named_substitute(sql, put, arg, &out);            $1 ... replaced, outside of quotes and comments
 *
 * Pure. */
#ifndef FRESHET_BASE_NAMEDQUERY_H
#define FRESHET_BASE_NAMEDQUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

enum { NAMED_MAX_PARAMETERS = 32 };

struct named_key {
    struct slice prefix;
    uint16_t n_parameters;
    struct slice parameters[NAMED_MAX_PARAMETERS];
};

/* NULL: it is one; else what is wrong with it. */
const char *named_key_parse(const char *pattern, struct named_key *key);

/* Of depends_on: does a query tell the touched keys? Else columns do, or it is "all". */
bool named_depends_by_sql(const char *text);

/* Appends the SQL, without the semicolon at its end. */
void named_substitute(const char *sql, void (*put)(void *arg, unsigned number, struct buf *out),
                      void *arg, struct buf *out);

#endif

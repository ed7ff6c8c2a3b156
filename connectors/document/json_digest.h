/* json_digest.h: a number for what a JSON text says, so that two of them can be compared whoever wrote them. Pure.
 *
 *     uint64_t digest;
 *     if (!json_digest(text, &digest)) ...    it is no JSON
 *
 * Equal whatever the blanks between tokens, the order of an object's members and the escapes within strings are. Numbers are
 * compared by their digits, which a reader of doubles would lose: 1.0 is not 1. A member of the outermost object that is null may
 * as well be absent: a column that was added later is in no document of before. */
#ifndef FRESHET_CONNECTORS_JSON_DIGEST_H
#define FRESHET_CONNECTORS_JSON_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* What nests deeper is taken byte by byte. */
enum { JSON_DIGEST_MAX_DEPTH = 200 };

bool json_digest(struct slice text, uint64_t *digest);

/* A walk through a text whose parts are wanted as they stand. Each moves past blanks first, and is false where something else
 * stands there. */
struct json_walk {
    const char *at;
    const char *end;
};
bool json_walk_char(struct json_walk *walk, char c);
/* Brackets and strings are matched; what is between is not looked at. */
bool json_walk_value(struct json_walk *walk, struct slice *value);
/* The next member of an object, from behind its '{' on: `name` without its quotes, escapes as they stand. False at its end, which
 * json_walk_char(walk, '}') tells from trouble. */
bool json_walk_member(struct json_walk *walk, struct slice *name, struct slice *value);

#endif

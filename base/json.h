/* json.h: composing JSON into a buffer without a tree. Reading JSON, and trees for status pages, is jansson's.
 *
 * Escapes: \" \\ \b \f \n \r \t, other controls as \u00XX; everything else as it is (UTF-8). */
#ifndef FRESHET_BASE_JSON_H
#define FRESHET_BASE_JSON_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* The quoted, escaped string. */
void json_append_string(struct buf *out, struct slice text);
/* The same, with characters beyond the basic plane as two \u escapes: byte for byte what Java's Jackson writes, for
 * records whose bytes are compared or hashed. */
void json_append_string_java(struct buf *out, struct slice text);
/* The same, with other controls as \u00xx: byte for byte what PostgreSQL's escape_json writes. */
void json_append_string_postgres(struct buf *out, struct slice text);
/* The escaped bytes without the quotes. */
void json_append_escaped(struct buf *out, struct slice text);
/* Base64 (RFC 4648, padded), unquoted. */
void base64_append(struct buf *out, const void *data, size_t len);
/* Appends what such text stands for. False: it is none, and *out is as it was. The text may lie in *out itself where that has
 * room for the result. */
bool base64_decode(struct buf *out, struct slice text);

#endif

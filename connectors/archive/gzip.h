/* gzip.h: gzip members (RFC 1952) in memory, through zlib. Pure. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_GZIP_H
#define FRESHET_CONNECTORS_ARCHIVE_GZIP_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

/* Appends `text` as one member. */
void gzip_append(struct buf *out, struct slice text);

/* Reads a series of members in pieces:
 *
 *     struct gunzip *gunzip = gunzip_create();
 *     gunzip_feed(gunzip, bytes, &out)  ...        appends to *out; false: damaged
 *     gunzip_complete(gunzip)                      no member is left unfinished */
struct gunzip;

struct gunzip *gunzip_create(void);
void gunzip_destroy(struct gunzip **gunzip);
bool gunzip_feed(struct gunzip *gunzip, struct slice bytes, struct buf *out) MUST_CHECK;
bool gunzip_complete(const struct gunzip *gunzip);

#endif

/* segment.h: the first line of a segment, which tells the shape of the rows behind it. Pure.
 *
 *     {"segment":3,"schema":"public","table":"users","columns":[{"name":"id","class":"long","type":"bigint"},
 *      {"name":"tags","class":"text","array":true}],"keys":["id"]}
 *
 * The records that follow are record.h's. */
#ifndef FRESHET_CONNECTORS_ARCHIVE_SEGMENT_H
#define FRESHET_CONNECTORS_ARCHIVE_SEGMENT_H

#include "base/buf.h"
#include "base/error.h"
#include "connectors/document/shape.h"

/* With its newline. */
void segment_write_header(struct buf *out, uint64_t number, const struct shape *shape);

/* Without its newline. NULL: it is none. */
struct shape *segment_read_header(struct slice line, uint64_t *number);

#endif

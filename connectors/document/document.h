/* document.h: a row as a JSON object, from the text that PostgreSQL's output functions print.
 *
 *     document_append(&buf, shape, row);        {"id":42,"name":"Ann","born":"1990-05-01","tags":["a","b"]}
 *
 * What row_to_json gives, but for bytea, which is base64: numbers with the digits that PostgreSQL prints, JSON as it is
 * (its newlines become spaces, so that a document is one line), dates and times as ISO 8601 strings,
 * arrays as arrays, NaN and infinities and all that has no rule as strings. Settings assumed of the text:
 * DateStyle ISO, bytea_output hex. Pure. */
#ifndef FRESHET_CONNECTORS_DOCUMENT_H
#define FRESHET_CONNECTORS_DOCUMENT_H

#include "base/buf.h"
#include "base/change.h"
#include "connectors/document/shape.h"

/* Every column must be there: no VALUE_UNCHANGED. Where a column is the document (shape->document), that alone, as it is: JSON
 * of any depth, as a view's query makes it; null where it is NULL. */
void document_append(struct buf *out, const struct shape *shape, const struct value *row);

#endif

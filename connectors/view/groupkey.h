/* groupkey.h: the key of a view table's rows as text: shape_append_key's, but of a table of counts and sums, whose groups may be of
 * NULLs: there each part is escaped as in a key of several columns, and %N is a NULL. Pure. */
#ifndef FRESHET_CONNECTORS_VIEW_GROUPKEY_H
#define FRESHET_CONNECTORS_VIEW_GROUPKEY_H

#include <stdbool.h>

#include "base/buf.h"
#include "connectors/document/shape.h"

/* `row`: of the shape's columns; the key's are read alone. */
void groupkey_append(const struct shape *shape, const struct value *row, struct buf *out);
/* The first part of what is left, appended to *out; *rest moves behind it. False: it is NULL. */
bool groupkey_take(const struct shape *shape, struct slice *rest, struct buf *out);

#endif

/* pgarray.h: the text of a one-dimensional array, as PostgreSQL reads it: {"a","b \"c\"",NULL}
 *
 *     pgarray_begin(&literal);  pgarray_add(&literal, value);  ...  pgarray_end(&literal);       NUL-terminated
 */
#ifndef FRESHET_BASE_PGARRAY_H
#define FRESHET_BASE_PGARRAY_H

#include "base/buf.h"
#include "base/slice.h"

void pgarray_begin(struct buf *literal);
void pgarray_add(struct buf *literal, struct slice value);
void pgarray_add_null(struct buf *literal);
void pgarray_end(struct buf *literal);

#endif

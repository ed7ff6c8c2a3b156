/* document_read.h: the other way of document.h: from a JSON object back to the texts that PostgreSQL printed.
 *
 *     struct slice in = ...;                                {"id":42,"name":"Ann"} and what follows it
 *     document_take(&in, shape, arena, row)                 in: what follows
 *
 * It takes what document_append writes for the same shape, and nothing else. Pure. */
#ifndef FRESHET_CONNECTORS_DOCUMENT_READ_H
#define FRESHET_CONNECTORS_DOCUMENT_READ_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "connectors/document/shape.h"

/* Does the value's JSON tell its text again? False for arrays, for JSON with newlines in it or that is null, and for what
 * has not the form that its class has by the settings that document.h assumes. */
bool document_exact(const struct shape_column *column, const struct value *value);

/* Fills row[shape->n_columns]; texts lie in the arena or in what *in is of. An array comes as VALUE_UNCHANGED: its text is
 * to be told otherwise. False: it is none. */
bool document_take(struct slice *in, const struct shape *shape, struct arena *arena,
                   struct value *row) MUST_CHECK;

/* A quoted string, unescaped: what json_append_string writes. */
bool document_take_string(struct slice *in, struct buf *out) MUST_CHECK;

#endif

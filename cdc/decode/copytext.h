/* copytext.h: parser of one row of COPY ... TO STDOUT in text format (PostgreSQL documentation, COPY, "Text
 * Format"). Pure, in place: escapes only shrink, so the values are unescaped into the row's own bytes.
 *
 *     for (size_t at = 0; at < rows.len; at += taken)
 *         if (!(taken = copytext_take(rows.data + at, rows.len - at, n_columns, values))) ...     invalid */
#ifndef FRESHET_CDC_COPYTEXT_H
#define FRESHET_CDC_COPYTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"

/* The first of the rows, in one pass: how long it is with its newline. The values (VALUE_TEXT or VALUE_NULL) point into it. 0:
 * not n_columns of them, a broken escape, or no newline. A row is taken once: its bytes are not what they were. */
size_t copytext_take(char *rows, size_t len, uint16_t n_columns, struct value *values) MUST_CHECK;

#endif

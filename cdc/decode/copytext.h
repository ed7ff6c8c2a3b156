/* copytext.h: parser of one row of COPY ... TO STDOUT in text format (PostgreSQL documentation, COPY, "Text
 * Format"). Pure, in place: escapes only shrink, so the values are unescaped into the row's own bytes.
 *
 *     if (!copytext_parse(row, len, n_columns, values)) ...     invalid */
#ifndef FRESHET_CDC_COPYTEXT_H
#define FRESHET_CDC_COPYTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/change.h"
#include "base/error.h"

/* `row` is one CopyData with or without its newline. The values (VALUE_TEXT or VALUE_NULL) point into it. False:
 * not n_columns of them, or a broken escape. */
bool copytext_parse(char *row, size_t len, uint16_t n_columns, struct value *values) MUST_CHECK;

#endif

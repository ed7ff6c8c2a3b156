/* java_double.h: floating-point numbers as Java's Double.toString and Float.toString write them since JDK 19:
 * the fewest digits that give the number back, 1.0, 0.001, 1.0E7, 4.9E-324.
 *
 * PostgreSQL prints the same digits (extra_float_digits >= 1), in another form. */
#ifndef FRESHET_CDC_JAVA_DOUBLE_H
#define FRESHET_CDC_JAVA_DOUBLE_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* Appends a float8's (single: float4's) text as JSON: a number, or "NaN", "Infinity", "-Infinity" in quotes.
 * False: it is no such text; nothing is appended. */
bool java_double_append(struct slice text, bool single, struct buf *out);

/* The double nearest to a decimal's text. */
bool java_double_append_decimal(struct slice text, struct buf *out);

void java_double_append_value(double value, struct buf *out);

#endif

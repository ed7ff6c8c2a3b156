/* topic_row.h: a value of an event in Debezium's JSON back to the text that PostgreSQL prints for it.
 *
 * What an event does not tell exactly, by the settings that it was written with, comes as VALUE_UNCHANGED: the row is read
 * again then. So are values of types that have no rule here. Pure. */
#ifndef FRESHET_CONNECTORS_TOPIC_ROW_H
#define FRESHET_CONNECTORS_TOPIC_ROW_H

#include <jansson.h>

#include "base/arena.h"
#include "base/catalog.h"
#include "base/change.h"

/* As cdc.format has them, in the order of its choices. */
struct topic_format {
    enum topic_decimals {
        TOPIC_DECIMALS_PRECISE,
        TOPIC_DECIMALS_STRING,
        TOPIC_DECIMALS_DOUBLE
    } decimals;
    enum topic_times { TOPIC_TIMES_ADAPTIVE, TOPIC_TIMES_MICROSECONDS, TOPIC_TIMES_CONNECT } times;
    enum topic_bytes { TOPIC_BYTES_BASE64, TOPIC_BYTES_BASE64_URL, TOPIC_BYTES_HEX } bytes;
};

/* The text lies in the arena, or in `json`. `json` NULL: the event does not have the column. */
struct value topic_row_value(const struct catalog_column *column, const struct topic_format *format,
                             const json_t *json, struct arena *arena);

#endif

/* format.h: the choices of `cdc.format`: how values and events are written. */
#ifndef FRESHET_CDC_FORMAT_H
#define FRESHET_CDC_FORMAT_H

#include <stdbool.h>

enum format_decimals { DECIMALS_PRECISE, DECIMALS_STRING, DECIMALS_DOUBLE };
enum format_times { TIMES_ADAPTIVE, TIMES_ADAPTIVE_MICROSECONDS, TIMES_CONNECT };
enum format_bytes { BYTES_BASE64, BYTES_BASE64_URL_SAFE, BYTES_HEX };
enum format_intervals { INTERVALS_NUMERIC, INTERVALS_STRING };
enum format_hstore { HSTORE_JSON, HSTORE_MAP };
/* NaN and infinities of a numeric in precise mode. */
enum format_non_finite { NON_FINITE_NULL, NON_FINITE_STRING, NON_FINITE_ERROR };
/* A TOASTed value that an update did not touch, and that no old row holds. */
enum format_unchanged { UNCHANGED_PLACEHOLDER, UNCHANGED_REREAD };

struct event_format {
    const char *encoding; /* the name of a row of the encoder table */
    bool tombstones;
    bool transaction_metadata;
    enum format_decimals decimals;
    enum format_times times;
    enum format_bytes bytes;
    enum format_intervals intervals;
    enum format_hstore hstore;
    enum format_non_finite non_finite;
    enum format_unchanged unchanged;
};

#endif

/* units.h: what a user writes as a duration, a size, a count, an address: text in, number out. Pure.
 *
 * Three results, as for every parser of ours, but the text is always whole: false fills *why with one line
 * that says what is wrong and what would be right. */
#ifndef FRESHET_SERVER_UNITS_H
#define FRESHET_SERVER_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct why {
    char text[256];
};

/* "250ms", "1.5s", "5m", "2h", "1d", and a bare "0". Milliseconds. */
bool units_duration(const char *text, int64_t *ms, struct why *why) MUST_CHECK;
/* "512B", "64KiB", "1.5GiB", "10MB", and a bare "0". Bytes. */
bool units_size(const char *text, uint64_t *bytes, struct why *why) MUST_CHECK;
/* A whole number without a unit. */
bool units_count(const char *text, int64_t *value, struct why *why) MUST_CHECK;
bool units_bool(const char *text, bool *value, struct why *why) MUST_CHECK;

/* "host:port", "[::1]:port"; the parts are copied out. */
struct address {
    char host[256]; /* without brackets */
    uint16_t port;
};
bool units_address(const char *text, struct address *address, struct why *why) MUST_CHECK;
/* 127.0.0.0/8, ::1, localhost. */
bool address_is_loopback(const struct address *address);

/* Always false: fills *why. */
bool why_set(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif

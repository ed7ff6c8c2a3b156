#include "server/units.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    double factor;
};

static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 86400 * 1000}, {NULL, 0},
};

static const struct unit sizes[] = {
    {"B", 1},     {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40},
    {"KB", 1000}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},    {NULL, 0},
};

/* Past it a double no longer holds each whole number; it is 285,000 years, or 8 PiB. */
static const double largest = 0x1p53;

bool why_set(struct why *why, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return false;
}

/* Digits with at most one dot among them: no sign, no exponent, no hexadecimal, no "inf". */
static const char *skip_number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0) return NULL;
    const char *end = text + digits;
    if (*end != '.') return end;
    size_t decimals = strspn(end + 1, "0123456789");
    return decimals ? end + 1 + decimals : NULL;
}

/* What somebody who wrote `given` probably meant: the same unit in other letters, or its beginning. */
static const char *nearest_unit(const struct unit *units, const char *given) {
    for (const struct unit *unit = units; unit->name; unit++) {
        if (strcasecmp(unit->name, given) == 0) return unit->name;
    }
    for (const struct unit *unit = units; unit->name && *given; unit++) {
        if (strncasecmp(unit->name, given, 1) == 0 && strlen(unit->name) > 1) return unit->name;
    }
    for (const struct unit *unit = units; unit->name && *given; unit++) {
        if (strncasecmp(unit->name, given, 1) == 0) return unit->name;
    }
    return NULL;
}

static bool quantity(const char *text, const struct unit *units, const char *kind,
                     const char *examples, double *value, struct why *why) {
    const char *end = skip_number(text);
    if (!end) return why_set(why, "\"%.60s\" is not a %s, write %s", text, kind, examples);
    double number = strtod(text, NULL);
    if (*end == '\0') {
        *value = 0;
        if (number == 0) return true;
        return why_set(why, "\"%.60s\" has no unit, write %s", text, examples);
    }
    for (const struct unit *unit = units; unit->name; unit++) {
        if (strcmp(end, unit->name) != 0) continue;
        *value = number * unit->factor;
        return *value <= largest ? true : why_set(why, "\"%.60s\" is too large", text);
    }
    const char *meant = nearest_unit(units, end);
    if (meant)
        return why_set(why, "\"%.60s\" has the unknown unit \"%.20s\", write %.*s%s", text, end,
                       (int)(end - text < 40 ? end - text : 40), text, meant);
    return why_set(why, "\"%.60s\" has the unknown unit \"%.20s\", write %s", text, end, examples);
}

bool units_duration(const char *text, int64_t *ms, struct why *why) {
    double value = 0;
    if (!quantity(text, durations, "duration", "250ms, 30s, 5m, 2h or 1d", &value, why))
        return false;
    *ms = (int64_t)value;
    if (value > 0 && *ms == 0) return why_set(why, "\"%.60s\" is less than 1ms", text);
    return true;
}

bool units_size(const char *text, uint64_t *bytes, struct why *why) {
    double value = 0;
    if (!quantity(text, sizes, "size", "512KiB, 64MiB or 1GiB", &value, why)) return false;
    *bytes = (uint64_t)value;
    return true;
}

bool units_count(const char *text, int64_t *value, struct why *why) {
    const char *digits = *text == '-' ? text + 1 : text;
    size_t len = strlen(digits);
    if (len == 0 || strspn(digits, "0123456789") != len)
        return why_set(why, "\"%.60s\" is not a whole number", text);
    errno = 0;
    *value = strtoll(text, NULL, 10);
    if (errno) return why_set(why, "\"%.60s\" is too large", text);
    return true;
}

bool units_bool(const char *text, bool *value, struct why *why) {
    *value = strcmp(text, "true") == 0;
    if (*value || strcmp(text, "false") == 0) return true;
    return why_set(why, "\"%.60s\" is neither true nor false", text);
}

#define ADDRESS_FORM "write HOST:PORT, as 127.0.0.1:6380 or [::1]:6380"

bool units_address(const char *text, struct address *address, struct why *why) {
    const char *colon = strrchr(text, ':');
    if (!colon) return why_set(why, "\"%.60s\" has no port, " ADDRESS_FORM, text);
    const char *host = text;
    size_t len = (size_t)(colon - text);
    if (*host == '[') {
        if (len < 2 || host[len - 1] != ']')
            return why_set(why, "\"%.60s\" has no closing bracket, " ADDRESS_FORM, text);
        host++;
        len -= 2;
    } else if (memchr(host, ':', len)) {
        return why_set(why, "\"%.60s\" has an IPv6 address without brackets, " ADDRESS_FORM, text);
    }
    if (len == 0)
        return why_set(why, "\"%.60s\" has no host, write 0.0.0.0%.10s for all of IPv4", text,
                       colon);
    if (len >= sizeof address->host) return why_set(why, "the host name is too long");
    size_t digits = strspn(colon + 1, "0123456789");
    long port = strtol(colon + 1, NULL, 10);
    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' || port > 65535)
        return why_set(why, "\"%.60s\" has the port \"%.20s\", which is none of 0 to 65535", text,
                       colon + 1);
    memcpy(address->host, host, len);
    address->host[len] = '\0';
    address->port = (uint16_t)port;
    return true;
}

bool address_is_loopback(const struct address *address) {
    struct in_addr v4;
    if (inet_pton(AF_INET, address->host, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
    struct in6_addr v6;
    if (inet_pton(AF_INET6, address->host, &v6) == 1) return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcasecmp(address->host, "localhost") == 0;
}

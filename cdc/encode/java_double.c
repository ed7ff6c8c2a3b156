#include "cdc/encode/java_double.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digits without leading or trailing zeros; the number is 0.DIGITS * 10^point. */
struct parts {
    bool negative;
    char digits[24];
    int n;
    int point;
};

/* [-]ddd[.ddd][e[+-]dd]; false where it is not, or has more digits than a double's text has. */
static bool parse(struct slice text, struct parts *parts) {
    const char *at = text.data;
    const char *end = at + text.len;
    *parts = (struct parts){0};
    parts->negative = at < end && *at == '-';
    at += parts->negative;
    bool any = false;
    bool behind = false;
    for (; at < end; at++) {
        if (*at == '.' && !behind) {
            behind = true;
            continue;
        }
        if (*at < '0' || *at > '9') break;
        any = true;
        if (*at == '0' && parts->n == 0) { /* a leading zero */
            parts->point -= behind;
            continue;
        }
        parts->point += !behind;
        if (parts->n < (int)sizeof parts->digits)
            parts->digits[parts->n++] = *at;
        else if (*at != '0')
            return false;
    }
    if (!any) return false;
    if (at < end && (*at == 'e' || *at == 'E')) {
        int exponent = 0;
        bool minus = false;
        at++;
        if (at < end && (*at == '+' || *at == '-')) minus = *at++ == '-';
        if (at == end) return false;
        for (; at < end && *at >= '0' && *at <= '9' && exponent < 10000; at++)
            exponent = exponent * 10 + (*at - '0');
        parts->point += minus ? -exponent : exponent;
    }
    while (parts->n && parts->digits[parts->n - 1] == '0')
        parts->n--;
    return at == end;
}

/* Plain from 10^-3 up to 10^7, else d.dddE±d. */
static void format(const struct parts *parts, struct buf *out) {
    char *at = buf_reserve(out, 48);
    char *start = at;
    if (parts->negative) *at++ = '-';
    if (parts->n == 0) {
        memcpy(at, "0.0", 3);
        out->len += (size_t)(at + 3 - start);
        return;
    }
    int point = parts->point;
    bool plain = point > -3 && point <= 7;
    int whole = plain ? point : 1; /* digits before the point */
    if (whole <= 0) *at++ = '0';
    for (int i = 0; i < whole; i++)
        *at++ = i < parts->n ? parts->digits[i] : '0';
    *at++ = '.';
    for (int i = whole; i < 0; i++)
        *at++ = '0';
    int from = whole > 0 ? whole : 0;
    for (int i = from; i < parts->n; i++)
        *at++ = parts->digits[i];
    if (from >= parts->n) *at++ = '0';
    if (!plain) at += sprintf(at, "E%d", point - 1);
    out->len += (size_t)(at - start);
}

/* Java takes the nearest of two digits where one digit would do: it shows only at the edge of the range, where
 * neighbours are far apart (4.9E-324, not 5.0E-324). */
static void widen(struct parts *parts, struct slice text, bool single) {
    if (parts->n != 1 || parts->point > (single ? -36 : -306)) return;
    char copy[64];
    if (text.len >= sizeof copy) return;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    double value = single ? (double)strtof(copy, NULL) : strtod(copy, NULL);
    char two[32];
    int len = snprintf(two, sizeof two, "%.1e", value);
    parse(slice_make(two, (size_t)len), parts);
}

bool java_double_append(struct slice text, bool single, struct buf *out) {
    if (slice_equal(text, SLICE("NaN")) || slice_equal(text, SLICE("Infinity")) ||
        slice_equal(text, SLICE("-Infinity"))) {
        buf_append_char(out, '"');
        buf_append_slice(out, text);
        buf_append_char(out, '"');
        return true;
    }
    struct parts parts;
    if (!parse(text, &parts)) return false;
    widen(&parts, text, single);
    format(&parts, out);
    return true;
}

void java_double_append_value(double value, struct buf *out) {
    if (!isfinite(value)) {
        buf_append_text(out, isnan(value) ? "\"NaN\""
                             : value > 0  ? "\"Infinity\""
                                          : "\"-Infinity\"");
        return;
    }
    char text[40];
    int len = 0;
    /* Fifteen digits always survive; below the normal range fewer may do. */
    for (int digits = fabs(value) < 1e-290 ? 1 : 15; digits <= 17; digits++) {
        len = snprintf(text, sizeof text, "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value) break;
    }
    java_double_append(slice_make(text, (size_t)len), false, out);
}

bool java_double_append_decimal(struct slice text, struct buf *out) {
    struct buf copy = {0};
    buf_append_slice(&copy, text);
    char *end;
    double value = strtod(buf_text(&copy), &end);
    bool all = text.len && end == copy.data + copy.len;
    buf_deinit(&copy);
    if (all) java_double_append_value(value, out);
    return all;
}

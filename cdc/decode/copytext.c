#include "cdc/decode/copytext.h"

#include <string.h>

static const char escape_letters[] = "bfnrtv";
static const char escape_bytes[] = "\b\f\n\r\t\v";

static int digit_value(char c, int base) {
    int value = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : 99;
    return value < base ? value : -1;
}

/* Up to max digits at *at; moves it past them. -1: none. */
static int read_digits(const char **at, const char *end, int base, int max) {
    int value = -1;
    for (int n = 0; n < max && *at < end; n++) {
        int digit = digit_value(**at, base);
        if (digit < 0) break;
        value = (value < 0 ? 0 : value * base) + digit;
        (*at)++;
    }
    return value;
}

/* What stands behind a backslash, at *at; moves past it. */
static char unescape_one(const char **at, const char *end) {
    const char *known = memchr(escape_letters, **at, sizeof escape_letters - 1);
    if (known) {
        (*at)++;
        return escape_bytes[known - escape_letters];
    }
    if (**at == 'x') {
        const char *digits = *at + 1;
        int value = read_digits(&digits, end, 16, 2);
        if (value >= 0) {
            *at = digits;
            return (char)value;
        }
    }
    int octal = read_digits(at, end, 8, 3);
    return octal >= 0 ? (char)octal : *(*at)++;
}

/* One field from `at` to `end`, written back over itself. */
static bool parse_field(char *at, const char *end, struct value *value) {
    *value = (struct value){.kind = VALUE_TEXT, .data = at};
    char *escape = memchr(at, '\\', (size_t)(end - at));
    if (!escape) {
        value->len = (uint32_t)(end - at);
        return true;
    }
    if (escape == at && end - at == 2 && at[1] == 'N') {
        *value = (struct value){.kind = VALUE_NULL, .data = ""};
        return true;
    }
    char *out = escape;
    for (const char *in = escape; in < end;) {
        if (*in != '\\') {
            *out++ = *in++;
            continue;
        }
        if (++in == end) return false;
        *out++ = unescape_one(&in, end);
    }
    value->len = (uint32_t)(out - at);
    return true;
}

bool copytext_parse(char *row, size_t len, uint16_t n_columns, struct value *values) {
    if (len > UINT32_MAX) return false;
    if (len && row[len - 1] == '\n') len--;
    if (n_columns == 0) return len == 0;
    char *at = row;
    const char *end = row + len;
    for (uint16_t i = 0; i < n_columns; i++) {
        const char *tab = at < end ? memchr(at, '\t', (size_t)(end - at)) : NULL;
        bool last = i == n_columns - 1;
        if (last != (tab == NULL)) return false;
        const char *field_end = last ? end : tab;
        if (!parse_field(at, field_end, &values[i])) return false;
        at += field_end - at + 1;
    }
    return true;
}

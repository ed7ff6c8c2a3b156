#include "cache/front/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cache/values/number.h"

enum { HEADER_MAX = 1 + 20 + 2 }; /* type byte, digits, line's end */

/* Writes "<type><n>\r\n" at `at`, which has HEADER_MAX bytes, and returns where it ends. */
static char *put_header(char *at, char type, uint64_t n) {
    *at++ = type;
    if (n < 10) {
        *at++ = (char)('0' + n);
    } else if (n < 1000) { /* most of all */
        uint32_t small = (uint32_t)n;
        if (small >= 100) *at++ = (char)('0' + small / 100);
        *at++ = (char)('0' + small / 10 % 10);
        *at++ = (char)('0' + small % 10);
    } else {
        char digits[20];
        char *first = digits + sizeof digits;
        do {
            *--first = (char)('0' + n % 10);
            n /= 10;
        } while (n);
        size_t len = (size_t)(digits + sizeof digits - first);
        memcpy(at, first, len);
        at += len;
    }
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

static void append_header(struct reply *reply, char type, uint64_t n) {
    char *begin = buf_reserve(reply->out, HEADER_MAX);
    reply->out->len += (size_t)(put_header(begin, type, n) - begin);
}

void reply_ok(struct reply *reply) { buf_append(reply->out, "+OK\r\n", 5); }

void reply_simple(struct reply *reply, const char *text) {
    buf_append_char(reply->out, '+');
    buf_append_text(reply->out, text);
    buf_append(reply->out, "\r\n", 2);
}

void reply_bulk(struct reply *reply, struct slice bytes) {
    char *begin = buf_reserve(reply->out, HEADER_MAX + bytes.len + 2);
    char *at = put_header(begin, '$', bytes.len);
    if (bytes.len) memcpy(at, bytes.data, bytes.len);
    at += bytes.len;
    at[0] = '\r';
    at[1] = '\n';
    reply->out->len += (size_t)(at + 2 - begin);
}

void reply_bulk_spliced(struct reply *reply, struct slice bytes) {
    struct splices *splices = reply->splices;
    if (splices->n == SPLICES) {
        reply_bulk(reply, bytes);
        return;
    }
    append_header(reply, '$', bytes.len);
    splices->all[splices->n++] = (struct splice){reply->out->len, bytes};
    splices->bytes += bytes.len;
    buf_append(reply->out, "\r\n", 2);
}

void reply_text(struct reply *reply, const char *text) { reply_bulk(reply, slice_from(text)); }

void reply_verbatim(struct reply *reply, struct slice text) {
    if (reply->protocol < 3) {
        reply_bulk(reply, text);
        return;
    }
    append_header(reply, '=', text.len + 4);
    buf_append(reply->out, "txt:", 4);
    buf_append_slice(reply->out, text);
    buf_append(reply->out, "\r\n", 2);
}

void reply_integer(struct reply *reply, int64_t value) {
    if (value >= 0) {
        append_header(reply, ':', (uint64_t)value);
        return;
    }
    buf_append_char(reply->out, ':');
    append_header(reply, '-', (uint64_t)0 - (uint64_t)value);
}

void reply_double(struct reply *reply, double value) {
    char digits[NUMBER_DOUBLE_MAX_LEN];
    struct slice text = slice_make(digits, number_format_double(digits, value));
    if (reply->protocol < 3) {
        reply_bulk(reply, text);
        return;
    }
    buf_append_char(reply->out, ',');
    buf_append_slice(reply->out, text);
    buf_append(reply->out, "\r\n", 2);
}

void reply_bool(struct reply *reply, bool value) {
    if (reply->protocol < 3)
        reply_integer(reply, value);
    else
        buf_append(reply->out, value ? "#t\r\n" : "#f\r\n", 4);
}

void reply_null(struct reply *reply) {
    buf_append_text(reply->out, reply->protocol < 3 ? "$-1\r\n" : "_\r\n");
}

void reply_null_array(struct reply *reply) {
    buf_append_text(reply->out, reply->protocol < 3 ? "*-1\r\n" : "_\r\n");
}

void reply_array(struct reply *reply, size_t n) { append_header(reply, '*', n); }

void reply_map(struct reply *reply, size_t n) {
    if (reply->protocol < 3)
        append_header(reply, '*', 2 * n);
    else
        append_header(reply, '%', n);
}

void reply_set(struct reply *reply, size_t n) {
    append_header(reply, reply->protocol < 3 ? '*' : '~', n);
}

void reply_push(struct reply *reply, size_t n) {
    append_header(reply, reply->protocol < 3 ? '*' : '>', n);
}

static bool is_break(char c) { return c == '\r' || c == '\n'; }

void reply_error(struct reply *reply, const char *format, ...) {
    reply->errors++;
    buf_append_char(reply->out, '-');
    size_t begin = reply->out->len;
    va_list args;
    va_start(args, format);
    buf_vprintf(reply->out, format, args);
    va_end(args);
    while (reply->out->len > begin && is_break(reply->out->data[reply->out->len - 1]))
        reply->out->len--; /* as Redis does: those at the end go, the others become spaces */
    for (size_t i = begin; i < reply->out->len; i++)
        if (is_break(reply->out->data[i])) reply->out->data[i] = ' ';
    buf_append(reply->out, "\r\n", 2);
}

void reply_wrong_type(struct reply *reply) {
    reply_error(reply, "WRONGTYPE Operation against a key holding the wrong kind of value");
}

void reply_syntax_error(struct reply *reply) { reply_error(reply, "ERR syntax error"); }

void reply_not_an_integer(struct reply *reply) {
    reply_error(reply, "ERR value is not an integer or out of range");
}

void reply_not_a_float(struct reply *reply) {
    reply_error(reply, "ERR value is not a valid float");
}

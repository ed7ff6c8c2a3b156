#include "cache/front/resp.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    ARGS_AT_FIRST = 16,
    ARGS_KEPT = 1024,           /* a larger array is given back with its request */
    UNESCAPED_KEPT = 16 * 1024, /* so is the memory of a long inline request */
};

void resp_init(struct resp_parser *parser, size_t max_bulk) {
    *parser = (struct resp_parser){.max_bulk = max_bulk, .bulk_len = -1};
}

void resp_deinit(struct resp_parser *parser) {
    mem_free(parser->args);
    buf_deinit(&parser->unescaped);
    *parser = (struct resp_parser){0};
}

void resp_reset(struct resp_parser *parser) {
    parser->argc = 0;
    parser->consumed = 0;
    parser->missing = 0;
    parser->args_left = 0;
    parser->bulk_len = -1;
    parser->at = 0;
    parser->scanned = 0;
    parser->multibulk = false;
    parser->is_unescaped = false;
    parser->unescaped.len = 0;
    if (parser->args_cap > ARGS_KEPT) {
        mem_free(parser->args);
        parser->args = NULL;
        parser->args_cap = 0;
    }
    if (parser->unescaped.cap > UNESCAPED_KEPT) buf_deinit(&parser->unescaped);
}

void resp_argv(const struct resp_parser *parser, const char *bytes, struct slice *argv) {
    const char *base = parser->is_unescaped ? parser->unescaped.data : bytes;
    for (uint32_t i = 0; i < parser->argc; i++)
        argv[i] = slice_make(base + parser->args[i].at, parser->args[i].len);
}

static enum resp_status invalid(struct resp_parser *parser, const char *error) {
    parser->error = error;
    return RESP_INVALID;
}

static enum resp_status done(struct resp_parser *parser) {
    parser->consumed = parser->at;
    return RESP_DONE;
}

/* The array grows with what has arrived, never with what a count announces. */
static void add_argument(struct resp_parser *parser, size_t at, size_t len) {
    if (__builtin_expect(parser->argc == parser->args_cap, 0)) {
        parser->args_cap = parser->args_cap ? 2 * parser->args_cap : ARGS_AT_FIRST;
        parser->args = mem_realloc(parser->args, parser->args_cap * sizeof parser->args[0]);
    }
    parser->args[parser->argc++] = (struct resp_argument){at, len};
}

/* --- multibulk --------------------------------------------------------------------------------------------- */

/* A canonical decimal: no plus, no leading zero, no blank, no "-0". False also past 18 digits. */
static bool parse_number(const char *at, const char *end, int64_t *value) {
    bool negative = at < end && *at == '-';
    at += negative;
    if (at == end || end - at > 18 || (*at == '0' && (end - at > 1 || negative))) return false;
    int64_t number = 0;
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
        number = number * 10 + (*at - '0');
    }
    *value = negative ? -number : number;
    return true;
}

static enum resp_status read_length_slowly(struct resp_parser *parser, const char *bytes,
                                           size_t n_bytes, int64_t *value, const char *too_long,
                                           const char *malformed) {
    size_t from = parser->scanned > parser->at ? parser->scanned : parser->at + 1;
    const char *end = bytes + n_bytes;
    const char *cr = from < n_bytes ? memchr(bytes + from, '\r', n_bytes - from) : NULL;
    if (!cr || cr + 1 == end) {
        parser->scanned = cr ? (size_t)(cr - bytes) : n_bytes;
        if (n_bytes - parser->at > RESP_MAX_INLINE) return invalid(parser, too_long);
        return RESP_MORE;
    }
    if (!parse_number(bytes + parser->at + 1, cr, value)) return invalid(parser, malformed);
    parser->at = (size_t)(cr - bytes) + 2;
    return RESP_DONE;
}

/* The number of a line "*<count>\r\n" or "$<length>\r\n" that begins at parser->at. */
static inline enum resp_status read_length(struct resp_parser *parser, const char *bytes,
                                           size_t n_bytes, int64_t *value, const char *too_long,
                                           const char *malformed) {
    const char *first = bytes + parser->at + 1;
    const char *at = first;
    const char *end = bytes + n_bytes;
    int64_t number = 0;
    while (at < end && at - first < 9 && (unsigned char)(*at - '0') < 10)
        number = number * 10 + (*at++ - '0');
    if (at > first && end - at >= 2 && *at == '\r' && (*first != '0' || at == first + 1)) {
        *value = number;
        parser->at = (size_t)(at - bytes) + 2;
        return RESP_DONE;
    }
    return read_length_slowly(parser, bytes, n_bytes, value, too_long, malformed);
}

static enum resp_status read_count(struct resp_parser *parser, const char *bytes, size_t n_bytes) {
    int64_t count;
    enum resp_status status =
        read_length(parser, bytes, n_bytes, &count, "Protocol error: too big mbulk count string",
                    "Protocol error: invalid multibulk length");
    if (status != RESP_DONE) return status;
    if (count > RESP_MAX_ARGS) return invalid(parser, "Protocol error: invalid multibulk length");
    if (count > RESP_MAX_ARGS_BEFORE_AUTH && !parser->authenticated)
        return invalid(parser, "Protocol error: unauthenticated multibulk length");
    parser->multibulk = true;
    parser->args_left = count > 0 ? (uint32_t)count : 0;
    return RESP_DONE;
}

static enum resp_status read_bulk_length(struct resp_parser *parser, const char *bytes,
                                         size_t n_bytes) {
    if (parser->at >= n_bytes) return RESP_MORE;
    char type = bytes[parser->at];
    if (type != '$') {
        /* As Redis, the line has to be there before it is judged. */
        if (!memchr(bytes + parser->at, '\r', n_bytes - parser->at - 1)) {
            if (n_bytes - parser->at <= RESP_MAX_INLINE) return RESP_MORE;
            return invalid(parser, "Protocol error: too big bulk count string");
        }
        snprintf(parser->error_text, sizeof parser->error_text,
                 "Protocol error: expected '$', got '%c'", type);
        return invalid(parser, parser->error_text);
    }
    enum resp_status status = read_length(parser, bytes, n_bytes, &parser->bulk_len,
                                          "Protocol error: too big bulk count string",
                                          "Protocol error: invalid bulk length");
    if (status != RESP_DONE) {
        parser->bulk_len = -1;
        return status;
    }
    if (parser->bulk_len < 0 || (uint64_t)parser->bulk_len > parser->max_bulk)
        return invalid(parser, "Protocol error: invalid bulk length");
    if (parser->bulk_len > RESP_MAX_BULK_BEFORE_AUTH && !parser->authenticated)
        return invalid(parser, "Protocol error: unauthenticated bulk length");
    return RESP_DONE;
}

static enum resp_status parse_multibulk(struct resp_parser *parser, const char *bytes,
                                        size_t n_bytes) {
    parser->missing = 0;
    if (!parser->multibulk) {
        enum resp_status status = read_count(parser, bytes, n_bytes);
        if (status != RESP_DONE) return status;
    }
    while (parser->args_left > 0) {
        if (parser->bulk_len < 0) {
            enum resp_status status = read_bulk_length(parser, bytes, n_bytes);
            if (status != RESP_DONE) return status;
        }
        size_t len = (size_t)parser->bulk_len;
        if (n_bytes - parser->at < len + 2) {
            parser->missing = len + 2 - (n_bytes - parser->at);
            return RESP_MORE;
        }
        add_argument(parser, parser->at, len);
        parser->at += len + 2; /* the two bytes behind a bulk are skipped unseen, as Redis does */
        parser->bulk_len = -1;
        parser->args_left--;
    }
    return done(parser);
}

/* --- small requests ---------------------------------------------------------------------------------------- */

static inline uint32_t digit(char c) { return (unsigned char)(c - '0'); }

/* One bulk string from `at`; NULL: it is no small one that is wholly here. "$0\r\n\r\n" is the shortest. */
static inline const char *parse_small_bulk(const char *at, const char *end, struct slice *bulk) {
    if (end - at < 6 || at[0] != '$') return NULL;
    uint32_t len = digit(at[1]);
    if (len > 9) return NULL;
    at += 2;
    if (at[0] != '\r') {
        if (len == 0 || digit(at[0]) > 9) return NULL;
        len = len * 10 + digit(*at++);
        if (at[0] != '\r') {
            if (digit(at[0]) > 9) return NULL;
            len = len * 10 + digit(*at++);
        }
    }
    if (at[0] != '\r' || end - at < (ptrdiff_t)len + 4) return NULL;
    *bulk = slice_make(at + 2, len);
    return at + 2 + len + 2;
}

size_t resp_parse_small(const char *bytes, size_t n_bytes, struct slice *argv, uint32_t *argc) {
    if (n_bytes < 10 || bytes[0] != '*') return 0;
    uint32_t n = digit(bytes[1]);
    const char *at = bytes + 2;
    if (n - 1 > 8) return 0;
    if (*at != '\r' && digit(*at) <= 9) n = n * 10 + digit(*at++);
    if (*at != '\r' || n > RESP_SMALL_ARGS) return 0;
    at += 2;
    for (uint32_t i = 0; i < n; i++) {
        at = parse_small_bulk(at, bytes + n_bytes, &argv[i]);
        if (!at) return 0;
    }
    *argc = n;
    return (size_t)(at - bytes);
}

/* --- inline ------------------------------------------------------------------------------------------------ */

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0'; }

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static char unescape(char c) {
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'b': return '\b';
    case 'a': return '\a';
    default: return c;
    }
}

/* Behind a closing quote only a blank or the end may follow. */
static const char *close_quote(const char *at, const char *end) {
    at++;
    return at == end || is_blank(*at) ? at : NULL;
}

static const char *split_double_quoted(const char *at, const char *end, struct buf *out) {
    while (at < end) {
        if (*at == '"') return close_quote(at, end);
        if (*at == '\\' && end - at >= 4 && at[1] == 'x' && hex_digit(at[2]) >= 0 &&
            hex_digit(at[3]) >= 0) {
            buf_append_char(out, (char)(hex_digit(at[2]) * 16 + hex_digit(at[3])));
            at += 4;
        } else if (*at == '\\' && end - at >= 2) {
            buf_append_char(out, unescape(at[1]));
            at += 2;
        } else {
            buf_append_char(out, *at++);
        }
    }
    return NULL;
}

static const char *split_single_quoted(const char *at, const char *end, struct buf *out) {
    while (at < end) {
        if (*at == '\'') return close_quote(at, end);
        if (*at == '\\' && end - at >= 2 && at[1] == '\'') at++;
        buf_append_char(out, *at++);
    }
    return NULL;
}

/* One argument from `at`, which is no blank. Returns where it ends, NULL where quotes don't. */
static const char *split_argument(const char *at, const char *end, struct buf *out) {
    while (at < end && !is_blank(*at)) {
        if (*at == '"') return split_double_quoted(at + 1, end, out);
        if (*at == '\'') return split_single_quoted(at + 1, end, out);
        buf_append_char(out, *at++);
    }
    return at;
}

int32_t resp_split_line(struct slice line, struct buf *out, struct resp_argument *args,
                        uint32_t max) {
    const char *at = line.data;
    const char *end = line.data + line.len;
    uint32_t n = 0;
    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end || n == max) return (int32_t)n;
        size_t begin = out->len;
        at = split_argument(at, end, out);
        if (!at) return -1;
        args[n++] = (struct resp_argument){begin, out->len - begin};
    }
}

static enum resp_status parse_inline(struct resp_parser *parser, const char *bytes,
                                     size_t n_bytes) {
    const char *newline = memchr(bytes + parser->scanned, '\n', n_bytes - parser->scanned);
    size_t len = newline ? (size_t)(newline - bytes) : n_bytes;
    if (len > RESP_MAX_INLINE) return invalid(parser, "Protocol error: too big inline request");
    if (!newline) {
        parser->scanned = n_bytes;
        return RESP_MORE;
    }
    parser->at = len + 1;
    if (len && bytes[len - 1] == '\r') len--;

    /* Every argument takes a byte and, but the last, a blank. */
    uint32_t max = (uint32_t)(len / 2 + 1);
    if (parser->args_cap < max) {
        parser->args = mem_realloc(parser->args, max * sizeof parser->args[0]);
        parser->args_cap = max;
    }
    parser->is_unescaped = true;
    buf_reserve(&parser->unescaped, len + 1);
    int32_t argc = resp_split_line(slice_make(bytes, len), &parser->unescaped, parser->args, max);
    if (argc < 0) return invalid(parser, "Protocol error: unbalanced quotes in request");
    parser->argc = (uint32_t)argc;
    return done(parser);
}

enum resp_status resp_parse(struct resp_parser *parser, const char *bytes, size_t n_bytes) {
    if (n_bytes == 0) return RESP_MORE;
    return bytes[0] == '*' ? parse_multibulk(parser, bytes, n_bytes)
                           : parse_inline(parser, bytes, n_bytes);
}

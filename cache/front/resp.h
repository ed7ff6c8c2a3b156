/* resp.h: reads requests, multibulk or inline (RESP: redis.io/docs/reference/protocol-spec, "Sending commands").
 *
 *     switch (resp_parse(&parser, bytes, n_bytes)) {
 *     case RESP_DONE:    resp_argv(&parser, bytes, argv);  bytes += parser.consumed; ... resp_reset(&parser);
 *     case RESP_MORE:    read more behind the same bytes, and call again with all of them
 *     case RESP_INVALID: answer "-ERR " + parser.error, close
 *     }
 *
 * Pure: no I/O, and no copy of what is parsed. Arguments are kept as offsets from the first byte of the request, so the caller
 * may move the bytes between calls. What was parsed is never parsed again: feeding byte by byte is linear.
 * An inline request with quotes is unescaped into memory of the parser's own, good until resp_reset. */
#ifndef FRESHET_CACHE_RESP_H
#define FRESHET_CACHE_RESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* Redis's own bounds (networking.c of 7.0 says the same numbers). */
enum {
    RESP_MAX_INLINE = 64 * 1024, /* also of the lines that hold a count or a length */
    RESP_MAX_ARGS = 1024 * 1024,
    RESP_MAX_ARGS_BEFORE_AUTH = 10,
    RESP_MAX_BULK_BEFORE_AUTH = 16 * 1024,
    RESP_MAX_BULK_DEFAULT = 512 * 1024 * 1024,
};

enum resp_status { RESP_DONE, RESP_MORE, RESP_INVALID };

struct resp_argument {
    size_t at; /* from the request's first byte, or in `unescaped` */
    size_t len;
};

struct resp_parser {
    /* The caller's: */
    size_t max_bulk;
    bool authenticated; /* false: the small bounds */

    /* Results: */
    uint32_t argc;     /* RESP_DONE; 0 for an empty line, which is no request and gets no answer */
    size_t consumed;   /* RESP_DONE: the request's length */
    const char *error; /* RESP_INVALID: "Protocol error: ..." */
    /* RESP_MORE: how much longer the request is known to be at least; 0: not known. A hint for the reader's buffer,
     * which it must not follow blindly: the bytes have not been sent yet. */
    size_t missing;

    /* The parser's own: */
    struct resp_argument *args;
    uint32_t args_cap;
    uint32_t args_left; /* bulks still to come */
    int64_t bulk_len;   /* of the one being read; -1: its length line comes next */
    size_t at;          /* parsed so far */
    size_t scanned;     /* searched for a line's end so far */
    bool multibulk;     /* its count has been read */
    bool is_unescaped;  /* arguments lie in `unescaped` */
    struct buf unescaped;
    char error_text[64];
};

void resp_init(struct resp_parser *parser, size_t max_bulk);
void resp_deinit(struct resp_parser *parser);
/* Forgets the request; gives back memory that a big one took. */
void resp_reset(struct resp_parser *parser);

enum resp_status resp_parse(struct resp_parser *parser, const char *bytes, size_t n_bytes);

/* The common request at once, with no parser's state: multibulk, up to RESP_SMALL_ARGS arguments of less than 1000 bytes each,
 * wholly here, of a client whose bounds are the full ones. Returns its length and writes its arguments; 0: it is none such (or half of one, or wrong): resp_parse tells. */
enum { RESP_SMALL_ARGS = 32 };
size_t resp_parse_small(const char *bytes, size_t n_bytes, struct slice *argv, uint32_t *argc);

/* Writes the parser->argc arguments of a RESP_DONE. `bytes` is where the request lies now. */
void resp_argv(const struct resp_parser *parser, const char *bytes, struct slice *argv);

/* Splits a line as Redis's inline commands are split: blanks separate, "..." with \n \r \t \b \a \xHH, '...' with \'.
 * Arguments are appended to `out` and noted in args (at most max). Returns how many, or -1: unbalanced quotes. */
int32_t resp_split_line(struct slice line, struct buf *out, struct resp_argument *args,
                        uint32_t max);

#endif

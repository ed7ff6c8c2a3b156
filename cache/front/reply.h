/* reply.h: composes RESP2 or RESP3 replies into one output buffer (RESP: redis.io/docs/reference/protocol-spec).
 *
 * Headers come before their elements and the composer does not count for the caller: an array of n is followed by n
 * replies. A map of n takes 2n replies, and becomes a flat array under RESP2. */
#ifndef FRESHET_CACHE_REPLY_H
#define FRESHET_CACHE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* Big values that are sent from where they lie: splice i goes in front of out->data[at]. */
enum { SPLICE_BYTES = 16 * 1024, SPLICES = 16 };
struct splices {
    uint32_t n;
    size_t bytes; /* of all */
    struct splice {
        size_t at;
        struct slice value;
    } all[SPLICES];
};

struct reply {
    struct buf *out;
    uint8_t protocol;        /* 2 or 3 */
    uint32_t errors;         /* error replies composed so far */
    struct splices *splices; /* NULL: everything is copied */
};

void reply_ok(struct reply *reply);
void reply_simple(struct reply *reply, const char *text); /* +text */
void reply_bulk(struct reply *reply, struct slice bytes);
/* As reply_bulk, for a stored entry's bytes, which stay as they are until the batch is sent: many of them are not copied. The reply
 * must not be taken back afterwards. */
void reply_bulk_spliced(struct reply *reply, struct slice bytes);
static inline void reply_bulk_stored(struct reply *reply, struct slice bytes) {
    if (__builtin_expect(bytes.len >= SPLICE_BYTES && reply->splices, 0))
        reply_bulk_spliced(reply, bytes);
    else
        reply_bulk(reply, bytes);
}
void reply_text(struct reply *reply, const char *text);      /* a bulk string */
void reply_verbatim(struct reply *reply, struct slice text); /* =txt: under RESP3, else bulk */
void reply_integer(struct reply *reply, int64_t value);
void reply_double(struct reply *reply, double value);
void reply_bool(struct reply *reply, bool value); /* #t under RESP3, else :1 */
void reply_null(struct reply *reply);             /* $-1 or _ */
void reply_null_array(struct reply *reply);       /* *-1 or _ */
void reply_array(struct reply *reply, size_t n);
void reply_map(struct reply *reply, size_t n);
void reply_set(struct reply *reply, size_t n);
void reply_push(struct reply *reply, size_t n);
/* "-" + text; text begins with its code ("ERR ..."). Line breaks become spaces. */
void reply_error(struct reply *reply, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The errors that many commands share, worded as Redis 7.0 words them. */
void reply_wrong_type(struct reply *reply);
void reply_syntax_error(struct reply *reply);
void reply_not_an_integer(struct reply *reply);
void reply_not_a_float(struct reply *reply);

#endif

/* command.h: commands as Redis reads them: an array of bulk strings, one command behind the other in a buffer.
 *
 *     command_begin(&out, 3); command_arg(&out, SLICE("SET")); command_arg(&out, key); command_arg(&out, value);
 *     command_text(&out, 2, "HGETALL", name);       of C strings
 *
 * hiredis formats one command at a time into memory of its own; a batch is thousands. Pure. */
#ifndef FRESHET_CONNECTORS_REDIS_COMMAND_H
#define FRESHET_CONNECTORS_REDIS_COMMAND_H

#include "base/buf.h"

static inline void command_head(struct buf *out, char mark, size_t n) {
    buf_append_char(out, mark);
    buf_append_u64(out, n);
    buf_append(out, "\r\n", 2);
}

static inline void command_begin(struct buf *out, size_t n_args) { command_head(out, '*', n_args); }

static inline void command_arg(struct buf *out, struct slice arg) {
    command_head(out, '$', arg.len);
    buf_append_slice(out, arg);
    buf_append(out, "\r\n", 2);
}

static inline void command_text_arg(struct buf *out, const char *arg) {
    command_arg(out, slice_from(arg));
}

/* `n` arguments, each a const char *. */
void command_text(struct buf *out, int n, ...);

#endif

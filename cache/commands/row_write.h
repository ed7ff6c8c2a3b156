/* row_write.h: commands that write to a key of a table's row: refused, or carried out by the database (writes: through).
 *
 *     switch (row_write_check(ctx, keys)) ...            before a command's function is run
 *     row_write_exec(ctx, tx)                            EXEC: the queue's writes of rows, as one transaction
 *
 * A write goes out in the command's first run, which waits as for rows; in the second ctx->fetched has what became of it. In an
 * EXEC each command finds its own part there. */
#ifndef FRESHET_CACHE_ROW_WRITE_H
#define FRESHET_CACHE_ROW_WRITE_H

#include "cache/commands/command.h"
#include "cache/rows/fetch.h"

struct transaction;
struct write;

enum row_write_verdict {
    ROW_WRITE_PLAIN, /* run the command: none of its business, or what is left of it is plain keys */
    ROW_WRITE_OVER,  /* it is answered, or waits */
};

enum row_write_verdict row_write_check(struct command_context *ctx, struct command_key_iter keys);

/* The write whose end this run is; NULL: it is not a run of that kind. */
static inline struct write *row_write_of(const struct command_context *ctx) {
    return ctx->fetched ? ctx->fetched->write : NULL;
}

/* DEL's rest: how many rows this command has deleted; and is the key's row among those that it was to delete? */
int64_t row_write_deleted(const struct command_context *ctx);
bool row_write_has(const struct command_context *ctx, struct slice key);

enum row_write_begun {
    ROW_WRITE_NONE,    /* there is none in the queue */
    ROW_WRITE_BEGUN,   /* EXEC waits for it */
    ROW_WRITE_REFUSED, /* it cannot be one transaction, as the error says that was composed */
};
enum row_write_begun row_write_exec(struct command_context *ctx, struct transaction *tx);
/* What command i of the queue finds of it: rows that it reads, and the write's number for it. To be freed. */
void row_write_share(const struct command_context *ctx, uint32_t command, struct fetched_rows *own);
void row_write_unshare(struct fetched_rows *own);

#endif

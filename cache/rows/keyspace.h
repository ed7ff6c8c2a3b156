/* keyspace.h: how commands read keys: memory first, and for a key of a mapped table the database behind it.
 *
 *     switch (keyspace_read(ctx, key, FORM_STRING, &value)) {
 *     case READ_FOUND:   reply_bulk(ctx->reply, value.string); break;
 *     case READ_ABSENT:  reply_null(ctx->reply); break;
 *     case READ_WRONG_TYPE: reply_wrong_type(ctx->reply); break;
 *     case READ_PENDING: return;                 run again once the rows are here (command.h)
 *     case READ_FAILED:  reply_error(ctx->reply, "%s", value.failure); break;
 *     }
 *
 * What it returns is readable until the command's function returns. A plain key is never pending. */
#ifndef FRESHET_CACHE_KEYSPACE_H
#define FRESHET_CACHE_KEYSPACE_H

#include <stdbool.h>

#include "base/slice.h"
#include "cache/commands/command.h"
#include "cache/store/entry.h"

enum key_form {
    FORM_ANY,    /* is it there at all, and until when: EXISTS, TTL, TYPE */
    FORM_STRING, /* a plain string, or a row as JSON */
    FORM_HASH,   /* a plain hash, or a row's columns */
    FORM_LIST,   /* a plain list, or a named query's result */
    FORM_ZSET,   /* likewise */
};

enum read_outcome { READ_FOUND, READ_ABSENT, READ_WRONG_TYPE, READ_PENDING, READ_FAILED };

struct key_value {
    const struct entry *entry; /* NULL where a row was answered without being kept */
    bool row;
    enum entry_kind kind; /* of a row: what it shows as */
    struct slice string;  /* FORM_STRING */
    struct slice
        fields; /* FORM_HASH, FORM_LIST, FORM_ZSET, or FORM_ANY where `kind` is one of those, of a row, or a small plain hash: packed; data NULL: use hash.h on the entry */
    int64_t expire_at_ms; /* STORE_NEVER: no TTL */
    const char *failure;  /* READ_FAILED: the whole error text, code first */
};

enum read_outcome keyspace_read(struct command_context *ctx, struct slice key, enum key_form form,
                                struct key_value *value);

/* A command that waits for rows has one behind it that will read this key: where that would miss, the row is fetched together
 * with what is waited for. False where there is nothing to fetch. Not from inside a command. */
bool keyspace_read_ahead(struct keyspace *keyspace, struct slice key, enum key_form form,
                         int64_t now_ms, int64_t now_us);

/* Does memory hold the row now, and may it answer? For who keeps a key elsewhere (tracking.h) or watches it: from a look
 * at memory on, after registering, every change is told; of what memory does not hold, it may not be. */
bool keyspace_holds_row(struct command_context *ctx, struct slice key);
/* Is what the command has just read of this key what memory shows now? True of plain keys. */
bool keyspace_was_kept(struct command_context *ctx, struct slice key);

/* Is `field` a column of the key's table that Freshet's role may not SELECT? Then the error text to answer; else NULL. Of what is
 * not in the row: that it is NULL could not be said. */
const char *keyspace_denies(struct command_context *ctx, struct slice key, struct slice field);

/* Is it a key of a mapped table (or a named query)? Writes ask before they touch a key. */
bool keyspace_is_row_key(struct command_context *ctx, struct slice key);

#endif

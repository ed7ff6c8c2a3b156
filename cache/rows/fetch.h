/* fetch.h: a command's wait for the rows that it misses, and those rows laid over the store for its second run.
 *
 *     fetch_want(keyspace, ctx);              a read was not in memory: the command will wait (its ticket says so)
 *     fetch_want_soon(keyspace, key, ...);    no command waits for it yet, but one behind the one that does will read it
 *     fetch_begin(keyspace);                  end of the turn: what the waits want becomes fills, or joins some
 *     fetch_deliver(keyspace, waiters, value) a row has come; whose last it was runs again
 *     fetched_find(ctx->fetched, key, hash)   on the second run
 *
 * On the keyspace's worker, but for what fetch_deliver posts to others. */
#ifndef FRESHET_CACHE_FETCH_H
#define FRESHET_CACHE_FETCH_H

#include "cache/commands/command.h"
#include "cache/front/client.h"
#include "cache/rows/flights.h"

struct fetched_row {
    enum key_form form; /* one row may be wanted in both */
    struct slice key;   /* of the client's arguments, which stay where they are while it waits */
    uint64_t hash;
    struct waiter *waiter;  /* not here yet */
    struct rowvalue *value; /* here */
};

struct write;

struct fetched_rows {
    struct write *write; /* the second run is of a write of rows (write.h); NULL: it is not */
    uint32_t command;    /* which one's of an EXEC */
    uint32_t n;
    uint32_t cap;
    struct fetched_row *rows;
};

void fetch_want(struct keyspace *keyspace, struct command_context *ctx, enum key_form form);
/* EXEC's: rows that its commands will read; the keys are borrowed for the call. They are laid over the store also where memory
 * has them, since another command of the EXEC may take them out. */
struct fetch_order {
    struct slice key;
    uint64_t hash;
    enum key_form form; /* STRING or HASH */
};
/* `anew`: memory is not asked. */
void fetch_want_rows(struct keyspace *keyspace, struct command_context *ctx,
                     const struct fetch_order *orders, uint32_t n, bool anew);
/* A row that is in memory is read again, for nobody. Bounded, as the next. May be called inside a command. */
void fetch_renew(struct keyspace *keyspace, struct slice key, uint64_t hash, enum key_form form);
/* Has the row read into memory. Bounded: past FETCH_MAX_SOON of a worker it does nothing. False: it did nothing. */
enum { FETCH_MAX_SOON = 4096 };
bool fetch_want_soon(struct keyspace *keyspace, struct slice key, uint64_t hash,
                     enum key_form form);
void fetch_begin(struct keyspace *keyspace);
void fetch_deliver(struct keyspace *from, struct waiter *waiters, struct rowvalue *value);
/* Frees the waits that are left, running nothing: the worker is gone. */
void fetch_abandon(struct keyspace *keyspace);

/* FORM_ANY takes either. */
const struct rowvalue *fetched_find(const struct fetched_rows *rows, struct slice key,
                                    uint64_t hash, enum key_form form);

#endif

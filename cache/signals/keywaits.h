/* keywaits.h: who waits for a list or a sorted set to be there (BLPOP, BLMOVE, BZPOPMIN, ...).
 *
 * A blocking command has CMD_WRITE | CMD_BLOCKING: the dispatcher has locked the shards of its keys. It reads:
 *
 *     static void cmd_blpop(struct command_context *ctx) {
 *         if (keywaits_resumed(ctx)) return;                    first: a second run, which has its answer (or waits on)
 *         if (!keywaits_timeout(ctx, ctx->argv[ctx->argc - 1], &deadline_us)) return;    an error was answered
 *         ... a key that holds something, or something else: pop, or WRONGTYPE, and return
 *         keywaits_block(ctx, &(struct keywait_order){.kind = ENTRY_LIST, .serve = serve_pop, .give_back = put_back,
 *                                                     .from = HEAD}, keys, n_keys, deadline_us);
 *     }
 *
 * and its serve function pops from the one key that has come to hold an entry of the kind, and composes the waiter's reply:
 *
 *     static void serve_pop(struct command_context *ctx, const struct keywait_order *order, struct slice key,
 *                           struct buf *taken);
 *
 * Nothing else is to be done where elements are added: whatever write leaves an entry of the kind in one of its keys (ZADD, RENAME,
 * COPY, RESTORE, a STORE, an EXEC), the dispatcher serves those who wait for that key before it unlocks (keywaits_serve).
 *
 * Order. The thread that has pushed serves, under the guard of its command, so no other command comes between the push and
 * the pops, on whatever worker its client is, and the pusher's own next command sees what Redis would show it. Waiters of one key
 * are served in the order in which they have blocked, as long as the entry is there: who blocks does so under the lock of
 * the key's shard as well, so there is one order. Turned down: to wake the first waiter and to let its worker pop. Until it
 * ran, the element would have to be kept from everyone else, and LLEN, EXISTS, DEL and LPOP would each need to know.
 *
 * Chains. A waiter may push on (BLMOVE): its destination's shard has to be locked before the pusher's command runs, since
 * locks are taken in ascending order. keywaits_lock locks a command's keys, looks for waiters with destinations there, and
 * where it finds some locks once more with those, until nothing is added.
 *
 * Going. Timeout, CLIENT UNBLOCK and service meet here: a wait is ended by exactly one of them, and the client's second run
 * only learns by which. A client that goes before it has been served is out of the queue. One that goes after, with the
 * reply on its way to its worker, has its elements put back where they were (give_back), and they are served to the next one;
 * what a BLMOVE has moved is in its destination and stays there.
 *
 * Threads and locks: a wait that is WAITING or SERVED belongs to the locks of its keys' shards: whoever serves holds one of
 * them, the owner holds all of them when it takes the result. The queues are under a leaf mutex below the shard guards, held
 * for a few pointers only. Where nobody waits in a shard, a write costs one load for each of its keys. */
#ifndef FRESHET_CACHE_KEYWAITS_H
#define FRESHET_CACHE_KEYWAITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cache/commands/command.h"
#include "cache/store/entry.h"

struct keywait; /* one client's wait; its client has the pointer */
struct keywait_order;
struct keywaits;

/* Does what the waiter has asked for, now that `key` holds an entry of order->kind: pops, and composes one whole reply into
 * ctx->reply (the waiter's own, in its protocol). ctx is otherwise the pusher's: store, guard (which has key and destination),
 * times, notify; no argv. It may answer with an error instead, and pop nothing. `taken`: whatever give_back needs to
 * put the elements back; left empty where nothing is to be put back. */
typedef void keywait_serve(struct command_context *ctx, const struct keywait_order *order,
                           struct slice key, struct buf *taken);
/* The served client has gone: puts back what serve has taken from `key`, which may hold anything by now. Composes nothing. */
typedef void keywait_give_back(struct command_context *ctx, const struct keywait_order *order,
                               struct slice key, struct slice taken);

/* What a waiter wants. from, to and count are the command's own. */
struct keywait_order {
    enum entry_kind
        kind; /* ENTRY_LIST or ENTRY_ZSET; a key with anything else is as good as absent */
    keywait_serve *serve;
    keywait_give_back *give_back; /* NULL: what is served stays served */
    struct slice destination;     /* a key that serve writes; data NULL: none. Copied. */
    int64_t count;
    uint8_t from, to;
    bool null_bulk; /* in an EXEC the answer is a null bulk string (BLMOVE), not a null array */
};

struct keywaits *keywaits_create(void);
/* Nobody waits any more. */
void keywaits_destroy(struct keywaits **keywaits);
/* How many clients wait. Any thread. */
uint32_t keywaits_count(const struct keywaits *keywaits);

/* --- for blocking commands ---------------------------------------------------------------------------------- */

/* True: this is the second run of a command that had blocked, and it has answered or waits on: return at once. */
bool keywaits_resumed(struct command_context *ctx);
/* A timeout in seconds, as Redis reads it: a double; 0: for ever. False after an error reply. */
bool keywaits_timeout(struct command_context *ctx, struct slice seconds, int64_t *deadline_us);
/* Waits for any of the keys, in whose shards ctx->guard is; nothing was composed. Within an EXEC, where nothing may wait, it
 * answers that there is nothing. */
void keywaits_block(struct command_context *ctx, const struct keywait_order *order,
                    const struct slice *keys, uint32_t n_keys, int64_t deadline_us);

/* --- for the dispatcher and EXEC: around every command with CMD_WRITE --------------------------------------- */

/* As store_lock for these hashes (an array of uint64_t in a buf), to which it adds what waiters may push on to. */
void keywaits_lock(struct keywaits *keywaits, struct store *store, struct buf *hashes,
                   struct store_guard *guard);
/* Has the command (or, at its end, the EXEC) left something for a waiter in this key? Then it is noted as ready.
 * One load where nobody waits in the shard. ctx->guard is held. */
void keywaits_note(struct command_context *ctx, struct slice key);
/* Serves who waits for the keys that were noted since the last call, in their order. Before the guard is released. */
void keywaits_serve(struct command_context *ctx);

/* --- for CLIENT UNBLOCK and the client's end ---------------------------------------------------------------- */

/* Any thread, no lock held or any: ends the wait as its timeout does, or with an error. False: no such client waits here. */
bool keywaits_unblock(struct keywaits *keywaits, uint64_t client_id, bool with_error);
/* The client stops waiting without an answer: it goes. On its worker's thread, holding no guard. */
void keywaits_leave(struct worker *worker, struct keywait **wait);

#endif
